"""Soft Dice loss, with its conventions spelled out: what is summed together, and what an absent class counts.

Source: Milletari, Navab, Ahmadi 2016, arXiv:1606.04797, section 3.
Differs: the denominator sums probabilities, not their squares; any number of classes; smoothing.
"""

from __future__ import annotations

from torch import Tensor

from maskwright.losses.overlap import tversky_index
from maskwright.losses.per_class import check_grouping, counting, mean_over_classes
from maskwright.losses.pixels import Pixels
from maskwright.losses.settings import check_number


def dice(
    logits: Tensor, target: Tensor, *, ignore_index: int = 255, per: str = "batch", classes: str = "present", smooth: float = 1.0
) -> Tensor:
    """1 - mean over classes of (2 overlap + smooth) / (found + truth + smooth).

    overlap sums the probability of class k over the counted pixels that are k, found over all counted pixels, truth
    counts the pixels that are k. The background is a class like the others.

    Arguments:
        per: "batch": one Dice a class, from sums over all images (and processes), so that an image with three pixels of a
            class does not weigh as much as a full one; "image": one a class and image, then the mean of all of them
        classes: "present" leaves out classes that the truth of the batch (or image) does not hold; "all" counts them: their
            Dice is smooth / (found + smooth), which rewards finding nothing
        smooth: pixels added above and below; 0 with "all" gives absent classes 0 and no gradient

    Shapes:
        logits: (B, K, H, W) of any float type; computed in float32 at least
        target: (B, H, W) int64, in [0, K) or ignore_index
        returns: scalar in [0, 1]; 0 with a gradient of 0 if no pixel counts

    Elsewhere: segmentation-models-pytorch sums over the batch, adds its smooth to the overlap (half of this one) and keeps
    absent classes in the mean with a loss of 0; monai's is per="image", classes="all".

    Raises:
        InputError: shapes, types or labels that do not go together, or an unknown choice.
    """
    return dice_of(Pixels.of(logits, target, ignore_index), per=per, classes=classes, smooth=smooth)


def dice_of(pixels: Pixels, *, per: str = "batch", classes: str = "present", smooth: float = 1.0) -> Tensor:
    """dice of prepared pixels."""
    check_dice(per=per, classes=classes, smooth=smooth)
    # Above and below are halved against the formula, and so is smooth.
    index, truth = tversky_index(pixels, alpha=0.5, beta=0.5, smooth=smooth / 2, per=per)
    return mean_over_classes(1 - index, counting(truth, classes), local=per == "image")


def check_dice(*, per: str = "batch", classes: str = "present", smooth: float = 1.0) -> None:
    """Refuse what dice does not know, before the first batch.

    Raises:
        InputError: the message names the setting and its choices.
    """
    check_grouping("dice", per, classes)
    check_number("dice", "smooth", smooth, unit=" px")
