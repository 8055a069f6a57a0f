"""A net that has seen drawn scenes only, scored on real chest X-rays.

    python benchmarks/transfer.py DATA DEMO

DEMO is what `maskwright demo lungs` wrote. Its run is scored on lungs-shenzhen's val (DATA), once, at 512 px; the scores on its
own held-out scenes stand beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from record import record

import maskwright

# What the mask files of lungs-shenzhen store; the drawn scenes store the ids themselves.
SHENZHEN = maskwright.ClassMap((0, 1), ("background", "lung"), values=((0,), (255,)))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("demo", type=Path)
    given = arguments.parse_args()
    rows = []
    for name, data, split, classes in (
        ("drawn scenes, test", given.demo / "data", "test", None),
        ("lungs-shenzhen, val", given.data, "val", SHENZHEN),
    ):
        found = maskwright.evaluate(given.demo / "run", data, split=split, classes=classes)
        rows.append(
            {
                "images": f"{name} ({len(found.per_image)})",
                "mean per-image Dice": f"{found.mean_image_dice:.4f} (95 %: {found.intervals['mean_image_dice'].bounds})",
                "worst twentieth": f"{found.worst_twentieth:.4f}",
            }
        )
    recipe = (given.demo / "run" / "recipe.yaml").read_text().splitlines()[1:]
    record(
        "transfer",
        rows,
        command="maskwright demo lungs && python benchmarks/transfer.py DATA demo/lungs",
        notes=["no real image was seen in training, nor used to choose the weights", *recipe],
    )


if __name__ == "__main__":
    main()
