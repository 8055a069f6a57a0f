"""The dense parts as graphs with the channels last: the same numbers as the network's own."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from maskwright.models.mask_rcnn.model import TINY, MaskRCNN
from maskwright.models.mask_rcnn.parts import BoxGraph, LookGraph, MaskGraph


@pytest.fixture(params=[{}, {"norm": "batch", "box_convs": True}], ids=["plain", "convs"])
def net(request) -> MaskRCNN:
    torch.manual_seed(0)
    return MaskRCNN(3, 4, **{**TINY, **request.param}).eval()


def last(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1).contiguous()


@torch.no_grad()
def test_the_graphs_say_what_the_network_says(net):
    image = torch.randn(1, 3, 64, 96)
    maps, objectness, deltas = net.look(image)
    *found, found_objectness, found_deltas = LookGraph(net)(image)
    for a, b in zip(found, maps, strict=True):
        assert_close(a, last(b))
    assert_close(found_objectness, objectness)
    assert_close(found_deltas, deltas)
    crops = torch.randn(5, 16, 7, 7)
    for a, b in zip(BoxGraph(net.box_head)(last(crops)), net.box_head(crops), strict=True):
        assert_close(a, b, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_mask_of_its_own_class_alone(net):
    crops, classes = torch.randn(5, 16, 14, 14), torch.tensor([3, 1, 0, 3, 2])
    expected = net.mask_head(crops)[torch.arange(5), classes][:, None]  # (5, 1, 28, 28)
    assert expected.std() > 0
    assert_close(net.mask_head.of_classes(crops, classes), expected, atol=1e-5, rtol=1e-5)
    assert_close(MaskGraph(net.mask_head)(last(crops), classes), expected, atol=1e-5, rtol=1e-5)
    assert net.mask_head.of_classes(crops[:0], classes[:0]).shape == (0, 1, 28, 28)
