"""The five losses by hand: what counts, and by what it is divided."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.testing import assert_close

from maskwright.models.mask_rcnn.losses import Chosen, box_losses, choose, mask_loss, proposal_losses
from maskwright.models.mask_rcnn.truth import Truth, truth_of
from maskwright.ops.rle import Rle


def one_object(class_: int = 2) -> Truth:
    """10 x 10 px at the corner of an image of 40 x 40."""
    mask = np.zeros((40, 40), bool)
    mask[:10, :10] = True
    return truth_of([Rle.from_mask(mask)], [class_])


NOTHING = truth_of([], [])


def everything(labels: torch.Tensor, count: int, share: float) -> torch.Tensor:
    return (labels >= 0).nonzero()[:, 0]


def test_proposals():
    # The first anchor is the object, the second half as high (IoU 0.5, ignored), the third elsewhere.
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30]])
    objectness, deltas = torch.zeros(1, 3), torch.zeros(1, 3, 4)
    deltas[0, 0, 0] = 1.0  # off by one: beyond 1/9 smooth L1 is |x| - 1/18
    score, box = proposal_losses(objectness, deltas, anchors, [one_object()], everything, 9)
    assert_close(score, torch.tensor(math.log(2)))
    assert_close(box, torch.tensor((1 - 1 / 18) / 2))  # by the two sampled anchors


def test_the_truth_itself_is_a_candidate():
    proposals = torch.tensor([[0.0, 0, 10, 8], [0, 0, 10, 4], [20, 20, 30, 30]])  # IoU 0.8, 0.4, 0
    chosen = choose(proposals, one_object(), everything, 9)
    assert chosen.labels.tolist() == [2, 0, 0, 2]
    assert chosen.boxes[3].tolist() == [0, 0, 10, 10]
    assert chosen.hits().boxes.tolist() == [[0, 0, 10, 8], [0, 0, 10, 10]]
    assert choose(proposals, NOTHING, everything, 9).labels.tolist() == [0, 0, 0]


def test_boxes_count_for_their_own_class_alone():
    chosen = Chosen(torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]]), torch.tensor([2, 0]), torch.tensor([0, 0]))
    deltas = torch.full((2, 3, 4), 7.0)
    deltas[0, 2] = torch.tensor([0.0, 0, 0, 2])
    classes, boxes = box_losses(torch.zeros(2, 3), deltas, [chosen], [one_object()])
    assert_close(classes, torch.tensor(math.log(3)))
    assert_close(boxes, torch.tensor((2 - 1 / 18) / 2))  # by both proposals


def test_masks_count_for_their_own_class_alone():
    hits = Chosen(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([2]), torch.tensor([0]))
    logits = torch.full((1, 3, 28, 28), 50.0)
    logits[0, 2] = 0.0
    assert_close(mask_loss(logits, [hits], [one_object()]), torch.tensor(math.log(2)))
    # With logits of 50 it is 50 times what the target lacks to 1. The object fills its box, but as pixels' values stand at whole
    # coordinates, the mask falls from 1 at 9 px to 0 at 10: of 28 samples along a side, at (i + 1/2) 10 / 28, the last three are at
    # 9.107, 9.464 and 9.821.
    logits[0, 2] = 50.0
    along = (25 + 0.893 + 0.536 + 0.179) / 28
    assert_close(mask_loss(logits, [hits], [one_object()]), torch.tensor(50 * (1 - along**2)), atol=1e-2, rtol=0)


def test_without_objects_there_are_no_boxes_and_no_masks():
    chosen = Chosen(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([0]), torch.tensor([0]))
    deltas, logits = torch.ones(1, 3, 4, requires_grad=True), torch.ones(0, 3, 28, 28, requires_grad=True)
    boxes = box_losses(torch.zeros(1, 3), deltas, [chosen], [NOTHING])[1]
    masks = mask_loss(logits, [chosen.hits()], [NOTHING])
    assert boxes == masks == 0
    (boxes + masks).backward()
    assert deltas.grad is not None
    assert deltas.grad.abs().sum() == 0


def test_nothing_chosen():
    empty = Chosen(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    losses = box_losses(torch.zeros(0, 3), torch.zeros(0, 3, 4), [empty], [NOTHING])
    assert [float(loss) for loss in losses] == [0, 0]
