"""Focal loss against values worked out by hand, cross entropy, and two other implementations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from maskwright.errors import InputError
from maskwright.losses import cross_entropy, focal


def logits_of(probabilities: list) -> Tensor:
    """Logits whose softmax is given, from (B, H, W, K) nested lists."""
    return torch.tensor(probabilities, dtype=torch.float64).log().permute(0, 3, 1, 2) + 3.0


# One image of 1 x 3 pixels, two classes; with the labels 0 1 1 the own probabilities are 0.5, 0.75, 0.1.
THREE = [[[[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]]]


@pytest.fixture
def batch():
    torch.manual_seed(0)
    target = torch.randint(0, 3, (2, 5, 6))
    target[0, :2] = 255
    return torch.randn(2, 3, 5, 6, dtype=torch.float64), target


def test_sure_pixels_hardly_count():
    # (1 - p) ** 2 = 0.25, 0.0625, 0.81
    expected = -(0.25 * math.log(0.5) + 0.0625 * math.log(0.75) + 0.81 * math.log(0.1)) / 3
    assert focal(logits_of(THREE), torch.tensor([[[0, 1, 1]]])).item() == pytest.approx(expected)


def test_gamma_is_the_power():
    expected = -(0.5**0.5 * math.log(0.5) + 0.25**0.5 * math.log(0.75) + 0.9**0.5 * math.log(0.1)) / 3
    assert focal(logits_of(THREE), torch.tensor([[[0, 1, 1]]]), gamma=0.5).item() == pytest.approx(expected)


def test_ignored_pixels_count_nowhere():
    expected = -(0.25 * math.log(0.5) + 0.81 * math.log(0.1)) / 2
    assert focal(logits_of(THREE), torch.tensor([[[0, 255, 1]]])).item() == pytest.approx(expected)


def test_weights_divide_by_their_sum():
    # class 0 weighs 1, class 1 weighs 3
    expected = -(0.25 * math.log(0.5) + 3 * 0.0625 * math.log(0.75) + 3 * 0.81 * math.log(0.1)) / 7
    found = focal(logits_of(THREE), torch.tensor([[[0, 1, 1]]]), weights=torch.tensor([1.0, 3.0]))
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 0.0])])
def test_without_gamma_it_is_cross_entropy(batch, weights):
    assert_close(focal(*batch, weights=weights, gamma=0), cross_entropy(*batch, weights=weights))


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2])
def test_certain_pixels_have_no_slope(gamma):
    # The slope of (1 - p) ** 0.5 is infinite at p = 1, which float32 reaches.
    logits = torch.tensor([[[[200.0]], [[0.0]]]], requires_grad=True)
    loss = focal(logits, torch.zeros(1, 1, 1, dtype=torch.int64), gamma=gamma)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_smp_function_agrees_where_nothing_is_ignored(batch):
    functional = pytest.importorskip("segmentation_models_pytorch.losses._functional")
    logits, target = batch
    target = target.masked_fill(target == 255, 1)
    for gamma in (0.5, 2.0):
        assert_close(focal(logits, target, gamma=gamma), functional.softmax_focal_loss_with_logits(logits, target, gamma=gamma))


def test_monai_agrees_times_the_number_of_classes(batch):
    monai = pytest.importorskip("monai.losses")
    logits, target = (batch[0].float(), batch[1].masked_fill(batch[1] == 255, 1))  # it always computes in float32
    theirs = monai.FocalLoss(use_softmax=True, to_onehot_y=True, gamma=2.0)
    assert_close(focal(logits, target), 3 * theirs(logits, target.unsqueeze(1)))


@pytest.mark.parametrize("gamma", [-1, "2", None])
def test_gamma_out_of_range_is_named(gamma):
    with pytest.raises(InputError, match=rf"focal takes gamma of 0 or more, found {gamma!r}"):
        focal(logits_of(THREE), torch.tensor([[[0, 1, 1]]]), gamma=gamma)
