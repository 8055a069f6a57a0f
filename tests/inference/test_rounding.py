"""Rounded weights: bf16 holds them, kernels keep their sums, and networks answer nearer to fp32 with them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from maskwright.inference.rounding import diffused, diffused_transposed

BF16 = torch.bfloat16


def kernels(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def off(weight: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
    """By how much the sum of each kernel is another."""
    return (rounded.double() - weight.double()).sum((-2, -1)).abs()


@pytest.mark.parametrize("shape", [(64, 3, 7, 7), (32, 16, 3, 3), (8, 1, 5, 5), (4, 6, 1, 9), (2, 3, 4, 3, 3)])
def test_kernels_keep_their_sums(shape):
    weight = kernels(*shape)
    rounded = diffused(weight, BF16)
    assert (rounded.dtype, rounded.shape) == (BF16, weight.shape)
    # What the last tap is rounded by is left, and no tap is further away than its own rounding and what it was handed.
    most = 1.1 * weight.abs().amax((-2, -1)) * 2**-8
    assert (off(weight, rounded) <= most).all()
    assert off(weight, rounded).mean() < off(weight, weight.to(BF16)).mean() / 1.5
    assert ((rounded.float() - weight).abs() <= 2 * most[..., None, None]).all()


def test_kernels_of_one_tap_and_what_bf16_holds_stay():
    weight = kernels(5, 4, 1, 1)
    assert diffused(weight, BF16).equal(weight.to(BF16))
    held = kernels(5, 4, 3, 3).to(BF16)
    assert diffused(held.float(), BF16).equal(held)
    assert diffused(kernels(2, 2, 3, 3), torch.float32).equal(kernels(2, 2, 3, 3))


def test_a_flat_image_is_convolved_exactly_but_for_its_own_rounding():
    weight, flat = kernels(16, 8, 3, 3), torch.full((1, 8, 9, 9), 1.75)
    exact = F.conv2d(flat, weight)
    one_by_one, handed_on = (F.conv2d(flat, w.float()) for w in (weight.to(BF16), diffused(weight, BF16)))
    assert (handed_on - exact).abs().mean() < 0.6 * (one_by_one - exact).abs().mean()


def test_each_pixel_of_a_transposed_convolution_meets_weights_that_keep_their_sum():
    weight = kernels(6, 5, 4, 4)
    rounded = diffused_transposed(weight, (2, 2), BF16)
    for row in range(2):
        for column in range(2):
            met = weight[..., row::2, column::2]
            assert rounded[..., row::2, column::2].equal(diffused(met, BF16))
    assert diffused_transposed(weight, (4, 4), BF16).equal(weight.to(BF16))
    assert diffused_transposed(kernels(2, 3, 2, 2), (3, 3), BF16).equal(kernels(2, 3, 2, 2).to(BF16))
