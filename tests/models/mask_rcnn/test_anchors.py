"""Anchors: their shapes by hand, their order and steps as in torchvision."""

from __future__ import annotations

import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from maskwright.models.mask_rcnn.anchors import anchors_of, cells


def test_shapes_of_one_size():
    # 32 px, height / width 1/2: 22.6 high, 45.3 wide; halves 11.3 and 22.6 are rounded.
    assert cells(32, (0.5, 1.0)).tolist() == [[-23, -11, 23, 11], [-16, -16, 16, 16]]


def test_places_row_by_row():
    # A map of 1 x 2 places of an image of 8 x 20 px: steps of 10 px.
    found = anchors_of([(1, 2)], (8, 20), cells(4, (1.0,))[None])
    assert found.tolist() == [[-2, -2, 2, 2], [8, -2, 12, 2]]


def test_all_levels_as_in_torchvision():
    sizes, ratios, image_hw = (32, 64, 128), (0.5, 1.0, 2.0), (96, 160)
    hws = [(24, 40), (12, 20), (2, 3)]  # the last is not a whole part of the image: its steps are 48 and 53
    theirs = AnchorGenerator(tuple((s,) for s in sizes), (ratios,) * 3)
    expected = theirs(ImageList(torch.zeros(1, 3, *image_hw), [image_hw]), [torch.zeros(1, 1, *hw) for hw in hws])[0]
    assert torch.equal(anchors_of(hws, image_hw, torch.stack([cells(s, ratios) for s in sizes])), expected)
