"""Files and arrays to Image: one table from suffix to reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from maskwright.errors import FormatError, InputError
from maskwright.io.decoded import Decoded
from maskwright.io.dicom import DICOM_SUFFIXES, decode_dicom, is_dicom
from maskwright.io.georeference import filled, missing_pixels
from maskwright.io.image import BY_PIXELS, Image, stored, type_range
from maskwright.io.nifti import is_nifti
from maskwright.io.raster import decode_raster, opened_picture
from maskwright.io.tiff import SIGNATURES, decode_tiff
from maskwright.io.video import is_video
from maskwright.io.volume import slice_of
from maskwright.io.volumes import decode_volume, kept_open

Reader = Callable[[Path], Decoded]

READERS: dict[str, Reader] = {
    ".png": decode_raster,
    ".jpg": decode_raster,
    ".jpeg": decode_raster,
    ".jfif": decode_raster,
    ".webp": decode_raster,
    ".bmp": decode_raster,
    ".gif": decode_raster,
    ".ppm": decode_raster,
    ".pgm": decode_raster,
    ".tif": decode_tiff,
    ".tiff": decode_tiff,
    **dict.fromkeys(DICOM_SUFFIXES, decode_dicom),
}
IMAGE_SUFFIXES = tuple(READERS)


def decode(path: Path) -> Decoded:
    """The stored values of an image file, by the reader of its suffix.

    A TIFF named .png and a JPEG named .tif are common: between these readers the first bytes decide.

    Raises:
        FormatError: unknown suffix, a folder, empty, not an image, cut short, or a decompression bomb.
        InputError: the file is not there or may not be read.
    """
    if path.is_dir():
        raise FormatError(f"{path}: is a folder; expected an image file. Folders, volumes and zarr are for `maskwright predict`.")
    part = slice_of(path)
    if part is not None:
        return kept_open(part[0]).decoded(part[1])
    reader = decode_volume if is_nifti(path) else READERS.get(path.suffix.lower())
    if reader is None and is_dicom(path):
        reader = decode_dicom
    if reader is None:
        video = " Videos are read by maskwright.frames and `maskwright predict`." if is_video(path) else ""
        raise FormatError(f"{path}: suffix {path.suffix!r} is not known; images end in {', '.join(IMAGE_SUFFIXES)}.{video}")
    try:
        with path.open("rb") as file:
            head = file.read(4)
        if not head:
            raise FormatError(f"{path}: the file is empty; expected an image. Copy or download it again.")
        if reader in (decode_raster, decode_tiff):
            reader = decode_tiff if head in SIGNATURES else decode_raster
        return reader(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}). Check the permissions and the disk.") from error


def read_image(source: str | Path | NDArray[Any] | PIL.Image.Image | Image) -> Image:
    """Read one picture: a path, an array (H, W) or (H, W, C), Pillow's image, or an Image, which is handed back as it is.

    Palettes become RGB, alpha is dropped, EXIF orientation is applied, depth is kept.

    Raises:
        FormatError, InputError: see decode() and Image.from_array().
    """
    if isinstance(source, Image):
        return source
    if isinstance(source, (str, Path)):
        path = Path(source)
        part = slice_of(path)
        if part is not None:
            return kept_open(part[0]).image(part[1])
        return _image(path, decode(path))
    if isinstance(source, PIL.Image.Image):
        return _image(None, opened_picture(source))
    if isinstance(source, np.ndarray) or hasattr(source, "__array_interface__"):
        return Image.from_array(source)
    ways = {"Tensor": ": give tensor.permute(1, 2, 0).cpu().numpy()", "VideoFrame": ": give its .pixels"}
    raise InputError(
        f"an image was given as {type(source).__name__}{ways.get(type(source).__name__, '')}; "
        "expected a path, an array (height, width, channels) or a Pillow image."
    )


def _image(path: Path | None, found: Decoded) -> Image:
    missing = _missing(found) if found.georeference else None
    if found.palette is not None:
        pixels = found.palette[found.pixels]
        if missing is not None:
            pixels = filled(pixels, np.broadcast_to(missing[:, :, None], pixels.shape))
        image = Image(pixels, path, orientation=found.orientation, container=found.container, remarks=found.remarks)
    else:
        by_type = type_range(found.pixels) or BY_PIXELS
        value_range = found.value_range or (by_type if found.top is None else (0.0, float(found.top)))
        pixels = stored(found.pixels, str(path or "Pillow image"))
        if found.georeference is not None:
            lost = missing_pixels(pixels, found.georeference.nodata)[1]
            pixels = filled(pixels, lost if found.covered is None else lost | ~found.covered[:, :, None])
        image = Image(
            pixels, path, value_range, found.spacing_mm, found.orientation, found.container,
            window=found.window, remarks=found.remarks,
        )  # fmt: skip
    return replace(image, georeference=found.georeference, missing=missing) if found.georeference else image


def _missing(found: Decoded) -> NDArray[np.bool_] | None:
    """Pixels of a georeferenced file without a measurement, None where there are none."""
    values = found.pixels if found.pixels.ndim == 3 else found.pixels[:, :, None]
    gone = missing_pixels(values, found.georeference.nodata if found.georeference else None)[0]
    if found.covered is not None:
        gone |= ~found.covered
    return gone if gone.any() else None
