"""Weights in a narrow number type whose kernels keep their sums: what rounding takes from one tap goes into the next.

Rounded one by one, the errors of a kernel add up to something, and wherever neighbouring values are alike, which is most of an
image, a convolution is off by that sum times their value: not noise, but a shift of the whole map. Nagel et al. 2019
(arXiv:1906.04721, section 4.2) call it biased error and correct it with images; here the error of a tap is handed on to the next
one, as dithering does from pixel to pixel (Floyd and Steinberg 1976), and what is left at the end is the rounding of one tap.
It costs nothing when the network runs (benchmarks/results/rounding.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskwright.later import torch

if TYPE_CHECKING:
    from torch import Tensor


def diffused(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The weights of a convolution in a number type.

    Shapes:
        weight: (..., kh, kw) of a wider type; kernels of one tap are rounded as usual
        returns: the same shape, in dtype
    """
    taps = weight.detach().float().flatten(-2).movedim(-1, 0)  # (kh kw, ...)
    rounded = torch.empty_like(taps, dtype=dtype)
    carried = torch.zeros_like(taps[0])
    for k, tap in enumerate(taps):
        exact = tap + carried
        rounded[k] = exact.to(dtype)
        carried = exact - rounded[k].float()
    return rounded.movedim(0, -1).reshape(weight.shape)


def diffused_transposed(weight: Tensor, strides: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """The weights of a transposed convolution: each pixel of its answer meets every strides-th row and column of the kernel.

    Shapes:
        weight, returns: as of diffused
    """
    rounded = torch.empty_like(weight, dtype=dtype)
    for row in range(min(strides[0], weight.shape[-2])):
        for column in range(min(strides[1], weight.shape[-1])):
            met = (..., slice(row, None, strides[0]), slice(column, None, strides[1]))
            rounded[met] = diffused(weight[met], dtype)
    return rounded
