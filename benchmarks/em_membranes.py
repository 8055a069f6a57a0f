"""ISBI 2012 electron microscopy, cell against membrane: 5-fold cross-validation, pixel error and IoU of both classes.

    python benchmarks/em_membranes.py DATA [--steps 150] [--folds 5]

DATA is the folder em-membranes (image, label). Folds are every fifth image of the sorted list. In each fold a fifth of the
fitting images chooses the weights, and the fold's own images are scored once, at full size; the five confusion matrices add
up to one over all images.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from record import record

import maskwright
from maskwright.data.dataset import Dataset
from maskwright.metrics import SemanticScores


def fold_of(data: Dataset, fold: int, folds: int) -> Dataset:
    names = sorted((p.name for p in data.pairs), key=lambda n: (len(n), n))
    return data.with_splits({name: "test" if k % folds == fold else "train" for k, name in enumerate(names)})


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--steps", type=int, default=150, help="a fold; a number, so that a busy machine changes nothing")
    arguments.add_argument("--folds", type=int, default=5)
    given = arguments.parse_args()
    data = maskwright.open_dataset(given.data)
    matrices, errors, rows = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for fold in range(given.folds):
            split = fold_of(data, fold, given.folds)
            run = maskwright.train(split, settings={"steps": given.steps}, out=Path(folder) / f"fold-{fold}", seed=fold)
            found = maskwright.evaluate(run.folder, split, split="test")
            matrices.append(found.scores.matrix)
            errors.append(1 - found.scores.pixel_accuracy)
            rows.append(row(f"fold {fold} ({len(found.per_image)} images)", found.scores))
            recipe = (run.folder / "recipe.yaml").read_text().splitlines()[1:]
    record(
        "em_membranes",
        [*rows, row(f"all {len(data.pairs)} images", SemanticScores.of(np.sum(matrices, axis=0), data.classes, 0))],
        command=f"python benchmarks/em_membranes.py DATA --steps {given.steps} --folds {given.folds}",
        notes=[
            "background is the membrane (stored as 0), foreground the cell (stored as 255)",
            f"pixel error over the folds: mean {np.mean(errors):.4f}, standard deviation {np.std(errors, ddof=1):.4f}",
            *recipe,
        ],
    )


def row(name: str, scores: SemanticScores) -> dict[str, str]:
    ious = dict(zip(scores.classes.names, scores.iou, strict=True))
    return {"images": name, "pixel error": f"{1 - scores.pixel_accuracy:.4f}"} | {f"IoU {k}": f"{v:.4f}" for k, v in ious.items()}


if __name__ == "__main__":
    main()
