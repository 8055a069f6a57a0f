"""Cross entropy against values worked out by hand, and against PyTorch's own."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from maskwright.errors import InputError
from maskwright.losses import cross_entropy


def logits_of(probabilities: list) -> Tensor:
    """Logits whose softmax is given, from (B, H, W, K) nested lists."""
    return torch.tensor(probabilities, dtype=torch.float64).log().permute(0, 3, 1, 2) + 3.0


# One image of 1 x 3 pixels, two classes.
THREE = [[[[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]]]


def test_mean_over_pixels():
    # own probabilities 0.5, 0.75, 0.1
    expected = -(math.log(0.5) + math.log(0.75) + math.log(0.1)) / 3
    assert cross_entropy(logits_of(THREE), torch.tensor([[[0, 1, 1]]])).item() == pytest.approx(expected)


def test_ignored_pixels_count_nowhere():
    expected = -(math.log(0.5) + math.log(0.1)) / 2
    assert cross_entropy(logits_of(THREE), torch.tensor([[[0, 255, 1]]])).item() == pytest.approx(expected)
    assert cross_entropy(logits_of(THREE), torch.tensor([[[0, -1, 1]]]), ignore_index=-1).item() == pytest.approx(expected)


def test_weights_divide_by_their_sum():
    # class 0 weighs 1, class 1 weighs 3: (1 * l(0.5) + 3 * l(0.75) + 3 * l(0.1)) / 7
    expected = -(math.log(0.5) + 3 * math.log(0.75) + 3 * math.log(0.1)) / 7
    found = cross_entropy(logits_of(THREE), torch.tensor([[[0, 1, 1]]]), weights=torch.tensor([1.0, 3.0]))
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 0.0, 1.0])])
def test_it_is_pytorchs(weights):
    torch.manual_seed(0)
    logits, target = torch.randn(3, 4, 5, 7, requires_grad=True), torch.randint(0, 4, (3, 5, 7))
    target[0, :, 2:] = 255
    found, expected = cross_entropy(logits, target, weights=weights), F.cross_entropy(logits, target, weights, ignore_index=255)
    assert_close(found, expected)
    assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(expected, logits))


def test_label_smoothing_spreads_a_share_of_the_truth():
    # 0.9 of the own class, and 0.1 / 2 of both: of one pixel with own 0.75: 0.95 on 0.75, 0.05 on 0.25
    expected = -(0.95 * math.log(0.75) + 0.05 * math.log(0.25))
    target = torch.tensor([[[255, 1, 255]]])
    assert cross_entropy(logits_of(THREE), target, label_smoothing=0.1).item() == pytest.approx(expected)
    # All of it spread: the label says nothing any more.
    found = [
        cross_entropy(logits_of(THREE), target, label_smoothing=1).item() for target in torch.tensor([[[[0] * 3]], [[[1] * 3]]])
    ]
    assert found[0] == pytest.approx(found[1])


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 0.0, 1.0])])
def test_label_smoothing_is_pytorchs(weights):
    torch.manual_seed(0)
    logits, target = torch.randn(3, 4, 5, 7, requires_grad=True), torch.randint(0, 4, (3, 5, 7))
    target[0, :, 2:] = 255
    found = cross_entropy(logits, target, weights=weights, label_smoothing=0.2)
    expected = F.cross_entropy(logits, target, weights, ignore_index=255, label_smoothing=0.2)
    assert_close(found, expected)
    assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(expected, logits))


def test_smp_agrees_but_for_its_divisor():
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    theirs = smp.losses.SoftCrossEntropyLoss(smooth_factor=0.1, ignore_index=255)
    assert_close(cross_entropy(logits, target, label_smoothing=0.1), theirs(logits, target))
    target[0] = 255  # half of the pixels: it still divides by all
    assert_close(cross_entropy(logits, target, label_smoothing=0.1) / 2, theirs(logits, target))


def test_label_smoothing_out_of_range_is_named():
    with pytest.raises(InputError, match=r"label_smoothing of 0 or more and at most 1, found 1\.1"):
        cross_entropy(logits_of(THREE), torch.tensor([[[0, 1, 1]]]), label_smoothing=1.1)


def test_gradient():
    torch.manual_seed(0)
    target = torch.tensor([[[0, 2, 255]], [[1, 1, 0]]])
    logits, weights = torch.randn(2, 3, 1, 3, dtype=torch.float64, requires_grad=True), torch.tensor([1.0, 2.0, 0.5])
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, target, weights=weights), logits)


def test_nothing_counted_is_zero_with_a_gradient():
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    for weights in (None, torch.ones(3)):
        loss = cross_entropy(logits, torch.full((2, 4, 5), 255), weights=weights)
        loss.backward()
        assert loss.item() == 0
        assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("size", [(8, 2, 64, 64), (2, 19, 32, 48)])
def test_bf16_is_summed_in_full_precision(size):
    torch.manual_seed(0)
    logits = torch.randn(size, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    target = torch.randint(0, size[1], (size[0], *size[2:]))
    expected = cross_entropy(logits.double(), target)
    with torch.autocast("cpu", torch.bfloat16):  # as in a training loop that forgot to leave it
        found = cross_entropy(logits, target)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        ((1, 2, 4, 6), (2, 4, 6), r"target is \(2, 4, 6\) torch.int64; logits \(1, 2, 4, 6\) need \(1, 4, 6\)"),
        ((2, 2, 4, 6), (1, 4, 6), r"target is \(1, 4, 6\)"),
        ((2, 2, 4, 6), (2, 1, 6), r"target is \(2, 1, 6\)"),
        ((2, 2, 4, 6), (2, 6, 4), r"target is \(2, 6, 4\)"),
        ((2, 2, 4, 6), (2, 1, 4, 6), r"target is \(2, 1, 4, 6\)"),
        ((2, 4, 6), (2, 4, 6), r"logits are \(2, 4, 6\) torch.float32; expected \(B, K, H, W\)"),
        ((2, 2, 0, 6), (2, 0, 6), r"none of them 0"),
    ],
)
def test_shapes_are_never_broadcast(logits, target, message):
    with pytest.raises(InputError, match=message):
        cross_entropy(torch.zeros(logits), torch.zeros(target, dtype=torch.int64))


def test_types_are_named():
    with pytest.raises(InputError, match=r"\(1, 2, 2\) torch.uint8; .* torch.int64"):
        cross_entropy(torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"torch.int64; expected \(B, K, H, W\) of a float type"):
        cross_entropy(torch.zeros(1, 3, 2, 2, dtype=torch.int64), torch.zeros(1, 2, 2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("label", "message"), [(3, "labels 0 to 3, but the logits have channels 0 to 2"), (-1, "labels -1 to 0")]
)
def test_labels_without_a_channel_are_named(label, message):
    target = torch.tensor([[[0, label, 255]]])
    with pytest.raises(InputError, match=rf"{message}.* mark pixels that belong to no class with 255"):
        cross_entropy(torch.zeros(1, 3, 1, 3), target)


def test_a_class_cannot_be_the_ignored_one():
    with pytest.raises(InputError, match="ignore_index=1 is one of the 3 channels"):
        cross_entropy(torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64), ignore_index=1)


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, -1.0, 1.0], [1.0, math.nan, 1.0]])
def test_weights_are_one_a_class_and_not_negative(weights):
    with pytest.raises(InputError, match="expected 3 numbers of 0 or more, one a channel"):
        cross_entropy(torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64), weights=torch.tensor(weights))
