"""How many objects were found at an IoU threshold: precision, recall, F1, counts, and the conventions to be printed beside them.

Source: split and merged objects as in Caicedo et al. 2019, "Evaluation of deep learning strategies for nucleus segmentation in
fluorescence images", Cytometry A 95: any overlap above IoU 0.1 links a true and a found object; a true object with several links
is split, a found one with several is merged. The score of the 2018 Data Science Bowl is the mean over IoU 0.50, 0.55 to 0.95 of
matched / (matched + missed + extra), averaged over images.
Differs: objects may overlap, so a found object that doubles another one counts as a split too. An IoU that equals a threshold
reaches it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LINK_IOU = 0.1
MATCHED, MISSED, EXTRA_FOUND, IOU_SUM = range(4)  # rows of a tally


@dataclass(frozen=True, eq=False)
class MatchScores:
    """How many objects were found, at each of T IoU thresholds. Rates are in [0, 1]; nan where nothing was there to be counted.

    Attributes:
        names: of the K classes, or "any class" alone where classes did not matter
        min_score: found objects below it count nowhere; there were `below` of them
        crowds: true crowds, which count nowhere
        dsb: the score of the 2018 Data Science Bowl; nan where no image holds an object

    Shapes:
        tally: (T, 4, K) float64: matched, missed, extra objects, and the sum of the IoUs of the matched pairs; matched and missed
            by the true class, extra by the found one
        split, merged: (K,) int64, true objects by their class, found ones by theirs
    """

    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    min_score: float
    class_aware: bool
    images: int
    crowds: int
    below: int
    tally: NDArray[np.float64]
    split: NDArray[np.int64]
    merged: NDArray[np.int64]
    dsb: float

    @property
    def matched(self) -> NDArray[np.int64]:
        """(T, K)"""
        return self.tally[:, MATCHED].astype(np.int64)

    @property
    def missed(self) -> NDArray[np.int64]:
        """(T, K) true objects that nothing matches."""
        return self.tally[:, MISSED].astype(np.int64)

    @property
    def extra(self) -> NDArray[np.int64]:
        """(T, K) found objects that match nothing."""
        return self.tally[:, EXTRA_FOUND].astype(np.int64)

    @property
    def rates(self) -> dict[str, NDArray[np.float64]]:
        """(T,) each, over all objects of all classes: precision, recall, f1, mean_iou (of the matched pairs)."""
        return {name: values[..., 0] for name, values in match_rates(self.tally.sum(-1, keepdims=True)).items()}

    @property
    def per_class(self) -> dict[str, NDArray[np.float64]]:
        """(T, K) each; see rates."""
        return match_rates(self.tally)

    def to_dict(self) -> dict[str, float]:
        """The numbers over all classes by name, as f1_50 and missed_75."""
        named: dict[str, float] = {}
        rates, counts = self.rates, {"matched": self.matched, "missed": self.missed, "extra": self.extra}
        for t, threshold in enumerate(self.thresholds):
            named |= {f"{name}_{percent(threshold)}": float(values[t]) for name, values in rates.items()}
            named |= {f"{name}_{percent(threshold)}": float(values[t].sum()) for name, values in counts.items()}
        return named | {"split": float(self.split.sum()), "merged": float(self.merged.sum()), "dsb": self.dsb}

    @property
    def conventions(self) -> tuple[str, ...]:
        """How the numbers were counted, one sentence each, to be printed with them."""
        return tuple(_conventions(self))


def match_rates(tally: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Rates of one or of many tallies at once.

    Shapes:
        tally: (..., 4, K), see MatchScores
        returns: precision, recall, f1, mean_iou (..., K); nan where a rate is not defined
    """
    matched, missed, extra, iou_sum = np.moveaxis(tally, -2, 0)
    parts = {
        "precision": (matched, matched + extra),
        "recall": (matched, matched + missed),
        "f1": (2 * matched, 2 * matched + missed + extra),
        "mean_iou": (iou_sum, matched),
    }
    return {name: ratio(part, whole) for name, (part, whole) in parts.items()}


def ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """part / whole; nan where whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0), np.float64)


def percent(threshold: float) -> str:
    """0.5 as "50", 0.625 as "62.5": thresholds in the names of scores."""
    return f"{100 * threshold:g}"


def _conventions(scores: MatchScores) -> Iterator[str]:
    at = " and ".join(f"{t:g}" for t in scores.thresholds)
    rule = "one class" if scores.class_aware else "any class"
    yield (
        f"Matched one to one are objects of {rule} whose masks reach IoU {at}, the best score first (without scores the highest "
        f"IoU first), over {scores.images} images; precision, recall and F1 are of the sums over all objects."
    )
    yield f"Found objects with a score below {scores.min_score:g} count nowhere: {scores.below} objects."
    yield f"Crowds count nowhere, nor what is found on them: {scores.crowds} crowds."
    yield (
        f"Split: true objects that several found ones overlap by IoU above {LINK_IOU}; merged: found objects that overlap "
        f"several true ones so (Caicedo et al. 2019)."
    )
    yield (
        "DSB 2018: per image the mean over IoU 0.50, 0.55 to 0.95 of matched / (matched + missed + extra), then the mean over "
        "the images with an object in truth or prediction."
    )
