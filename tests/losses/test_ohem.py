"""Cross entropy of the hard pixels: which are taken, by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from maskwright.errors import InputError
from maskwright.losses import cross_entropy, ohem


def logits_of(own: list) -> Tensor:
    """Logits of one row of pixels of class 0, from the probabilities of that class."""
    p = torch.tensor([[own]], dtype=torch.float64)
    return torch.stack([p, 1 - p], dim=1).log().requires_grad_()  # (1, 2, 1, N)


def mean_of(*own: float) -> float:
    return -sum(map(math.log, own)) / len(own)


ZEROS = torch.zeros(1, 1, 4, dtype=torch.int64)
FOUR = [0.5, 0.75, 0.1, 0.9]


def test_pixels_below_the_threshold_are_taken():
    logits = logits_of(FOUR)
    loss = ohem(logits, ZEROS)
    assert loss.item() == pytest.approx(mean_of(0.5, 0.1))
    loss.backward()
    assert (logits.grad[0, 0, 0] != 0).tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("share", "taken"),
    [(0, []), (0.24, []), (0.25, [0.1]), (0.5, [0.1, 0.5]), (0.99, [0.1, 0.5, 0.75]), (1, FOUR)],
)
def test_the_least_probable_fill_up_the_minimum(share, taken):
    # No pixel is below 0.05; 0.24 x 4 px and 0.99 x 4 px are rounded down to 0 and 3 px.
    found = ohem(logits_of(FOUR), ZEROS, threshold=0.05, min_share=share).item()
    assert found == pytest.approx(mean_of(*taken) if taken else 0)


def test_the_minimum_takes_nothing_away_from_the_threshold():
    assert ohem(logits_of(FOUR), ZEROS, threshold=0.8, min_share=0.25).item() == pytest.approx(mean_of(0.5, 0.75, 0.1))


def test_equally_improbable_pixels_are_taken_together():
    # One of four pixels is asked for, and two share the lowest place.
    assert ohem(logits_of([0.2, 0.2, 0.6, 0.9]), ZEROS, threshold=0.1, min_share=0.25).item() == pytest.approx(mean_of(0.2))
    logits = logits_of([0.2, 0.2, 0.6, 0.9])
    ohem(logits, ZEROS, threshold=0.1, min_share=0.25).backward()
    assert (logits.grad[0, 0, 0] != 0).tolist() == [True, True, False, False]


def test_ignored_pixels_are_neither_taken_nor_counted():
    target = torch.tensor([[[0, 0, 255, 255]]])
    assert ohem(logits_of(FOUR), target).item() == pytest.approx(mean_of(0.5))
    # half of the two that count, not of four
    assert ohem(logits_of(FOUR), target, threshold=0.05, min_share=0.5).item() == pytest.approx(mean_of(0.5))


def test_weights_enter_the_mean_but_not_the_choice():
    # 0.6 and 0.4 of class 1, 0.5 and 0.1 of class 0 are below 0.7; class 1 weighs 3
    logits, target = logits_of([0.5, 0.4, 0.1, 0.6]), torch.tensor([[[0, 1, 0, 1]]])
    expected = (2 * mean_of(0.5, 0.1) + 3 * 2 * mean_of(0.6, 0.4)) / (1 + 3 + 1 + 3)
    assert ohem(logits, target, weights=torch.tensor([1.0, 3.0])).item() == pytest.approx(expected)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 1.0])])
def test_the_whole_share_is_cross_entropy(weights):
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 5, 6), torch.randint(0, 3, (2, 5, 6))
    target[0, :2] = 255
    assert_close(ohem(logits, target, weights=weights, min_share=1), cross_entropy(logits, target, weights=weights))


@pytest.mark.parametrize("threshold", [0.7, 0.02])
def test_it_is_a_mean_of_sorted_pixel_losses(threshold):
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 8, 9), torch.randint(0, 3, (2, 8, 9))
    target[0, :2] = 255
    losses = F.cross_entropy(logits, target, ignore_index=255, reduction="none")[target != 255].sort(descending=True).values
    kept = max(int((losses > -math.log(threshold)).sum()), 126 // 16)  # 2 x 8 x 9 - 2 x 9 px count
    assert_close(ohem(logits, target, threshold=threshold), losses[:kept].mean())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 0}, "ohem takes threshold above 0 and at most 1, found 0"),
        ({"threshold": 1.5}, "ohem takes threshold above 0 and at most 1, found 1.5"),
        ({"min_share": -0.1}, "ohem takes min_share of 0 or more and at most 1, found -0.1"),
        ({"min_share": 100000}, "ohem takes min_share of 0 or more and at most 1, found 100000"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        ohem(logits_of(FOUR), ZEROS, **settings)
