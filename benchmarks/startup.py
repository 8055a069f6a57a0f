"""Time and memory of a start in a fresh interpreter: import, --help, and one picture answered from the command line.

    python benchmarks/startup.py [--runs 20]

For scale the bare interpreter and `import torch` are measured as well; all take turns, so a busy moment hits all alike. The
networks are untrained: what they answer takes as long.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image
from record import record

from maskwright import ClassMap, models, save_checkpoint
from maskwright.checkpoint import Manifest
from maskwright.transforms import Preprocess

HW = 256, 256
PEAK = (  # VmHWM: 12345 kB
    "import atexit, re, sys; atexit.register("
    "lambda: sys.stderr.write('\\npeak ' + re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]))\n"
)
NETS = {"U-Net": {"width": 16}, "U-Net on timm's ResNet-34": {"encoder": "resnet34"}}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=20)
    runs = arguments.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MASKWRIGHT_CACHE"] = f"{folder}/cache"
        starts = starts_in(Path(folder))
        taken: dict[str, list[tuple[float, float]]] = {start: [] for start in starts}
        for turn in range(runs):
            for start, code in starts.items():
                taken[start].append(measured(code.replace("OUT", f"{folder}/{turn}")))
    rows = []
    for start, values in taken.items():
        ms, mb = zip(*values, strict=True)
        rows.append(
            {"start": start, "ms (median)": f"{statistics.median(ms):.0f}", "ms (best)": f"{min(ms):.0f}", "MB": f"{max(mb):.0f}"}
        )
    record(
        "startup",
        rows,
        command=f"python benchmarks/startup.py --runs {runs}",
        notes=[
            f"{runs} fresh interpreters each, in turn; whole process, from start to exit, and the most memory that it held",
            f"predict: one picture of {HW[0]} x {HW[1]} px to its mask, in fp32",
            "aim: `import maskwright` and `maskwright --help` under 500 ms",
        ],
    )


def starts_in(folder: Path) -> dict[str, str]:
    """What is started, as Python code; OUT is where masks go."""
    picture = folder / "picture.png"
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)).save(picture)
    found = {"python alone": "pass", "import torch": "import torch", "import maskwright": "import maskwright"}
    found["maskwright --help"] = command("--help")
    for name, args in NETS.items():
        run = folder / name.replace(" ", "-")
        save_checkpoint(run, models.build("unet", channels=3, classes=2, **args), manifest_of(args))
        on_torch, on_openvino = (
            command("predict", str(run), str(picture), "--out", f"OUT-{run.name}-{runtime}", "--runtime", runtime)
            for runtime in ("torch", "openvino")
        )
        found[f"maskwright predict, {name}, on torch"] = on_torch
        measured(on_openvino.replace("OUT", f"{folder}/first"))  # which converts the network
        found[f"maskwright predict, {name}, on OpenVINO, converted before"] = on_openvino
    return found


def manifest_of(args: dict[str, object]) -> Manifest:
    classes = ClassMap((0, 1), ("ground", "thing"))
    return Manifest(model="unet", model_args=args, classes=classes.to_dict(), preprocess=Preprocess(3).to_dict())


def command(*words: str) -> str:
    return f"import sys; sys.argv = {['maskwright', *words]!r}; from maskwright.cli import main; main()"


def measured(code: str) -> tuple[float, float]:
    """Milliseconds from start to exit, and the megabytes of its peak, which it says itself at its end."""
    start = time.perf_counter()
    said = subprocess.run(
        [sys.executable, "-c", PEAK + code], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    ms = (time.perf_counter() - start) * 1000
    return ms, int(said.stderr.rpartition("peak ")[2]) / 1024


if __name__ == "__main__":
    main()
