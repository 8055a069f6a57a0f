"""Depthwise convolutions in training: the gradients of plain autograd, whatever kernel, stride and number type."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from maskwright import models
from maskwright.training.depthwise import quicken

C = 6


def depthwise(k: int, stride: int, padding: int | str = 0, **more) -> nn.Conv2d:
    torch.manual_seed(k + stride)
    return nn.Conv2d(C, C, k, stride=stride, padding=padding, groups=C, bias=False, **more)


def gradients(layer: nn.Conv2d, image: Tensor, *, bf16: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """The answer, and the gradients of image and kernel for one and the same weighting of the answer."""
    x = image.clone().requires_grad_()
    layer.weight.grad = None
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = layer(x)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(0))
    (out.float() * weights).sum().backward()
    return out.float(), x.grad, layer.weight.grad


@pytest.mark.parametrize("hw", [(12, 15), (9, 8)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("k", "padding"), [(3, 1), (3, 0), (4, 1), (5, 2), (5, "valid"), (7, 3), (8, 2)])
def test_the_gradients_are_those_of_autograd(k, padding, stride, hw):
    layer, image = depthwise(k, stride, padding), torch.randn(2, C, *hw)
    expected = gradients(layer, image)
    assert quicken(layer) == (k > 3 or stride > 1)
    for layout in (torch.contiguous_format, torch.channels_last):
        for mine, theirs in zip(gradients(layer, image.to(memory_format=layout)), expected, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("k", "stride"), [(3, 2), (5, 1), (5, 2)])
def test_in_bf16_they_are_as_near_as_autograds_own(k, stride):
    layer, image = depthwise(k, stride, k // 2), torch.randn(2, C, 32, 32)
    exact, plain = gradients(layer, image), gradients(layer, image, bf16=True)
    quicken(layer)
    quick = gradients(layer, image, bf16=True)
    for mine, theirs, true in zip(quick, plain, exact, strict=True):
        assert (mine - true).norm() <= 1.2 * (theirs - true).norm() + 1e-6
        assert (mine - true).norm() <= 0.02 * true.norm()


def test_what_is_quick_already_or_not_known_stays():
    layers = nn.Sequential(
        depthwise(3, 1),
        depthwise(5, 1, "same"),
        depthwise(5, 1, 2, dilation=2),
        depthwise(5, 1, 2, padding_mode="reflect"),
        nn.Conv2d(C, C, 5, groups=C),
        nn.Conv2d(C, C, 5, groups=2, bias=False),
        nn.Conv2d(1, 1, 5, bias=False),
        nn.Conv2d(C, 2 * C, 5, groups=C, bias=False),
    )
    assert quicken(layers) == 0


def test_a_copy_learns_by_itself_and_names_stay():
    net = nn.Sequential(depthwise(5, 1, 2))
    names = list(net.state_dict())
    quicken(net)
    other = copy.deepcopy(net)
    other(torch.randn(1, C, 8, 8)).sum().backward()
    assert other[0].weight.grad is not None
    assert net[0].weight.grad is None
    assert list(net.state_dict()) == names


def test_only_what_has_to_learn_is_computed():
    layer = depthwise(5, 2, 2)
    quicken(layer)
    layer.requires_grad_(False)
    x = torch.randn(1, C, 8, 8, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is None
    layer.eval().requires_grad_(True)
    assert "Depthwise" not in type(layer(x).grad_fn).__name__


def test_a_network_on_a_mobile_encoder_learns_the_same():
    """Its encoder pads some of its convolutions by itself (SameOnGrid)."""
    torch.manual_seed(0)
    net = models.build("unet", channels=3, classes=2, encoder="tf_efficientnet_lite0").train()
    quick, image = copy.deepcopy(net), torch.randn(2, 3, 64, 96)
    assert quicken(quick) > 8
    for one in (net, quick):
        one(image).square().mean().backward()
    for (name, mine), theirs in zip(quick.named_parameters(), net.parameters(), strict=True):
        assert (mine.grad - theirs.grad).norm() <= 1e-3 * theirs.grad.norm() + 1e-7, name
