"""Proposals: the likeliest of each level, none twice, clipped, and filled up to a fixed number."""

from __future__ import annotations

import torch

from maskwright.models.mask_rcnn.proposals import fixed, propose

ANCHORS = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 10], [90, 90, 99, 99]])
PER_LEVEL = [3, 2]


def proposed(scores: list[float], hw: tuple[int, int] = (40, 40), **given: int) -> list[list[float]]:
    limits = {"most": 10, "most_per_level": 10} | given
    deltas = torch.zeros(1, len(ANCHORS), 4)
    return propose(torch.tensor([scores]), deltas, ANCHORS, PER_LEVEL, [hw], **limits)[0].tolist()


def test_likeliest_first_and_doubles_of_a_level_go():
    # The second overlaps the first with IoU 90 / 110 = 0.82 and is likelier; the fourth, of another level, stays.
    assert proposed([1.0, 3.0, 2.0, 0.0, -1.0], hw=(100, 100)) == [ANCHORS[i].tolist() for i in (1, 2, 3, 4)]


def test_what_lies_outside_the_image_goes():
    assert proposed([1.0, 0.0, 2.0, -5.0, 9.0], hw=(40, 25)) == [[20, 0, 25, 10], [0, 0, 10, 10], [0, 0, 10, 10]]


def test_limits_of_each_level_and_of_all():
    assert proposed([1.0, 0.0, 2.0, -1.0, -2.0], hw=(100, 100), most_per_level=1) == [[20, 0, 30, 10], [0, 0, 10, 10]]
    assert proposed([1.0, 0.0, 2.0, -1.0, -2.0], hw=(100, 100), most=1) == [[20, 0, 30, 10]]


def test_every_image_has_its_own():
    scores = torch.tensor([[5.0, 0, 0, -9, -9], [-9.0, -9, 0, 5, 5]])
    deltas = torch.zeros(2, 5, 4)
    deltas[1, 3, 0] = 1  # to the right by its width
    first, second = propose(scores, deltas, ANCHORS, PER_LEVEL, [(40, 40), (100, 100)], most=2, most_per_level=9)
    assert first.tolist() == [[0, 0, 10, 10], [20, 0, 30, 10]]
    assert sorted(second.tolist()) == [[10, 0, 20, 10], [90, 90, 99, 99]]


def test_no_gradient_flows_through_proposals():
    scores = torch.zeros(1, 5, requires_grad=True)
    assert not propose(scores, torch.zeros(1, 5, 4), ANCHORS, PER_LEVEL, [(40, 40)], most=9, most_per_level=9)[0].requires_grad


def test_a_fixed_number():
    boxes, real = fixed([ANCHORS[:1], ANCHORS[:3], ANCHORS[:0]], 2)
    assert boxes.shape == (3, 2, 4)
    assert real.tolist() == [[True, False], [True, True], [False, False]]
    assert torch.equal(boxes[1], ANCHORS[:2])
    assert boxes[~real].abs().sum() == 0
