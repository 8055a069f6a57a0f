"""Where on the earth the pixels of an image lie: coordinate reference system, affine transform, and the tags that say so.

The tags of a GeoTIFF are read without any extra package and are written onto masks as they are, so that the mask of an image has
its very georeference. Sources: OGC GeoTIFF 1.1 (19-008r4), GDAL's GDAL_NODATA tag.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIXEL_SCALE, TIE_POINT, TRANSFORMATION = 33550, 33922, 34264
KEYS, KEY_DOUBLES, KEY_TEXTS = 34735, 34736, 34737
NODATA = 42113
GEO_TAGS = (PIXEL_SCALE, TIE_POINT, TRANSFORMATION, KEYS, KEY_DOUBLES, KEY_TEXTS)
# Keys of the directory in tag KEYS.
RASTER_TYPE, GEOGRAPHIC_CRS, PROJECTED_CRS = 1025, 2048, 3072
PIXEL_IS_POINT = 2
USER_DEFINED = 32767

Affine = tuple[float, float, float, float, float, float]
Tag = tuple[int, int, int, Any]  # code, type and count as TIFF writes them, value


@dataclass(frozen=True)
class Georeference:
    """The place of an image.

    Attributes:
        transform: (a, b, c, d, e, f): the point (column, row) lies at x = a column + b row + c, y = d column + e row + f; whole
            numbers are the corners of pixels, whatever the file counts from
        crs: "EPSG:32616", or WKT where there is no such code; None where the file does not say, or it cannot be read
        nodata: the value of pixels without a measurement
        tags: the file's own tags, in the order of their codes
    """

    transform: Affine
    crs: str | None = None
    nodata: float | None = None
    tags: tuple[Tag, ...] = ()

    def to_map(self, points_xy: NDArray[Any]) -> NDArray[np.float64]:
        """Points in pixels to points in the coordinate reference system, (n, 2) each."""
        a, b, c, d, e, f = self.transform
        x, y = np.asarray(points_xy, np.float64).T
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)

    def to_pixels(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """The inverse of to_map."""
        a, b, c, d, e, f = self.transform
        x, y = np.asarray(points, np.float64).T
        x, y, scale = x - c, y - f, a * e - b * d
        return np.stack([(e * x - b * y) / scale, (a * y - d * x) / scale], axis=1)

    def moved(self, corner_xy: tuple[int, int]) -> Georeference:
        """Of a part of the image that begins at this pixel; without tags, which speak of the whole."""
        a, b, c, d, e, f = self.transform
        x, y = corner_xy
        return Georeference((a, b, a * x + b * y + c, d, e, d * x + e * y + f), self.crs, self.nodata)


def read_georeference(tags: Mapping[int, Tag]) -> Georeference | None:
    """From the tags of a TIFF page, by their codes; None where they hold no transform of use."""
    transform = _transform(tags)
    if transform is None:
        return None
    code = epsg_of(tags)
    kept = tuple(tags[code] for code in GEO_TAGS if code in tags)
    return Georeference(transform, None if code is None else f"EPSG:{code}", nodata_of(tags), kept)


def keys_of(tags: Mapping[int, Tag]) -> dict[int, int]:
    """The keys whose values stand in the directory itself: numbers of kinds and codes."""
    values = [int(v) for v in _numbers(tags, KEYS)]
    entries = [values[k : k + 4] for k in range(4, len(values) - 3, 4)]
    return {key: value for key, place, count, value in entries if place == 0 and count == 1}


def epsg_of(tags: Mapping[int, Tag]) -> int | None:
    """The EPSG code of the coordinate reference system; None where there is none, or it is written out."""
    keys = keys_of(tags)
    code = keys.get(PROJECTED_CRS, keys.get(GEOGRAPHIC_CRS))
    return code if code is not None and 1024 <= code < USER_DEFINED else None


def nodata_of(tags: Mapping[int, Tag]) -> float | None:
    if NODATA not in tags:
        return None
    try:
        return float(str(tags[NODATA][3]).strip(" \0"))
    except ValueError:
        return None


def _numbers(tags: Mapping[int, Tag], code: int) -> list[float]:
    value = tags[code][3] if code in tags else ()
    return list(value) if isinstance(value, (tuple, list, np.ndarray)) else [value]


def _transform(tags: Mapping[int, Tag]) -> Affine | None:
    matrix = _numbers(tags, TRANSFORMATION)
    scale, tie = _numbers(tags, PIXEL_SCALE), _numbers(tags, TIE_POINT)
    if len(matrix) == 16:
        a, b, c, d, e, f = (float(matrix[k]) for k in (0, 1, 3, 4, 5, 7))
    elif len(scale) >= 2 and len(tie) >= 6:
        column, row, _, x, y, _ = tie[:6]
        # As GDAL reads them: of several tie points the first, and rows that go south whatever the sign of the scale.
        a, b, d, e = float(scale[0]), 0.0, 0.0, -abs(float(scale[1]))
        c, f = x - a * column, y - e * row
    else:
        return None
    if keys_of(tags).get(RASTER_TYPE) == PIXEL_IS_POINT:
        # Coordinates name the centre of the first pixel; here whole numbers are corners.
        c, f = c - (a + b) / 2, f - (d + e) / 2
    found = (a, b, c, d, e, f)
    return found if all(map(math.isfinite, found)) and a * e != b * d else None


def missing_pixels(pixels: NDArray[Any], nodata: float | None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which values are no measurement: the nodata value, and NaN.

    Shapes:
        pixels: (H, W, C)
        returns: (H, W) pixels that have none in any band; (H, W, C) single values
    """
    lost = np.zeros(pixels.shape, bool)
    if pixels.dtype.kind == "f":
        lost = np.isnan(pixels)
    if nodata is not None and not math.isnan(nodata) and _holds(pixels.dtype, nodata):
        lost |= pixels == pixels.dtype.type(nodata)
    return np.asarray(lost.all(axis=2)), lost


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return value.is_integer() and limits.min <= value <= limits.max


def filled(pixels: NDArray[Any], lost: NDArray[np.bool_]) -> NDArray[Any]:
    """Lost values replaced by the mean of their band, a value that says nothing to a network; 0 where a band has no other.

    Shapes:
        pixels, lost: (H, W, C)
    """
    result = pixels.copy()
    for band in np.flatnonzero(lost.any(axis=(0, 1))):
        gone = lost[:, :, band]
        mean = pixels[:, :, band].mean(where=~gone, dtype=np.float64) if not gone.all() else 0.0
        result[:, :, band][gone] = np.round(mean) if pixels.dtype.kind in "iu" else mean
    return result
