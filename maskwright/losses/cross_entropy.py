"""Cross entropy over the pixels that count."""

from __future__ import annotations

import torch
from torch import Tensor

from maskwright.errors import InputError
from maskwright.losses.across import summed_over_processes
from maskwright.losses.pixels import Pixels


def cross_entropy(logits: Tensor, target: Tensor, *, weights: Tensor | None = None, ignore_index: int = 255) -> Tensor:
    """Mean of -log p(own class) over all counted pixels of the batch, each pixel weighed by its class.

    The sum of weight x -log p, divided by the sum of the weights, over the whole batch and all processes: an image with few
    counted pixels weighs less than a full one.

    Shapes:
        logits: (B, K, H, W) of any float type; computed in float32 at least
        target: (B, H, W) int64, in [0, K) or ignore_index
        weights: (K,), none negative
        returns: scalar; 0 with a gradient of 0 if no pixel counts

    Raises:
        InputError: shapes, types or labels that do not go together.
    """
    return cross_entropy_of(Pixels.of(logits, target, ignore_index), weights)


def cross_entropy_of(pixels: Pixels, weights: Tensor | None = None) -> Tensor:
    """cross_entropy of prepared pixels."""
    weight = pixels.counted
    if weights is not None:
        weight = weight * _checked(weights, pixels.log_probs)[pixels.target]
    loss_sum, weight_sum = summed_over_processes(torch.stack([-(pixels.log_likelihood * weight).sum(), weight.sum()]))
    mean: Tensor = loss_sum / torch.where(weight_sum > 0, weight_sum, 1.0)
    return mean


def _checked(weights: Tensor, log_probs: Tensor) -> Tensor:
    weights = weights.to(log_probs)
    if weights.shape != log_probs.shape[1:2] or not bool((weights >= 0).all()):
        raise InputError(
            f"class weights are {weights.tolist()}; expected {log_probs.shape[1]} numbers of 0 or more, one a channel."
        )
    return weights
