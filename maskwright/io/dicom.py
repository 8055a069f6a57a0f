"""DICOM: one file to one image, or one frame of it, in the values that the file means.

Source: DICOM PS3.3, C.7.6.3 (Image Pixel), C.11.1 (Modality LUT), C.7.6.16 (Multi-frame Functional Groups). pydicom reads the
file and decodes the pixels; what the values mean is dicom_values.py.
Differs from a viewer: the window is for people only, networks see rescaled values (Hounsfield units for CT).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import FormatError, InputError, MaskwrightError, MissingExtraError
from maskwright.io.decoded import Decoded, bomb, pixel_limit
from maskwright.io.dicom_codecs import register
from maskwright.io.dicom_values import meaning

if TYPE_CHECKING:
    from pydicom import Dataset

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
PREAMBLE = 128
DIRECTORY = "1.2.840.10008.1.3.10"
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # of bits or fractions, of label maps
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# What pydicom raises at files that are cut short or damaged.
BROKEN = (OSError, EOFError, ValueError, KeyError, AttributeError, RuntimeError, TypeError, IndexError, zlib.error, struct.error)


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its suffix, or where it has none (or a number, as in 1.2.840.1) by its first bytes."""
    suffix = path.suffix.lower()
    if suffix in DICOM_SUFFIXES:
        return True
    if suffix and not suffix[1:].isdecimal():
        return False
    try:
        with path.open("rb") as file:
            return file.read(PREAMBLE + 4)[PREAMBLE:] == b"DICM"
    except OSError:
        return False


@contextmanager
def damage_said(path: Path) -> Iterator[None]:
    """What pydicom raises inside at a damaged file, in a sentence; many values are only looked at when they are asked for.

    Raises:
        FormatError: the file is damaged. What is said in a sentence already stays as it is.
    """
    from pydicom.errors import BytesLengthException

    try:
        yield
    except MaskwrightError:
        raise
    except (BytesLengthException, *BROKEN) as error:
        raise FormatError(f"{path}: the DICOM file is cut short or damaged ({error}). Copy or export it again.") from error


def read_header(path: Path, *, pixels: bool = False) -> Dataset:
    """Everything a file says, without its pixels unless they are asked for.

    Raises:
        MissingExtraError: pydicom is not installed.
        InputError, FormatError: the file is not there, or is no DICOM.
    """
    try:
        import pydicom
        from pydicom.errors import BytesLengthException, InvalidDicomError
    except ImportError:
        raise MissingExtraError("pydicom", "medical", f"{path}: a DICOM file") from None
    try:
        # Files without the preamble are common with .dcm; that they hold DICOM elements is seen below.
        header = pydicom.dcmread(path, force=True, stop_before_pixels=not pixels)
        if "SOPClassUID" not in header and header.file_meta.get("MediaStorageSOPClassUID") != DIRECTORY:
            raise InvalidDicomError("it has no SOP Class UID")
        return header
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Check the permissions.") from error
    except (InvalidDicomError, BytesLengthException, *BROKEN) as error:
        raise FormatError(f"{path}: not a DICOM file, or cut short or damaged ({error}). Copy or export it again.") from error


def check_picture(path: Path, header: Dataset) -> None:
    """Refuse what holds no picture: directories, segmentations, reports, plans.

    Raises:
        FormatError: the message says what the file holds.
    """
    kind = header.get("SOPClassUID") or DIRECTORY
    name = getattr(kind, "name", kind)
    if kind == DIRECTORY:
        raise FormatError(f"{path}: is a DICOMDIR, a list of files; give the folder with the images themselves.")
    if kind in SEGMENTATIONS:
        raise FormatError(f"{path}: holds masks (DICOM-SEG), not an image; give the image series it was drawn on.")
    if "Rows" not in header or "Columns" not in header:
        raise FormatError(f"{path}: holds no pixels, it is a DICOM file of the kind {name!r}; expected an image.")
    limit = pixel_limit()
    if limit is not None and int(header.Rows) * int(header.Columns) > limit:
        raise bomb(path, f"{header.Columns}x{header.Rows} pixels")


def frames_of(header: Dataset) -> int:
    """How many pictures a file holds, at least 1."""
    return max(1, int(header.get("NumberOfFrames") or 1))


def decode_dicom(path: Path, frame: int | None = None, *, header: Dataset | None = None) -> Decoded:
    """One frame of a file; without a number the only one.

    Args:
        header: what the file says, where it is known already (read_header): of many frames this one alone is then read

    Raises:
        MissingExtraError: pydicom is not installed, or the compression needs one more package.
        FormatError: no picture, several frames and no number, or damaged.
    """
    apart = header is not None and _frames_lie_apart(header)
    header = header if header is not None and apart else read_header(path, pixels=True)
    with damage_said(path):
        return _decoded(path, header, frame, apart=apart)


def _decoded(path: Path, header: Dataset, frame: int | None, *, apart: bool) -> Decoded:
    check_picture(path, header)
    count = frames_of(header)
    if frame is None and count > 1:
        raise FormatError(
            f"{path}: holds {count} frames; expected one image. `maskwright predict` takes the file as a volume; in Python name "
            f"a frame, counted from 0: {path}/slice-000."
        )
    if frame is not None and not 0 <= frame < count:
        raise InputError(f"{path}: has no frame {frame}; there are {count}, counted from 0.")
    return meaning(path, header, _stored(path, header, frame or 0, apart=apart), frame or 0)


def _frames_lie_apart(header: Dataset) -> bool:
    """Whether one frame can be read without the others: the file names how it is written, and is not deflated whole."""
    syntax = header.file_meta.get("TransferSyntaxUID")
    return syntax is not None and not syntax.is_private and syntax.is_transfer_syntax and not syntax.is_deflated


def _stored(path: Path, header: Dataset, frame: int, *, apart: bool) -> NDArray[Any]:
    """The stored values of one frame, (H, W) or (H, W, 3), read apart from the others, or out of what was read whole."""
    from pydicom.pixels.utils import pixel_array

    register()
    if not apart and not any(name in header for name in PIXELS):
        raise FormatError(f"{path}: its pixels are missing (the header alone is here). Copy or export it again.")
    try:
        pixels = pixel_array(path if apart else header, index=frame)
    except BROKEN as error:
        syntax = header.file_meta.TransferSyntaxUID if "TransferSyntaxUID" in header.file_meta else None
        if syntax is not None and "missing dependencies" in str(error):
            raise FormatError(
                f"{path}: its pixels are compressed as {syntax.name}, which needs another package: pip install pylibjpeg "
                f"pylibjpeg-libjpeg pylibjpeg-openjpeg, or python-gdcm."
            ) from error
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"{path}: its pixels are cut short or damaged ({text}). Copy or export it again.") from error
    return np.asarray(pixels)
