"""Lung fields in real chest X-rays, from scratch: fit on train, choose on an inner part of it, score val once.

    python benchmarks/lungs_shenzhen.py DATA [--minutes 20] [--out runs/lungs-shenzhen]

DATA is the folder lungs-shenzhen (train and val, 512 px). An inner 15 % of train stops and chooses the weights; nothing
looks at val before the one evaluation, which is at 512 px whatever the network saw. Every setting is the planner's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from record import record

import maskwright
from maskwright.evaluation import Evaluation


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--minutes", type=float, default=20.0)
    arguments.add_argument("--out", type=Path, default=Path("runs/lungs-shenzhen"))
    arguments.add_argument("--name", default="lungs_shenzhen", help="name of the result file")
    given = arguments.parse_args()
    run = maskwright.train(given.data, holdout=0.15, minutes=given.minutes, out=given.out)
    found = maskwright.evaluate(run.folder, given.data, split="val", out=run.folder / "evaluation")
    record(
        given.name,
        [
            {"what": "mean per-image Dice of the lungs, 512 px", "value": told(found, "mean_image_dice")},
            {
                "what": f"mean of the worst twentieth ({-(-len(found.per_image) // 20)} images)",
                "value": told(found, "worst_twentieth"),
            },
            {"what": "Dice over all pixels", "value": f"{found.scores.mean_dice_no_background:.4f}"},
            {"what": "mean IoU, background included", "value": f"{found.scores.mean_iou:.4f}"},
            {"what": "images scored", "value": str(len(found.per_image))},
            {"what": "Dice on the inner validation images", "value": f"{run.score:.4f}"},
            {"what": "minutes of training in all", "value": f"{run.minutes:.1f} ({run.steps} of {run.planned} steps)"},
        ],
        command=f"python benchmarks/lungs_shenzhen.py DATA --minutes {given.minutes:g}",
        notes=[
            *found.conventions,
            *(run.folder / "recipe.yaml").read_text().splitlines()[1:],
        ],
    )


def told(found: Evaluation, name: str) -> str:
    return f"{found.intervals[name].value:.4f} (95 %: {found.intervals[name].bounds})"


if __name__ == "__main__":
    main()
