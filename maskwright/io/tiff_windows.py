"""TIFF by windows: tiled or striped, compressed or not, BigTIFF, GeoTIFF, OME-TIFF, bands interleaved, planar or a page each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from maskwright.errors import FormatError, InputError
from maskwright.io.decoded import LIMIT_VARIABLE, pixel_limit
from maskwright.io.geotiff import alpha_band, doubted_alpha, mask_page, place_of
from maskwright.io.image import stored
from maskwright.io.sidecars import mask_beside
from maskwright.io.tiff import (
    BROKEN,
    MOST_BANDS_OF_UNNAMED_AXIS,
    PALETTE,
    only_image,
    picture_axes,
    picture_shape,
    plain_colours,
)
from maskwright.io.tiff_segments import Segments, Straight, segment_hw

# Deflate packs at most 1030 to 1; files beyond the pixel limit that claim more than this are not believed.
MOST_PACKED = 2000
MOST_PAGES = 16 * MOST_BANDS_OF_UNNAMED_AXIS  # that are bands, where the file does not name them
MIDDLE_PX = 256  # each way, of the part that is looked at when a file is opened


class TiffWindows:
    """See Windows.

    Raises:
        FormatError: cut short, damaged, several images, an order of axes or a colour space that is no picture, turned, or a file
            that claims more pixels than its bytes can hold.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pages: list[Any] = []
        self._beside: tifffile.TiffFile | None = None
        try:
            self._tiff = tifffile.TiffFile(path)
        except BROKEN as error:
            raise _damaged(path, error) from error
        try:
            series = only_image(path, self._tiff)
            self._page: Any = series.keyframe
            self._pages = pages = [page for page in series.pages if page is not None]
            self._samples = _samples(path, series, pages)
            for page in pages:
                _check_whole(path, self._page, page)
                _check_claim(path, self._page, page)
            self.hw = self._samples.hw
            self.place, self.remarks = place_of(path, self._page)
            self.voids, self.nodata = self.place is not None, self.place.nodata if self.place else None
            mask = self._mask_page() if self.voids else None
            self._mask = None if mask is None else Segments(mask, [mask])
            self._alpha = alpha_band(self._page) if self.voids and mask is None and len(pages) == 1 else None
            # Of a palette the number is the number of a colour, which is not what read() gives.
            self._void_number = self.nodata if int(self._page.photometric) == PALETTE else None
            self.nodata = None if int(self._page.photometric) == PALETTE else self.nodata
            self.covers = self._alpha is not None or self._mask is not None or self._void_number is not None
            if mask is not None:
                _check_whole(Path(mask.parent.filehandle.path), mask, mask)
            if self.voids and len(pages) == 1 and alpha_band(self._page) is not None:
                self.remarks = (*self.remarks, *doubted_alpha(self._samples.read(*_middle(self.hw)), self._page))
            first = self.read(slice(0, 1), slice(0, 1))
        except BROKEN as error:
            self.close()
            raise error if isinstance(error, InputError) else _damaged(path, error) from error
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

    def _mask_page(self) -> Any:
        """The page that says where there is a picture, in the file or beside it; None where there is none."""
        mask = mask_page(self._tiff, self.hw)
        if mask is not None:
            return mask
        self._beside, remarks = mask_beside(self.path, self.hw)
        self.remarks = (*self.remarks, *remarks)
        return None if self._beside is None else self._beside.pages[0]

    def close(self) -> None:
        self._tiff.close()
        if self._beside is not None:
            self._beside.close()
        for page in self._pages:
            page.parent.filehandle.close()  # of an OME-TIFF another file than the first


def _middle(hw: tuple[int, int]) -> tuple[slice, slice]:
    starts = [max(0, (n - MIDDLE_PX) // 2) for n in hw]
    return slice(starts[0], min(starts[0] + MIDDLE_PX, hw[0])), slice(starts[1], min(starts[1] + MIDDLE_PX, hw[1]))


def claimed(path: Path) -> tuple[int, int]:
    """Pixels and bands that the image of a TIFF file claims; 0 where the file is too damaged to say, or holds several."""
    try:
        with tifffile.TiffFile(path) as tiff:
            series = only_image(path, tiff)
            order, page = picture_axes(series.shape, series.axes, MOST_PAGES), series.keyframe
            if not order:
                return int(page.imagewidth) * int(page.imagelength), int(page.samplesperpixel)
            sizes = dict(zip(order, picture_shape(series.shape, series.axes), strict=True))
            return sizes["Y"] * sizes["X"], sizes.get("S", 1)
    except BROKEN:
        return 0, 0


def _damaged(path: Path, error: BaseException) -> FormatError:
    return FormatError(f"{path}: the TIFF file is cut short or damaged ({error}). Copy or download it again.")


def _samples(path: Path, series: Any, pages: list[Any]) -> Segments | Straight:
    """The picture's values, from the pages that hold its bands in order (mostly a single one) or straight from the file.

    Raises:
        FormatError: the axes are those of a stack, the picture is stored turned, or there are pages of something else.
    """
    page, order = series.keyframe, picture_axes(series.shape, series.axes, MOST_PAGES)
    if not order:
        raise FormatError(
            f"{path}: the TIFF file holds a stack of the shape {series.shape} (axes {series.axes}); expected one image of "
            f"height, width and channels. Split it into one file an image."
        )
    tag = page.tags.get("Orientation")
    if tag is not None and tag.value in range(2, 9) and place_of(path, page)[0] is None:
        raise FormatError(
            f"{path}: the picture is stored turned (orientation {tag.value}) and too large for memory; store it upright."
        )
    if math.prod(page.shape) * len(pages) == math.prod(series.shape) and (len(pages) == 1 or order == "SYX"):
        return Segments(page, pages)
    return _in_one_piece(path, series, order)


def _in_one_piece(path: Path, series: Any, order: str) -> Straight:
    """A picture that has other pages than bands: ImageJ states the first of many in files beyond 4 GB, tifffile may state rows.

    Raises:
        FormatError: its values do not stand one after the other, or the file is cut short.
    """
    page, sizes = series.keyframe, dict(zip(order, picture_shape(series.shape, series.axes), strict=True))
    if series.dataoffset is None:
        raise FormatError(
            f"{path}: the TIFF file holds an image of the shape {series.shape} in pages of {page.shape}, compressed or apart; "
            f"expected a page for each channel, or one for all. Write it again as OME-TIFF."
        )
    planes, depth = (sizes.get("S", 1), 1) if order == "SYX" else (1, sizes.get("S", 1))
    found = Straight(page, page, series.dataoffset, (sizes["Y"], sizes["X"]), planes, depth)
    file_bytes = page.parent.filehandle.size
    if found.end > file_bytes:
        raise FormatError(f"{path}: the TIFF file is cut short (its data reach beyond {file_bytes} bytes). Copy it again.")
    return found


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
