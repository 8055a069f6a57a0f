"""A net that has seen drawn scenes only, scored on real chest X-rays.

    python benchmarks/transfer.py DATA [--minutes 8] [--count 400]

Trains on `demo lungs` scenes and scores lungs-shenzhen's val once, at 512 px; the scores on its own held-out scenes stand
beside it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from record import record

import maskwright
from maskwright.demo import lungs


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--minutes", type=float, default=8.0)
    arguments.add_argument("--count", type=int, default=400)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scenes = lungs.make(Path(folder) / "lungs", count=given.count, seed=0)
        run = maskwright.train(scenes, minutes=given.minutes, out=Path(folder) / "run")
        rows = []
        for name, data, split in (("drawn scenes, test", scenes, "test"), ("lungs-shenzhen, val", given.data, "val")):
            found = maskwright.evaluate(run.folder, data, split=split)
            rows.append(
                {
                    "images": f"{name} ({len(found.per_image)})",
                    "mean per-image Dice": f"{found.mean_image_dice:.4f} (95 %: {found.intervals['mean_image_dice'].bounds})",
                    "worst twentieth": f"{found.worst_twentieth:.4f}",
                }
            )
    command = f"python benchmarks/transfer.py DATA --minutes {given.minutes:g} --count {given.count}"
    record("transfer", rows, command=command, notes=["no real image was seen in training, nor used to choose the weights"])


if __name__ == "__main__":
    main()
