"""Windows: an image that is read piece by piece, because the whole of it may not fit in memory.

Pieces hold what read_image would give of the whole: channels last, alpha dropped, palettes as RGB.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import FormatError, InputError
from maskwright.io.georeference import Georeference
from maskwright.io.tiff import SIGNATURES

TIFF_SUFFIXES = (".tif", ".tiff")
ZARR_SUFFIX = ".zarr"


class Windows(Protocol):
    """An opened image.

    Attributes:
        path: the file or folder
        hw: height and width in pixels
        channels: of what read() gives
        dtype: of what read() gives; int8 where that is what it was widened from
        top: highest value the stated bits can hold, where that is not the type's own; None else
        place: the georeference, where there is one
        remarks: what a person should know of the file, a sentence each
        voids: whether nodata and NaN stand for pixels without a measurement
        nodata: the value that does, besides NaN; None where the file does not say, and of palettes, see covers
        covers: whether a mask page, a transparent band or a number of the palette says where there is a picture, see covered
    """

    path: Path
    hw: tuple[int, int]
    channels: int
    dtype: np.dtype[Any]
    top: int | None
    place: Georeference | None
    remarks: tuple[str, ...]
    voids: bool
    nodata: float | None
    covers: bool

    def read(self, rows: slice, cols: slice) -> NDArray[Any]:
        """(h, w, C) stored values of a window inside the image; not to be called from two threads at once."""

    def covered(self, rows: slice, cols: slice) -> NDArray[np.bool_]:
        """(h, w) where there is a picture, by that; of images whose `covers` is true."""

    def close(self) -> None: ...


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr array or group."""
    return path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def has_windows(path: Path) -> bool:
    """Whether open_windows can read this file: by its first bytes, since a JPEG named .tif is common."""
    if is_zarr(path):
        return True
    if path.suffix.lower() not in TIFF_SUFFIXES or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(4) in SIGNATURES
    except OSError:
        return False  # whoever reads it then says why it cannot be read


def open_windows(path: Path) -> Windows:
    """Open a TIFF file or a zarr folder for reading by windows.

    Raises:
        FormatError: damaged, cut short, of another kind, or claiming more than it can hold.
        InputError: the file is not there or may not be read.
        MissingExtraError: the package zarr is needed.
    """
    from maskwright.io.tiff_windows import TiffWindows
    from maskwright.io.zarr_windows import ZarrWindows

    try:
        if is_zarr(path):
            return ZarrWindows(path)
        if not has_windows(path):
            raise FormatError(f"{path}: cannot be read by windows; expected a TIFF file or a zarr folder.")
        return TiffWindows(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}). Check the permissions and the disk.") from error
