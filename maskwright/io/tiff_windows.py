"""TIFF by windows: tiled or striped, compressed or not, BigTIFF, GeoTIFF, OME-TIFF, bands interleaved, planar or a page each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from maskwright.errors import FormatError
from maskwright.io.decoded import LIMIT_VARIABLE, pixel_limit
from maskwright.io.geotiff import ALPHA, mask_page, place_of
from maskwright.io.image import stored
from maskwright.io.tiff import BROKEN, MOST_BANDS_OF_UNNAMED_AXIS, PALETTE, only_image, plain_colours
from maskwright.io.tiff_segments import Segments, segment_hw

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
        self._pages: list[Any] = []
        try:
            self._tiff = tifffile.TiffFile(path)
        except BROKEN as error:
            raise _damaged(path, error) from error
        try:
            series = only_image(path, self._tiff)
            self._page: Any = series.keyframe
            self._pages = pages = _band_pages(path, series)
            for page in pages:
                _check_whole(path, self._page, page)
                _check_claim(path, self._page, page)
            self._samples = Segments(self._page, pages)
            self.hw = self._samples.hw
            self.place, self.remarks = place_of(path, self._page)
            self.voids, self.nodata = self.place is not None, self.place.nodata if self.place else None
            mask = mask_page(self._tiff, self.hw) if self.voids else None
            self._mask = None if mask is None else Segments(mask, [mask])
            self._alpha = _alpha_band(self._page) if self.voids and mask is None and len(pages) == 1 else None
            # Of a palette the number is the number of a colour, which is not what read() gives.
            self._void_number = self.nodata if int(self._page.photometric) == PALETTE else None
            self.nodata = None if int(self._page.photometric) == PALETTE else self.nodata
            self.covers = self._alpha is not None or self._mask is not None or self._void_number is not None
            if mask is not None:
                _check_whole(path, mask, mask)
            first = self.read(slice(0, 1), slice(0, 1))
        except BROKEN as error:
            self.close()
            raise error if isinstance(error, FormatError) else _damaged(path, error) from error
        bits = self._page.bitspersample
        self.channels, self.dtype = int(first.shape[2]), self._page.dtype if self._page.dtype == np.int8 else first.dtype
        narrow = first.dtype.kind in "bu" and bits < 8 * first.dtype.itemsize and self._page.photometric != 3
        self.top = (1 << bits) - 1 if narrow else None

    def read(self, rows: slice, cols: slice) -> NDArray[Any]:
        """(h, w, C) stored values.

        Raises:
            FormatError: a segment is damaged.
        """
        try:
            raw = self._samples.read(rows, cols)
            pixels, palette = plain_colours(self.path, raw[..., 0] if raw.shape[2] == 1 else raw, self._page)
        except FormatError:
            raise
        except BROKEN as error:
            raise _damaged(self.path, error) from error
        pixels = palette[pixels] if palette is not None else pixels
        return stored(pixels.astype(np.uint8) if pixels.dtype == bool else pixels, str(self.path))

    def covered(self, rows: slice, cols: slice) -> NDArray[np.bool_]:
        """(h, w) where there is a picture, by the mask page, the transparent band or a palette's void number; else everywhere.

        Raises:
            FormatError: a segment is damaged.
        """
        try:
            there = np.ones((rows.stop - rows.start, cols.stop - cols.start), bool)
            if self._mask is not None:
                there &= self._mask.read(rows, cols)[:, :, 0] != 0
            if self._alpha is not None:
                there &= self._samples.read(rows, cols)[:, :, self._alpha] != 0
            if self._void_number is not None:
                there &= self._samples.read(rows, cols)[:, :, 0] != self._void_number
            return there
        except BROKEN as error:
            raise _damaged(self.path, error) from error

    def close(self) -> None:
        self._tiff.close()
        for page in self._pages:
            page.parent.filehandle.close()  # of an OME-TIFF another file than the first


def _alpha_band(page: Any) -> int | None:
    """The place of the transparent band, counted from the last."""
    samples = page.extrasamples
    return next((k - len(samples) for k, kind in enumerate(samples) if int(kind) in ALPHA), None)


def claimed(path: Path) -> tuple[int, int]:
    """Pixels and bands that the first page of a TIFF file claims; 0 where it is too damaged to say."""
    try:
        with tifffile.TiffFile(path) as tiff:
            page: Any = tiff.pages[0]
            return int(page.imagewidth) * int(page.imagelength), int(page.samplesperpixel)
    except BROKEN:
        return 0, 0


def _damaged(path: Path, error: BaseException) -> FormatError:
    return FormatError(f"{path}: the TIFF file is cut short or damaged ({error}). Copy or download it again.")


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


def _check_whole(path: Path, keyframe: Any, page: Any) -> None:
    """Refuse a file that does not hold what it claims: some decoders fill what is missing with zeros.

    Raises:
        FormatError: segments are missing or lie beyond the file.
    """
    height, width, file_bytes = int(keyframe.imagelength), int(keyframe.imagewidth), page.parent.filehandle.size
    tall, wide = segment_hw(keyframe)
    needed = int(keyframe.shaped[0]) * -(-height // tall) * -(-width // wide)
    offsets, counts = page.dataoffsets, page.databytecounts
    if len(offsets) != needed and not keyframe.is_contiguous:
        raise FormatError(f"{path}: claims {width}x{height} pixels but holds {len(offsets)} of {needed} pieces. Copy it again.")
    if any(o + n > file_bytes for o, n in zip(offsets, counts, strict=True)):
        raise FormatError(f"{path}: the TIFF file is cut short (its data reach beyond {file_bytes} bytes). Copy it again.")
    claimed = math.prod(keyframe.shaped) * keyframe.dtype.itemsize
    if keyframe.is_contiguous and sum(counts) < claimed and keyframe.compression == 1:
        raise FormatError(f"{path}: claims {width}x{height} pixels, {claimed} bytes, but holds {sum(counts)}. Copy it again.")


def _check_claim(path: Path, keyframe: Any, page: Any) -> None:
    """Refuse a page beyond the pixel limit that so few bytes cannot hold.

    Raises:
        FormatError: so many values cannot come from so few bytes.
    """
    height, width, file_bytes = int(keyframe.imagelength), int(keyframe.imagewidth), page.parent.filehandle.size
    counts, claimed = page.databytecounts, math.prod(keyframe.shaped) * keyframe.dtype.itemsize
    limit = pixel_limit()
    if limit is not None and width * height > limit and claimed > MOST_PACKED * min(sum(counts), file_bytes):
        raise FormatError(
            f"{path}: claims {width}x{height} pixels, {claimed} bytes, in a file of {file_bytes} (it may be a decompression "
            f"bomb). If you trust the file, set the environment variable {LIMIT_VARIABLE} to more pixels than it has."
        )
