"""What a new user meets: a fresh clone, `make demo` with its installation, then `make test`, timed from outside.

    python benchmarks/fresh_clone.py

Clones the last commit into a temporary folder, so uncommitted changes take no part.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import record

ROOT = Path(__file__).resolve().parents[1]


def make(target: str, folder: Path, log: Path) -> float:
    """Seconds of `make target`; stops the benchmark with the log's end if it fails."""
    start = time.monotonic()
    with log.open("w") as file:
        done = subprocess.run(["make", target], cwd=folder, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.exit(f"make {target} failed:\n{log.read_text()[-3000:]}")
    return time.monotonic() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "maskwright"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        install = make(".venv/.installed", folder, folder / "install.log")
        demo = make("demo", folder, folder / "demo.log")
        found = json.loads((folder / "demo" / "lungs" / "evaluation" / "evaluation.json").read_text())
        dice = found["intervals"]["mean_image_dice"]
        make(".venv/.installed-test", folder, folder / "install.log")
        tests = make("test", folder, folder / "test.log")
        text = (folder / "test.log").read_text()
    counts = re.findall(r"(\d+ (?:passed|failed|skipped))", text)
    coverage = re.findall(r"^TOTAL.*?(\d+(?:\.\d+)?)%", text, re.MULTILINE)
    record(
        "fresh_clone",
        [
            {"what": "make demo, installation included", "value": f"{(install + demo) / 60:.1f} min"},
            {"what": "of which installation", "value": f"{install / 60:.1f} min"},
            {
                "what": "demo: mean image Dice on held-out scenes",
                "value": f"{dice['value']:.4f} [{dice['low']:.4f}, {dice['high']:.4f}]",
            },
            {"what": "demo: scenes scored", "value": str(found["images"])},
            {"what": "make test after installation", "value": f"{tests / 60:.1f} min, {', '.join(counts[-3:])}"},
            {"what": "coverage of the package", "value": f"{coverage[-1]} %" if coverage else "not told"},
        ],
        command="python benchmarks/fresh_clone.py",
        notes=["packages came from a registry close by; elsewhere the installation depends on the network"],
    )


if __name__ == "__main__":
    main()
