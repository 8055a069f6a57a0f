"""Layers of objects: nothing is lost where they overlap, they are warped as the image is, and pasted whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from maskwright.classes import ClassMap
from maskwright.instances import Instances
from maskwright.ops.rle import Rle
from maskwright.transforms.augmentation import Augmentation, augmenter
from maskwright.transforms.objects import layered, paste_objects

CLASSES = ClassMap((0, 3, 7), ("background", "cell", "nucleus"))


def drawn(*boxes, hw=(8, 12), ids=None, crowd=None):
    masks = []
    for x0, y0, x1, y1 in boxes:
        mask = np.zeros(hw, bool)
        mask[y0:y1, x0:x1] = True
        masks.append(Rle.from_mask(mask))
    return Instances(
        hw, CLASSES, np.array(ids or [3] * len(boxes)), tuple(masks), crowd=None if crowd is None else np.array(crowd)
    )


def test_objects_that_overlap_lie_in_layers_of_their_own():
    objects = layered(drawn((0, 0, 4, 4), (2, 2, 6, 6), (8, 0, 12, 4), ids=[3, 7, 7]))
    assert objects.layers.shape == (2, 8, 12)
    assert objects.layers.dtype == torch.int16
    assert [(objects.layers == n).sum().item() for n in (1, 2, 3)] == [16, 16, 16]
    assert objects.classes.tolist() == [1, 2, 2]  # channels of the class ids 3 and 7


def test_none_is_one_empty_layer():
    objects = layered(drawn())
    numbers, boxes = objects.boxes()
    assert objects.layers.shape == (1, 8, 12)
    assert numbers.shape == (0,)
    assert boxes.shape == (0, 4)


def test_boxes_and_crops():
    objects = layered(drawn((0, 0, 4, 4), (2, 2, 6, 6), (8, 0, 12, 4)))
    numbers, boxes = objects.boxes()
    assert numbers.tolist() == [1, 2, 3]
    assert boxes.tolist() == [[0, 0, 4, 4], [2, 2, 6, 6], [8, 0, 12, 4]]
    assert all(objects.crop(n, box).all() for n, box in zip(numbers.tolist(), boxes, strict=True))


def test_what_is_too_small_is_no_object():
    numbers, _ = layered(drawn((0, 0, 3, 1), (4, 4, 6, 6))).boxes()  # 3 pixels and 4 pixels
    assert numbers.tolist() == [2]


def test_at_half_the_size():
    small = layered(drawn((0, 0, 4, 4), (8, 4, 12, 8))).resized((4, 6))
    assert small.boxes()[1].tolist() == [[0, 0, 2, 2], [4, 2, 6, 4]]


STILL = dict.fromkeys(Augmentation.__dataclass_fields__, 0.0)


def test_objects_are_warped_as_the_image_is():
    objects = layered(drawn((0, 0, 4, 4), (2, 2, 6, 6), (8, 0, 12, 4)))
    image = (objects.layers == 2).any(dim=0, keepdim=True).float() * 4 - 1
    torch.manual_seed(0)
    augment = augmenter(
        (16, 16), Augmentation(**{**STILL, "scale": 0.3, "rotation_deg": 30, "shift": 0.2, "flip_horizontal": 0.5})
    )
    for _ in range(10):
        x, layers = augment(tv_tensors.Image(image), tv_tensors.Mask(objects.layers))
        assert layers.dtype == torch.int16
        assert layers.shape == (2, 16, 16)
        shown, marked = x[0] > 1, (layers == 2).any(dim=0)
        # Bilinear and nearest differ along the outline at most: 4 x 4 pixels grown by 1.3 have an outline of about 20.
        assert (shown != marked).sum() <= 12
        assert marked.sum() >= 8


def test_outside_the_image_there_are_no_objects():
    layers = augmenter((20, 20), Augmentation(**STILL))(
        tv_tensors.Image(torch.zeros(1, 8, 12)), tv_tensors.Mask(layered(drawn((0, 0, 12, 8))).layers)
    )[1]
    assert (layers > 0).sum() == 96  # 12 x 8 in the middle of 20 x 20


def test_pasted_objects_cover_what_is_below():
    here, there = layered(drawn((0, 0, 6, 8))), layered(drawn((4, 0, 8, 4), (8, 4, 12, 8), ids=[7, 3], crowd=[False, True]))
    torch.manual_seed(3)
    for _ in range(20):
        image, joined = paste_objects(torch.zeros(1, 8, 12), here, torch.ones(1, 8, 12), there)
        if joined is here:
            assert not image.any()
            continue
        # The crowd is never taken; the other object lies over two columns of the one below.
        assert joined.classes.tolist() == [1, 2]
        assert joined.crowds.tolist() == [False, False]
        assert image.sum() == 16
        assert (joined.layers == 1).sum() == 48 - 8
        assert (joined.layers == 2).sum() == 16
        break
    else:
        pytest.fail("nothing was ever pasted")
