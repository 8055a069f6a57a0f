"""Tiles cover everything once; blended through files the answer is that of tiled()."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from maskwright.errors import InputError
from maskwright.inference.blend import Blend
from maskwright.inference.tiled import tiled
from maskwright.inference.tiling import Tiling

SIZES = [(110, 75), (64, 64), (1, 200), (300, 333), (97, 131)]


@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize(
    "make", [lambda hw: Tiling.blended(hw, 96, 32), lambda hw: Tiling.owned(hw, 96, 20), lambda hw: Tiling(hw, 64, 0)]
)
def test_every_pixel_is_finished_once(hw, make):
    tiling, count = make(hw), np.zeros(hw, int)
    for number in range(len(tiling.rows)):
        for tile in tiling.row(number):
            count[tile.done_rows, tile.done_cols] += 1
            assert tile.rows.start % 32 == tile.cols.start % 32 == 0
            assert tile.rows.start <= tile.done_rows.start < tile.done_rows.stop <= tile.rows.stop
    assert (count == 1).all()


def test_exact_tiles_see_the_border_around_what_they_own():
    tiling = Tiling.owned((300, 96), 128, 20)  # border 32 on both sides: 64 px owned
    assert [(s.start, s.stop, d.start, d.stop) for s, d in tiling.rows] == [
        (0, 96, 0, 64), (32, 160, 64, 128), (96, 224, 128, 192), (160, 288, 192, 256), (224, 300, 256, 300)]  # fmt: skip
    assert [(s.start, s.stop, d.start, d.stop) for s, d in tiling.columns] == [(0, 96, 0, 96)]
    assert tiling.seen_px == (96 + 128 * 3 + 76) * 96
    assert Tiling.owned((4000, 4000), 256, 200).tile_px == 800  # half of the tile is border then


def blended(image, tiling, forward, folder):
    out, blend = torch.zeros_like(image[0]), Blend(tiling, folder)
    for number in range(len(tiling.rows)):
        for tile in tiling.row(number):
            logits = forward(image[:, :, tile.rows, tile.cols])[0].clone().numpy()
            done = blend.add(number, tile, logits, image.shape[1])
            out[:, tile.done_rows, tile.done_cols] = torch.from_numpy(done.copy())
    return out


@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize(("tile", "overlap"), [(64, 32), (96, 32), (128, 64)])
def test_blended_through_files_as_in_memory(tmp_path, hw, tile, overlap):
    image = torch.randn(1, 2, *hw, generator=torch.Generator().manual_seed(0))

    def forward(x):
        return F.avg_pool2d(x, 5, stride=1, padding=2)  # zeros outside: tiles disagree at cut edges

    found = blended(image, Tiling(hw, tile, overlap), forward, tmp_path)
    assert torch.allclose(found, tiled(forward, tile, overlap)(image)[0], atol=1e-6)
    same = blended(image, Tiling(hw, tile, overlap), lambda x: x, tmp_path)
    assert torch.equal(same, image[0])


def test_a_tile_of_nothing_weighs_nothing(tmp_path):
    tiling = Tiling((64, 96), 64, 32)
    blend, tiles = Blend(tiling, tmp_path), list(tiling.row(0))
    assert blend.add(0, tiles[0], np.ones((2, 64, 64), np.float32), 2).shape == (2, 64, 32)
    assert (blend.add(0, tiles[1], None, 2)[:, :, :32] == 1).all()


def test_the_last_tile_is_shorter_but_not_below_half():
    # 3000 px in steps of 896: 2688 would leave 312 px, and 2488 is half a tile before the end, on the grid 2464
    assert [s.start for s, _ in Tiling.blended((3000, 3000), None).rows] == [0, 896, 1792, 2464]
    assert Tiling.blended((3000, 3000), None).seen_px == (3 * 1024 + 536) ** 2
    assert [s.start for s, _ in Tiling.blended((3400, 3400), None).rows] == [0, 896, 1792, 2688]  # 712 px
    assert [s.start for s, _ in Tiling((2816 + 30, 10), 1024, 128).rows] == [0, 896, 1792, 2304]


def test_tiles_at_another_scale():
    assert Tiling.blended((9000, 9000), None).tile_px == 1024
    assert Tiling.blended((9000, 9000), None).overlap_px == 128
    assert Tiling.blended((9000, 9000), None, scale=2.0).tile_px == 512
    with pytest.raises(InputError, match=r"at 0.1 of its size, which takes tiles of 10240 px"):
        Tiling.blended((9000, 9000), None, scale=0.1)
    with pytest.raises(InputError, match="an overlap of 96 px cannot be used with tiles of 128 px; give a multiple of 32"):
        Tiling.blended((9000, 9000), 128, 96)
