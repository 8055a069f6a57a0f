"""Ships in radar images, each with its own mask: 5-fold cross-validation.

    python benchmarks/ships_sar.py DATA [--steps 250] [--folds 5]

DATA is ships-sar-hrsid. Its masks say which pixels are ship, not which ship: connected parts become objects first (the explicit
step `maskwright convert DATA NEW --to coco --components`), so ships that touch count as one in truth and answer alike. Folds are
every fifth image of the sorted list; in each a fifth of the fitting images chooses the weights, and the fold's own images are
scored once. Rows are the folds, and the mean over them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from record import record

import maskwright
from maskwright.data.dataset import Dataset

SCORES = {"mask AP50": "ap50", "mask AP": "ap", "box AP50": "box_ap50", "F1 at IoU 0.5": "f1_50", "F1 at IoU 0.75": "f1_75"}


def fold_of(data: Dataset, fold: int, folds: int) -> Dataset:
    names = sorted(p.name for p in data.pairs)
    return data.with_splits({name: "test" if k % folds == fold else "train" for k, name in enumerate(names)})


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--steps", type=int, default=250, help="a fold; a number, so that a busy machine changes nothing")
    arguments.add_argument("--folds", type=int, default=5)
    given = arguments.parse_args()
    rows: list[dict[str, str | float]] = []
    minutes = []
    with tempfile.TemporaryDirectory() as folder:
        converted = maskwright.convert(given.data, Path(folder) / "ships", to="coco", components=True, min_px=4)
        data = maskwright.open_dataset(converted.target, objects=True)
        for fold in range(given.folds):
            split = fold_of(data, fold, given.folds)
            run = maskwright.train(
                split, settings={"steps": given.steps}, out=Path(folder) / f"fold-{fold}", holdout=0.2, seed=fold
            )
            found = maskwright.evaluate(run.folder, split, split="test", resamples=0)
            assert isinstance(found, maskwright.ObjectEvaluation)
            minutes.append(run.minutes)
            scores = {title: found.intervals[name].value for title, name in SCORES.items()}
            rows.append({"fold": str(fold), "images": str(len(found.per_image)), **found.counts(), **scores})
    means = {key: float(np.mean([float(row[key]) for row in rows])) for key in rows[0] if key not in ("fold", "images")}
    rows.append({"fold": "mean", "images": "", **means})
    record(
        "ships_sar",
        rows,
        command=f"python benchmarks/ships_sar.py DATA --steps {given.steps} --folds {given.folds}",
        notes=[
            f"{converted.images} images, {converted.objects} connected parts of at least 4 pixels",
            f"random weights; {given.steps} steps a fold, {np.mean(minutes):.1f} minutes each",
        ],
    )


if __name__ == "__main__":
    main()
