"""Cross entropy of the hard pixels alone: online hard example mining, or bootstrapping, over pixels.

Source: Wu, Shen, van den Hengel 2016, arXiv:1605.06885; the name: Shrivastava, Gupta, Girshick 2016, arXiv:1604.03540.
Differs: the defaults, threshold 0.7 and a sixteenth of the pixels, are those with which BiSeNet is commonly trained.
"""

from __future__ import annotations

import math

from torch import Tensor

from maskwright.losses.per_pixel import mean_over_pixels, pixel_weights
from maskwright.losses.pixels import Pixels
from maskwright.losses.settings import check_number


def ohem(
    logits: Tensor,
    target: Tensor,
    *,
    weights: Tensor | None = None,
    threshold: float = 0.7,
    min_share: float = 1 / 16,
    ignore_index: int = 255,
) -> Tensor:
    """Cross entropy over the counted pixels whose own class has a probability below the threshold.

    Where these are fewer than min_share of the counted pixels (rounded down), the least probable ones are taken up to that
    number, with all that are as improbable as the last. Weights enter the mean, not the choice.

    Arguments:
        threshold: probability in (0, 1]; 1 takes every pixel that is not certain
        min_share: of the counted pixels of the batch, in [0, 1]; 1 is plain cross entropy. In a distributed run each process
            ranks the pixels of its own images, because ranking those of all would send them all; the sums and their
            quotient are those of all processes, so the loss is that of one process wherever the threshold alone decides

    Shapes:
        logits: (B, K, H, W) of any float type; computed in float32 at least
        target: (B, H, W) int64, in [0, K) or ignore_index
        weights: (K,), none negative
        returns: scalar; 0 with a gradient of 0 if no pixel counts or none is taken

    Elsewhere: neither segmentation-models-pytorch nor monai has it. Some trainings count the minimum in pixels.

    Raises:
        InputError: shapes, types or labels that do not go together, or a setting out of its range.
    """
    pixels = Pixels.of(logits, target, ignore_index)
    return ohem_of(pixels, weights, threshold=threshold, min_share=min_share)


def ohem_of(pixels: Pixels, weights: Tensor | None = None, *, threshold: float = 0.7, min_share: float = 1 / 16) -> Tensor:
    """ohem of prepared pixels."""
    check_ohem(threshold=threshold, min_share=min_share)
    weight = pixel_weights(pixels, weights) * _hard(pixels, threshold, min_share)
    return mean_over_pixels(-(pixels.log_likelihood * weight).sum(), weight.sum())


def _hard(pixels: Pixels, threshold: float, min_share: float) -> Tensor:
    """(B, N) bool: the pixels that are taken."""
    counted, log_p = pixels.counted > 0, pixels.log_likelihood.detach()
    hard = counted & (log_p < math.log(threshold))
    least = math.floor(min_share * int(counted.sum()))
    if int(hard.sum()) < least:
        last = log_p[counted].kthvalue(least).values
        hard = counted & (log_p <= last)
    return hard


def check_ohem(*, threshold: float = 0.7, min_share: float = 1 / 16) -> None:
    """Refuse what ohem does not know, before the first batch.

    Raises:
        InputError: the message names the setting and its range.
    """
    check_number("ohem", "threshold", threshold, high=1, above=True)
    check_number("ohem", "min_share", min_share, high=1)
