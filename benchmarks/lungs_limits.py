"""Lung fields in real chest X-rays, below a Dice of 0.97: how much depends on the network, the number of images, the masks.

    python benchmarks/lungs_limits.py DATA [--runs runs/lungs-limits]

DATA is the folder lungs-shenzhen. 15 % of train are held out; on the rest networks are trained that differ in the seed, in
half of the images, or in the size of the input (the last two for 600 steps instead of 900; validation is level after 400).
Two of them are compared with the masks and with each other, and the answer is helped by what only the masks know: the best
threshold, or the best shift of the outline, of each image. Nothing is chosen by it; the data's val is looked at in the same
way. Trained networks in --runs are taken as they are.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from record import record
from scipy.ndimage import distance_transform_edt

import maskwright

Mask = NDArray[np.bool_]
INNER = 0.15
THRESHOLDS = np.linspace(0.1, 0.9, 17)
SHIFTS_PX = range(-8, 9)
FAR_PX, MUCH = 12, 0.03  # farther from the predicted outline than a hand trembles, and more of a mask than its noise
MISSED = "missed far away"


class Trained(NamedTuple):
    what: str
    share: float = 1.0
    steps: int = 900
    settings: Mapping[str, Any] = MappingProxyType({})


NETS = {
    "a": Trained("256 px, seed 0"),
    "b": Trained("256 px, seed 1", settings={"seed": 1}),
    "half": Trained("256 px, half of the images", share=0.5, steps=600),
    "p384": Trained("384 px", steps=600, settings={"max_side_px": 384, "patch_hw": [384, 384]}),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--runs", type=Path, default=Path("runs/lungs-limits"))
    given = arguments.parse_args()
    for name, net in NETS.items():
        if not (given.runs / name / "model.safetensors").is_file():
            settings = {"steps": net.steps, "seed": 0, "precision": "bf16", **net.settings}
            maskwright.train(split(given.data, net.share), out=given.runs / name, settings=settings)
    nets = {name: maskwright.load(given.runs / name) for name in NETS}
    rows, said = [], []
    for part, dataset in (("held out", split(given.data, 1.0)), ("val", maskwright.open_dataset(given.data))):
        found = list(measured(dataset, nets))
        for what in found[0]:
            values = np.array([one[what] for one in found])
            if what == MISSED:
                far = f"more than {MUCH:.0%} of their area {FAR_PX} px or more outside of what the network draws"
                said.append(f"{part}: {(values > MUCH).sum()} of {len(found)} masks hold {far}")
            else:
                rows.append({"images": f"{part} ({len(found)})", "what": what, **summary(values)})
    record("lungs_limits", rows, "python benchmarks/lungs_limits.py DATA", ["Dice of the lungs an image, at 512 px", *said])


def split(data: Path, share: float) -> maskwright.Dataset:
    """The first 15 % of train by the hash of the name as val, and of the rest a share as train; the data's val is in neither."""
    dataset = maskwright.open_dataset(data)
    names = sorted((pair.name for pair in dataset.split("train")), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    inner = round(INNER * len(names))
    fitted = names[inner : inner + round(share * (len(names) - inner))]
    part = {**dict.fromkeys(names[:inner], "val"), **dict.fromkeys(fitted, "train")}
    return dataset.with_splits({pair.name: part.get(pair.name, "test") for pair in dataset.pairs})


def measured(dataset: maskwright.Dataset, nets: dict[str, maskwright.Predictor]) -> Iterator[dict[str, float]]:
    """Of each image of val: the Dice of everything that is compared."""
    for pair in dataset.split("val"):
        sample = dataset.read(pair)
        truth = sample.labels > 0
        probs = {name: net(sample.image, probabilities=True).probs[1].astype(np.float32) for name, net in nets.items()}
        masks = {name: p > 0.5 for name, p in probs.items()}
        both, a = (probs["a"] + probs["b"]) / 2, masks["a"]
        inside = distance_transform_edt(a) - distance_transform_edt(~a)
        yield {
            **{NETS[name].what: dice(mask, truth) for name, mask in masks.items()},
            "the mean of both seeds": dice(both > 0.5, truth),
            "and the best threshold of each image": max(dice(both > t, truth) for t in THRESHOLDS),
            "seed 0, its outline moved to the best for each image": max(dice(inside > px, truth) for px in SHIFTS_PX),
            "seed 0 against seed 1": dice(a, masks["b"]),
            MISSED: float((truth & (inside < -FAR_PX)).sum() / truth.sum()),
        }


def summary(values: NDArray[np.float64]) -> dict[str, str]:
    worst = np.sort(values)[: -(-len(values) // 20)]
    found = {"mean Dice": values.mean(), "median": np.median(values), "worst twentieth": worst.mean()}
    return {what: f"{value:.4f}" for what, value in found.items()}


def dice(one: Mask, other: Mask) -> float:
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))


if __name__ == "__main__":
    main()
