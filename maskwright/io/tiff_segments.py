"""The segments of TIFF pages, tiles or strips: those under a window are decoded. Uncompressed files are read straight."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.io.pieces import Pieces


class Segments:
    """Pages of one kind and size, side by side as samples.

    Args:
        page: that says how all of them are stored
    """

    def __init__(self, page: Any, pages: Sequence[Any]) -> None:
        self._page, self._pages = page, pages
        self.hw = int(page.imagelength), int(page.imagewidth)
        self._straight: list[Straight] = []
        if page.is_final and _plain_bytes(page):  # final: no order of bits and no differences to undo
            self._straight = [Straight(one, page, one.dataoffsets[0], self.hw, *self._planes()) for one in pages]
        self._pieces = Pieces()

    def read(self, rows: slice, cols: slice) -> NDArray[Any]:
        """(h, w, samples of all pages); what tifffile raises where a segment is damaged."""
        if not self._straight:
            return self._window(rows, cols)
        parts = [one.read(rows, cols) for one in self._straight]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _window(self, rows: slice, cols: slice) -> NDArray[Any]:
        """(h, w, samples of all pages), put together from the segments under the window."""
        planes, depth = self._planes()
        shape = rows.stop - rows.start, cols.stop - cols.start, planes * depth * len(self._pages)
        out = np.full(shape, self._page.nodata, self._page.dtype)  # what was never written: GDAL leaves empty tiles out
        for number in range(len(self._pages)):
            for index in self._under(rows, cols, planes):
                segment, (top, left, plane) = self._segment(number, index, rows)
                if segment is None:
                    continue
                height, width = segment.shape[:2]
                y0, y1 = max(top, rows.start), min(top + height, rows.stop)
                x0, x1 = max(left, cols.start), min(left + width, cols.stop)
                band = (number * planes + plane) * depth
                target = out[y0 - rows.start : y1 - rows.start, x0 - cols.start : x1 - cols.start, band : band + depth]
                target[...] = segment[y0 - top : y1 - top, x0 - left : x1 - left]
        return out

    def _planes(self) -> tuple[int, int]:
        """Planes that a page stores one after the other, and samples that stand together in each."""
        separate, _, _, _, together = self._page.shaped
        return int(separate), int(together)

    def _grid(self) -> tuple[int, int]:
        return segment_hw(self._page)

    def _under(self, rows: slice, cols: slice, planes: int) -> Iterator[int]:
        """Numbers of the segments that the window touches."""
        tall, wide = self._grid()
        down, across = -(-self.hw[0] // tall), -(-self.hw[1] // wide)
        for plane in range(planes):
            for y in range(rows.start // tall, -(-rows.stop // tall)):
                for x in range(cols.start // wide, -(-cols.stop // wide)):
                    yield (plane * down + y) * across + x

    def _segment(self, number: int, index: int, rows: slice) -> tuple[NDArray[Any] | None, tuple[int, int, int]]:
        """A decoded segment (h, w, samples), None where it was never written; and its top, left and plane."""
        tall, wide = self._grid()
        down, across = -(-self.hw[0] // tall), -(-self.hw[1] // wide)
        place = index // across % down * tall, index % across * wide, index // (across * down)
        strips = (rows.stop - rows.start + 2 * tall) * self.hw[1] * self._page.dtype.itemsize * math.prod(self._planes())
        shared = strips * len(self._pages) if wide >= self.hw[1] else 0
        return self._pieces.get((number, index), lambda: self._decoded(number, index), at_least=shared), place

    def _decoded(self, number: int, index: int) -> NDArray[Any] | None:
        page = self._pages[number]
        file = _file_of(page)
        data = None
        if page.databytecounts[index]:
            file.seek(page.dataoffsets[index])
            data = file.read(page.databytecounts[index])
        decoded = self._page.decode(data, index, jpegtables=self._page.jpegtables, jpegheader=self._page.jpegheader)[0]
        return None if decoded is None else decoded[0]


class Straight:
    """A picture whose uncompressed rows stand one after the other in the file.

    Args:
        page: whose file it is
        keyframe: that says the type of its values
        offset: of the first value
        planes, depth: that it stores one after the other, and samples that stand together in each
    """

    def __init__(self, page: Any, keyframe: Any, offset: int, hw: tuple[int, int], planes: int, depth: int) -> None:
        self.hw, self._page, self._offset, self._planes, self._depth = hw, page, int(offset), planes, depth
        self._kind: np.dtype[Any] = np.dtype(keyframe.parent.byteorder + keyframe.dtype.char)

    @property
    def end(self) -> int:
        """The byte behind its last value."""
        return self._offset + self._planes * self.hw[0] * self.hw[1] * self._depth * self._kind.itemsize

    def read(self, rows: slice, cols: slice) -> NDArray[Any]:
        """(h, w, samples of all planes); ValueError where the file ends before."""
        pixel, parts, file = self._depth * self._kind.itemsize, [], _file_of(self._page)
        height, width = rows.stop - rows.start, cols.stop - cols.start
        for plane in range(self._planes):
            part = bytearray()
            for y in range(rows.start, rows.stop):
                file.seek(self._offset + ((plane * self.hw[0] + y) * self.hw[1] + cols.start) * pixel)
                part += file.read(width * pixel)
            parts.append(np.frombuffer(bytes(part), self._kind).reshape(height, width, self._depth))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _file_of(page: Any) -> Any:
    """The opened file that holds a page: those of an OME-TIFF may lie in several."""
    file = page.parent.filehandle
    if file.closed:
        file.open()
    return file


def _plain_bytes(page: Any) -> bool:
    return bool(page.bitspersample == 8 * page.dtype.itemsize and page.compression == 1)


def segment_hw(page: Any) -> tuple[int, int]:
    """Height and width of a tile; of a strip as many rows as it has and the image's width."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip), int(page.imagelength)) or int(page.imagelength), int(page.imagewidth)
