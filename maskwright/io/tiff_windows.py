"""TIFF by windows: tiled or striped, compressed or not, BigTIFF, GeoTIFF and OME-TIFF, bands interleaved, planar or a page each.

Only the segments (tiles, strips) under a window are decoded, and those decoded last are kept: neighbouring windows share them,
and a strip is as wide as the image, so all strips of a row of windows stay until the next row. Uncompressed files are read
straight.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from maskwright.errors import FormatError
from maskwright.io.decoded import LIMIT_VARIABLE, pixel_limit
from maskwright.io.geotiff import ALPHA, place_of
from maskwright.io.image import stored
from maskwright.io.tiff import BROKEN, MOST_BANDS_OF_UNNAMED_AXIS, only_image, plain_colours

# Windows of 1024 px and their neighbours share a dozen tiles of 512 px.
KEPT_BYTES = 32 << 20
# Deflate packs at most 1030 to 1; files beyond the pixel limit that claim more than this are not believed.
MOST_PACKED = 2000
_PAGES = {"YX": "one", "YXS": "one", "YXC": "one", "SYX": "one", "CYX": "many", "QYX": "many"}


class TiffWindows:
    """See Windows.

    Raises:
        FormatError: cut short, damaged, several images, an order of axes or a colour space that is no picture, turned, or a file
            that claims more pixels than its bytes can hold.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._tiff = tifffile.TiffFile(path)
        except BROKEN as error:
            raise _damaged(path, error) from error
        try:
            series = only_image(path, self._tiff)
            self._page: Any = series.keyframe
            self._pages = _band_pages(path, series)
            self.hw = int(self._page.imagelength), int(self._page.imagewidth)
            for page in self._pages:
                _check(path, self._page, page, self._tiff.filehandle.size)
            self._straight = bool(self._page.is_contiguous) and _plain_bytes(self._page)
            self._kept: OrderedDict[tuple[int, int], NDArray[Any] | None] = OrderedDict()
            self._kept_bytes = 0
            self.place, self.remarks = place_of(path, self._page)
            self.voids, self.nodata = self.place is not None, self.place.nodata if self.place else None
            self._alpha = _alpha_band(self._page) if self.voids and len(self._pages) == 1 else None
            self.covers = self._alpha is not None
            if self.voids and any(s.keyframe.is_mask and not s.keyframe.is_reduced for s in self._tiff.series):
                self.remarks += (f"{path}: has a mask page, which is not looked at in images this large; set nodata instead.",)
            first = self.read(slice(0, 1), slice(0, 1))
        except BROKEN as error:
            self.close()
            raise error if isinstance(error, FormatError) else _damaged(path, error) from error
        bits = self._page.bitspersample
        self.channels, self.dtype = int(first.shape[2]), first.dtype
        narrow = first.dtype.kind in "bu" and bits < 8 * first.dtype.itemsize and self._page.photometric != 3
        self.top = (1 << bits) - 1 if narrow else None

    def read(self, rows: slice, cols: slice) -> NDArray[Any]:
        """(h, w, C) stored values.

        Raises:
            FormatError: a segment is damaged.
        """
        try:
            raw = self._raw(rows, cols)
            pixels, palette = plain_colours(self.path, raw[..., 0] if raw.shape[2] == 1 else raw, self._page)
        except FormatError:
            raise
        except BROKEN as error:
            raise _damaged(self.path, error) from error
        pixels = palette[pixels] if palette is not None else pixels
        return stored(pixels.astype(np.uint8) if pixels.dtype == bool else pixels, str(self.path))

    def covered(self, rows: slice, cols: slice) -> NDArray[np.bool_]:
        """(h, w) where there is a picture, by the transparent band; everywhere where there is none.

        Raises:
            FormatError: a segment is damaged.
        """
        if self._alpha is None:
            return np.ones((rows.stop - rows.start, cols.stop - cols.start), bool)
        try:
            return np.asarray(self._raw(rows, cols)[:, :, self._alpha] != 0)
        except BROKEN as error:
            raise _damaged(self.path, error) from error

    def close(self) -> None:
        self._tiff.close()

    def _raw(self, rows: slice, cols: slice) -> NDArray[Any]:
        """(h, w, samples of all pages)."""
        return self._straight_window(rows, cols) if self._straight else self._window(rows, cols)

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
        return _segment_hw(self._page)

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
        key = number, index
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key], place
        page, file = self._pages[number], self._tiff.filehandle
        data = None
        if page.databytecounts[index]:
            file.seek(page.dataoffsets[index])
            data = file.read(page.databytecounts[index])
        decoded = self._page.decode(data, index, jpegtables=self._page.jpegtables, jpegheader=self._page.jpegheader)[0]
        self._keep(key, None if decoded is None else decoded[0], rows)
        return self._kept[key], place

    def _keep(self, key: tuple[int, int], segment: NDArray[Any] | None, rows: slice) -> None:
        """Remember a segment and forget the oldest; strips of the rows at hand always stay."""
        self._kept[key] = segment
        self._kept_bytes += 0 if segment is None else segment.nbytes
        tall, wide = self._grid()
        strips = (rows.stop - rows.start + 2 * tall) * self.hw[1] * self._page.dtype.itemsize * math.prod(self._planes())
        limit = max(KEPT_BYTES, strips * len(self._pages) if wide >= self.hw[1] else 0)
        while self._kept_bytes > limit and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._kept_bytes -= 0 if old is None else old.nbytes

    def _straight_window(self, rows: slice, cols: slice) -> NDArray[Any]:
        """The window of uncompressed rows that stand one after the other in the file."""
        planes, depth = self._planes()
        kind = np.dtype(self._tiff.byteorder + self._page.dtype.char)
        pixel, parts = depth * kind.itemsize, []
        height, width = rows.stop - rows.start, cols.stop - cols.start
        file = self._tiff.filehandle
        for page in self._pages:
            for plane in range(planes):
                part = bytearray()
                for y in range(rows.start, rows.stop):
                    file.seek(page.dataoffsets[0] + ((plane * self.hw[0] + y) * self.hw[1] + cols.start) * pixel)
                    part += file.read(width * pixel)
                parts.append(np.frombuffer(bytes(part), kind).reshape(height, width, depth))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _alpha_band(page: Any) -> int | None:
    """The place of the transparent band, counted from the last."""
    samples = page.extrasamples
    return next((k - len(samples) for k, kind in enumerate(samples) if int(kind) in ALPHA), None)


def claimed_px(path: Path) -> int:
    """Pixels that the first page of a TIFF file claims; 0 where it is too damaged to say."""
    try:
        with tifffile.TiffFile(path) as tiff:
            page: Any = tiff.pages[0]
            return int(page.imagewidth) * int(page.imagelength)
    except BROKEN:
        return 0


def _damaged(path: Path, error: BaseException) -> FormatError:
    return FormatError(f"{path}: the TIFF file is cut short or damaged ({error}). Copy or download it again.")


def _plain_bytes(page: Any) -> bool:
    return bool(page.bitspersample == 8 * page.dtype.itemsize and page.compression == 1)


def _segment_hw(page: Any) -> tuple[int, int]:
    """Height and width of a tile; of a strip as many rows as it has and the image's width."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip), int(page.imagelength)) or int(page.imagelength), int(page.imagewidth)


def _band_pages(path: Path, series: Any) -> list[Any]:
    """The pages that hold the picture's bands, in order: mostly a single one.

    Raises:
        FormatError: the axes are those of a stack, or the picture is stored turned.
    """
    axes, shape = series.axes, series.shape
    squeezed = "".join(a for a, n in zip(axes, shape, strict=True) if n > 1 or a in "YX")
    pages = [page for page in series.pages if page is not None]
    single = len(pages) == 1
    bands = shape[axes.index(squeezed[0])] if squeezed in ("CYX", "QYX") else 1
    if squeezed not in _PAGES or (not single and (bands > MOST_BANDS_OF_UNNAMED_AXIS * 16 or len(pages) != bands)):
        raise FormatError(
            f"{path}: the TIFF file holds a stack of the shape {shape} (axes {axes}); expected one image of height, width and "
            f"channels. Split it into one file an image."
        )
    tag = series.keyframe.tags.get("Orientation")
    if tag is not None and tag.value in range(2, 9) and place_of(path, series.keyframe)[0] is None:
        raise FormatError(
            f"{path}: the picture is stored turned (orientation {tag.value}) and too large for memory; store it upright."
        )
    return pages


def _check(path: Path, keyframe: Any, page: Any, file_bytes: int) -> None:
    """Refuse a file that does not hold what it claims: some decoders fill what is missing with zeros.

    Raises:
        FormatError: segments are missing or lie beyond the file, or so many values cannot come from so few bytes.
    """
    height, width = int(keyframe.imagelength), int(keyframe.imagewidth)
    tall, wide = _segment_hw(keyframe)
    needed = int(keyframe.shaped[0]) * -(-height // tall) * -(-width // wide)
    offsets, counts = page.dataoffsets, page.databytecounts
    if len(offsets) != needed and not keyframe.is_contiguous:
        raise FormatError(f"{path}: claims {width}x{height} pixels but holds {len(offsets)} of {needed} pieces. Copy it again.")
    if any(o + n > file_bytes for o, n in zip(offsets, counts, strict=True)):
        raise FormatError(f"{path}: the TIFF file is cut short (its data reach beyond {file_bytes} bytes). Copy it again.")
    claimed = math.prod(keyframe.shaped) * keyframe.dtype.itemsize
    if keyframe.is_contiguous and sum(counts) < claimed and keyframe.compression == 1:
        raise FormatError(f"{path}: claims {width}x{height} pixels, {claimed} bytes, but holds {sum(counts)}. Copy it again.")
    limit = pixel_limit()
    if limit is not None and width * height > limit and claimed > MOST_PACKED * min(sum(counts), file_bytes):
        raise FormatError(
            f"{path}: claims {width}x{height} pixels, {claimed} bytes, in a file of {file_bytes} (it may be a decompression "
            f"bomb). If you trust the file, set the environment variable {LIMIT_VARIABLE} to more pixels than it has."
        )
