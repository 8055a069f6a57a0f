"""Images that are too large for one pass: overlapping tiles, blended, given out in bands from top to bottom.

A tile's answer is best in its middle and worst at its cut edges, so tiles overlap and each pixel takes the average of its
tiles, weighed by a Gaussian around each tile's centre with a sigma of an eighth of the tile (the weighting of nnU-Net,
Isensee et al. 2021, doi:10.1038/s41592-020-01008-z). Differs: the average is updated tile by tile instead of divided at
the end, so tiles that agree leave their common value unchanged to the bit; the image is not padded to whole tiles, the last
tile ends at the image's edge and may be shorter; and tiles start on a grid of 32 px, so that nets pool the same pixels as in
the whole image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.later import torch
from maskwright.ops.tiles import starts

if TYPE_CHECKING:
    from torch import Tensor

Forward: TypeAlias = "Callable[[Tensor], Tensor]"  # (B, C, h, w) -> (B, K, h, w)

# One pass over 1920 x 1080 px still fits: a U-Net of width 64 then needs 3.4 GB in fp32.
WHOLE_IMAGE_PX = 2 << 20
TILE_PX = 1024
# No encoder pools by more than this.
GRID_PX = 32
_SIGMA = 1 / 8


def tiles_for(hw: tuple[int, int], wished: int | None, overlap_px: int | None = None) -> tuple[int, int] | None:
    """Side and overlap of the tiles for an image of size hw, or None where it goes through the net in one piece.

    Args:
        wished: a side that the user gave; None cuts only images of more than WHOLE_IMAGE_PX, into tiles of TILE_PX
        overlap_px: that the user gave; default: a quarter of the side

    Raises:
        InputError: the wished side or overlap is not on the grid, the side too small, or the overlap more than half of it.
    """
    if wished is not None and (wished < 2 * GRID_PX or wished % GRID_PX):
        raise InputError(f"tiles of {wished} px cannot be used; give a multiple of {GRID_PX}, at least {2 * GRID_PX}.")
    tile_px = wished or TILE_PX
    if overlap_px is not None and (overlap_px % GRID_PX or not 0 <= overlap_px <= tile_px // 2):
        raise InputError(
            f"an overlap of {overlap_px} px cannot be used with tiles of {tile_px} px; give a multiple of {GRID_PX} up to half "
            f"of that."
        )
    if hw[0] * hw[1] <= WHOLE_IMAGE_PX if wished is None else max(hw) <= wished:
        return None
    return tile_px, -(-tile_px // 4 // GRID_PX) * GRID_PX if overlap_px is None else overlap_px


def in_pieces(forward: Forward, image: Tensor, wished: int | None = None, overlap_px: int | None = None) -> Iterator[Tensor]:
    """The answer for an image of any size: one piece, or bands from top to bottom where tiles_for cuts it.

    Shapes:
        image: (B, C, h, w)
        yields: (B, K, rows, w); the rows of all pieces together are h
    """
    hw = image.shape[2], image.shape[3]
    tiles = tiles_for(hw, wished, overlap_px)
    yield from bands(forward, image, *tiles) if tiles else [forward(image)]


def tiled(forward: Forward, tile_px: int, overlap_px: int) -> Forward:
    """The same forward, run tile by tile.

    A forward that answers each pixel from that pixel alone gives the same answer tiled, to the bit.
    """
    return lambda image: torch.cat(list(bands(forward, image, tile_px, overlap_px)), dim=2)


def bands(forward: Forward, image: Tensor, tile_px: int, overlap_px: int) -> Iterator[Tensor]:
    """The answer of tiled() in pieces of full width, so that a huge image's logits never stand in memory at once.

    Shapes:
        image: (B, C, h, w)
        yields: (B, K, rows, w) float32, from top to bottom; the rows of all of them together are h
    """
    height, width = image.shape[2:]
    tops, lefts = grid_starts(height, tile_px, overlap_px), grid_starts(width, tile_px, overlap_px)
    strip = _Strip(min(tile_px, height), width)
    for top, next_top in zip(tops, [*tops[1:], height], strict=True):
        for left in lefts:
            strip.add(forward(image[:, :, top : top + tile_px, left : left + tile_px]).float(), left)
        yield strip.take(next_top - top)


def grid_starts(length: int, tile_px: int, overlap_px: int) -> list[int]:
    """First pixels of the tiles; where their step is on the grid all of them are, and the last tile may be shorter.

    It stays where the steps lead, so that no pixel goes through the net more often than the overlap asks for, but keeps half of a
    tile: the bell of a shorter one would weigh pixels that are close to the cut.
    """
    first, step = starts(length, tile_px, overlap_px), tile_px - overlap_px
    if step % GRID_PX == 0 and len(first) > 1:
        full, half = -(-first[-1] // GRID_PX) * GRID_PX, (length - tile_px // 2) // GRID_PX * GRID_PX
        first[-1] = max(full, min(first[-2] + step, half))
    return first


def bell(height: int, width: int) -> NDArray[np.float32]:
    """(height, width) weight of a tile's pixels: 1 in the middle, above 0 everywhere."""

    def along(length: int) -> NDArray[np.float32]:
        from_centre = np.arange(length, dtype=np.float32) + np.float32(0.5 - length / 2)
        return np.asarray(np.exp(-0.5 * (from_centre / np.float32(length * _SIGMA)) ** 2))

    return along(height)[:, None] * along(width)


class _Strip:
    """The running average over the rows that one row of tiles covers."""

    def __init__(self, tall: int, width: int) -> None:
        self._hw = tall, width
        self._average = torch.empty(0)  # (B, K, tall, width), made with the first answer: it alone knows B, K and device
        self._weight = torch.empty(0)  # (tall, width) sum of the weights so far

    def add(self, answer: Tensor, left: int) -> None:
        """Take a tile's answer (B, K, h, w), which begins at the strip's uppermost row, into the average."""
        if not self._average.numel():
            self._average = answer.new_zeros(*answer.shape[:2], *self._hw)
            self._weight = answer.new_zeros(self._hw)
        h, w = answer.shape[2:]
        weight = torch.from_numpy(bell(h, w)).to(answer.device)
        average = self._average[:, :, :h, left : left + w]
        total = self._weight[:h, left : left + w].add_(weight)
        average += (answer - average) * (weight / total)  # where this tile is the first, its share is exactly 1

    def take(self, rows: int) -> Tensor:
        """The uppermost rows, which no later tile covers; the rest moves up."""
        done = self._average[:, :, :rows]
        self._average = torch.cat((self._average[:, :, rows:], torch.zeros_like(done)), dim=2)
        self._weight = torch.cat((self._weight[rows:], torch.zeros_like(self._weight[:rows])))
        return done
