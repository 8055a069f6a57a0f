"""Whether tiles answer as one pass does: measured on a part of the image that still goes through the net in one piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isqrt
from typing import TYPE_CHECKING

from maskwright.inference.tiled import GRID_PX, WHOLE_IMAGE_PX, Forward, tiled
from maskwright.inference.tiling import Tile, Tiling
from maskwright.later import torch

if TYPE_CHECKING:
    from torch import Tensor

SIDE_PX = isqrt(WHOLE_IMAGE_PX) // GRID_PX * GRID_PX


def disagreement(forward: Forward, centre: Callable[[int], Tensor], tiling: Tiling) -> str:
    """A sentence: how many labels of a square in the middle of the image differ between tiles and one pass.

    Args:
        centre: what the net sees of a square of so many pixels, (1, C, h, w)
    """
    image = centre(SIDE_PX)
    # Tiles as they are leave little to compare in a square of this size: smaller ones have more borders.
    hw = image.shape[2], image.shape[3]
    least = 2 * tiling.overlap_px + 4 * GRID_PX if tiling.exact else 2 * tiling.overlap_px
    side = min(tiling.tile_px, max(least, SIDE_PX // 2 // GRID_PX * GRID_PX))
    whole = forward(image)[0].argmax(0).cpu()
    found = in_tiles(forward, image, Tiling(hw, side, tiling.overlap_px, tiling.exact))[0].argmax(0).cpu()
    differ = int((whole != found).sum())
    said = "equal those" if differ == 0 else f"differ in {differ} pixels ({100 * differ / whole.numel():.2g} %) from those"
    return f"labels of {hw[1]}x{hw[0]} pixels in the middle, in tiles of {side} px, {said} of one pass."


def in_tiles(forward: Forward, image: Tensor, tiling: Tiling) -> Tensor:
    """(B, K, h, w) of an image in memory, in exact or blended tiles."""
    if not tiling.exact:
        return tiled(forward, tiling.tile_px, tiling.overlap_px)(image)
    return torch.cat(list(owned_bands(forward, image, tiling)), dim=2)


def owned_bands(forward: Forward, image: Tensor, tiling: Tiling) -> Iterator[Tensor]:
    """The answer in exact tiles, a row of tiles after the other; as tiled.bands for blended ones."""
    for k in range(len(tiling.rows)):
        yield torch.cat([_owned(forward, image, tile) for tile in tiling.row(k)], dim=3)


def _owned(forward: Forward, image: Tensor, tile: Tile) -> Tensor:
    """The part of a tile's answer that it owns."""
    found = forward(image[:, :, tile.rows, tile.cols])
    top, left = tile.done_rows.start - tile.rows.start, tile.done_cols.start - tile.cols.start
    high, wide = tile.done_rows.stop - tile.done_rows.start, tile.done_cols.stop - tile.done_cols.start
    return found[:, :, top : top + high, left : left + wide]
