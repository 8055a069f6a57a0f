"""Intervals of every score: percentile bootstrap over images, or over groups (patients, scenes) where they are known.

Source: Efron 1979, Bootstrap methods; percentile intervals. A resample draws as many units as there are, with return, and
all scores are computed anew on its summed pixel counts: data-set scores such as mean IoU get their interval too.
Images of one group resemble each other, so they are drawn together; drawing them singly would give too narrow an interval.
Where all images are of one group (one drive held out) they are drawn singly, and the interval speaks for that group only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.metrics.boundary import image_means
from maskwright.metrics.per_image import image_rates, worst_mean
from maskwright.metrics.semantic import SCALARS, rates

RESAMPLES = 1000
LEVEL = 0.95
FEW_UNITS = 10
ONE_GROUP = "all are of one group, so it speaks for that group only"
CHUNK_VALUES = 1 << 22  # weights drawn at a time: 32 MiB

Weights = NDArray[np.int64]
Statistics = Callable[[Weights], Mapping[str, NDArray[np.float64]]]


@dataclass(frozen=True)
class Interval:
    """A score with the range in which it would lie on other images of the same kind.

    Attributes:
        value: the score itself; nan where it is not defined
        low, high: bounds of the interval; None where there is none, and `note` says why
        unit: what was drawn, "image" or "group"
        units: how many there were
        note: "" or a sentence without its full stop
    """

    value: float
    low: float | None
    high: float | None
    unit: str = "image"
    units: int = 0
    resamples: int = 0
    level: float = LEVEL
    note: str = ""

    def __str__(self) -> str:
        value = "-" if np.isnan(self.value) else f"{self.value:.4f}"
        return f"{value} {self.bounds}"

    @property
    def bounds(self) -> str:
        """`[0.9512, 0.9704]`, or in brackets why there are none."""
        return f"({self.note})" if self.low is None or self.high is None else f"[{self.low:.4f}, {self.high:.4f}]"

    def to_dict(self) -> dict[str, Any]:
        given = {"value": self.value, "low": self.low, "high": self.high, "level": self.level}
        return {**given, "unit": self.unit, "units": self.units, "resamples": self.resamples, "note": self.note}


def score_statistics(tallies: NDArray[np.int64], classes: ClassMap, boundary: NDArray[np.float64] | None = None) -> Statistics:
    """All scores of a data set as a function of how often each of its images is counted.

    Shapes:
        tallies: (n, 3, K) one an image, see semantic.tally_of
        boundary: (n, K) boundary F1 of each image and class, nan where a class has no outline

    Names: those of SemanticScores' scalars; iou.<class> and dice.<class>; mean_image_dice, mean_image_iou, worst_twentieth;
    with boundary also boundary_f1 and boundary_f1.<class>.
    """
    flat = tallies.reshape(len(tallies), -1).astype(np.float64)
    per_image = image_rates(tallies, classes)
    scored = ~np.isnan(per_image["mean_dice"])
    dice, iou = per_image["mean_dice"][scored], per_image["mean_iou"][scored]
    outlines = {} if boundary is None else _boundary_columns(boundary, classes)

    def compute(weights: Weights) -> dict[str, NDArray[np.float64]]:
        summed = (weights @ flat).reshape(len(weights), 3, -1)  # exact: whole numbers below 2^53
        scores = rates(summed, classes)
        named = {name: scores[name] for name in SCALARS}
        for kind in ("iou", "dice"):
            named |= {f"{kind}.{name}": scores[kind][:, k] for k, name in enumerate(classes.names)}
        times = weights[:, scored]
        images = np.where(times.sum(1) > 0, times.sum(1), np.nan)
        return named | {
            "mean_image_dice": times @ dice / images,
            "mean_image_iou": times @ iou / images,
            "worst_twentieth": worst_mean(dice, times),
            **{name: _weighted_mean(column, weights) for name, column in outlines.items()},
        }

    return compute


def _boundary_columns(boundary: NDArray[np.float64], classes: ClassMap) -> dict[str, NDArray[np.float64]]:
    """Score name -> one value an image, nan where it has none."""
    by_class = {f"boundary_f1.{name}": boundary[:, k] for k, name in enumerate(classes.names)}
    return {"boundary_f1": image_means(boundary, classes), **by_class}


def _weighted_mean(column: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
    """Mean over the images that have a value, in each resample; nan in a resample without one."""
    known = ~np.isnan(column)
    times = weights[:, known]
    count = times.sum(1)
    return np.asarray(np.divide(times @ column[known], count, out=np.full(len(weights), np.nan), where=count > 0), np.float64)


def bootstrap(
    statistics: Statistics, groups: Sequence[str | None], *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> dict[str, Interval]:
    """Percentile intervals of statistics over images, or over groups if any image names one.

    Args:
        statistics: weights (R, n), how often each image counts in each resample -> name: (R,)
        groups: one an image; images without a group stand for themselves where others have one
        resamples: 0 gives the values alone

    Raises:
        InputError: no images, a negative number of resamples, or a level outside (0, 1).
    """
    if not groups or resamples < 0 or not 0 < level < 1:
        raise InputError(
            f"an interval needs at least one image, resamples >= 0 and a level between 0 and 1; "
            f"got {len(groups)} images, resamples {resamples}, level {level}."
        )
    unit_of, units, unit = _units(groups)
    one_group = units == 1 and len(groups) > 1
    if one_group:
        unit_of, units, unit = _units([None] * len(groups))
    values = statistics(np.ones((1, len(groups)), np.int64))
    why = "" if units > 1 else f"no interval from one {unit}"
    why = why if resamples else "no interval was asked for"
    if why:
        return {name: Interval(float(v[0]), None, None, unit, units, 0, level, why) for name, v in values.items()}
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in values}
    for weights in _resamples(unit_of, units, resamples, seed):
        for name, scores in statistics(weights).items():
            drawn[name].append(scores)
    said = [ONE_GROUP] if one_group else []
    return {name: _percentiles(float(v[0]), np.concatenate(drawn[name]), unit, units, level, said) for name, v in values.items()}


def paired_difference(
    first: Statistics,
    second: Statistics,
    groups: Sequence[str | None],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Intervals of second - first on the same images: both are computed on the same resamples, so that hard images that
    are hard for both do not widen the interval. An interval without 0 is a difference at this level.

    Raises:
        InputError: see bootstrap.
    """

    def difference(weights: Weights) -> dict[str, NDArray[np.float64]]:
        before, after = first(weights), second(weights)
        return {name: after[name] - score for name, score in before.items() if name in after}

    return bootstrap(difference, groups, resamples=resamples, seed=seed, level=level)


def _units(groups: Sequence[str | None]) -> tuple[NDArray[np.intp], int, str]:
    """Number of the unit of each image, how many units there are, and what they are."""
    grouped = any(g is not None for g in groups)
    keys = [("image", str(k)) if g is None else ("group", g) for k, g in enumerate(groups)]
    number = {key: n for n, key in enumerate(dict.fromkeys(keys))}
    return np.asarray([number[key] for key in keys]), len(number), "group" if grouped else "image"


def _resamples(unit_of: NDArray[np.intp], units: int, resamples: int, seed: int) -> Iterator[Weights]:
    """How often each image stands in each resample, (R', n) at a time; the draws do not depend on the size of a chunk."""
    rng = np.random.default_rng(seed)
    chunk = max(1, CHUNK_VALUES // max(units, len(unit_of)))
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = rng.integers(units, size=(rows, units)) + units * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        yield times[:, unit_of]


def _percentiles(value: float, drawn: NDArray[np.float64], unit: str, units: int, level: float, said: Sequence[str]) -> Interval:
    defined = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not len(defined):
        return Interval(value, None, None, unit, units, len(drawn), level, "not defined here")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    notes = [*said, *([f"rough: only {units} {unit}s"] if units < FEW_UNITS else [])]
    if len(defined) < len(drawn):
        notes.append(f"not defined in {len(drawn) - len(defined)} of {len(drawn)} resamples")
    return Interval(value, float(low), float(high), unit, units, len(drawn), level, "; ".join(notes))
