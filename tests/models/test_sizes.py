"""Filling up to the grid and cutting off again."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from maskwright.models.sizes import cropped, on_grid, resized


@pytest.mark.parametrize(
    ("hw", "grid", "least", "expected"),
    [
        ((1, 1), 8, 1, (8, 8)),
        ((8, 16), 8, 1, (8, 16)),
        ((9, 16), 8, 1, (16, 16)),
        ((8, 16), 8, 2, (16, 16)),
        ((1, 25), 8, 2, (16, 32)),
        ((5, 7), 1, 1, (5, 7)),
    ],
)
def test_the_grid(hw, grid, least, expected):
    image = torch.rand(1, 2, *hw)
    filled = on_grid(image, grid, least=least)
    assert filled.shape == (1, 2, *expected)
    assert torch.equal(cropped(filled, image), image)


def test_the_border_is_repeated():
    image = torch.arange(6.0).view(1, 1, 2, 3)
    assert on_grid(image, 4)[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]


def test_traced_once_it_serves_all_sizes():
    class Both(torch.nn.Module):
        def forward(self, image):
            filled = on_grid(image, 8)
            halves = torch.nn.functional.avg_pool2d(filled, 2)
            return cropped(resized(halves, (filled.shape[-2], filled.shape[-1])), image)

    free = {2: torch.export.Dim("h", min=3, max=64), 3: torch.export.Dim("w", min=3, max=64)}
    exported = torch.export.export(Both(), (torch.rand(1, 1, 16, 24),), dynamic_shapes=(free,), strict=False).module()
    for hw in ((16, 24), (9, 31), (64, 3)):
        image = torch.rand(1, 1, *hw)
        assert_close(exported(image), Both()(image))


def test_what_has_the_size_is_left_alone():
    image = torch.rand(1, 1, 8, 8)
    assert on_grid(image, 8) is image
    assert resized(image, (8, 8)) is image
