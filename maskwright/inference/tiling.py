"""Which tiles an image is cut into: what the net sees of each, and what is finished once a tile has been added.

Blended tiles overlap, and a pixel is finished when the last tile over it came. Exact tiles own a part each and see the net's
border around it as well (see border.py), so that a pixel's answer comes from one tile, which sees all that the answer depends on.
Either way the finished parts fill the image row of tiles by row of tiles, without a gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from maskwright.errors import InputError
from maskwright.inference.tiled import GRID_PX, TILE_PX, grid_starts, tiles_for
from maskwright.transforms import Preprocess

# A net's answer is unsure within its effective reach of a cut edge, some 64 px, which does not grow with the tile: an eighth of
# 1024 px on each side gives every pixel a tile that sees as far, for 1.3 times the work; a quarter would cost 1.8 times.
OVERLAP_SHARE = 1 / 8
MOST_TILE_PX = 4096


@dataclass(frozen=True)
class Tile:
    """Pixels of the image: seen by the net, and done when this tile has been added."""

    rows: slice
    cols: slice
    done_rows: slice
    done_cols: slice


@dataclass(frozen=True)
class Tiling:
    """Args:
    hw: of the image
    tile_px: side of the square that the net sees
    overlap_px: of neighbours; of exact tiles twice the border
    exact: one tile owns each pixel
    """

    hw: tuple[int, int]
    tile_px: int
    overlap_px: int
    exact: bool = False

    @classmethod
    def blended(cls, hw: tuple[int, int], tile_px: int | None, overlap_px: int | None = None, *, scale: float = 1.0) -> Tiling:
        """Tiles as wished, else of TILE_PX with an eighth; divided by the scale at which the net sees the image.

        Raises:
            InputError: the overlap is below 0 or above half a tile, or tiles would be too large for memory.
        """
        side = max(2 * GRID_PX, _on_grid(round((tile_px or TILE_PX) / scale)))
        if side > MOST_TILE_PX:
            raise InputError(
                f"the model sees this image at {scale:.3g} of its size, which takes tiles of {side} px; give it scaled down, or "
                f"a smaller --tile."
            )
        tiles_for((1, 1), side, overlap_px)  # refuses an overlap that does not go with it
        return cls(hw, side, _on_grid(round(side * OVERLAP_SHARE)) if overlap_px is None else overlap_px)

    @classmethod
    def owned(cls, hw: tuple[int, int], tile_px: int | None, border_px: int) -> Tiling:
        """Exact tiles; where the border leaves less than half of a tile, the tile grows."""
        side = max(tile_px or TILE_PX, _on_grid(4 * border_px))
        return cls(hw, side, 2 * _on_grid(border_px), exact=True)

    @property
    def rows(self) -> list[tuple[slice, slice]]:
        """(seen, done) of each row of tiles."""
        return self._cuts(self.hw[0])

    @property
    def columns(self) -> list[tuple[slice, slice]]:
        return self._cuts(self.hw[1])

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def row(self, number: int) -> Iterator[Tile]:
        """The tiles of one row, from left to right."""
        rows, done_rows = self.rows[number]
        for cols, done_cols in self.columns:
            yield Tile(rows, cols, done_rows, done_cols)

    @property
    def seen_px(self) -> int:
        """Pixels of all tiles together; the image's own are fewer, the rest is the price of overlapping."""
        down, across = (sum(int(seen.stop - seen.start) for seen, _ in cuts) for cuts in (self.rows, self.columns))
        return int(down * across)

    def _cuts(self, length: int) -> list[tuple[slice, slice]]:
        if self.exact:
            border = self.overlap_px // 2
            step = self.tile_px - self.overlap_px
            owned = [(at, min(at + step, length)) for at in range(0, length, step)] if length > self.tile_px else [(0, length)]
            return [(slice(max(a - border, 0), min(b + border, length)), slice(a, b)) for a, b in owned]
        first = grid_starts(length, self.tile_px, self.overlap_px)
        ends = [*first[1:], length]
        return [(slice(a, min(a + self.tile_px, length)), slice(a, b)) for a, b in zip(first, ends, strict=True)]


class View(NamedTuple):
    """How a net sees an image: in which tiles, prepared by what, and what is to be said of it."""

    tiling: Tiling
    preprocess: Preprocess
    remarks: tuple[str, ...] = ()


def _on_grid(px: int) -> int:
    return -(-px // GRID_PX) * GRID_PX
