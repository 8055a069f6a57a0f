"""What a NIfTI file holds: its header, its values mapped from the disk, and how they are scaled.

Source: the NIfTI-1 and NIfTI-2 headers, https://nifti.nimh.nih.gov; nibabel reads them. Differs: a .nii.gz is unpacked to a
temporary file on the disk once, as a gzip stream cannot be read from the middle.
"""

from __future__ import annotations

import gzip
import tempfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import FormatError, InputError, MissingExtraError
from maskwright.io.write import FULL

MOST_CHANNELS = 16
BROKEN = (OSError, EOFError, ValueError, zlib.error)
_BLOCK = 1 << 22


def open_header(path: Path) -> Any:
    try:
        import nibabel
        from nibabel.filebasedimages import ImageFileError
    except ImportError:
        raise MissingExtraError("nibabel", "medical", f"{path}: a NIfTI file") from None
    try:
        found = nibabel.load(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (ImageFileError, *BROKEN) as error:
        raise FormatError(f"{path}: not a NIfTI file, or cut short or damaged ({error}). Copy or download it again.") from error
    if not isinstance(found, (nibabel.Nifti1Image, nibabel.Nifti2Image)):
        raise FormatError(f"{path}: is {type(found).__name__}; expected NIfTI in one file (.nii or .nii.gz).")
    kind = found.get_data_dtype()
    if kind.kind not in "biuf" or kind.itemsize > 8:
        raise FormatError(f"{path}: its values are of the type {kind}; expected whole numbers or floats of up to 64 bits.")
    if not found.shape or 0 in found.shape:
        raise FormatError(f"{path}: a volume of the shape {found.shape} holds nothing.")
    return found


def map_values(path: Path, image: Any) -> NDArray[Any]:
    """The stored values, mapped from the disk; of a .nii.gz from its unpacked copy, which vanishes with the volume."""
    try:
        if path.suffix.lower() != ".gz":
            return np.asanyarray(image.dataobj.get_unscaled())
        with tempfile.TemporaryFile() as unpacked:
            _unpack(path, unpacked, int(np.prod(image.shape)) * image.get_data_dtype().itemsize + image.dataobj.offset)
            return np.memmap(unpacked, image.get_data_dtype(), "r", image.dataobj.offset, image.shape, "F")
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise InputError(
                f"{path}: no room to unpack it in {tempfile.gettempdir()}. Free some, or name another folder with TMPDIR."
            ) from error
        raise FormatError(f"{path}: the NIfTI file is cut short or damaged ({error}). Copy or download it again.") from error


def _unpack(path: Path, target: IO[bytes], needed: int) -> None:
    """Exactly the bytes that the header promises, so that no file can fill the disk.

    Raises:
        EOFError: there are fewer.
    """
    left = needed
    with gzip.open(path) as packed:
        while left and (block := packed.read(min(_BLOCK, left))):
            target.write(block)
            left -= len(block)
    if left:
        raise EOFError(f"{left} of {needed} bytes are missing")
    target.flush()


def with_channels(path: Path, raw: NDArray[Any]) -> NDArray[Any]:
    """(X, Y, Z, C) of any number of axes; those of length 1 behind the third do not count."""
    raw = raw.reshape(raw.shape + (1,) * (3 - raw.ndim), order="F")
    shape: tuple[int, ...] = raw.shape
    more = [n for n in shape[3:] if n > 1]
    if len(more) > 1 or (more and more[0] > MOST_CHANNELS):
        raise FormatError(
            f"{path}: a volume of the shape {raw.shape}; a fourth axis is taken as channels, up to {MOST_CHANNELS}. Split a "
            f"series in time into one file a point in time."
        )
    return raw.reshape(*raw.shape[:3], more[0] if more else 1, order="F")


def scaling(image: Any) -> tuple[float, float]:
    """Slope and intercept of the stored values; 32-bit headers cannot hold every number, so what is nearly whole is whole."""
    return _nearly_whole(float(image.dataobj.slope)), _nearly_whole(float(image.dataobj.inter))


def _nearly_whole(value: float) -> float:
    whole = float(round(value))
    return whole if abs(value - whole) < 1e-6 * abs(whole) else value


def narrowed(path: Path, wide: NDArray[Any]) -> NDArray[Any]:
    """64-bit whole numbers as int32, as far as they fit."""
    if wide.min() < -(2**31) or wide.max() >= 2**31:
        raise FormatError(f"{path}: holds whole numbers beyond 32 bits; save it as float32.")
    return wide.astype(np.int32)
