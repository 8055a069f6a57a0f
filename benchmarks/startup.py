"""Seconds until `import maskwright` and `maskwright --help` are done in a fresh interpreter: median and best of 20.

    python benchmarks/startup.py [FILE.json]        # prints, and writes FILE where it is named

For scale the bare interpreter is measured as well; the three take turns, so that a busy moment hits all alike.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RUNS = 20
HELP = "import sys; sys.argv = ['maskwright', '--help']; from maskwright.cli import main; main()"
STARTS = {"python alone": "pass", "import maskwright": "import maskwright", "maskwright --help": HELP}


def seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def machine() -> dict[str, str | int | None]:
    """What a number needs beside it: date, hardware, versions, commit."""
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "maskwright": version("maskwright"),
        "typer": version("typer"),
        "commit": git.stdout.strip() or "unknown",
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    taken: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(RUNS):
        for name, code in STARTS.items():
            taken[name].append(seconds(code))
    found = {name: {"median_s": round(statistics.median(t), 4), "best_s": round(min(t), 4)} for name, t in taken.items()}
    for name, row in found.items():
        print(f"{name:<20} median {row['median_s'] * 1000:5.0f} ms   best {row['best_s'] * 1000:5.0f} ms")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps({"machine": machine(), "startup": found}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
