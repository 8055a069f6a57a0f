"""Decoded: what an image file holds, before anybody decides whether it is a picture or a mask."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from maskwright.errors import FormatError, InputError
from maskwright.io.georeference import Georeference

# Masks that maskwright wrote say so, so that they are read by id even where people's masks store other values (0 and 255).
ID_MARK = ("maskwright", "class ids")
LIMIT_VARIABLE = "MASKWRIGHT_MAX_IMAGE_PIXELS"


@dataclass(frozen=True, eq=False)
class Decoded:
    """The stored values of one file, turned upright, alpha dropped.

    Attributes:
        pixels: (H, W) or (H, W, C); palette indices where there is a palette
        palette: (N, 3) uint8, the colour of each index, or None
        top: highest value the stated bits can hold (1 for a 1-bit PNG, 4095 for a 12-bit TIFF); None: that of the type
        lossy: the compression may have changed values (JPEG, lossy WebP)
        orientation: EXIF orientation of the file, already applied
        container: what an answer to this file is written as
        holds_ids: a mask written by maskwright: values are class ids
        value_range, window, spacing_mm, remarks, georeference: as in Image; None or empty where the file does not say
        covered: (H, W) bool, false where the file's own mask or a transparent band says that there is no picture; or None
    """

    pixels: NDArray[Any]
    palette: NDArray[np.uint8] | None = None
    top: int | None = None
    lossy: bool = False
    orientation: int = 1
    container: str = "png"
    holds_ids: bool = False
    value_range: tuple[float, float] | None = None
    window: tuple[float, float] | None = None
    spacing_mm: tuple[float, float] | None = None
    remarks: tuple[str, ...] = ()
    georeference: Georeference | None = None
    covered: NDArray[np.bool_] | None = None


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn and mirror stored pixels into the way they are displayed.

    Shapes:
        pixels: (H, W) or (H, W, C)
        returns: the same for orientations 1 to 4, height and width exchanged for 5 to 8

    Source: TIFF 6.0, tag Orientation; EXIF 2.3 uses the same numbers.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def pixel_limit() -> int | None:
    """Most pixels an image may claim before it is taken for a decompression bomb; None: no limit.

    Pillow's own setting is the one setting for all formats (it refuses from twice MAX_IMAGE_PIXELS on). Those who cannot
    set it in Python use the environment variable MASKWRIGHT_MAX_IMAGE_PIXELS.

    Raises:
        InputError: the variable is not a positive whole number.
    """
    stated = os.environ.get(LIMIT_VARIABLE)
    if stated is not None:
        if not stated.isdecimal() or int(stated) == 0:
            raise InputError(f"{LIMIT_VARIABLE}={stated!r}: expected a number of pixels, such as 400000000.")
        PIL.Image.MAX_IMAGE_PIXELS = (int(stated) + 1) // 2
    return None if PIL.Image.MAX_IMAGE_PIXELS is None else 2 * PIL.Image.MAX_IMAGE_PIXELS


def bomb(path: Path, found: str) -> FormatError:
    """The error for a file that claims more pixels than pixel_limit()."""
    return FormatError(
        f"{path}: claims {found}, more than the {pixel_limit()} that are read without asking (it may be a decompression bomb). "
        f"If you trust the file, set the environment variable {LIMIT_VARIABLE} (or PIL.Image.MAX_IMAGE_PIXELS) to more."
    )
