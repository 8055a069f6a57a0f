"""COCO's average precision and recall of objects: the twelve numbers, by class and size, with their conventions.

Source: Lin et al. 2014, arXiv:1405.0312, and the COCO API: ten IoU thresholds 0.50 to 0.95, 101 recalls, three sizes.
Differs: a class without true objects is nan and named, where the COCO API says -1. With other limits than 1, 10 and 100 objects
an image, AP is taken at the highest limit, where the COCO API answers -1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.metrics.boundary import mean_known
from maskwright.metrics.objects import MASK
from maskwright.metrics.ranked import IOUS, SIZES_PX

SIZES = tuple(SIZES_PX)  # all, small, medium, large
IOU_50, IOU_75 = 0, 5  # places in IOUS


@dataclass(frozen=True, eq=False)
class CocoScores:
    """What COCO's evaluation says of masks or of boxes. Scores are in [0, 1]; nan where nothing was there to be scored.

    Attributes:
        kind: "mask" or "box"
        names: of the K classes but the background, in the class map's order
        max_dets: how many objects of a class count in an image, rising; AP is at the last, AR at each
        images, crowds: how many there were
        beyond: found objects that did not count because their image had max_dets[-1] better ones of their class

    Shapes:
        precision: (10, 101, K, 4) at each IoU, recall, class and size (all, small, medium, large); nan for a class without truth
        recall: (10, K, 4, M) in the end, at each IoU, class, size and limit
        truths, found: (K,) int64, how many of each class; truths without crowds
    """

    kind: str
    names: tuple[str, ...]
    max_dets: tuple[int, ...]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    images: int
    crowds: int
    beyond: int
    truths: NDArray[np.int64]
    found: NDArray[np.int64]

    @property
    def ap(self) -> float:
        """Mean over the ten IoU thresholds, what COCO ranks by."""
        return _mean(self.precision[..., 0])

    @property
    def ap50(self) -> float:
        return _mean(self.precision[IOU_50, ..., 0])

    @property
    def ap75(self) -> float:
        return _mean(self.precision[IOU_75, ..., 0])

    @property
    def ap_by_size(self) -> dict[str, float]:
        """AP of small, medium and large objects."""
        return {size: _mean(self.precision[..., a]) for a, size in enumerate(SIZES) if a}

    @property
    def ar(self) -> dict[int, float]:
        """Mean recall over the ten IoU thresholds, by how many objects of a class count in an image."""
        return {most: _mean(self.recall[:, :, 0, m]) for m, most in enumerate(self.max_dets)}

    @property
    def ar_by_size(self) -> dict[str, float]:
        """Mean recall of small, medium and large objects at the highest limit."""
        return {size: _mean(self.recall[:, :, a, -1]) for a, size in enumerate(SIZES) if a}

    @property
    def per_class(self) -> dict[str, NDArray[np.float64]]:
        """(K,) each, nan for absent classes: ap, ap50, ap75, ap_small, ap_medium, ap_large, ar, recall50, recall75."""
        ap = mean_known(mean_known(self.precision, 1), 0)  # (K, 4)
        at = {f"ap{name}": mean_known(self.precision[t, :, :, 0], 0) for name, t in (("50", IOU_50), ("75", IOU_75))}
        sizes = {f"ap_{size}": ap[:, a] for a, size in enumerate(SIZES) if a}
        recalls = {f"recall{name}": self.recall[t, :, 0, -1] for name, t in (("50", IOU_50), ("75", IOU_75))}
        return {"ap": ap[:, 0], **at, **sizes, "ar": mean_known(self.recall[:, :, 0, -1], 0), **recalls}

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the classes without a true object."""
        return tuple(name for name, count in zip(self.names, self.truths, strict=True) if not count)

    def curve(self, iou: float | None = None) -> NDArray[np.float64]:
        """Precision at each of the 101 recalls of ranked.RECALLS for each class, (K, 101), at one IoU or in the mean of all ten.

        Raises:
            InputError: the IoU is none of 0.5, 0.55 and so on up to 0.95.
        """
        if iou is None:
            return mean_known(self.precision[..., 0], 0).T
        at = np.flatnonzero(np.isclose(IOUS, iou))
        if not len(at):
            raise InputError(f"no curve at IoU {iou}; there is one at {', '.join(f'{t:.2f}' for t in IOUS)}.")
        return self.precision[at[0], :, :, 0].T

    def to_dict(self) -> dict[str, float]:
        """The scalar scores by name, in COCO's order: twelve where there are three limits."""
        return {
            "ap": self.ap,
            "ap50": self.ap50,
            "ap75": self.ap75,
            **{f"ap_{size}": value for size, value in self.ap_by_size.items()},
            **{f"ar_{most}": value for most, value in self.ar.items()},
            **{f"ar_{size}": value for size, value in self.ar_by_size.items()},
        }

    @property
    def conventions(self) -> tuple[str, ...]:
        """How the numbers were counted, one sentence each, to be printed with them."""
        return tuple(_conventions(self))


def _mean(scores: NDArray[np.float64]) -> float:
    """Mean of what is not nan, in the order in which the COCO API adds it up; nan where all is."""
    known = scores[~np.isnan(scores)]
    return float(np.mean(known)) if len(known) else float("nan")


def _conventions(scores: CocoScores) -> Iterator[str]:
    noun = "masks" if scores.kind == MASK else "boxes"
    present = len(scores.names) - len(scores.absent)
    yield (
        f"COCO's AP of {noun}: mean over the IoU thresholds 0.50, 0.55 to 0.95, 101 recalls and the {present} classes with a "
        f"true object, over {scores.images} images and {int(scores.truths.sum())} true objects."
    )
    yield (
        f"At most {scores.max_dets[-1]} objects of a class count in an image, the best scores first: {scores.beyond} of "
        f"{int(scores.found.sum())} found ones were beyond that."
    )
    yield (
        "Small is up to 32 x 32 pixels, medium up to 96 x 96, large above (both borders count): a true object by its file's "
        f"area, or where none was given by the pixels of its mask; a found one by its {'mask' if scores.kind == MASK else 'box'}."
    )
    yield f"Crowds count nowhere, nor what is found on them: {scores.crowds} crowds."
    if scores.absent:
        extra = int(scores.found[scores.truths == 0].sum())
        yield (
            f"Without a true object, so without AP and left out of the means: {', '.join(scores.absent)}; the {extra} objects "
            f"found of such classes lower nothing."
        )
