"""What an artefact does to the answers and to the score, measured on labelled images against eager fp32."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maskwright import __version__
from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, Pair
from maskwright.errors import InputError
from maskwright.exporting.artefacts import Answer
from maskwright.inference.predictor import Predictor
from maskwright.metrics import Confusion, bootstrap, count_pairs, paired_difference, score_statistics, tally_of

MOST_CHANGED = 0.002  # share of pixels that may change their class
MOST_MOVED = 0.002  # of the IoU of any class
SHOWN = ("mean_iou", "pixel_accuracy", "mean_dice")


@dataclass
class PixelComparison:
    """Counts over the images: how the artefact's classes meet those of eager fp32, and how both meet the truth.

    Attributes:
        between: rows are eager fp32's classes, columns the artefact's
        before, after: one (3, K) tally an image of eager fp32 and of the artefact, see metrics.tally_of
        before_s, after_s: seconds an image, from its pixels to its class ids
    """

    classes: ClassMap
    between: Confusion = field(init=False)
    before: list[NDArray[np.int64]] = field(default_factory=list)
    after: list[NDArray[np.int64]] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    before_s: list[float] = field(default_factory=list)
    after_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.between = Confusion(self.classes)

    def shortfalls(self, precision: str, tolerance_points: float) -> list[str]:
        """What is not as the tolerance wants it, one clause each."""
        rows = self.per_class()
        lost = self._mean_iou(self.before) - self._mean_iou(self.after)
        if precision == "int8":
            return (
                [f"mean IoU fell by {100 * lost:.2f} points ({tolerance_points} allowed)"]
                if 100 * lost > tolerance_points
                else []
            )
        changed = 1 - self.between.compute().pixel_accuracy
        found = [f"{changed:.3%} of the pixels changed class ({MOST_CHANGED:.1%} allowed)"] if changed > MOST_CHANGED else []
        for name, row in rows.items():
            moved = abs(np.nan_to_num(row["iou_after"]) - np.nan_to_num(row["iou_before"]))
            if moved > MOST_MOVED:
                found.append(f"the IoU of {name} moved by {100 * moved:.2f} points ({100 * MOST_MOVED:.1f} allowed)")
        return found

    def per_class(self) -> dict[str, dict[str, float]]:
        agreement, (before, after) = self.between.compute().accuracy, self._ious()
        return {
            name: {"pixels_kept": float(agreement[k]), "iou_before": float(before[k]), "iou_after": float(after[k])}
            for k, name in enumerate(self.classes.names)
        }

    def to_dict(self, resamples: int, seed: int) -> dict[str, Any]:
        first, second = (score_statistics(np.stack(tallies), self.classes) for tallies in (self.before, self.after))
        sides = {
            "before": bootstrap(first, self.groups, resamples=resamples, seed=seed),
            "after": bootstrap(second, self.groups, resamples=resamples, seed=seed),
            "difference": paired_difference(first, second, self.groups, resamples=resamples, seed=seed),
        }
        return {
            "agreement": {"pixels": self.between.compute().pixel_accuracy, "classes": self.per_class()},
            "scores": {name: {side: found[name].to_dict() for side, found in sides.items()} for name in SHOWN},
        }

    def _ious(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        first, second = (
            score_statistics(np.sum(tallies, axis=0)[None], self.classes)(np.ones((1, 1), np.int64))
            for tallies in (self.before, self.after)
        )
        names = [f"iou.{name}" for name in self.classes.names]
        return np.array([first[n][0] for n in names]), np.array([second[n][0] for n in names])

    def _mean_iou(self, tallies: Sequence[NDArray[np.int64]]) -> float:
        total = np.sum(tallies, axis=0)[None]
        return float(score_statistics(total, self.classes)(np.ones((1, 1), np.int64))["mean_iou"][0])


def compare_pixels(
    exact: Predictor,
    answer: Answer,
    dataset: Dataset,
    pairs: Sequence[Pair],
    progress: Callable[[int, int], None] | None = None,
) -> PixelComparison:
    """Both answers to each image, counted.

    Raises:
        InputError: the artefact answers in another size than the image's.
    """
    found, warm = PixelComparison(dataset.classes), set()
    for done, pair in enumerate(pairs, start=1):
        sample = dataset.read(pair)
        if sample.image.pixels.shape not in warm:
            answer(sample.image.pixels[None])  # runtimes prepare themselves for each new size, once
            warm.add(sample.image.pixels.shape)
        start = time.perf_counter()
        before = exact(sample.image).labels
        between = time.perf_counter()
        after = answer(sample.image.pixels[None])[0][0]
        end = time.perf_counter()
        if after.shape != before.shape or sample.labels is None:
            raise InputError(f"{pair.name}: the artefact answers {after.shape} to an image of {before.shape}.")
        found.between.update(before, after)
        for labels, tallies in ((before, found.before), (after, found.after)):
            tallies.append(tally_of(count_pairs(sample.labels, labels, dataset.classes)[0]))
        found.groups.append(pair.group)
        found.before_s.append(between - start)
        found.after_s.append(end - between)
        if progress:
            progress(done, len(pairs))
    return found


def speed(before_s: Sequence[float], after_s: Sequence[float]) -> dict[str, float]:
    return {"eager_fp32_ms": 1000 * median(before_s), "artefact_ms": 1000 * median(after_s)}


def machine(packages: Mapping[str, str]) -> dict[str, Any]:
    """What the numbers were measured on."""
    used = ("torch", "numpy", *packages)
    return {
        "hardware": {"processor": _processor(), "system": platform.platform(), "threads": torch.get_num_threads()},
        "versions": {"maskwright": __version__, "python": platform.python_version(), **{p: _version(p) for p in used}},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
