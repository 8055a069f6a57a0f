"""A picture of an answer that is larger than memory: the image and its classes at a size that a person can look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.io.image import Image, nominal_range
from maskwright.io.large_masks import Rows
from maskwright.io.measured import BLOCK_PX, Measured
from maskwright.result import Segmentation

OVERVIEW_PX = 2048  # most of the longer side


def overview(source: Measured, labels: Rows, classes: ClassMap) -> NDArray[np.uint8]:
    """(h, w, 3) the overlay at a whole fraction of the image's size: means of pixels, the class in the middle of each square."""
    step = -(-max(source.image.hw) // OVERVIEW_PX)
    pixels = _reduced(source, step)
    chosen = np.concatenate([labels(rows)[_middles(rows, step) - rows.start] for rows in _bands(source.image.hw[0], step)])
    chosen = chosen[:, _middles(slice(0, source.image.hw[1]), step)]
    top = source.image.top
    value_range = nominal_range(pixels) if top is None else (0.0, float(top))
    return Segmentation(chosen, classes, Image(pixels, source.image.path, value_range, container="tiff")).overlay()


def _reduced(source: Measured, step: int) -> NDArray[Any]:
    """(h, w, C) the mean of each square of the image in its number type; squares at the right and lower edge may be smaller."""
    bands = []
    for rows in _bands(source.image.hw[0], step):
        parts = [_means(source.read(rows, cols)[0], step) for cols in _bands(source.image.hw[1], step)]
        bands.append(np.concatenate(parts, axis=1))
    return np.concatenate(bands)


def _bands(side: int, step: int) -> list[slice]:
    """The side in pieces of about BLOCK_PX that begin on multiples of step."""
    length = max(1, BLOCK_PX // step) * step
    return [slice(start, min(start + length, side)) for start in range(0, side, length)]


def _middles(piece: slice, step: int) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.minimum(np.arange(piece.start, piece.stop, step) + step // 2, piece.stop - 1)
    return found


def _means(pixels: NDArray[Any], step: int) -> NDArray[Any]:
    height, width = pixels.shape[:2]
    filled = np.pad(pixels, ((0, -height % step), (0, -width % step), (0, 0)), mode="edge")
    squares = filled.reshape(filled.shape[0] // step, step, filled.shape[1] // step, step, -1)
    means: NDArray[Any] = squares.mean(axis=(1, 3), dtype=np.float64)
    means = np.round(means) if pixels.dtype.kind in "biu" else means
    return means.astype(pixels.dtype)
