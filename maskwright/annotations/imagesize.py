"""The size of an image as read_image gives it, from the first bytes of the file wherever they say it."""

from __future__ import annotations

import struct
from pathlib import Path

import PIL.Image

from maskwright.io.decoded import pixel_limit
from maskwright.io.read import decode

# Formats whose orientation stands before the pixels, so that asking for it decodes none; PNG may keep it behind them.
_HEADED = ("JPEG", "BMP", "GIF", "PPM")
_ORIENTATION_TAG = 0x0112
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error,
    PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning,
)  # fmt: skip
_PNG_SIGNATURE_BYTES, _PNG_CHUNK_BYTES = 8, 12
_PNG_METADATA = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_PNG_FIRST_CHUNKS = 4096


def image_hw(path: Path) -> tuple[int, int]:
    """Height and width of an image file, EXIF orientation applied.

    Reads the header of JPEG, BMP, GIF and PPM files, and of PNG files without notes; others, and damaged ones, are decoded whole.

    Raises:
        FormatError, InputError: see read_image.
    """
    quick = _from_header(path)
    if quick is not None:
        return quick
    h, w = decode(path).pixels.shape[:2]
    return int(h), int(w)


def _from_header(path: Path) -> tuple[int, int] | None:
    """The size where the first bytes say it, else None: decode() then reads the file, or explains what is wrong with it."""
    pixel_limit()
    try:
        with PIL.Image.open(path, formats=(*_HEADED, "PNG")) as picture:
            w, h = picture.size
            if picture.format == "PNG":
                return None if _may_be_turned(path) else (h, w)
            orientation = picture.getexif().get(_ORIENTATION_TAG, 1)
    except _BROKEN:
        return None
    return (w, h) if orientation in (5, 6, 7, 8) else (h, w)


def _may_be_turned(path: Path) -> bool:
    """Whether a PNG file holds notes that may be EXIF data; they may stand behind the pixels, so every chunk is looked at."""
    with path.open("rb") as file:
        position = _PNG_SIGNATURE_BYTES
        for _ in range(_PNG_FIRST_CHUNKS):
            file.seek(position)
            head = file.read(8)
            if len(head) < 8 or head[4:] == b"IEND":
                return False
            if head[4:] in _PNG_METADATA:
                return True
            position += _PNG_CHUNK_BYTES + struct.unpack(">I", head[:4])[0]
    return True
