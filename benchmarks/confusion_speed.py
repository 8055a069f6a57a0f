"""How long a confusion matrix of 4 x 1024 x 2048 pixels and 19 classes takes, beside numpy, torchmetrics and SMP.

    python benchmarks/confusion_speed.py [--repeats 40] [--threads 1]

All take turns in one process, so that other load on the machine falls on all alike; the ratio is taken within each turn.
Before the clock starts every matrix is compared with scikit-learn's, number by number.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from record import Cell, record
from sklearn.metrics import confusion_matrix

from maskwright.classes import ClassMap
from maskwright.metrics import count_pairs

SHAPE, CLASSES, IGNORED = (4, 1024, 2048), 19, 255
# The ids that Cityscapes files store for its 19 classes.
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
MAP = ClassMap(IDS, tuple(f"class {i}" for i in IDS), background=None)
PLAIN = "numpy.bincount alone: int64 numbers 0..18, nothing ignored"
SLOW_EVERY = 5  # torchmetrics takes so long that it has a turn in five only


@dataclass(frozen=True)
class Labels:
    """One pair of label maps in the forms that the contenders take: stored ids (uint8), numbers 0..18 with 255 (int64), and
    the truth before a part of it was ignored."""

    truth: NDArray[np.uint8]
    found: NDArray[np.uint8]
    truth_numbers: NDArray[np.int64]
    found_numbers: NDArray[np.int64]
    truth_whole: NDArray[np.int64]


def labels(kind: str) -> Labels:
    """Labels of 19 classes, 10 % of the truth ignored: "noise" (each pixel drawn singly) or "areas" (64 px, 10 % wrong)."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, CLASSES, SHAPE)
    truth = noise if kind == "noise" else rng.integers(0, CLASSES, (4, 16, 32)).repeat(64, 1).repeat(64, 2)
    other = rng.integers(0, CLASSES, SHAPE)
    found = other if kind == "noise" else np.where(rng.random(SHAPE) < 0.1, other, truth)
    whole, truth = truth, truth.copy()
    truth[:, : SHAPE[1] // 10] = IGNORED
    table = np.full(256, IGNORED, np.uint8)
    table[:CLASSES] = IDS
    return Labels(table[truth], table[found], truth, found, whole)


def plain(given: Labels) -> NDArray[Any]:
    counts = np.bincount((given.truth_whole * CLASSES + given.found_numbers).ravel(), minlength=CLASSES**2)
    return counts.reshape(CLASSES, CLASSES)


def by_hand(given: Labels) -> NDArray[Any]:
    table = np.full(256, CLASSES, np.int64)
    table[list(IDS)] = np.arange(CLASSES)
    truth, found = table[given.truth].ravel(), table[given.found].ravel()
    kept = truth < CLASSES
    counts = np.bincount(truth[kept] * (CLASSES + 1) + found[kept], minlength=CLASSES * (CLASSES + 1))
    return counts.reshape(CLASSES, CLASSES + 1)[:, :CLASSES]


def ours(given: Labels) -> NDArray[Any]:
    return count_pairs(given.truth, given.found, MAP)[0][:, :CLASSES]


def ours_int64(given: Labels) -> NDArray[Any]:
    numbers = ClassMap(tuple(range(CLASSES)), MAP.names, background=None)
    return count_pairs(given.truth_numbers, given.found_numbers, numbers)[0][:, :CLASSES]


def of_torchmetrics(given: Labels) -> NDArray[Any]:
    from torchmetrics.classification import MulticlassConfusionMatrix

    metric = MulticlassConfusionMatrix(CLASSES, ignore_index=IGNORED)
    metric.update(torch.from_numpy(given.found_numbers), torch.from_numpy(given.truth_numbers))
    return metric.compute().numpy()


def of_smp(given: Labels) -> NDArray[Any]:
    """segmentation-models-pytorch counts true and false per class and image; the hits are the matrix's diagonal."""
    from segmentation_models_pytorch.metrics import get_stats

    hit, *_ = get_stats(
        torch.from_numpy(given.found_numbers),
        torch.from_numpy(given.truth_numbers),
        mode="multiclass",
        ignore_index=IGNORED,
        num_classes=CLASSES,
    )
    return np.diag(hit.sum(0).numpy())


def contenders() -> dict[str, Callable[[Labels], NDArray[Any]]]:
    found: dict[str, Callable[[Labels], NDArray[Any]]] = {
        PLAIN: plain,
        "maskwright, uint8 ids as stored: remapped, 10 % ignored": ours,
        "maskwright, int64 numbers, 10 % ignored": ours_int64,
        "numpy by hand, uint8 ids as stored: remapped, 10 % ignored": by_hand,
    }
    if find_spec("segmentation_models_pytorch"):
        found["segmentation-models-pytorch get_stats, int64, 10 % ignored"] = of_smp
    if find_spec("torchmetrics"):
        found["torchmetrics MulticlassConfusionMatrix, int64, 10 % ignored"] = of_torchmetrics
    return found


def check(given: Labels) -> None:
    """Stop unless every contender counts what scikit-learn counts."""
    kept = given.truth_numbers != IGNORED
    expected = confusion_matrix(given.truth_numbers[kept], given.found_numbers[kept], labels=range(CLASSES))
    for name, count in contenders().items():
        found = count(given)
        same = np.diag(found) == np.diag(expected) if count is of_smp else found == expected
        if count is not plain and not same.all():
            raise SystemExit(f"{name} differs from scikit-learn: no times are worth taking")


def measure(given: Labels, repeats: int) -> list[dict[str, Cell]]:
    seconds: dict[str, list[float]] = {name: [] for name in contenders()}
    ratios: dict[str, list[float]] = {name: [] for name in contenders()}
    for turn in range(repeats):
        base = float("nan")
        for name, count in contenders().items():
            if count is of_torchmetrics and turn % SLOW_EVERY:
                continue
            start = time.perf_counter()
            count(given)
            taken = time.perf_counter() - start
            base = taken if count is plain else base
            seconds[name].append(taken)
            ratios[name].append(taken / base)
    return [
        {
            "what": name,
            "median ms": 1000 * float(np.median(seconds[name])),
            "best ms": 1000 * min(seconds[name]),
            "times numpy.bincount alone": float(np.median(ratios[name])),
            "turns": len(seconds[name]),
        }
        for name in seconds
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows: list[dict[str, Cell]] = []
    for kind in ("noise", "areas"):
        drawn = labels(kind)
        check(drawn)
        rows += [{"labels": kind, **row} for row in measure(drawn, given.repeats)]
    record(
        "confusion_speed",
        rows,
        f"python benchmarks/confusion_speed.py --repeats {given.repeats} --threads {given.threads}",
        [
            f"{' x '.join(map(str, SHAPE))} pixels, {CLASSES} classes; all contenders take turns in one process with "
            f"{given.threads} torch thread(s); the ratio is the median of the ratios within each turn.",
            "noise: every pixel drawn singly; areas: squares of 64 px, 10 % of the pixels predicted otherwise.",
            "All matrices were equal to scikit-learn's before the clock started (get_stats: its hits, the diagonal).",
        ],
    )


if __name__ == "__main__":
    main()
