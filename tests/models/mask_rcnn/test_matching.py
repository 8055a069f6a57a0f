"""Hits, misses and what is ignored; the choice of a step."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from maskwright.models.mask_rcnn import matching
from maskwright.models.mask_rcnn.matching import balanced, matched

NO_CROWD = torch.zeros(0, 4)


def row(*starts_and_ends: tuple[float, float]) -> torch.Tensor:
    """Boxes 1 px high along the x axis."""
    return torch.tensor([[a, 0, b, 1] for a, b in starts_and_ends], dtype=torch.float32)


def test_hits_misses_and_what_lies_between():
    # Against 0-10: IoU 10/10, 8/12 = 0.67, 5/15 = 0.33 and 2/18 = 0.11.
    state, which = matched(row((0, 10), (2, 12), (5, 15), (8, 18)), row((0, 10)), NO_CROWD, low=0.3, high=0.7)
    assert state.tolist() == [1, -1, -1, 0]
    assert which.tolist() == [0, 0, 0, 0]


def test_no_object_goes_without_its_best_box():
    # The second object, 30-50, is met best by 40-50 (IoU 0.5), which is no hit by itself; 20-31 touches it with 1/30.
    boxes = row((0, 10), (40, 50), (20, 31))
    state, which = matched(boxes, row((0, 10), (30, 50)), NO_CROWD, low=0.3, high=0.7, best_too=True)
    assert (state.tolist(), which.tolist()) == ([1, 1, 0], [0, 1, 1])


def test_an_object_that_no_box_touches_has_no_best():
    state, _ = matched(row((0, 10), (5, 15)), row((100, 110)), NO_CROWD, low=0.3, high=0.7, best_too=True)
    assert state.tolist() == [0, 0]


def test_boxes_in_a_crowd_are_no_misses():
    # In the crowd at 0-20: all of 0-10 and 8 of 10 px of 12-22; half of 15-25; 30-40 lies outside.
    boxes, crowd = row((0, 10), (12, 22), (15, 25), (30, 40)), row((0, 20))
    assert matched(boxes, torch.zeros(0, 4), crowd, low=0.3, high=0.7)[0].tolist() == [-1, -1, 0, 0]
    # An object in the crowd that was told apart is a hit all the same.
    assert matched(boxes, row((0, 10)), crowd, low=0.3, high=0.7)[0].tolist() == [1, -1, 0, 0]


def test_without_objects_all_are_misses():
    state, which = matched(row((0, 10), (5, 15)), torch.zeros(0, 4), NO_CROWD, low=0.3, high=0.7, best_too=True)
    assert (state.tolist(), which.tolist()) == ([0, 0], [0, 0])


@pytest.mark.parametrize("pairs", [1 << 22, 40])
@pytest.mark.parametrize("best_too", [True, False])
def test_as_torchvisions_matcher_however_many_at_a_time(monkeypatch, pairs, best_too):
    monkeypatch.setattr(matching, "PAIRS", pairs)
    torch.manual_seed(0)
    corners = (torch.rand(320, 2) * 60).round()  # whole pixels, so that there are ties
    boxes = torch.cat([corners, corners + 8 + (torch.rand(320, 2) * 12).round()], dim=1)
    boxes, objects = boxes[:300], boxes[300:]
    expected = Matcher(0.7, 0.3, allow_low_quality_matches=best_too)(box_iou(objects, boxes))
    state, which = matched(boxes, objects, NO_CROWD, low=0.3, high=0.7, best_too=best_too)
    assert torch.equal(state, torch.where(expected >= 0, 1, torch.where(expected == -1, 0, -1)))
    assert torch.equal(which[state == 1], expected[expected >= 0])
    assert {-1, 0, 1} == set(state.tolist())


def test_a_balanced_choice():
    torch.manual_seed(0)
    labels = torch.tensor([0] * 50 + [-1] * 50 + [1, 2, 3] * 10)
    taken = balanced(labels, 20, 0.25)
    assert (labels[taken] > 0).sum() == 5
    assert (labels[taken] == 0).sum() == 15
    assert taken.tolist() == sorted(set(taken.tolist()))
    assert not torch.equal(taken, balanced(labels, 20, 0.25))


def test_a_choice_of_what_there_is():
    assert balanced(torch.tensor([-1, 1, -1, 0, 0]), 20, 0.5).tolist() == [1, 3, 4]
    assert balanced(torch.tensor([-1, -1]), 20, 0.5).tolist() == []
    assert len(balanced(torch.tensor([1] * 8 + [0]), 4, 0.5)) == 3  # two of the hits, one miss
