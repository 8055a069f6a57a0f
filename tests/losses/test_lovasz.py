"""Lovasz-Softmax against values worked out by hand, hard Jaccard losses, and segmentation-models-pytorch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from maskwright.errors import InputError
from maskwright.losses import jaccard, lovasz

# Probability of class 1 in two images of 1 x 3 pixels; the second pixel of the second image is ignored.
FOREGROUND = [[0.9, 0.6, 0.2], [0.5, 0.1, 0.3]]
TARGET = torch.tensor([[[1, 1, 0]], [[0, 255, 0]]])


def logits_of(foreground: list) -> Tensor:
    p = torch.tensor(foreground, dtype=torch.float64).unsqueeze(1)
    return torch.stack([1 - p, p], dim=1).log()  # (B, 2, 1, 3)


# Class 1: errors 0.4 (own), 0.2 (other), 0.1 (own) in order. Of 2 px: after the first 1 of 2 is right, loss 1/2; then 1 of
# 3, loss 2/3; then 0 of 3, loss 1. Gains 1/2, 1/6, 1/3.
FIRST_1 = 0.4 / 2 + 0.2 / 6 + 0.1 / 3
# Class 0: errors 0.4 (other), 0.2 (own), 0.1 (other). Of 1 px: 1 of 2, loss 1/2; then 0 of 2, loss 1. Gains 1/2, 1/2, 0.
FIRST_0 = 0.4 / 2 + 0.2 / 2
# Second image, class 0 alone: errors 0.5 and 0.3, both own. Gains 1/2, 1/2.
SECOND_0 = 0.5 / 2 + 0.3 / 2


def test_errors_times_gains_of_one_image():
    assert lovasz(logits_of(FOREGROUND[:1]), TARGET[:1]).item() == pytest.approx((FIRST_1 + FIRST_0) / 2)


def test_each_image_for_itself():
    assert lovasz(logits_of(FOREGROUND), TARGET, per="image").item() == pytest.approx((FIRST_1 + FIRST_0 + SECOND_0) / 3)


def test_the_batch_is_ranked_as_one():
    # class 1: 0.5 (other), 0.4 (own), 0.3 (other), 0.2 (other), 0.1 (own); right of union: 2/3, 1/3, 1/4, 1/5, 0/5
    class_1 = 0.5 * (1 / 3) + 0.4 * (1 / 3) + 0.3 * (1 / 3 - 1 / 4) + 0.2 * (1 / 4 - 1 / 5) + 0.1 * (1 / 5)
    # class 0: 0.5 (own), 0.4 (other), 0.3 (own), 0.2 (own), 0.1 (other); right of union: 2/3, 2/4, 1/4, 0/4, 0/5
    class_0 = 0.5 * (1 / 3) + 0.4 * (2 / 3 - 2 / 4) + 0.3 * (2 / 4 - 1 / 4) + 0.2 * (1 / 4)
    assert lovasz(logits_of(FOREGROUND), TARGET).item() == pytest.approx((class_1 + class_0) / 2)


def test_absent_class_is_left_out_or_counted_by_its_largest_probability():
    # class 0: errors 0.9, 0.6, 0.2 of 3 own px, each gains 1/3
    logits, target = logits_of([[0.9, 0.6, 0.2]]), torch.zeros(1, 1, 3, dtype=torch.int64)
    assert lovasz(logits, target).item() == pytest.approx(1.7 / 3)
    assert lovasz(logits, target, classes="all").item() == pytest.approx((1.7 / 3 + 0.9) / 2)
    # An ignored pixel with the largest probability of all does not take its place.
    target = torch.tensor([[[255, 0, 0]]])
    assert lovasz(logits, target, classes="all").item() == pytest.approx((0.8 / 2 + 0.6) / 2)


@pytest.mark.parametrize("per", ["batch", "image"])
def test_of_hard_answers_it_is_the_jaccard_loss(per):
    torch.manual_seed(0)
    target, found = torch.randint(0, 3, (2, 2, 5, 6))
    target[1, :2] = 255
    logits = 120.0 * torch.nn.functional.one_hot(found, 3).permute(0, 3, 1, 2)
    assert_close(lovasz(logits, target, per=per), jaccard(logits, target, per=per, smooth=0))


def test_the_order_of_equal_errors_does_not_matter():
    target = torch.tensor([[[0, 1, 0, 1, 1, 0]]])
    logits = torch.zeros(1, 2, 1, 6)
    assert_close(lovasz(logits, target), lovasz(logits, target.flip(2)))


def test_digits_are_kept_over_many_pixels():
    torch.manual_seed(0)
    logits, target = torch.randn(1, 2, 300, 400), (torch.rand(1, 300, 400) < 0.3).long()
    assert lovasz(logits, target).item() == pytest.approx(lovasz(logits.double(), target).item(), rel=1e-6)


@pytest.mark.parametrize("per", ["batch", "image"])
def test_smp_agrees(per):
    # Per image it takes the mean of each image first: the same if all images hold equally many classes.
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    logits, target = torch.randn(2, 4, 5, 6), torch.randint(0, 3, (2, 5, 6))
    target[0, :2] = 255
    logits.requires_grad_()
    theirs = smp.losses.LovaszLoss("multiclass", per_image=per == "image", ignore_index=255)(logits, target)
    found = lovasz(logits, target, per=per)
    assert_close(found, theirs)
    assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(theirs, logits))


def test_unknown_choices_are_named():
    with pytest.raises(InputError, match="lovasz takes per='batch' or 'image', found 'pixel'"):
        lovasz(logits_of(FOREGROUND), TARGET, per="pixel")
    with pytest.raises(InputError, match="lovasz takes classes='present' or 'all', found 'foreground'"):
        lovasz(logits_of(FOREGROUND), TARGET, classes="foreground")
