"""Panoptic quality from counts of segments: by class, over all, over things and over stuff, with the conventions.

Source: Kirillov et al. 2019, arXiv:1801.00868, equations 1 and 2; means over classes as in the authors' code: SQ is 0 for a class
without a match, so the mean PQ is not the product of the mean SQ and the mean RQ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskwright.metrics.boundary import mean_known


@dataclass(frozen=True, eq=False)
class PanopticScores:
    """Panoptic quality of a data set. Scores are in [0, 1]; nan where nothing was there to be scored.

    Attributes:
        names: of the K classes but the background

    Shapes:
        things: (K,) bool, whose objects are told apart
        tally: (4, K) float64: matched, missed, extra segments, and the sum of the IoUs of the matched
    """

    names: tuple[str, ...]
    things: NDArray[np.bool_]
    images: int
    tally: NDArray[np.float64]

    @property
    def pq(self) -> NDArray[np.float64]:
        """(K,) by class; nan for a class without segments in truth and prediction. The means stand in to_dict."""
        return panoptic_rates(self.tally, self.things)["pq_per_class"]

    @property
    def sq(self) -> NDArray[np.float64]:
        """(K,) mean IoU of the matched segments; 0 where none is matched."""
        return panoptic_rates(self.tally, self.things)["sq_per_class"]

    @property
    def rq(self) -> NDArray[np.float64]:
        """(K,) F1 of the segments."""
        return panoptic_rates(self.tally, self.things)["rq_per_class"]

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the classes without a segment in truth and prediction."""
        return tuple(name for name, score in zip(self.names, self.pq, strict=True) if np.isnan(score))

    def to_dict(self) -> dict[str, float]:
        """Means over the classes: pq, sq, rq over all, then with _things and _stuff."""
        rates = panoptic_rates(self.tally, self.things)
        return {name: float(value) for name, value in rates.items() if not name.endswith("_per_class")}

    @property
    def conventions(self) -> tuple[str, ...]:
        """How the numbers were counted, one sentence each, to be printed with them."""
        return tuple(_conventions(self))


def panoptic_rates(tally: NDArray[np.float64], things: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """All scores of one or of many tallies at once.

    Shapes:
        tally: (..., 4, K), see PanopticScores
        returns: pq, sq, rq and the same with _things and _stuff (...); pq_per_class, sq_per_class, rq_per_class (..., K)
    """
    matched, missed, extra, iou_sum = np.moveaxis(tally, -2, 0)
    whole = matched + missed / 2 + extra / 2
    there = whole > 0
    sq = np.divide(iou_sum, matched, out=np.zeros(matched.shape), where=matched > 0)
    parts = {
        "pq": np.divide(iou_sum, whole, out=np.full(whole.shape, np.nan), where=there),
        "sq": np.where(there, sq, np.nan),
        "rq": np.divide(matched, whole, out=np.full(whole.shape, np.nan), where=there),
    }
    rates: dict[str, NDArray[np.float64]] = {}
    for end, of in (("", np.ones(len(things), bool)), ("_things", things), ("_stuff", ~things)):
        rates |= {f"{name}{end}": mean_known(values[..., of], -1) for name, values in parts.items()}
    return rates | {f"{name}_per_class": values for name, values in parts.items()}


def _conventions(scores: PanopticScores) -> Iterator[str]:
    present = len(scores.names) - len(scores.absent)
    yield (
        f"Panoptic quality: segments of one class match above IoU 0.5; PQ, SQ and RQ by class over all {scores.images} images, "
        f"then their means over the {present} classes with a segment in truth or prediction."
    )
    yield "The mean PQ is not the product of the mean SQ and the mean RQ; the SQ of a class without a match is 0."
    yield (
        "Void pixels of the truth are taken out before the IoU; an unmatched found segment counts nowhere where more than half "
        "of it lies on void or on crowds of its class."
    )
    stuff = [name for name, thing in zip(scores.names, scores.things, strict=True) if not thing]
    yield f"Stuff, one segment an image: {', '.join(stuff)}." if stuff else "All classes are things, none is stuff."
    if scores.absent:
        yield f"Without a segment in truth and prediction, so left out of the means: {', '.join(scores.absent)}."
