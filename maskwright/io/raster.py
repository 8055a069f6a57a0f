"""PNG, JPEG, WebP, BMP, GIF and PPM through Pillow; PNG with 16 bits a colour through imagecodecs.

Differs from plain Pillow: 16-bit colour PNG keeps its depth (Pillow cuts it to 8), and grey PNG with 2 or 4 bits keeps its
stored values (Pillow spreads 0..3 over 0..255, which would turn class 1 into 85).
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import UnidentifiedImageError
from PIL.Image import DecompressionBombError, DecompressionBombWarning

from maskwright.errors import FormatError
from maskwright.io.decoded import ID_MARK, Decoded, bomb, pixel_limit, upright

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "PPM")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ORIENTATION_TAG = 0x0112
PNG_GREY, PNG_PALETTE = 0, 3
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


def decode_raster(path: Path) -> Decoded:
    """Decode the first frame of a file.

    Raises:
        FormatError: not an image, cut short or damaged, or a decompression bomb.
    """
    pixel_limit()
    data = path.read_bytes()
    try:
        with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            pixels, palette, top = _pixels(picture, data)
            orientation = _orientation(picture)
            holds_ids = picture.info.get(ID_MARK[0]) == ID_MARK[1]
            lossy = picture.format in ("JPEG", "MPO") or (picture.format == "WEBP" and _webp_is_lossy(data))
            frames = _frames(picture)
    except (DecompressionBombError, DecompressionBombWarning) as error:
        raise bomb(path, str(error).split(" exceeds")[0].replace("Image size (", "").rstrip(")")) from error
    except UnidentifiedImageError as error:
        kinds = ", ".join((*FORMATS, "TIFF"))
        raise FormatError(f"{path}: not an image (it starts with {data[:8]!r}); expected one of {kinds}.") from error
    except BROKEN as error:
        raise FormatError(f"{path}: the image is cut short or damaged ({error}). Copy or download it again.") from error
    return Decoded(
        np.ascontiguousarray(upright(pixels, orientation)), palette, top, lossy, orientation, holds_ids=holds_ids,
        remarks=(f"holds {frames} frames; the first of them is answered.",) if frames > 1 else (),
    )  # fmt: skip


def opened_picture(picture: PIL.Image.Image) -> Decoded:
    """A picture that Pillow has opened or made, as its file would be read; what Pillow itself has lost of its depth is lost.

    Raises:
        FormatError: the file behind it is cut short or damaged.
    """
    try:
        pixels, palette, top = _pixels(picture, b"")
        orientation = _orientation(picture)
    except (*BROKEN, AssertionError) as error:  # Pillow asserts that the file behind it is still open
        raise FormatError(f"the Pillow image is cut short or damaged ({error}). Copy or download its file again.") from error
    return Decoded(np.ascontiguousarray(upright(pixels, orientation)), palette, top, False, orientation)


def _pixels(picture: PIL.Image.Image, data: bytes) -> tuple[NDArray[Any], NDArray[np.uint8] | None, int | None]:
    """Stored values, palette and highest possible value of an opened picture, not yet turned.

    Args:
        data: of the file; empty of a picture that was made in memory
    """
    bits, colour_type = (data[24], data[25]) if data.startswith(PNG_SIGNATURE) else (8, None)
    if bits == 16 and colour_type != PNG_GREY:
        return _png_16(data), None, None
    picture.load()
    if picture.mode == "P":
        # A damaged file may hold indices beyond its palette: those are black, as in every viewer.
        palette = np.zeros((256, 3), np.uint8)
        stated = np.asarray(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette[: len(stated)] = stated
        return np.asarray(picture), palette, None
    if picture.mode == "1":
        return np.asarray(picture).astype(np.uint8), None, 1
    if colour_type == PNG_GREY and bits in (2, 4):
        top = (1 << bits) - 1
        return np.asarray(picture) // np.uint8(255 // top), None, top
    if picture.mode in ("LA", "RGBA"):
        return np.asarray(picture)[..., : -1 if picture.mode == "RGBA" else 1], None, None
    if picture.mode == "I":
        # Pillow widens 16-bit PGM; no format here holds more than 16 bits, a picture made in memory may.
        values = np.asarray(picture)
        return values if values.size and (values.min() < 0 or values.max() >> 16) else values.astype(np.uint16), None, None
    if picture.mode in ("L", "RGB") or picture.mode.startswith(("I;16", "F")):
        return np.asarray(picture), None, None
    return np.asarray(picture.convert("RGB")), None, None


def _png_16(data: bytes) -> NDArray[Any]:
    import imagecodecs

    try:
        pixels: NDArray[Any] = imagecodecs.png_decode(data)
    except imagecodecs.PngError as error:
        raise OSError(str(error)) from error
    return pixels[..., :1] if pixels.shape[2] == 2 else pixels[..., :3]


def _orientation(picture: PIL.Image.Image) -> int:
    try:
        stated = picture.getexif().get(ORIENTATION_TAG, 1)
    except BROKEN:
        # Damaged EXIF data beside a sound picture: viewers show it as stored, and so do we.
        return 1
    return stated if isinstance(stated, int) and 1 <= stated <= 8 else 1


def _frames(picture: PIL.Image.Image) -> int:
    """How many frames an animation has; 1 of a photo with previews (MPO). Asked last: counting goes through the file."""
    if picture.format == "MPO":
        return 1
    try:
        return int(getattr(picture, "n_frames", 1))
    except BROKEN:
        return 1  # damaged behind the first, which is all that is read


def _webp_is_lossy(data: bytes) -> bool:
    """Whether the first frame is coded as VP8 (lossy) rather than VP8L; walks the RIFF chunks.

    Source: WebP Container Specification, developers.google.com/speed/webp/docs/riff_container.
    """
    position = 12
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind in (b"VP8 ", b"VP8L"):
            return bool(kind == b"VP8 ")
        # An animation frame holds 16 bytes of its own and then the chunks of the picture.
        position += 8 + (16 if kind == b"ANMF" else length + length % 2)
    return False
