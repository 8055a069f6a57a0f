"""What training knows of an image: crops that stand for whole masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from maskwright.errors import InputError
from maskwright.models.mask_rcnn.truth import Truth, mask_targets, truth_of
from maskwright.ops.rle import Rle

HW = (40, 60)


def rectangle(x0: int, y0: int, x1: int, y1: int) -> Rle:
    mask = np.zeros(HW, bool)
    mask[y0:y1, x0:x1] = True
    return Rle.from_mask(mask)


def test_crops_hold_a_pixel_of_background_but_end_with_the_image():
    truth = truth_of([rectangle(5, 10, 8, 12), rectangle(0, 30, 60, 40)], [1, 2])
    assert truth.boxes.tolist() == [[5, 10, 8, 12], [0, 30, 60, 40]]
    assert truth.windows.tolist() == [[4, 9, 9, 13], [0, 29, 60, 40]]
    assert truth.starts.tolist() == [0, 20]
    assert truth.mask(0).tolist() == [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    assert truth.mask(1).sum() == 600
    assert (truth.pixels.dtype, len(truth.pixels), len(truth)) == (torch.uint8, 20 + 60 * 11, 2)


def test_targets_are_those_of_whole_masks():
    """Boxes all over the image, also at its borders, against masks that touch the borders or lie within."""
    rng = np.random.default_rng(0)
    masks = [rectangle(0, 0, 9, 14), rectangle(50, 25, 60, 40), rectangle(20, 10, 21, 11), rectangle(0, 0, 60, 40)]
    blob = np.zeros(HW, bool)
    blob[12:30, 15:44] = rng.random((18, 29)) > 0.5
    masks.append(Rle.from_mask(blob))
    truth = truth_of(masks, [1] * 5)
    x, y = np.sort(rng.random((2, 200, 2)) * [[[60]], [[40]]], axis=2).round(3)
    boxes = torch.tensor(np.stack([x[:, 0], y[:, 0], x[:, 1] + 0.01, y[:, 1] + 0.01], axis=1), dtype=torch.float32)
    boxes[:20, :2] = 0
    boxes[20:40, 2:] = torch.tensor([60.0, 40.0])
    boxes[40:45] = truth.boxes
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, 60)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, 40)
    objects = torch.arange(200) % 5
    whole = torch.from_numpy(np.stack([m.to_mask() for m in masks])).to(torch.uint8)
    expected = project_masks_on_boxes(whole, boxes, objects, 28)
    found = mask_targets(truth, boxes, objects, 28)
    assert_close(found, expected, atol=2e-5, rtol=0)
    assert min(float(expected[objects == k].mean()) for k in (0, 1, 3, 4)) > 0.02


def test_masks_without_a_pixel_and_empty_boxes_are_left_out():
    empty = Rle.from_mask(np.zeros(HW, bool))
    truth = truth_of(
        [empty, rectangle(1, 1, 3, 3), rectangle(5, 5, 9, 9)], [1, 2, 3], boxes_xyxy=[[0, 0, 5, 5], [1, 1, 1, 3], [5, 5, 9, 9]]
    )
    assert truth.classes.tolist() == [3]
    assert truth.mask(0).sum() == 16


def test_crowds_are_boxes_only():
    truth = truth_of([rectangle(1, 1, 3, 3), rectangle(10, 10, 40, 30)], [1, 2], crowd=[False, True])
    assert truth.boxes.tolist() == [[1, 1, 3, 3]]
    assert truth.crowds.tolist() == [[10, 10, 40, 30]]


def test_no_objects():
    truth = truth_of([], [])
    assert (len(truth), truth.boxes.shape, truth.crowds.shape, len(truth.pixels)) == (0, (0, 4), (0, 4), 0)
    assert truth.usable() is truth
    assert mask_targets(truth, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 28).shape == (0, 28, 28)


def test_usable_drops_empty_boxes_with_their_masks():
    truth = truth_of([rectangle(1, 1, 3, 3), rectangle(5, 5, 9, 9), rectangle(20, 20, 23, 22)], [1, 2, 3])
    boxes = truth.boxes.clone()
    boxes[0, 2] = 1.0
    boxes[1, 0] = torch.nan
    kept = Truth(boxes, truth.classes, truth.windows, truth.starts, truth.pixels, truth.crowds).usable()
    assert kept.classes.tolist() == [3]
    assert kept.mask(0).sum() == 6


def test_moved_to_another_device():
    truth = truth_of([rectangle(1, 1, 3, 3)], [1], crowd=[False]).to("meta")
    assert {t.device.type for t in (truth.boxes, truth.classes, truth.windows, truth.starts, truth.pixels, truth.crowds)} == {
        "meta"
    }


def test_what_does_not_go_together():
    with pytest.raises(InputError, match="1 masks, 2 classes, 1 boxes and 1 crowd flags; give one each"):
        truth_of([rectangle(1, 1, 3, 3)], [1, 2])
    whole = truth_of([rectangle(1, 1, 3, 3)], [1])
    with pytest.raises(InputError, match=r"a truth of 1 objects has classes \(2,\) instead of \(1,\)"):
        Truth(whole.boxes, torch.tensor([1, 2]), whole.windows, whole.starts, whole.pixels, whole.crowds)
