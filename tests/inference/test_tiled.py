"""Tiles: nothing changes where tiles agree, seams are blended, and bands are the same answer in pieces."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.errors import InputError
from maskwright.inference.tiled import bands, tiled, tiles_for


@pytest.mark.parametrize(
    ("hw", "tile_px", "overlap_px"),
    [
        ((110, 75), 64, 32),  # starts 0, 32, 64 and 0, 32
        ((64, 64), 64, 16),
        ((1, 200), 64, 16),
        ((129, 1), 64, 63),
        ((97, 131), 32, 8),
        ((50, 50), 64, 16),
    ],
)
def test_a_forward_of_single_pixels_gives_the_same_to_the_bit(hw, tile_px, overlap_px):
    image = torch.randn(2, 3, *hw, generator=torch.Generator().manual_seed(0)) * 1e3
    assert torch.equal(tiled(lambda x: x, tile_px, overlap_px)(image), image)


def test_the_net_sees_every_tile_once_at_full_size():
    seen = []

    def forward(tile: Tensor) -> Tensor:
        seen.append(tuple(tile.shape[2:]))
        return tile

    tiled(forward, 64, 32)(torch.zeros(1, 1, 110, 75))
    # 110 px: the last tile may start at 46 and starts at 64, the next multiple of 32. 75 px: not at 11 but at 32.
    assert seen == [(64, 64), (64, 43), (64, 64), (64, 43), (46, 64), (46, 43)]


def test_the_overlap_is_weighed_by_two_bells():
    answers = iter([torch.zeros(1, 1, 1, 32), torch.ones(1, 1, 1, 32)])
    row = tiled(lambda _: next(answers), 32, 16)(torch.zeros(1, 1, 1, 48))[0, 0, 0]
    # Tiles start at 0 and 16, sigma is 32 / 8 = 4. Pixel 16 is 0.5 px from the first centre and 15.5 px from the second.
    near, far = math.exp(-0.5 * (0.5 / 4) ** 2), math.exp(-0.5 * (15.5 / 4) ** 2)
    assert row[:16].eq(0).all()
    assert row[32:].eq(1).all()
    assert float(row[16]) == pytest.approx(far / (near + far), rel=1e-5)
    assert torch.allclose(row + row.flip(0), torch.ones(48), atol=1e-6)  # the two tiles are each other's mirror image
    assert (row.diff() >= 0).all()


def test_blending_hides_the_cut_edges():
    image = torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(1)) + 1
    box = torch.full((1, 1, 5, 5), 1 / 25)

    def forward(x: Tensor) -> Tensor:
        return F.conv2d(x, box, padding=2)  # zeros outside: wrong at every cut edge

    inner = (..., slice(2, -2), slice(2, -2))  # at the image's own edge both are alike
    whole = forward(image)[inner]
    assert (tiled(forward, 48, 0)(image)[inner] - whole).abs().max() > 0.3  # abutting tiles: a visible seam
    assert (tiled(forward, 48, 24)(image)[inner] - whole).abs().max() < 0.01


def test_bands_are_the_tiled_answer_cut_into_rows():
    image = torch.randn(1, 2, 110, 75, generator=torch.Generator().manual_seed(2))

    def forward(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, stride=1, padding=1)

    pieces = list(bands(forward, image, 64, 32))
    assert [p.shape[2] for p in pieces] == [32, 32, 46]  # up to the next start: 0, 32, 64, and then the rest
    assert torch.equal(torch.cat(pieces, 2), tiled(forward, 64, 32)(image))


@pytest.mark.parametrize(("hw", "tile_px", "overlap_px"), [((110, 75), 64, 32), ((200, 333), 96, 64), ((129, 64), 128, 32)])
def test_tiles_are_pooled_as_the_whole_image_is(hw, tile_px, overlap_px):
    def forward(x: Tensor) -> Tensor:
        squares = F.max_pool2d(x, 32, ceil_mode=True)
        return F.interpolate(squares, scale_factor=32, mode="nearest")[..., : x.shape[2], : x.shape[3]]

    image = torch.rand(1, 1, *hw, generator=torch.Generator().manual_seed(3))
    assert torch.equal(tiled(forward, tile_px, overlap_px)(image), forward(image))


def test_the_number_of_channels_is_the_answers_own():
    out = tiled(lambda x: torch.cat([x, -x], 1), 32, 8)(torch.ones(1, 1, 40, 70))
    assert out.shape == (1, 2, 40, 70)
    assert out[:, 0].eq(1).all()
    assert out[:, 1].eq(-1).all()


@pytest.mark.parametrize(
    ("hw", "wished", "tiles"),
    [
        ((1080, 1920), None, None),  # 2,073,600 px
        ((1448, 1449), None, (1024, 256)),  # 2,098,152 px, more than 2,097,152
        ((1, 1 << 22), None, (1024, 256)),
        ((100, 100), 64, (64, 32)),  # a quarter, up to the next multiple of 32
        ((100, 100), 96, (96, 32)),
        ((64, 64), 64, None),
        ((4000, 4000), 4000 - 4000 % 32 + 32, None),
    ],
)
def test_which_images_are_cut(hw, wished, tiles):
    assert tiles_for(hw, wished) == tiles


@pytest.mark.parametrize("wished", [-64, 0, 32, 100])
def test_tiles_that_cannot_be_used(wished):
    with pytest.raises(InputError, match=rf"tiles of {wished} px cannot be used; give a multiple of 32, at least 64"):
        tiles_for((10, 10), wished)
