"""Boxes as deltas and back, clipping, shares inside."""

from __future__ import annotations

import math

import torch
from torch.testing import assert_close

from maskwright.models.mask_rcnn.boxes import FROM_ANCHORS, FROM_PROPOSALS, clipped, decoded, encoded, large_enough, share_inside

ANCHOR = torch.tensor([[10.0, 20, 20, 40]])  # centre (15, 30), 10 wide, 20 high


def test_a_box_beside_its_anchor():
    # Half a width to the right, a quarter of a height up; twice as wide, half as high: centre (20, 25), 20 x 10.
    box = torch.tensor([[10.0, 20, 30, 30]])
    deltas = torch.tensor([[0.5, -0.25, math.log(2), -math.log(2)]])
    assert_close(encoded(box, ANCHOR, FROM_ANCHORS), deltas)
    assert_close(decoded(deltas, ANCHOR, FROM_ANCHORS), box)
    assert_close(encoded(box, ANCHOR, FROM_PROPOSALS), deltas * torch.tensor([10.0, 10, 5, 5]))


def test_there_and_back():
    torch.manual_seed(0)
    corners = torch.rand(2, 50, 2) * 100
    anchors, boxes = torch.cat([corners, corners + 1 + torch.rand(2, 50, 2) * 50], dim=2)
    assert_close(decoded(encoded(boxes, anchors, FROM_PROPOSALS), anchors, FROM_PROPOSALS), boxes, atol=1e-4, rtol=0)


def test_growth_ends_at_a_thousand_from_sixteen():
    found = decoded(torch.tensor([[0.0, 0, 50, 50]]), torch.tensor([[0.0, 0, 16, 16]]), FROM_ANCHORS)
    assert_close(found, torch.tensor([[8 - 500.0, 8 - 500, 8 + 500, 8 + 500]]))


def test_every_class_has_its_own_deltas():
    deltas = torch.zeros(1, 2, 4)
    deltas[0, 1, 0] = 1
    assert_close(
        decoded(deltas, ANCHOR[:, None], FROM_ANCHORS)[0], torch.stack([ANCHOR[0], ANCHOR[0] + torch.tensor([10, 0, 10, 0])])
    )


def test_clipped_to_an_image_of_30_rows_and_40_columns():
    assert clipped(torch.tensor([[-5.0, -6, 50, 60], [1, 2, 3, 4]]), (30, 40)).tolist() == [[0, 0, 40, 30], [1, 2, 3, 4]]


def test_large_enough_asks_for_both_sides():
    assert large_enough(torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 0.5], [0, 0, 0.5, 1]]), 1.0).tolist() == [True, False, False]


def test_share_inside_the_area_that_holds_most():
    areas = torch.tensor([[0.0, 0, 10, 10], [0, 0, 4, 4]])
    boxes = torch.tensor([[5.0, 5, 15, 15], [0, 0, 2, 2], [20, 20, 30, 30], [3, 3, 3, 3]])  # 25 of 100; all; none; a point
    assert share_inside(boxes, areas).tolist() == [0.25, 1.0, 0.0, 0.0]
    assert share_inside(boxes, torch.zeros(0, 4)).tolist() == [0.0] * 4
