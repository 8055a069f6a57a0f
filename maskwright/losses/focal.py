"""Focal loss: cross entropy that hardly counts the pixels that are right already.

Source: Lin, Goyal, Girshick, He, Dollar 2017, arXiv:1708.02002, equations 4 and 5.
Differs: softmax over classes in place of one sigmoid a class; alpha is a weight for each class; the sum is divided by the
weights of all counted pixels, not by the number of objects.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskwright.losses.per_pixel import mean_over_pixels, pixel_weights
from maskwright.losses.pixels import Pixels
from maskwright.losses.settings import check_number


def focal(
    logits: Tensor, target: Tensor, *, weights: Tensor | None = None, gamma: float = 2.0, ignore_index: int = 255
) -> Tensor:
    """Mean of -(1 - p) ** gamma log p over all counted pixels, p the probability of a pixel's own class.

    Each pixel is weighed by its class (the paper's alpha), and the sum divided by the sum of these weights, over the whole
    batch and all processes. gamma = 0 is cross entropy.

    Arguments:
        gamma: 0 or more; the higher, the less a pixel counts that is nearly right

    Shapes:
        logits: (B, K, H, W) of any float type; computed in float32 at least
        target: (B, H, W) int64, in [0, K) or ignore_index
        weights: (K,), none negative
        returns: scalar; 0 with a gradient of 0 if no pixel counts

    Elsewhere: segmentation-models-pytorch's FocalLoss takes one sigmoid a class even for "multiclass"; only its function
    softmax_focal_loss_with_logits is this one, without ignored pixels. monai's FocalLoss(use_softmax=True) divides by the
    number of pixels times classes, and weights do not enter its divisor.

    Raises:
        InputError: shapes, types or labels that do not go together, or a setting out of its range.
    """
    return focal_of(Pixels.of(logits, target, ignore_index), weights, gamma=gamma)


def focal_of(pixels: Pixels, weights: Tensor | None = None, *, gamma: float = 2.0) -> Tensor:
    """focal of prepared pixels."""
    check_focal(gamma=gamma)
    weight = pixel_weights(pixels, weights)
    log_p = pixels.log_likelihood
    # The floor keeps the slope of a root (gamma below 1) finite at p = 1.
    lacking = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
    return mean_over_pixels(-(lacking**gamma * log_p * weight).sum(), weight.sum())


def check_focal(*, gamma: float = 2.0) -> None:
    """Refuse what focal does not know, before the first batch.

    Raises:
        InputError: the message names the setting and its range.
    """
    check_number("focal", "gamma", gamma)
