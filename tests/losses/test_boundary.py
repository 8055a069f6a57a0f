"""Boundary loss: signed distances drawn by hand, their products with probabilities, and monai's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from maskwright.losses import boundary
from maskwright.losses.boundary import signed_distance


def logits_of(foreground: list) -> Tensor:
    p = torch.tensor(foreground, dtype=torch.float64).unsqueeze(1)
    return torch.stack([1 - p, p], dim=1).log()  # (B, 2, 1, W)


def distances(row: str) -> list:
    """Of a row of pixels: # in the region, . outside, ? not known."""
    own, counted = (np.array([[c in chars for c in row]]) for chars in ("#", "#."))
    return signed_distance(own, counted)[0].tolist()


def test_distance_is_0_on_the_outermost_pixels_and_grows_outwards():
    assert distances(".###..") == [1, 0, -1, 0, 1, 2]
    # The border of the image is no boundary.
    assert distances("###.") == [-2, -1, 0, 1]


def test_distance_is_as_the_crow_flies():
    own = np.zeros((3, 4), dtype=bool)
    own[0, 0] = True
    expected = [[0, 1, 2, 3], [1, math.sqrt(2), math.sqrt(5), math.sqrt(10)], [2, math.sqrt(5), math.sqrt(8), math.sqrt(13)]]
    np.testing.assert_allclose(signed_distance(own, np.ones_like(own)), expected)


def test_unknown_pixels_are_of_no_side():
    # The nearest pixel known to be of the other side is two away.
    assert distances("##?.") == [-2, -1, 0, 2]
    assert distances(".?#?.") == [2, 0, -1, 0, 2]


@pytest.mark.parametrize("row", ["####", "....", "#?##", "????"])
def test_a_region_without_a_boundary_has_no_distances(row):
    assert distances(row) == [0, 0, 0, 0]


def test_products_of_probability_and_distance():
    # class 1: 1 0 -1 0 1 times 0.1 0.9 0.8 0.6 0.3: -0.4; class 0: 0 1 2 1 0 times 0.9 0.1 0.2 0.4 0.7: 0.9; 5 px x 2 classes
    target = torch.tensor([[[0, 1, 1, 1, 0]]])
    assert boundary(logits_of([[0.1, 0.9, 0.8, 0.6, 0.3]]), target).item() == pytest.approx(0.5 / 10)


def test_the_mean_is_over_counted_pixels_of_the_batch():
    # image 1 as above, 5 px; image 2, 3 px: class 1: -2 -1 . 2 . times 0.2 0.4 . 0.6 .: 0.4; class 0: 3 2 . -1 . times
    # 0.8 0.6 . 0.4 .: 3.2
    target = torch.tensor([[[0, 1, 1, 1, 0]], [[1, 1, 255, 0, 255]]])
    logits = logits_of([[0.1, 0.9, 0.8, 0.6, 0.3], [0.2, 0.4, 0.5, 0.6, 0.5]])
    assert boundary(logits, target).item() == pytest.approx((0.5 + 0.4 + 3.2) / (2 * (5 + 3)))


def test_a_class_alone_in_an_image_adds_nothing():
    logits = logits_of([[0.1, 0.9, 0.8], [0.3, 0.5, 0.5]])
    logits.requires_grad_()
    loss = boundary(logits, torch.tensor([[[0, 0, 0]], [[1, 255, 1]]]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_the_truth_is_the_minimum():
    torch.manual_seed(0)
    target = torch.zeros(1, 6, 7, dtype=torch.int64)
    target[0, 1:5, 2:6], target[0, 5:] = 1, 2
    best = boundary(200.0 * torch.nn.functional.one_hot(target, 3).permute(0, 3, 1, 2), target)
    assert best < 0
    assert all(boundary(5 * torch.randn(1, 3, 6, 7), target) > best for _ in range(20))


def test_monai_agrees_where_nothing_is_ignored():
    monai = pytest.importorskip("monai.losses")
    torch.manual_seed(0)
    logits, target = torch.randn(2, 4, 6, 7), torch.randint(0, 3, (2, 6, 7))
    target[0, 1:5, 2:6], target[1] = 1, 2  # the second image holds one class alone, and none holds class 3
    theirs = monai.BoundaryLoss(softmax=True, to_onehot_y=True)
    assert_close(boundary(logits, target), theirs(logits, target.unsqueeze(1)))
