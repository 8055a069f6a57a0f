"""Tversky and focal Tversky against values worked out by hand, their special cases, and two other implementations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from maskwright.errors import InputError
from maskwright.losses import dice, jaccard, tversky

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


def test_what_is_missed_and_what_is_found_falsely_have_prices():
    # class 0: overlap 0.8 + 0.5 + 0.7 = 2, false 0.1 + 0.4 = 0.5, missed 0.2 + 0.5 + 0.3 = 1
    # class 1: overlap 0.9 + 0.6 = 1.5, false 0.2 + 0.5 + 0.3 = 1, missed 0.1 + 0.4 = 0.5
    t = [2 / (2 + 0.3 * 0.5 + 0.7 * 1), 1.5 / (1.5 + 0.3 * 1 + 0.7 * 0.5)]
    assert tversky(logits_of(FOREGROUND), TARGET, smooth=0).item() == pytest.approx(1 - sum(t) / 2)
    # one pixel of smooth above and below
    t = [3 / (3 + 0.3 * 0.5 + 0.7 * 1), 2.5 / (2.5 + 0.3 * 1 + 0.7 * 0.5)]
    assert tversky(logits_of(FOREGROUND), TARGET).item() == pytest.approx(1 - sum(t) / 2)


def test_gamma_takes_a_root_of_each_class():
    # as above; 1 / gamma = 3 / 4
    t = [2 / (2 + 0.3 * 0.5 + 0.7 * 1), 1.5 / (1.5 + 0.3 * 1 + 0.7 * 0.5)]
    expected = ((1 - t[0]) ** 0.75 + (1 - t[1]) ** 0.75) / 2
    assert tversky(logits_of(FOREGROUND), TARGET, gamma=4 / 3, smooth=0).item() == pytest.approx(expected)


def test_absent_class_is_left_out_or_counted():
    # class 0: overlap 1.3, missed 1.7 px, false none; class 1: nothing there, 1.7 px found falsely
    logits, target = logits_of([[0.9, 0.6, 0.2]]), torch.zeros(1, 1, 3, dtype=torch.int64)
    background, absent = 2.3 / (2.3 + 0.7 * 1.7), 1 / (1 + 0.3 * 1.7)
    assert tversky(logits, target).item() == pytest.approx(1 - background)
    assert tversky(logits, target, classes="all").item() == pytest.approx(1 - (background + absent) / 2)


@pytest.mark.parametrize("per", ["batch", "image"])
@pytest.mark.parametrize("classes", ["present", "all"])
def test_dice_and_jaccard_are_special_cases(batch, per, classes):
    logits, target = batch
    target = target.masked_fill(target == 2, 0)
    same = {"per": per, "classes": classes}
    assert_close(tversky(*batch, alpha=0.5, beta=0.5, smooth=1.0, **same), dice(*batch, smooth=2.0, **same))
    assert_close(tversky(logits, target, alpha=1, beta=1, **same), jaccard(logits, target, **same))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_root_of_nothing_has_no_slope(dtype):
    # The slope of x ** 0.75 is infinite at 0: times the 0 of a certain pixel that would be nan.
    target = torch.tensor([[[0, 1, 1]]])
    logits = (200 * torch.stack([1 - target, target], dim=1)).to(dtype).requires_grad_()
    loss = tversky(logits, target, gamma=4 / 3)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_smp_agrees_where_no_class_is_absent(batch):
    smp = pytest.importorskip("segmentation_models_pytorch")
    settings = {"alpha": 0.3, "beta": 0.7, "smooth": 1.0}
    theirs = smp.losses.TverskyLoss("multiclass", ignore_index=255, **settings)
    assert_close(tversky(*batch, **settings), theirs(*batch))
    # Its gamma is the power of the mean, not the root of each class.
    theirs = smp.losses.TverskyLoss("multiclass", ignore_index=255, gamma=0.75, **settings)(*batch)
    assert_close(tversky(*batch, **settings) ** 0.75, theirs)
    assert abs(tversky(*batch, **settings, gamma=4 / 3) - theirs) > 1e-5


def test_monai_agrees_image_by_image(batch):
    monai = pytest.importorskip("monai.losses")
    logits, target = batch
    target = target.masked_fill(target == 255, 2)
    target[1] = 0
    theirs = monai.TverskyLoss(softmax=True, to_onehot_y=True, alpha=0.2, beta=0.8, smooth_nr=1.0, smooth_dr=1.0)
    found = tversky(logits, target, alpha=0.2, beta=0.8, per="image", classes="all")
    assert_close(found, theirs(logits, target.unsqueeze(1)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -0.1}, "tversky takes alpha of 0 or more, found -0.1"),
        ({"beta": "much"}, "tversky takes beta of 0 or more, found 'much'"),
        ({"alpha": 0, "beta": 0.0}, "alpha=0 and beta=0 is 0 for every answer; give one of them a price"),
        ({"gamma": 0}, "tversky takes gamma above 0, found 0"),
        ({"gamma": float("inf")}, "tversky takes gamma above 0, found inf"),
        ({"smooth": True}, "tversky takes smooth of 0 px or more, found True"),
        ({"per": "pixel"}, "tversky takes per='batch' or 'image'"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        tversky(logits_of(FOREGROUND), TARGET, **settings)
