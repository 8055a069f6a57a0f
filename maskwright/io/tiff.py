"""TIFF through tifffile: any depth, any number of channels, planar or interleaved, tiled or striped, compressed or not."""

from __future__ import annotations

import logging
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import tifffile
from numpy.typing import NDArray

from maskwright.errors import FormatError
from maskwright.io.decoded import ID_MARK, Decoded, bomb, pixel_limit, upright
from maskwright.io.geotiff import ALPHA, covered, doubted_alpha, place_of

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MINISWHITE, MINISBLACK, RGB, PALETTE, MASK, SEPARATED, YCBCR = range(7)
# JPEG (two generations), JPEG XR, JPEG 2000, lossy DNG, WebP, JPEG XL: all may change values.
LOSSY_COMPRESSIONS = {6, 7, 22610, 33003, 33004, 33005, 33007, 34712, 34892, 34927, 34933, 50001, 50002, 52546}
JPEG_COMPRESSIONS = {6, 7, 33007}
MOST_BANDS_OF_UNNAMED_AXIS = 16
BROKEN = (OSError, ValueError, RuntimeError, KeyError, IndexError, TypeError, ArithmeticError, struct.error, zlib.error)
# tifffile logs what it finds odd in a file; without this a program that sets up no logging prints it above our own sentence.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def decode_tiff(path: Path) -> Decoded:
    """Decode the one full-resolution image of a TIFF file.

    Thumbnails, overviews and transparency pages are left aside.

    Raises:
        FormatError: damaged or cut short, a decompression bomb, several images (a stack or a volume), or a colour
            space that has no plain channels.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            series = only_image(path, tiff)
            page = series.keyframe
            _check(path, series, page, tiff.filehandle.size)
            pixels = _channels_last(path, series.asarray(), series.axes)
            # While the file is open: long tags, such as the palette, are read when they are asked for.
            place, remarks = place_of(path, page)
            seen, more = covered(path, tiff, pixels, page) if place is not None else (None, ())
            more = more if place is None else (*more, *doubted_alpha(pixels, page))
            pixels, palette = plain_colours(path, pixels, page)
            tag = page.tags.get("Orientation")
            holds_ids = page.description == ": ".join(ID_MARK)
    except FormatError:
        raise
    except BROKEN as error:
        raise FormatError(f"{path}: the TIFF file is cut short or damaged ({error}). Copy or download it again.") from error
    # The transform of a georeferenced file speaks of its pixels as they are stored.
    orientation = int(tag.value) if tag is not None and tag.value in range(1, 9) and place is None else 1
    bits = page.bitspersample
    top = (1 << bits) - 1 if pixels.dtype.kind in "bu" and bits < 8 * pixels.dtype.itemsize and palette is None else None
    pixels = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    lossy = int(page.compression) in LOSSY_COMPRESSIONS
    return Decoded(
        np.ascontiguousarray(upright(pixels, orientation)), palette, top, lossy, orientation, "tiff", holds_ids,
        remarks=(*remarks, *more), georeference=place, covered=seen,
    )  # fmt: skip


def only_image(path: Path, tiff: tifffile.TiffFile) -> Any:
    full = [s for s in tiff.series if not s.keyframe.is_reduced and not s.keyframe.is_mask]
    if len(full) != 1:
        sizes = ", ".join("x".join(map(str, s.shape)) for s in full[:4]) or "none"
        raise FormatError(f"{path}: the TIFF file holds {len(full)} images ({sizes}); expected one. Split it into single images.")
    return full[0]


def _check(path: Path, series: Any, page: Any, file_bytes: int) -> None:
    limit = pixel_limit()
    if limit is not None and page.imagewidth * page.imagelength > limit:
        raise bomb(path, f"{page.imagewidth}x{page.imagelength} pixels")
    if limit is not None and math.prod(series.shape) > 4 * limit:
        raise bomb(path, f"{math.prod(series.shape)} values")
    # Some decoders fill what is missing with zeros, so the offsets are checked against the file first.
    for one in series.pages:
        if one is not None and any(o + n > file_bytes for o, n in zip(one.dataoffsets, one.databytecounts, strict=True)):
            raise FormatError(f"{path}: the TIFF file is cut short (its data reach beyond {file_bytes} bytes). Copy it again.")


def _channels_last(path: Path, pixels: NDArray[Any], axes: str) -> NDArray[Any]:
    """(H, W) or (H, W, C) from whatever order the file states.

    Shapes:
        pixels: one axis a letter of axes: Y, X, S (samples) or C (channels), Q (not named)
    """
    if pixels.ndim != len(axes) or not pixels.size:
        raise FormatError(f"{path}: the TIFF file is damaged (pixels of the shape {pixels.shape}). Copy or download it again.")
    order = picture_axes(pixels.shape, axes)
    if not order:
        raise FormatError(
            f"{path}: the TIFF file holds a stack of the shape {pixels.shape} (axes {axes}); expected one image of height, width "
            f"and channels. Split it into one file an image."
        )
    pixels = pixels.reshape(picture_shape(pixels.shape, axes))
    return np.moveaxis(pixels, 0, 2) if order == "SYX" else pixels


def picture_axes(shape: tuple[int, ...], axes: str, most_bands: int = MOST_BANDS_OF_UNNAMED_AXIS) -> str:
    """The order of a single picture, "YX", "YXS" or "SYX" with S for its bands, axes of length 1 left out; "" where it is none.

    Args:
        most_bands: of an axis before the others that has no name
    """
    kept = "".join(a for a, n in zip(axes, shape, strict=True) if n > 1 or a in "YX")
    if kept != "QYX":
        return {"YX": "YX", "YXS": "YXS", "YXC": "YXS", "SYX": "SYX", "CYX": "SYX"}.get(kept, "")
    # Written by tifffile from a bare array: the short axis holds the bands, whichever end it stands at.
    first, _, last = picture_shape(shape, axes)
    if last <= MOST_BANDS_OF_UNNAMED_AXIS < first:
        return "YXS"
    return "SYX" if first <= most_bands else ""


def picture_shape(shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    """The lengths of the axes that picture_axes() speaks of."""
    return tuple(n for a, n in zip(axes, shape, strict=True) if n > 1 or a in "YX")


def plain_colours(path: Path, pixels: NDArray[Any], page: Any) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """Channels without alpha, with 0 as black; and the palette where the values are indices of one."""
    kind = int(page.photometric)
    if kind == PALETTE and page.colormap is not None and pixels.ndim == 2:
        # Old writers state colours of 8 bits where TIFF has 16; libtiff tells them apart in the same way.
        return pixels, (page.colormap >> (8 if page.colormap.max() >= 256 else 0)).astype(np.uint8).T
    if pixels.ndim == 3 and page.extrasamples:
        plain = pixels.shape[2] - len(page.extrasamples)
        kept = [c for c in range(pixels.shape[2]) if c < plain or int(page.extrasamples[c - plain]) not in ALPHA]
        pixels = pixels[..., kept] if len(kept) < pixels.shape[2] else pixels
    if kind == MINISWHITE and pixels.dtype.kind in "bu":
        top = (1 << page.bitspersample) - 1
        return (~pixels if pixels.dtype == bool else pixels.dtype.type(top) - pixels), None
    if kind == SEPARATED and pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 4:
        return np.asarray(PIL.Image.fromarray(np.ascontiguousarray(pixels), "CMYK").convert("RGB")), None
    if kind in (MINISWHITE, MINISBLACK, RGB, MASK) or (kind == YCBCR and int(page.compression) in JPEG_COMPRESSIONS):
        return pixels, None
    space = str(page.photometric)
    raise FormatError(f"{path}: the TIFF file has the colour space {space}; expected grey, RGB, palette or plain bands.")
