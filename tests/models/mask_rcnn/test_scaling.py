"""The size at which a detector looks, and batches of images of different sizes."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from maskwright.models.mask_rcnn.scaling import batch_of, resized_for, zero_filled
from maskwright.models.sizes import resized


def test_sizes_by_hand():
    assert resized_for((480, 640)) == (800, 1066)  # 1066.67
    assert resized_for((100, 1000)) == (133, 1333)  # the longer side decides
    assert resized_for((1600, 1200)) == (1066, 800)
    assert resized_for((1, 4000)) == (1, 1333)


@pytest.mark.parametrize("hws", [[(37, 61), (50, 50)], [(64, 33), (20, 90), (49, 49)]])
def test_torchvisions_batches(hws):
    torch.manual_seed(0)
    images = [torch.rand(3, *hw) for hw in hws]
    theirs = GeneralizedRCNNTransform(48, 100, [0.0] * 3, [1.0] * 3).eval()
    expected, _ = theirs(images)
    batch, sizes = batch_of(
        [resized(i[None], resized_for(hw, short_px=48, long_px=100))[0] for i, hw in zip(images, hws, strict=True)]
    )
    assert sizes == expected.image_sizes
    assert_close(batch, expected.tensors, atol=1e-6, rtol=0)


@torch.no_grad()
def test_torchvisions_sizes():
    theirs = GeneralizedRCNNTransform(80, 133, [0.0], [1.0]).eval()
    for hw in [(h, w) for h in range(7, 200, 13) for w in range(9, 240, 11)]:
        assert resized_for(hw, short_px=80, long_px=133) == theirs.resize(torch.zeros(1, *hw))[0].shape[-2:]


def test_zero_filled():
    image = torch.ones(1, 1, 5, 8)
    found = zero_filled(image, 4)
    assert found.shape == (1, 1, 8, 8)
    assert found.sum() == 40
    assert zero_filled(torch.ones(1, 1, 4, 8), 4, least=2).shape == (1, 1, 8, 8)
    assert zero_filled(found, 4) is found
