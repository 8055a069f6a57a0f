"""Windows whose pixels without a measurement are filled as read_image fills those of the whole, and known by place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.io.georeference import missing_pixels
from maskwright.io.windows import Windows

BLOCK_PX = 1024
Blocks = list[tuple[slice, slice]]


class Measured:
    """An opened image, its lost values replaced by the mean of their band over the whole image.

    The means take one pass over the image, and only files that may hold lost values need it.
    """

    def __init__(self, image: Windows, progress: Callable[[int, int], None] | None = None) -> None:
        self.image = image
        self._means = _means(image, progress) if image.voids and _may_hold_lost(image) else None

    def read(self, rows: slice, cols: slice) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """(h, w, C) values without a gap, and where no band was measured, (h, w); None where every pixel was."""
        pixels = self.image.read(rows, cols)
        if self._means is None:
            return pixels, None
        missing, lost = _lost(self.image, pixels, rows, cols)
        if not lost.any():
            return pixels, None
        return np.where(lost, self._means.astype(pixels.dtype), pixels), missing if missing.any() else None

    def blocks(self) -> Iterator[NDArray[Any]]:
        """The image in pieces whose corners lie on multiples of BLOCK_PX."""
        for rows, cols in places(self.image):
            yield self.read(rows, cols)[0]


def places(image: Windows) -> Blocks:
    height, width = image.hw
    return [
        (slice(y, min(y + BLOCK_PX, height)), slice(x, min(x + BLOCK_PX, width)))
        for y in range(0, height, BLOCK_PX)
        for x in range(0, width, BLOCK_PX)
    ]


def _may_hold_lost(image: Windows) -> bool:
    return image.dtype.kind == "f" or image.nodata is not None or image.covers


def _lost(image: Windows, pixels: NDArray[Any], rows: slice, cols: slice) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """See missing_pixels; and what else hides pixels."""
    missing, lost = missing_pixels(pixels, image.nodata)
    if not image.covers:
        return missing, lost
    hidden = ~image.covered(rows, cols)
    return missing | hidden, lost | hidden[:, :, None]


def _means(image: Windows, progress: Callable[[int, int], None] | None) -> NDArray[np.float64]:
    """The mean of the measured values of each band, (C,); 0 where a band has none; whole numbers for whole numbers."""
    total, count, blocks = np.zeros(image.channels), np.zeros(image.channels), places(image)
    for done, (rows, cols) in enumerate(blocks, start=1):
        pixels = image.read(rows, cols)
        kept = ~_lost(image, pixels, rows, cols)[1]
        total += pixels.sum(axis=(0, 1), where=kept, dtype=np.float64)
        count += kept.sum(axis=(0, 1))
        if progress:
            progress(done, len(blocks))
    means = total / np.maximum(count, 1)
    return np.round(means) if image.dtype.kind in "iu" else means
