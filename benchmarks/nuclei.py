"""Cell nuclei of the 2018 Data Science Bowl, each with its own mask: 120 images to fit, 30 to score once.

    python benchmarks/nuclei.py DATA [--minutes 55] [--out runs/nuclei]

DATA is nuclei-dsb2018. The 150 images are put in the order of their names' hashes; the first 120 are train, of which a tenth
chooses the weights, and the last 30 are scored once. Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from record import record

import maskwright
from maskwright.data.dataset import Dataset

FITTED = 120
SHOWN = (
    "mask AP", "mask AP50", "mask AP75", "mask AR", "box AP", "F1 at IoU 0.5", "F1 at IoU 0.75",
    "score of the 2018 Data Science Bowl", "true objects", "found objects", "missed", "extra", "split", "merged",
)  # fmt: skip


def with_splits(data: Dataset) -> Dataset:
    names = sorted((p.name for p in data.pairs), key=lambda n: hashlib.sha256(n.encode()).hexdigest())
    return data.with_splits({name: "train" if k < FITTED else "val" for k, name in enumerate(names)})


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--minutes", type=float, default=55.0)
    arguments.add_argument("--out", type=Path, default=Path("runs/nuclei"))
    arguments.add_argument("--weights", help="to start from, as pip:efficientnet_lite0; default: random weights")
    given = arguments.parse_args()
    data = with_splits(maskwright.open_dataset(given.data, objects=True))
    run_folder = given.out / "run"
    if (run_folder / "state" / "last.safetensors").is_file():
        run = maskwright.train(data, out=run_folder, resume=True)
    else:
        run = maskwright.train(data, out=run_folder, minutes=given.minutes, holdout=0.1, weights=given.weights)
    found = maskwright.evaluate(run.folder, data, split="val", out=given.out / "evaluation", overwrite=True)
    assert isinstance(found, maskwright.ObjectEvaluation)
    rows = [{"score": name, "value": value, "95 % interval": bounds} for name, value, bounds in found.rows() if name in SHOWN]
    record(
        "nuclei",
        rows,
        command=f"python benchmarks/nuclei.py DATA --minutes {given.minutes:g}"
        + (f" --weights {given.weights}" if given.weights else ""),
        notes=[
            "120 images fitted to (a tenth of them chose the weights), 30 scored once",
            f"starting from {given.weights or 'random weights'}; {run.steps} steps in {run.minutes:.1f} minutes",
            *found.conventions,
        ],
    )


if __name__ == "__main__":
    main()
