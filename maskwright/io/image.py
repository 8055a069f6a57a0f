"""Image: the pixels of one picture as stored, with what is needed to scale, name and answer it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.io.georeference import Georeference, filled

STORED_DTYPES = ("uint8", "uint16", "int16", "int32", "uint32", "float32", "float64")
# Narrow types that lose nothing in the next wider stored type.
WIDENED = {"bool": "uint8", "int8": "int16", "float16": "float32"}
BY_PIXELS = (math.nan, math.nan)
SHOWN_PERCENTILES = (0.5, 99.5)
SAMPLED_PX = 1_000_000


@dataclass(frozen=True)
class Statistics:
    """Of the values of the whole that an image is a part of (a volume, a scene), so that all its parts are scaled alike.

    Attributes:
        low, high: the 0.5 and the 99.5 percentile over all channels
        mean, std: over all channels
    """

    low: float
    high: float
    mean: float
    std: float


@dataclass(frozen=True, eq=False)
class Image:
    """One picture, turned upright, in its stored depth.

    Attributes:
        pixels: (H, W, C) C-contiguous, one of STORED_DTYPES, C >= 1, alpha already dropped
        path: the file it came from, or None for an array
        value_range: nominal lowest and highest value: the full range of an integer type or of the bits the file states;
            for floats (0, 1) where all values lie in it, else lowest and highest finite value
        spacing_mm: height and width of a pixel, or None where the file does not say
        orientation: EXIF orientation of the file, 1 to 8; already applied to pixels
        container: what an answer to this image is written as: "tiff" for TIFF files, "png" for everything else
        window: lowest and highest value that people are shown, where the file states them (DICOM); networks never see it
        statistics: of the whole that this is a part of, which "percentile" and "zscore" then scale by; None: of the pixels
        remarks: what was done to the values that a reader of the answer should know, a sentence each
        georeference: where on the earth the pixels lie, of GeoTIFF files
        missing: (H, W) bool, true where a georeferenced file has no measurement (nodata, its mask, transparency), or a masked
            array none in any band; the pixels hold the mean of their band there, answers and truths hold classes.ignore_id. None
            where all pixels are measured
    """

    pixels: NDArray[Any]
    path: Path | None = None
    value_range: tuple[float, float] = BY_PIXELS
    spacing_mm: tuple[float, float] | None = None
    orientation: int = 1
    container: str = "png"
    window: tuple[float, float] | None = None
    statistics: Statistics | None = None
    remarks: tuple[str, ...] = ()
    georeference: Georeference | None = None
    missing: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or 0 in self.pixels.shape:
            raise InputError(f"{self.path or 'array'}: pixels of shape {self.pixels.shape}; expected (height, width, channels).")
        if self.pixels.dtype.name not in STORED_DTYPES:
            raise InputError(f"{self.path or 'array'}: pixels of type {self.pixels.dtype}; expected {', '.join(STORED_DTYPES)}.")
        if any(math.isnan(v) for v in self.value_range):
            object.__setattr__(self, "value_range", nominal_range(self.pixels))

    @classmethod
    def from_array(cls, array: NDArray[Any], path: Path | None = None) -> Image:
        """Take a picture that is already in memory; the array is not copied unless its type or layout must change.

        Shapes:
            array: (H, W) or (H, W, C); bool, integers up to 32 bit or floats; numpy's masked arrays too, see `missing`

        Raises:
            InputError: another shape or type, no pixel, or a float that is NaN or infinite.
        """
        where = str(path) if path else "array"
        mask = np.ma.getmaskarray(array) if isinstance(array, np.ma.MaskedArray) else None
        array = np.asarray(array)
        if array.ndim == 4:
            raise InputError(f"{where}: shape {array.shape} is a stack of pictures; give list(stack), or predictor.many(stack).")
        if array.ndim not in (2, 3) or 0 in array.shape:
            raise InputError(f"{where}: shape {array.shape}; expected (height, width) or (height, width, channels), none 0.")
        if array.ndim == 3 and array.shape[0] <= 4 and array.shape[2] > 16:
            raise InputError(f"{where}: shape {array.shape} looks like (channels, height, width); give array.transpose(1, 2, 0).")
        if mask is not None and array.dtype.kind == "f":
            array = np.where(mask, 0, array).astype(array.dtype)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            count = int(array.size - np.isfinite(array).sum())
            raise InputError(f"{where}: {count} of {array.size} values are NaN or infinite; replace them (numpy.nan_to_num).")
        pixels, missing = stored(array, where), None
        if mask is not None and mask.any():
            lost = mask.reshape(pixels.shape)
            pixels, missing = filled(pixels, lost), np.asarray(lost.all(axis=2))
        value_range = (0.0, 1.0) if array.dtype == bool else type_range(array) or nominal_range(pixels)
        return cls(pixels, path, value_range, missing=missing if missing is not None and missing.any() else None)

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width in pixels, as displayed."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def channels(self) -> int:
        return int(self.pixels.shape[2])

    @property
    def name(self) -> str:
        """The file's name without suffix; "image" for an array."""
        return self.path.stem if self.path else "image"

    def to_uint8(self) -> NDArray[np.uint8]:
        """The picture as shown to people: grey repeated, the first three of many channels, deep values stretched.

        More than 8 bits are stretched over the file's own window, else between the 0.5 and 99.5 percentile of the shown
        channels taken together, so that a 12-bit X-ray is not black and colours keep their balance.

        Shapes:
            returns: (H, W, 3) uint8
        """
        shown = self.pixels[:, :, :3] if self.channels >= 3 else self.pixels[:, :, :1]
        if self.window is not None or self.pixels.dtype != np.uint8 or self.value_range != (0.0, 255.0):
            low, high = self.window or (self.value_range if self.pixels.dtype == np.uint8 else _shown_range(shown))
            scale = 255.0 / (high - low) if high > low else 0.0
            stretched = (np.nan_to_num(shown, nan=low).astype(np.float32) - np.float32(low)) * np.float32(scale)
            shown = np.clip(stretched + np.float32(0.5), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(shown, (*self.hw, 3)))


def stored(array: NDArray[Any], where: str) -> NDArray[Any]:
    """The array as (H, W, C), contiguous, in this machine's byte order and in one of STORED_DTYPES.

    Raises:
        InputError: a type that would lose values (64-bit integers, complex, text).
    """
    name = array.dtype.newbyteorder("=").name
    name = WIDENED.get(name, name)
    if name not in STORED_DTYPES:
        raise InputError(
            f"{where}: values of the type {array.dtype} cannot be used as pixels (known: {', '.join(STORED_DTYPES)}). "
            "Convert them: values of 0 to 255 with array.astype(numpy.uint8), of 0 to 65535 to uint16, others to float32."
        )
    return np.ascontiguousarray(array[..., None] if array.ndim == 2 else array, dtype=name)


def nominal_range(pixels: NDArray[Any]) -> tuple[float, float]:
    """Lowest and highest value that pixels of this kind may have; see Image.value_range."""
    if pixels.dtype.kind in "iu":
        limits = np.iinfo(pixels.dtype)
        return float(limits.min), float(limits.max)
    low, high = float(np.min(pixels)), float(np.max(pixels))
    if not (math.isfinite(low) and math.isfinite(high)):
        finite = pixels[np.isfinite(pixels)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    # Floats inside [0, 1] are taken as already scaled, so that a picture divided by 255 gives what the picture gives.
    return (0.0, 1.0) if low >= 0.0 and high <= 1.0 else (low, high)


def type_range(array: NDArray[Any]) -> tuple[float, float] | None:
    """The range of an integer array's own type, which is to be asked before stored() widens it; None for other types."""
    return nominal_range(array) if array.dtype.kind in "iu" else None


def _shown_range(shown: NDArray[Any]) -> tuple[float, float]:
    # A regular sample is enough to choose a contrast and keeps large scenes quick.
    step = max(1, math.isqrt(shown.shape[0] * shown.shape[1] // SAMPLED_PX))
    sample = shown[::step, ::step]
    sample = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample
    if not sample.size:
        return 0.0, 1.0
    low, high = np.percentile(sample, SHOWN_PERCENTILES)
    if high <= low:
        low, high = float(sample.min()), float(sample.max())
    return float(low), float(high)
