"""Dice against values worked out by hand: what is summed together, what absent classes and ignored pixels count."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskwright.errors import InputError
from maskwright.losses import dice

# Probability of class 1 in two images of 1 x 3 pixels; the second pixel of the second image is ignored.
FOREGROUND = [[0.9, 0.6, 0.2], [0.5, 0.1, 0.3]]
TARGET = torch.tensor([[[1, 1, 0]], [[0, 255, 0]]])


def logits_of(foreground: list) -> Tensor:
    p = torch.tensor(foreground, dtype=torch.float64).unsqueeze(1)
    return torch.stack([1 - p, p], dim=1).log()  # (B, 2, 1, 3)


def score(overlap: float, found: float, truth: float, smooth: float = 0.0) -> float:
    return (2 * overlap + smooth) / (found + truth + smooth)


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_sums_over_the_batch(smooth):
    # class 0: overlap 0.8 + 0.5 + 0.7, found 0.1 + 0.4 + 0.8 + 0.5 + 0.7, truth 3 px
    # class 1: overlap 0.9 + 0.6, found 0.9 + 0.6 + 0.2 + 0.5 + 0.3, truth 2 px
    expected = 1 - (score(2.0, 2.5, 3, smooth) + score(1.5, 2.5, 2, smooth)) / 2
    assert dice(logits_of(FOREGROUND), TARGET, smooth=smooth).item() == pytest.approx(expected)


def test_each_image_for_itself():
    # image 1: class 0: 0.8 of 1.3 and 1 px, class 1: 1.5 of 1.7 and 2 px
    # image 2: class 0: 1.2 of 1.2 and 2 px; class 1 is not there
    expected = 1 - (score(0.8, 1.3, 1) + score(1.5, 1.7, 2) + score(1.2, 1.2, 2)) / 3
    assert dice(logits_of(FOREGROUND), TARGET, per="image", smooth=0).item() == pytest.approx(expected)


def test_all_classes_of_each_image():
    # as above, and class 1 of image 2: nothing there, 0.8 found: (0 + 1) / (0.8 + 0 + 1)
    expected = 1 - (score(0.8, 1.3, 1, 1) + score(1.5, 1.7, 2, 1) + score(1.2, 1.2, 2, 1) + 1 / 1.8) / 4
    assert dice(logits_of(FOREGROUND), TARGET, per="image", classes="all").item() == pytest.approx(expected)


def test_absent_class_is_left_out_or_counted():
    logits, target = logits_of([[0.9, 0.6, 0.2]]), torch.zeros(1, 1, 3, dtype=torch.int64)
    background = score(0.1 + 0.4 + 0.8, 1.3, 3, 1)
    assert dice(logits, target).item() == pytest.approx(1 - background)
    assert dice(logits, target, classes="all").item() == pytest.approx(1 - (background + 1 / 2.7) / 2)
    assert dice(logits, target, classes="all", smooth=0).item() == pytest.approx(1 - score(1.3, 1.3, 3) / 2)


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_everything():
    logits, target = torch.tensor([[[[60.0, -60.0]], [[-60.0, 60.0]]]]), torch.tensor([[[0, 1]]])
    assert dice(logits, target).item() == pytest.approx(0, abs=1e-6)
    assert dice(-logits, target, smooth=0).item() == pytest.approx(1, abs=1e-6)


def test_batch_order_of_sums_differs_from_image_order():
    # A fully ignored second image changes nothing in either.
    with_ignored = torch.tensor([[[1, 1, 0]], [[255, 255, 255]]])
    for per in ("batch", "image"):
        for classes in ("present", "all"):
            alone = dice(logits_of(FOREGROUND[:1]), TARGET[:1], per=per, classes=classes)
            both = dice(logits_of(FOREGROUND), with_ignored, per=per, classes=classes)
            assert both.item() == pytest.approx(alone.item())


@pytest.mark.parametrize("per", ["batch", "image"])
@pytest.mark.parametrize("classes", ["present", "all"])
def test_gradient(per, classes):
    torch.manual_seed(0)
    target = torch.tensor([[[0, 2, 255], [0, 0, 2]], [[0, 1, 0], [255, 0, 0]]])
    logits = torch.randn(2, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: dice(x, target, per=per, classes=classes), logits)


@pytest.mark.parametrize("per", ["batch", "image"])
@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_nothing_counted_is_zero_with_a_gradient(per, classes, smooth):
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    loss = dice(logits, torch.full((2, 4, 5), 255), per=per, classes=classes, smooth=smooth)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_ignored_pixels_get_no_gradient():
    logits = logits_of(FOREGROUND).requires_grad_()
    dice(logits, TARGET).backward()
    assert logits.grad[1, :, 0, 1].tolist() == [0, 0]
    assert (logits.grad != 0).sum() == 10  # five counted pixels, two channels


@pytest.mark.parametrize("per", ["batch", "image"])
def test_bf16_is_summed_in_full_precision(per):
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 51, 71) + torch.tensor([3.0, 0.0, -3.0]).view(1, 3, 1, 1)  # errors of equal classes would cancel
    logits = logits.bfloat16().contiguous(memory_format=torch.channels_last)
    target = torch.zeros(1, 51, 71, dtype=torch.int64)
    target[:, :2], target[:, 2:3] = 1, 2
    with torch.autocast("cpu", torch.bfloat16):  # as in a training loop that forgot to leave it
        found = dice(logits, target, per=per)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(dice(logits.double(), target, per=per).item(), rel=1e-5)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    target = torch.randint(0, 3, (2, 5, 6))
    target[0, :2] = 255
    return torch.randn(2, 3, 5, 6, dtype=torch.float64), target


def test_smp_agrees_where_no_class_is_absent(batch):
    smp = pytest.importorskip("segmentation_models_pytorch")
    logits, target = batch
    theirs = smp.losses.DiceLoss("multiclass", smooth=1.0, ignore_index=255)
    assert dice(logits, target, smooth=2).item() == pytest.approx(theirs(logits, target).item())
    # With class 2 absent it still divides by three.
    target = target.masked_fill(target == 2, 0)
    assert dice(logits, target, smooth=2).item() * 2 / 3 == pytest.approx(theirs(logits, target).item())


def test_monai_agrees_image_by_image(batch):
    monai = pytest.importorskip("monai.losses")
    logits, target = batch
    target = target.masked_fill(target == 255, 2)
    target[1] = 0  # two classes are absent from this image
    theirs = monai.DiceLoss(softmax=True, to_onehot_y=True, smooth_nr=1.0, smooth_dr=1.0)(logits, target.unsqueeze(1))
    assert dice(logits, target, per="image", classes="all").item() == pytest.approx(theirs.item())


def test_unknown_choices_are_named():
    with pytest.raises(InputError, match="dice takes per='batch' or 'image', found 'pixel'"):
        dice(logits_of(FOREGROUND), TARGET, per="pixel")
    with pytest.raises(InputError, match="dice takes classes='present' or 'all', found 'foreground'"):
        dice(logits_of(FOREGROUND), TARGET, classes="foreground")
    with pytest.raises(InputError, match="smooth of 0 px or more, found -1"):
        dice(logits_of(FOREGROUND), TARGET, smooth=-1)


def test_batches_of_different_length_are_not_broadcast():
    with pytest.raises(InputError, match=r"target is \(2, 1, 3\) torch.int64; logits \(1, 2, 1, 3\) need \(1, 1, 3\)"):
        dice(logits_of(FOREGROUND[:1]), TARGET)
