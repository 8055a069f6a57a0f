"""Losses with one value a pixel: what each pixel weighs, and the mean over the batch and all processes."""

from __future__ import annotations

import torch
from torch import Tensor

from maskwright.errors import InputError
from maskwright.losses.pixels import Pixels
from maskwright.processes import summed_over_processes


def pixel_weights(pixels: Pixels, weights: Tensor | None) -> Tensor:
    """(B, N): the weight of each pixel's own class, 1 without class weights; 0 where the pixel is ignored.

    Raises:
        InputError: the class weights are not one number of 0 or more a channel.
    """
    return pixels.counted if weights is None else pixels.counted * checked_weights(weights, pixels)[pixels.target]


def checked_weights(weights: Tensor, pixels: Pixels) -> Tensor:
    """Class weights (K,) in the type and on the device of the probabilities.

    Raises:
        InputError: they are not one number of 0 or more a channel.
    """
    weights, channels = weights.to(pixels.log_probs), pixels.log_probs.shape[1]
    if weights.shape != (channels,) or not bool((weights >= 0).all()):
        raise InputError(f"class weights are {weights.tolist()}; expected {channels} numbers of 0 or more, one a channel.")
    return weights


def mean_over_pixels(loss_sum: Tensor, weight_sum: Tensor) -> Tensor:
    """Scalar: both sums over all processes, then their quotient; 0 with a gradient of 0 if nothing has a weight."""
    loss_sum, weight_sum = summed_over_processes(torch.stack([loss_sum, weight_sum]))
    mean: Tensor = loss_sum / torch.where(weight_sum > 0, weight_sum, 1.0)
    return mean
