"""Every score that can be read off a confusion matrix, with the conventions to be printed beside it.

Source: Long, Shelhamer, Darrell 2015, arXiv:1411.4038, section 5 (pixel accuracy, mean accuracy, mean IoU, frequency-weighted
IoU); Dice per class is 2 * shared / (truth + found).
Differs: a class in neither truth nor prediction is left out of the means and named, not scored 0, 1 or nan; a class that is
only predicted scores 0. Means are given with and without the background.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap

SCALARS = (
    "pixel_accuracy",
    "mean_pixel_accuracy",
    "mean_pixel_accuracy_no_background",
    "mean_iou",
    "mean_iou_no_background",
    "fw_iou",
    "mean_dice",
    "mean_dice_no_background",
)


@dataclass(frozen=True, eq=False)
class SemanticScores:
    """What one confusion matrix says. Scores are in [0, 1]; nan where nothing was there to be scored.

    Shapes:
        matrix: (K, K+1) int64; rows are the truth, the last column takes predictions that are void or unknown ids
        accuracy, iou, dice: (K,) float64, in channel order; accuracy is nan for a class that is absent from the truth,
            iou and dice for a class that is absent from truth and prediction

    The `_no_background` means leave out the background class; without one in the class map they equal the plain means.
    """

    classes: ClassMap
    matrix: NDArray[np.int64]
    ignored_px: int
    pixel_accuracy: float
    mean_pixel_accuracy: float
    mean_pixel_accuracy_no_background: float
    mean_iou: float
    mean_iou_no_background: float
    fw_iou: float
    mean_dice: float
    mean_dice_no_background: float
    accuracy: NDArray[np.float64]
    iou: NDArray[np.float64]
    dice: NDArray[np.float64]

    @classmethod
    def of(cls, matrix: NDArray[np.int64], classes: ClassMap, ignored_px: int = 0) -> SemanticScores:
        """Compute all scores of a (K, K+1) matrix, which is copied."""
        scores = rates(tally_of(matrix), classes)
        scalars: dict[str, Any] = {name: float(scores[name]) for name in SCALARS}
        accuracy, iou, dice = scores["accuracy"], scores["iou"], scores["dice"]
        return cls(classes, matrix.copy(), ignored_px, accuracy=accuracy, iou=iou, dice=dice, **scalars)

    @property
    def counted_px(self) -> int:
        return int(self.matrix.sum())

    @property
    def void_px(self) -> int:
        """Counted pixels whose prediction is void or an unknown id."""
        return int(self.matrix[:, -1].sum())

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the classes that are in neither truth nor prediction."""
        return tuple(n for n, v in zip(self.classes.names, self.iou, strict=True) if np.isnan(v))

    @property
    def only_predicted(self) -> tuple[str, ...]:
        """Names of the classes that are predicted but not in the truth."""
        found = np.isnan(self.accuracy) & ~np.isnan(self.iou)
        return tuple(n for n, only in zip(self.classes.names, found, strict=True) if only)

    @property
    def conventions(self) -> tuple[str, ...]:
        """How the numbers were counted, one sentence each, to be printed with them."""
        return tuple(_conventions(self))

    def to_dict(self) -> dict[str, float]:
        """The scalar scores by name, in the order in which they are printed."""
        return {name: float(getattr(self, name)) for name in SCALARS}


def tally_of(matrix: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sums that all scores need: a data set of n images is resampled from (n, 3, K) numbers instead of (n, K, K+1).

    Shapes:
        matrix: (..., K, K+1)
        returns: (..., 3, K): pixels hit (truth and prediction agree), pixels of the truth, pixels predicted
    """
    square = matrix[..., :-1]
    return np.stack([np.diagonal(square, axis1=-2, axis2=-1), matrix.sum(-1), square.sum(-2)], axis=-2)


def rates(tally: NDArray[Any], classes: ClassMap) -> dict[str, NDArray[np.float64]]:
    """All scores of one or of many tallies at once, by the names of SemanticScores' fields.

    Shapes:
        tally: (..., 3, K), see tally_of
        returns: (...) for means, (..., K) for accuracy, iou and dice; nan where a score is not defined
    """
    hit, truth, found = np.moveaxis(np.asarray(tally, np.float64), -2, 0)  # exact up to 2^53 pixels
    front = foreground(classes)
    accuracy, iou, dice = _ratio(hit, truth), _ratio(hit, truth + found - hit), _ratio(2 * hit, truth + found)
    share = _ratio(truth, truth.sum(-1, keepdims=True))
    return {
        "pixel_accuracy": _ratio(hit.sum(-1), truth.sum(-1)),
        "mean_pixel_accuracy": _mean(accuracy),
        "mean_pixel_accuracy_no_background": _mean(accuracy[..., front]),
        "mean_iou": _mean(iou),
        "mean_iou_no_background": _mean(iou[..., front]),
        "fw_iou": np.where(truth.sum(-1) > 0, np.nansum(share * iou, axis=-1), np.nan),
        "mean_dice": _mean(dice),
        "mean_dice_no_background": _mean(dice[..., front]),
        "accuracy": accuracy,
        "iou": iou,
        "dice": dice,
    }


def foreground(classes: ClassMap) -> NDArray[np.bool_]:
    """(K,) which classes are not the background; all, where none is."""
    return np.asarray([i != classes.background for i in classes.ids])


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """part / whole; nan where whole is 0."""
    ratio = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the classes that have a score; nan without one."""
    there = ~np.isnan(scores)
    return _ratio(np.where(there, scores, 0.0).sum(-1), there.sum(-1, dtype=np.float64))


def _conventions(scores: SemanticScores) -> Iterator[str]:
    classes, ignored, void = scores.classes, scores.ignored_px, scores.void_px
    yield "One confusion matrix in exact integers over all pixels of all images, at the size of the truth."
    counted = scores.counted_px
    yield f"Ignored pixels (label {classes.ignore_id} in the truth) count nowhere: {ignored:,} ignored, {counted:,} counted."
    yield f"A prediction that is void or no known id counts as wrong: {void:,} pixels."
    if scores.absent:
        yield f"In neither truth nor prediction, so left out of the means: {', '.join(scores.absent)}."
    if scores.only_predicted:
        names = ", ".join(scores.only_predicted)
        yield f"Predicted but not in the truth, so IoU and Dice 0 and left out of the mean pixel accuracy: {names}."
    if classes.background is None:
        yield "No class is the background: means with and without background are the same."
    else:
        yield f"Means without background leave out the class {classes.name_of(classes.background)!r}."
