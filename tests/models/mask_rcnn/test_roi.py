"""RoIAlign over the levels: which level, and torchvision's values, traced or not."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close
from torchvision.ops import MultiScaleRoIAlign, roi_align

from maskwright.models.mask_rcnn.roi import level_of, pooled, rois_of, summed

STRIDES = (4, 8, 16, 32)


def squares(*sides: float) -> torch.Tensor:
    return torch.tensor([[10.0, 10, 10 + s, 10 + s] for s in sides])


def test_a_box_half_as_large_goes_one_level_finer():
    # 224 px to level 4 (the third of these), 112 px to level 3; the ends take all beyond.
    assert level_of(squares(224, 223, 112, 111, 448, 447, 5, 5000, 0), STRIDES).tolist() == [2, 1, 1, 0, 3, 2, 0, 3, 0]
    assert level_of(squares(56, 28), STRIDES, canonical_px=56).tolist() == [2, 1]
    assert level_of(squares(224, 5000), STRIDES[:3]).tolist() == [2, 2]


def test_torchvisions_values_traced_or_not(monkeypatch):
    torch.manual_seed(0)
    maps = [torch.randn(2, 5, 512 // s, 384 // s) for s in STRIDES]
    corners = [torch.rand(n, 2) * 150 for n in (30, 20)]
    boxes = [torch.cat([c, c + 2 ** (3 + torch.rand(len(c), 1) * 6)], dim=1) for c in corners]
    theirs = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    expected = theirs({str(i): m for i, m in enumerate(maps)}, boxes, [(512, 384)] * 2)
    rois = rois_of(boxes)
    assert len(level_of(rois[:, 1:], STRIDES).unique()) == 4
    assert_close(pooled(maps, rois, 7, STRIDES), expected, atol=1e-6, rtol=0)
    last = [m.contiguous(memory_format=torch.channels_last) for m in maps]
    crops = pooled(last, rois, 7, STRIDES)
    assert crops.is_contiguous(memory_format=torch.channels_last)
    assert_close(crops, expected, atol=1e-5, rtol=0, check_stride=False)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert_close(pooled(maps, rois, 7, STRIDES), expected, atol=1e-6, rtol=0)


def test_no_boxes():
    maps = [torch.randn(1, 5, 64 // s, 64 // s) for s in STRIDES]
    assert pooled(maps, rois_of([torch.zeros(0, 4)]), 7, STRIDES).shape == (0, 5, 7, 7)


@pytest.mark.parametrize("px", [1, 7, 14])
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_where_a_processor_learns_values_and_gradient_are_torchvisions(px, samples):
    torch.manual_seed(0)
    m = torch.randn(2, 3, 9, 13, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor(
        [
            [0, 0, 0, 52, 36],  # all of the image
            [1, 3.3, 5.1, 9.2, 30.7],
            [0, -9, -9, 5, 5],  # beyond the corners
            [1, 40, 30, 70, 60],
            [0, 10, 10, 10, 10],  # nothing, and less than a pixel of the map
            [1, 0, 0, 1, 1],
            [0, 51.9, 35.9, 52, 36],
        ],
        dtype=torch.float64,
    )
    for some in (rois, rois[:0]):
        expected, found = (cut(m, some, px, 0.25, samples) for cut in (roi_align, summed))
        assert_close(found, expected, atol=1e-12, rtol=0)
        gradients = [torch.autograd.grad(cut.sin().sum(), m)[0] for cut in (expected, found)]
        assert_close(gradients[1], gradients[0], atol=1e-12, rtol=0)


def test_it_is_the_sum_that_learns():
    m = torch.zeros(1, 1, 8, 8, requires_grad=True)
    out = pooled([m] * 4, torch.tensor([[0.0, 0, 0, 16, 16]]), 7, STRIDES)
    graph, seen = [out.grad_fn], set()
    while graph:
        node = graph.pop()
        seen.add(type(node).__name__)
        graph += [following for following, _ in node.next_functions if following is not None]
    assert "EmbeddingBagBackward0" in seen
    assert not any("roi_align" in name for name in seen)
