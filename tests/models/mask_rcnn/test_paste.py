"""Masks to runs: torchvision's pixels, and the cost of a hundred objects on a large image."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image

from maskwright.models.mask_rcnn.paste import pasted


def smooth(count: int, px: int = 28) -> torch.Tensor:
    """Masks with soft blobs, (N, 1, px, px)."""
    coarse = torch.randn(count, 1, 6, 6) * 3
    return torch.nn.functional.interpolate(coarse, size=(px, px), mode="bicubic").sigmoid()


def boxes_around(count: int, hw: tuple[int, int], most_px: float) -> torch.Tensor:
    """Boxes of 0 to most_px, some of them beyond the image's borders."""
    middle = torch.rand(count, 2) * torch.tensor([hw[1], hw[0]])
    half = torch.rand(count, 2) * most_px / 2
    return torch.cat([middle - half, middle + half], dim=1)


@pytest.mark.parametrize(("most_px", "hw"), [(6, (40, 50)), (40, (120, 90)), (300, (160, 210))])
def test_torchvisions_pixels(most_px, hw):
    torch.manual_seed(most_px)
    masks, boxes = smooth(60), boxes_around(60, hw, most_px)
    masks[:20] = torch.rand(20, 1, 28, 28)  # noise: many runs a column
    masks[0] = 1.0
    expected = paste_masks_in_image(masks, boxes, hw)[:, 0].numpy()
    found = np.stack([rle.to_mask() for rle in pasted(masks, boxes, hw)])
    wrong = found != (expected >= 0.5)
    assert found.sum() > 100
    assert np.abs(expected[wrong] - 0.5).max(initial=0) < 1e-4
    assert wrong.sum() <= 3


def test_a_full_mask_fills_its_box():
    # The box 10-38 has a cell a pixel. With the ring it is 9-39, of which 39 is the last pixel: 31 pixels for 30 cells. The centre
    # of pixel 9 lies at -0.02 cells (value 0), that of 10 at 0.95 (0.95), that of 38 at 28.05 (0.95), that of 39 at 29.02 (0).
    (rle,) = pasted(torch.ones(1, 1, 28, 28), torch.tensor([[10.0, 20, 38, 48]]), (60, 60))
    assert rle.box_xyxy == (10, 20, 39, 49)
    assert rle.area_px == 29 * 29


def test_another_threshold():
    masks, box = torch.full((1, 1, 28, 28), 0.4), torch.tensor([[10.0, 10, 50, 50]])
    assert pasted(masks, box, (60, 60))[0].area_px == 0
    assert pasted(masks, box, (60, 60), threshold=0.3)[0].area_px > 1500


def test_boxes_outside_and_no_boxes():
    masks = torch.ones(2, 1, 28, 28)
    boxes = torch.tensor([[-50.0, -50, -20, -20], [100, 100, 130, 130]])
    assert [rle.area_px for rle in pasted(masks, boxes, (60, 60))] == [0, 0]
    assert pasted(masks[:0], boxes[:0], (60, 60)) == []


def test_a_hundred_objects_on_twelve_megapixels():
    torch.manual_seed(0)
    masks, boxes = smooth(100), boxes_around(100, (3000, 4000), 2000)
    pasted(masks[:1], boxes[:1], (3000, 4000))
    times = []
    for _ in range(3):
        start = time.perf_counter()
        found = pasted(masks, boxes, (3000, 4000))
        times.append(time.perf_counter() - start)
    tracemalloc.start()
    pasted(masks, boxes, (3000, 4000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"{min(times):.3f} s, {peak / 1e6:.1f} MB, {sum(r.area_px for r in found) / 1e6:.1f} million pixels")
    assert min(times) < 3  # with busy neighbours; alone it is well under one
    assert peak < 200e6


@pytest.mark.filterwarnings("error")
def test_what_is_not_a_number_lies_outside():
    masks = torch.ones(2, 1, 28, 28)
    masks[0, 0, :14] = torch.nan
    masks[1] = torch.nan
    half, nothing = pasted(masks, torch.tensor([[4.0, 4.0, 32.0, 32.0]] * 2), (40, 40))
    whole = pasted(torch.ones(1, 1, 28, 28), torch.tensor([[4.0, 4.0, 32.0, 32.0]]), (40, 40))[0]
    assert nothing.area_px == 0
    assert abs(half.area_px / whole.area_px - 0.5) < 0.05
