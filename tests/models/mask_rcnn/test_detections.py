"""From class logits and deltas to the objects of an image, by hand."""

from __future__ import annotations

import math

import torch
from torch.testing import assert_close

from maskwright.models.mask_rcnn.detections import Found, detected

HW = (50, 60)
PROPOSALS = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [30, 20, 40, 30]])


def found_with(shares: list[list[float]], deltas: torch.Tensor | None = None, **given: float) -> Found:
    """`shares`: probabilities of background and two classes for each of PROPOSALS."""
    limits = {"least_score": 0.05, "overlap": 0.5, "most": 100} | given
    deltas = torch.zeros(len(PROPOSALS), 3, 4) if deltas is None else deltas
    return detected(torch.tensor(shares).log(), deltas, PROPOSALS, HW, **limits)


SHARES = [[0.1, 0.6, 0.3], [0.2, 0.7, 0.1], [0.94, 0.02, 0.04]]


def test_every_class_of_a_proposal_is_a_candidate():
    # The first two overlap with IoU 0.9: of class 1 the second stays, of class 2 the first. The third is background.
    boxes, scores, classes = found_with(SHARES)
    assert classes.tolist() == [1, 2]
    assert_close(scores, torch.tensor([0.7, 0.3]))
    assert torch.equal(boxes, PROPOSALS[[1, 0]])


def test_limits():
    assert found_with(SHARES, overlap=0.95).classes.tolist() == [1, 1, 2, 2]
    assert found_with(SHARES, least_score=0.03).classes.tolist() == [1, 2, 2]
    assert found_with(SHARES, most=1).classes.tolist() == [1]
    assert found_with(SHARES, least_score=0.9).boxes.shape == (0, 4)


def test_each_class_moves_its_own_box_and_all_are_clipped():
    deltas = torch.zeros(3, 3, 4)
    deltas[0, 2, 0] = 10.0  # one width to the right: the factor of shifts is 10
    deltas[1, 1, 3] = 5 * math.log(4)  # four times as high: from -13.5 to 22.5, of which 0 to 22.5 lie in the image
    boxes = found_with(SHARES, deltas).boxes
    # Now nothing overlaps by half: 100 of 225 px are shared by those of class 1.
    assert_close(boxes, torch.tensor([[0.0, 0, 10, 22.5], [0, 0, 10, 10], [10, 0, 20, 10], [0, 0, 10, 9]]))


def test_what_leaves_the_image_goes():
    deltas = torch.zeros(3, 3, 4)
    deltas[:, :, 1] = -100.0  # ten heights up
    assert len(found_with(SHARES, deltas).boxes) == 0
