"""Scores of each image on its own, then averaged: the habit of medical papers, beside the one matrix over the data set.

Convention: a class that is in neither truth nor prediction of an image scores 1 there (the model was right to find nothing),
a class that is in one of them only scores 0. Both cases are counted and printed, since they move the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.metrics.semantic import foreground

WORST_SHARE = 20  # the worst twentieth of the images


@dataclass(frozen=True, eq=False)
class ImageScore:
    """How one image was answered.

    Shapes:
        tally: (3, K) int64: pixels hit, pixels of the truth, pixels predicted, see semantic.tally_of
        dice, iou: (K,) float64 in [0, 1], in channel order; nan where every pixel of the image is ignored
        boundary: (K,) float64 boundary F1, nan for a class without an outline; None where it was not asked for

    Attributes:
        mean_dice, mean_iou: mean over the classes but the background; nan where every pixel of the image is ignored
    """

    name: str
    group: str | None
    tally: NDArray[np.int64]
    dice: NDArray[np.float64]
    iou: NDArray[np.float64]
    mean_dice: float
    mean_iou: float
    boundary: NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls,
        name: str,
        group: str | None,
        tally: NDArray[np.int64],
        classes: ClassMap,
        boundary: NDArray[np.float64] | None = None,
    ) -> ImageScore:
        scores = image_rates(tally, classes)
        means = float(scores["mean_dice"]), float(scores["mean_iou"])
        return cls(name, group, tally, scores["dice"], scores["iou"], *means, boundary)

    @property
    def order(self) -> float:
        """What images are ranked by."""
        return self.mean_dice

    @property
    def said(self) -> str:
        """What stands beside a picture of the image."""
        return f"Dice {self.mean_dice:.4f}, IoU {self.mean_iou:.4f}"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers; the pixel counts are what a later comparison with another model needs."""
        hit, truth, found = self.tally.tolist()
        scores = {"mean_dice": self.mean_dice, "mean_iou": self.mean_iou, "dice": self.dice.tolist(), "iou": self.iou.tolist()}
        outlines = {} if self.boundary is None else {"boundary_f1": self.boundary.tolist()}
        pixels = {"hit_px": hit, "truth_px": truth, "found_px": found}
        return {"name": self.name, "group": self.group, **scores, **outlines, **pixels}


def image_rates(tally: NDArray[Any], classes: ClassMap) -> dict[str, NDArray[np.float64]]:
    """Dice and IoU of each image and class, and their means over the classes but the background.

    Shapes:
        tally: (..., 3, K), see semantic.tally_of
        returns: dice, iou (..., K); mean_dice, mean_iou (...); nan for an image without a counted pixel
    """
    hit, truth, found = np.moveaxis(np.asarray(tally, np.float64), -2, 0)
    counted = truth.sum(-1) > 0
    front = foreground(classes)
    scores = {}
    for name, part, whole in (("dice", 2 * hit, truth + found), ("iou", hit, truth + found - hit)):
        score = np.divide(part, whole, out=np.ones_like(whole), where=whole > 0)  # both empty: 1; one empty: hit is 0
        score = np.where(counted[..., None], score, np.nan)
        scores[name] = score
        scores[f"mean_{name}"] = score[..., front].mean(-1) if front.any() else np.full(counted.shape, np.nan)
    return scores


def worst_mean(scores: NDArray[np.float64], weights: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """Mean of the worst twentieth of the images (rounded up, so at least one): what the unlucky user gets.

    Shapes:
        scores: (n,) one an image, higher is better, no nan
        weights: (R, n) how often each image stands in each of R resamples; default: once
        returns: (R,), or () without weights; nan for a resample without images
    """
    order = np.argsort(scores, kind="stable")
    times = np.ones((1, len(scores)), np.int64) if weights is None else np.asarray(weights)[:, order]
    total = times.sum(1, keepdims=True)
    wanted = -(-total // WORST_SHARE)
    before = np.cumsum(times, axis=1) - times
    taken = np.clip(wanted - before, 0, times)  # (R, n) copies of each image among the worst
    mean = np.full(len(times), np.nan)
    np.divide(taken @ scores[order], wanted[:, 0], out=mean, where=wanted[:, 0] > 0)
    return mean[0] if weights is None else mean


def image_conventions(scores: Sequence[ImageScore], classes: ClassMap) -> tuple[str, ...]:
    """How the per-image scores were counted, one sentence each."""
    counted = [s for s in scores if s.tally[1].any()]
    tallies = np.stack([s.tally for s in counted])[:, :, foreground(classes)] if counted else np.zeros((0, 3, 1), np.int64)
    truth, found = tallies[:, 1] > 0, tallies[:, 2] > 0
    neither, one = int((~truth & ~found).sum()), int((truth ^ found).sum())
    over = "classes" if classes.background is None else f"classes but {classes.name_of(classes.background)!r}"
    said = [
        f"Per image: mean over the {len(counted)} images and over the {over}.",
        f"A class empty in truth and prediction of an image scores 1 there ({neither} of {truth.size} cases), "
        f"empty in one of them 0 ({one} cases).",
        f"Worst twentieth: mean of the {-(-len(counted) // WORST_SHARE)} lowest image Dice.",
    ]
    left_out = [s.name for s in scores if not s.tally[1].any()]
    if left_out:
        said.append(f"Images whose every pixel is ignored are left out of the per-image scores: {', '.join(left_out)}.")
    return tuple(said)
