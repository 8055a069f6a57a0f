"""Soft Jaccard against values worked out by hand, and against two other implementations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from maskwright.errors import InputError
from maskwright.losses import dice, jaccard

# Probability of class 1 in two images of 1 x 3 pixels; the second pixel of the second image is ignored.
FOREGROUND = [[0.9, 0.6, 0.2], [0.5, 0.1, 0.3]]
TARGET = torch.tensor([[[1, 1, 0]], [[0, 255, 0]]])


def logits_of(foreground: list) -> Tensor:
    p = torch.tensor(foreground, dtype=torch.float64).unsqueeze(1)
    return torch.stack([1 - p, p], dim=1).log()  # (B, 2, 1, 3)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    target = torch.randint(0, 3, (2, 5, 6))
    target[0, :2] = 255
    return torch.randn(2, 3, 5, 6, dtype=torch.float64), target


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_sums_over_the_batch(smooth):
    # class 0: overlap 0.8 + 0.5 + 0.7 = 2, found 0.1 + 0.4 + 0.8 + 0.5 + 0.7 = 2.5, truth 3 px: union 3.5
    # class 1: overlap 0.9 + 0.6 = 1.5, found 0.9 + 0.6 + 0.2 + 0.5 + 0.3 = 2.5, truth 2 px: union 3
    expected = 1 - ((2 + smooth) / (3.5 + smooth) + (1.5 + smooth) / (3 + smooth)) / 2
    assert jaccard(logits_of(FOREGROUND), TARGET, smooth=smooth).item() == pytest.approx(expected)


def test_each_image_for_itself():
    # image 1: class 0: 0.8 of 1.3 + 1 - 0.8 px, class 1: 1.5 of 1.7 + 2 - 1.5 px; image 2: class 0: 1.2 of 1.2 + 2 - 1.2 px
    expected = 1 - (0.8 / 1.5 + 1.5 / 2.2 + 1.2 / 2) / 3
    assert jaccard(logits_of(FOREGROUND), TARGET, per="image", smooth=0).item() == pytest.approx(expected)


def test_absent_class_is_left_out_or_counted():
    # class 0: overlap and found 0.1 + 0.4 + 0.8 = 1.3 px of 3; class 1: nothing there, 1.7 px found
    logits, target = logits_of([[0.9, 0.6, 0.2]]), torch.zeros(1, 1, 3, dtype=torch.int64)
    assert jaccard(logits, target).item() == pytest.approx(1 - 2.3 / 4)
    assert jaccard(logits, target, classes="all").item() == pytest.approx(1 - (2.3 / 4 + 1 / 2.7) / 2)
    assert jaccard(logits, target, classes="all", smooth=0).item() == pytest.approx(1 - (1.3 / 3) / 2)


def test_of_hard_answers_it_is_one_minus_iou():
    # two squares of 4 px that share 2 px: 2 / 6; the background: 8 px each, 6 shared: 6 / 10
    truth = torch.tensor([[[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]])
    found = torch.tensor([[[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]])
    logits = 120.0 * torch.stack([1 - found, found], dim=1)
    assert jaccard(logits, truth, smooth=0).item() == pytest.approx(1 - (2 / 6 + 6 / 10) / 2)


def test_dice_is_twice_jaccard_over_one_more(batch):
    # of one class in one batch, D = 2 J / (1 + J); all but class 1 marked as ignored leaves one class
    logits, target = batch
    j = 1 - jaccard(logits, target.masked_fill(target != 1, 255), smooth=0)
    d = 1 - dice(logits, target.masked_fill(target != 1, 255), smooth=0)
    assert_close(d, 2 * j / (1 + j))


def test_smp_agrees_where_no_class_is_absent(batch):
    smp = pytest.importorskip("segmentation_models_pytorch")
    logits, target = batch
    for smooth in (0.0, 1.0):
        theirs = smp.losses.JaccardLoss("multiclass", smooth=smooth, ignore_index=255)
        assert_close(jaccard(logits, target, smooth=smooth), theirs(logits, target))
    # With class 2 absent it still divides by three.
    target = target.masked_fill(target == 2, 0)
    assert_close(
        jaccard(logits, target) * 2 / 3, smp.losses.JaccardLoss("multiclass", smooth=1.0, ignore_index=255)(logits, target)
    )


def test_monai_agrees_image_by_image(batch):
    monai = pytest.importorskip("monai.losses")
    logits, target = batch
    target = target.masked_fill(target == 255, 2)
    target[1] = 0  # two classes are absent from this image
    theirs = monai.DiceLoss(jaccard=True, softmax=True, to_onehot_y=True, smooth_nr=2.0, smooth_dr=2.0)
    assert_close(jaccard(logits, target, per="image", classes="all", smooth=1.0), theirs(logits, target.unsqueeze(1)))


def test_unknown_choices_are_named():
    with pytest.raises(InputError, match="jaccard takes per='batch' or 'image', found 'pixel'"):
        jaccard(logits_of(FOREGROUND), TARGET, per="pixel")
    with pytest.raises(InputError, match="jaccard takes classes='present' or 'all', found 'foreground'"):
        jaccard(logits_of(FOREGROUND), TARGET, classes="foreground")
    with pytest.raises(InputError, match="jaccard takes smooth of 0 px or more, found nan"):
        jaccard(logits_of(FOREGROUND), TARGET, smooth=float("nan"))
