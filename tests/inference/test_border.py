"""The border is measured: convolutions by their size, nets with a view of the whole image not at all."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from maskwright import models
from maskwright.inference.border import border_px


@pytest.mark.parametrize(("size", "border"), [(1, 0), (3, 32), (65, 32), (67, 64), (2049, None)])
def test_a_convolution_reaches_half_its_size(size, border):
    # 65 px reach 32 px to each side, 67 px reach 33.
    assert border_px(lambda x: F.avg_pool2d(x, size, stride=1, padding=size // 2), 1) == border


def test_a_view_of_the_whole_image_has_no_border():
    assert border_px(lambda x: x + x.mean(dim=(2, 3), keepdim=True), 2) is None


def test_of_a_net():
    net = models.build("unet", channels=1, classes=2, width=4, depth=2).eval()
    with torch.inference_mode():
        assert border_px(net, 1) == 32
