"""RoIAlign over the levels: which level, and torchvision's values, traced or not."""

from __future__ import annotations

import torch
from torch.testing import assert_close
from torchvision.ops import MultiScaleRoIAlign

from maskwright.models.mask_rcnn.roi import level_of, pooled, rois_of

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
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert_close(pooled(maps, rois, 7, STRIDES), expected, atol=1e-6, rtol=0)


def test_no_boxes():
    maps = [torch.randn(1, 5, 64 // s, 64 // s) for s in STRIDES]
    assert pooled(maps, rois_of([torch.zeros(0, 4)]), 7, STRIDES).shape == (0, 5, 7, 7)
