"""A net that has seen drawn streets only, scored on the real frames of CamVid.

    python benchmarks/streets_transfer.py DATA DEMO

DEMO is what `maskwright demo streets` wrote, DATA is camvid: its 367 train frames are scored, which no training has seen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from record import record

import maskwright


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("demo", type=Path)
    given = arguments.parse_args()
    rows = []
    for name, data, split in (("drawn streets, test", given.demo / "data", "test"), ("CamVid, train", given.data, "train")):
        found = maskwright.evaluate(given.demo / "run", data, split=split)
        iou = dict(zip(found.scores.classes.names, found.scores.iou, strict=True))
        rows.append(
            {
                "images": f"{name} ({len(found.per_image)})",
                "IoU of road": f"{iou['Road']:.4f}",
                "IoU of sky": f"{iou['Sky']:.4f}",
                "mean IoU": f"{found.scores.mean_iou:.4f} (95 %: {found.intervals['mean_iou'].bounds})",
                "pixel accuracy": f"{found.scores.pixel_accuracy:.4f}",
            }
        )
    record(
        "streets_transfer",
        rows,
        command="maskwright demo streets && python benchmarks/streets_transfer.py DATA demo/streets",
        notes=[
            "no real frame was seen in training, nor used to choose the weights",
            *(given.demo / "run" / "recipe.yaml").read_text().splitlines()[1:],
        ],
    )


if __name__ == "__main__":
    main()
