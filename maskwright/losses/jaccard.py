"""Soft Jaccard loss: 1 - intersection over union, with probabilities in place of a mask.

Source: Rahman, Wang 2016, "Optimizing intersection-over-union in deep neural networks for image segmentation", ISVC.
Differs: any number of classes; smoothing.
"""

from __future__ import annotations

from torch import Tensor

from maskwright.losses.overlap import tversky_index
from maskwright.losses.per_class import check_grouping, counting, mean_over_classes
from maskwright.losses.pixels import Pixels
from maskwright.losses.settings import check_number


def jaccard(
    logits: Tensor, target: Tensor, *, ignore_index: int = 255, per: str = "batch", classes: str = "present", smooth: float = 1.0
) -> Tensor:
    """1 - mean over classes of (overlap + smooth) / (found + truth - overlap + smooth).

    overlap sums the probability of class k over the counted pixels that are k, found over all counted pixels, truth
    counts the pixels that are k. The background is a class like the others.

    Arguments:
        per: "batch": one value a class, from sums over all images (and processes); "image": one a class and image, then the
            mean of all of them
        classes: "present" leaves out classes that the truth of the batch (or image) does not hold; "all" counts them: their
            Jaccard is smooth / (found + smooth), which rewards finding nothing
        smooth: pixels added above and below; 0 with "all" gives absent classes 0 and no gradient

    Shapes:
        logits: (B, K, H, W) of any float type; computed in float32 at least
        target: (B, H, W) int64, in [0, K) or ignore_index
        returns: scalar in [0, 1]; 0 with a gradient of 0 if no pixel counts

    Elsewhere: segmentation-models-pytorch sums over the batch with the same smooth, but keeps absent classes in the mean
    with a loss of 0; monai's DiceLoss(jaccard=True) is per="image", classes="all" with half its smooth.

    Raises:
        InputError: shapes, types or labels that do not go together, or an unknown choice.
    """
    return jaccard_of(Pixels.of(logits, target, ignore_index), per=per, classes=classes, smooth=smooth)


def jaccard_of(pixels: Pixels, *, per: str = "batch", classes: str = "present", smooth: float = 1.0) -> Tensor:
    """jaccard of prepared pixels."""
    check_jaccard(per=per, classes=classes, smooth=smooth)
    index, truth = tversky_index(pixels, alpha=1, beta=1, smooth=smooth, per=per)
    return mean_over_classes(1 - index, counting(truth, classes), local=per == "image")


def check_jaccard(*, per: str = "batch", classes: str = "present", smooth: float = 1.0) -> None:
    """Refuse what jaccard does not know, before the first batch.

    Raises:
        InputError: the message names the setting and its choices.
    """
    check_grouping("jaccard", per, classes)
    check_number("jaccard", "smooth", smooth, unit=" px")
