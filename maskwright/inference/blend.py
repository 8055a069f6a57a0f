"""The running, weighed average of tiles that come row by row, in memory for one tile: what the next row needs is on the disk.

Each tile's weight is a bell around its centre (see tiled.py). A tile meets its left neighbour in memory and the row above in a
file of the rows that both rows of tiles cover; memory does not grow with the image, and an interrupted job finds the file again.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from maskwright.inference.tiled import bell
from maskwright.inference.tiling import Tile, Tiling

Floats = NDArray[np.float32]
_ROWS = 32  # averaged at a time, so that a block stays in the processor's cache


class Blend:
    """Tiles of one image in; finished logits out.

    Args:
        folder: where the rows between two rows of tiles lie
    """

    def __init__(self, tiling: Tiling, folder: Path) -> None:
        self.tiling, self._folder = tiling, folder
        self._average = np.empty((0, 0, 0), np.float32)  # (K, h, w) of the tile at hand
        self._weight = np.empty((0, 0), np.float32)  # (h, w) sum of the weights so far
        self._left = self._stop = 0

    def add(self, row: int, tile: Tile, logits: Floats | None, classes: int) -> Floats:
        """The finished logits (K, rows, cols) of tile.done_rows and tile.done_cols; a view that the next call changes.

        Shapes:
            logits: (K, h, w) of all that the tile sees, changed in place; None: nothing was measured there
        """
        if self.tiling.exact:
            return _inner(tile, logits, classes)
        self._move(row, tile, classes)
        if logits is not None:
            self._take(logits)
        high, wide = tile.done_rows.stop - tile.done_rows.start, tile.done_cols.stop - tile.done_cols.start
        if high < self._weight.shape[0]:
            self._hand_down(row, tile, high, wide)
        return self._average[:, :high, :wide]

    def _move(self, row: int, tile: Tile, classes: int) -> None:
        """Make room for a tile: what its left neighbour left over, what the row above left over, zeros elsewhere."""
        high, wide = tile.rows.stop - tile.rows.start, tile.cols.stop - tile.cols.start
        average, weight = np.zeros((classes, high, wide), np.float32), np.zeros((high, wide), np.float32)
        known = tile.cols.start  # columns before this one hold already what the row above left over
        if tile.cols.start:
            left = tile.cols.start - self._left
            known = min(self._stop, tile.cols.stop)
            average[:, :, : known - tile.cols.start] = self._average[:, :, left : left + known - tile.cols.start]
            weight[:, : known - tile.cols.start] = self._weight[:, left : left + known - tile.cols.start]
        shared = self._shared(row)
        if shared > 0 and known < tile.cols.stop:
            above = self._read(row - 1, known, tile.cols.stop, shared, classes)
            average[:, :shared, known - tile.cols.start :] = above[:-1]
            weight[:shared, known - tile.cols.start :] = above[-1]
        self._average, self._weight, self._left, self._stop = average, weight, tile.cols.start, tile.cols.stop

    def _shared(self, row: int) -> int:
        """Rows that this row of tiles shares with those before."""
        return self.tiling.rows[row - 1][0].stop - self.tiling.rows[row][0].start if row else 0

    def _take(self, logits: Floats) -> None:
        weight = bell(*self._weight.shape)
        for top in range(0, len(weight), _ROWS):
            rows = slice(top, top + _ROWS)
            total, average, answer = self._weight[rows], self._average[:, rows], logits[:, rows]
            total += weight[rows]
            answer -= average
            answer *= weight[rows] / total  # where this tile is the first, its share is exactly 1
            average += answer

    def _hand_down(self, row: int, tile: Tile, high: int, wide: int) -> None:
        """Keep for the next row of tiles the finished columns of the rows that are not finished."""
        rest = np.concatenate((self._average[:, high:, :wide], self._weight[None, high:, :wide]))
        with _opened(self._file(row)) as file:
            file.seek(tile.done_cols.start * rest.shape[0] * rest.shape[1] * 4)
            file.write(np.ascontiguousarray(rest.transpose(2, 0, 1)).data)  # column after column: any range is one read

    def _read(self, row: int, start: int, stop: int, shared: int, classes: int) -> Floats:
        """(K + 1, shared, columns): averages, and the weights last."""
        column = (classes + 1) * shared
        with self._file(row).open("rb") as file:
            file.seek(start * column * 4)
            found = np.frombuffer(file.read((stop - start) * column * 4), np.float32)
        return found.reshape(stop - start, classes + 1, shared).transpose(1, 2, 0)

    def _file(self, row: int) -> Path:
        # Two files by turns: while a row is under way, that of the row before stays as it is.
        return self._folder / f"between{row % 2}.raw"


def _inner(tile: Tile, logits: Floats | None, classes: int) -> Floats:
    high, wide = tile.done_rows.stop - tile.done_rows.start, tile.done_cols.stop - tile.done_cols.start
    if logits is None:
        return np.zeros((classes, high, wide), np.float32)
    top, left = tile.done_rows.start - tile.rows.start, tile.done_cols.start - tile.cols.start
    return logits[:, top : top + high, left : left + wide]


def _opened(path: Path) -> BinaryIO:
    return path.open("r+b" if path.exists() else "w+b")
