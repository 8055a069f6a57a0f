"""Tversky loss: overlap with a price of its own for pixels found falsely and for pixels missed; also focal.

Source: Salehi, Erdogmus, Gholipour 2017, arXiv:1706.05721; gamma: Abraham, Khan 2018, arXiv:1810.07842.
Differs: any number of classes; smoothing. The second paper swaps the letters: there alpha weighs what is missed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskwright.errors import InputError
from maskwright.losses.overlap import tversky_index
from maskwright.losses.per_class import check_grouping, counting, mean_over_classes
from maskwright.losses.pixels import Pixels
from maskwright.losses.settings import check_number


def tversky(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int = 255,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 1.0,
    per: str = "batch",
    classes: str = "present",
    smooth: float = 1.0,
) -> Tensor:
    """Mean over classes of (1 - T) ** (1 / gamma); T = (overlap + smooth) / (overlap + alpha false + beta missed + smooth).

    overlap sums the probability of class k over the counted pixels that are k, false over those that are not, missed sums
    1 - probability over those that are k. alpha = beta = 1/2 is Dice with twice the smooth, alpha = beta = 1 Jaccard.

    Arguments:
        alpha, beta: prices of what is found falsely and what is missed; beta above alpha finds more of small classes
        gamma: 1 is plain Tversky; above 1 (4/3 in the paper) a class that is nearly right keeps more of its gradient
        per: "batch": one value a class, from sums over all images (and processes); "image": one a class and image, then the
            mean of all of them
        classes: "present" leaves out classes that the truth of the batch (or image) does not hold; "all" counts them: their
            T is smooth / (alpha false + smooth), which rewards finding nothing
        smooth: pixels added above and below; 0 with "all" gives absent classes 0 and no gradient

    Shapes:
        logits: (B, K, H, W) of any float type; computed in float32 at least
        target: (B, H, W) int64, in [0, K) or ignore_index
        returns: scalar in [0, 1]; 0 with a gradient of 0 if no pixel counts

    Elsewhere: segmentation-models-pytorch has alpha = beta = 1/2, keeps absent classes in the mean with a loss of 0, and
    raises that mean to the power gamma, not each class to 1 / gamma; monai's is per="image", classes="all" without gamma.

    Raises:
        InputError: shapes, types or labels that do not go together, or a setting out of its range.
    """
    pixels = Pixels.of(logits, target, ignore_index)
    return tversky_of(pixels, alpha=alpha, beta=beta, gamma=gamma, per=per, classes=classes, smooth=smooth)


def tversky_of(
    pixels: Pixels,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 1.0,
    per: str = "batch",
    classes: str = "present",
    smooth: float = 1.0,
) -> Tensor:
    """tversky of prepared pixels."""
    check_tversky(alpha=alpha, beta=beta, gamma=gamma, per=per, classes=classes, smooth=smooth)
    index, truth = tversky_index(pixels, alpha=alpha, beta=beta, smooth=smooth, per=per)
    return mean_over_classes(_focused(1 - index, gamma), counting(truth, classes), local=per == "image")


def _focused(lost: Tensor, gamma: float) -> Tensor:
    """lost ** (1 / gamma); 0 with a gradient of 0 where nothing is lost, because a root is vertical there."""
    if gamma == 1:
        return lost
    some = lost > torch.finfo(lost.dtype).eps
    return torch.where(some, torch.where(some, lost, 1.0) ** (1 / gamma), 0.0)


def check_tversky(
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 1.0,
    per: str = "batch",
    classes: str = "present",
    smooth: float = 1.0,
) -> None:
    """Refuse what tversky does not know, before the first batch.

    Raises:
        InputError: the message names the setting and its range or choices.
    """
    check_number("tversky", "alpha", alpha)
    check_number("tversky", "beta", beta)
    if alpha == beta == 0:
        raise InputError("tversky with alpha=0 and beta=0 is 0 for every answer; give one of them a price, as beta=0.7.")
    check_number("tversky", "gamma", gamma, above=True)
    check_grouping("tversky", per, classes)
    check_number("tversky", "smooth", smooth, unit=" px")
