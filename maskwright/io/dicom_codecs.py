"""Compressions that pydicom leaves to other packages, decoded by imagecodecs, which is here anyway.

Lossless JPEG (process 14) is what many archives hand out; 12-bit JPEG and high-throughput JPEG 2000 are rare but read as well.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

# Transfer syntax -> decoder of imagecodecs.
CODECS = {
    "1.2.840.10008.1.2.4.51": "jpeg_decode",  # 8 or 12 bit, lossy
    "1.2.840.10008.1.2.4.57": "jpegsof3_decode",
    "1.2.840.10008.1.2.4.70": "jpegsof3_decode",
    "1.2.840.10008.1.2.4.201": "htj2k_decode",
    "1.2.840.10008.1.2.4.202": "htj2k_decode",
    "1.2.840.10008.1.2.4.203": "htj2k_decode",
}
DECODER_DEPENDENCIES = dict.fromkeys(CODECS, ("imagecodecs",))  # pydicom looks for this name


def is_available(uid: str) -> bool:
    """Asked by pydicom for each transfer syntax."""
    return uid in CODECS


@cache
def register() -> None:
    """Tell pydicom of these decoders, once."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    for uid in CODECS:
        get_decoder(UID(uid)).add_plugin("imagecodecs", (__name__, "decode_frame"))


def decode_frame(src: bytes, runner: DecodeRunner) -> bytearray:
    """The values of one compressed frame in row order, as pydicom's plugins hand them back.

    Raises:
        RuntimeError: the frame is damaged (imagecodecs' errors are of this type).
    """
    import imagecodecs
    import numpy as np

    pixels: Any = getattr(imagecodecs, CODECS[runner.transfer_syntax])(src)
    stored = np.dtype(f"u{runner.bits_allocated // 8}")
    if pixels.dtype.itemsize != stored.itemsize:
        pixels = pixels.astype(stored)
    runner.set_option("planar_configuration", 0)
    return bytearray(np.ascontiguousarray(pixels).tobytes())
