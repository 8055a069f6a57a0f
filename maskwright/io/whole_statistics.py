"""Statistics of a whole image in one pass over its windows, so that each window is scaled as the whole would be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.io.image import Statistics, nominal_range
from maskwright.io.measured import Measured, places

# Preprocess takes percentiles of every 4th pixel each way of images of more than SMALL_PX, and so do we: both then agree.
SAMPLED_EVERY = 4
SMALL_PX = 1 << 18
MOST_SAMPLES = 1 << 22  # of floats, which have no histogram of single values
PERCENTILES = (0.5, 99.5)


def value_range(source: Measured) -> tuple[float, float]:
    """Image.value_range of the whole; floats are read once for it."""
    image = source.image
    if image.top is not None:
        return 0.0, float(image.top)
    if image.dtype.kind in "iu":
        return nominal_range(np.zeros(1, image.dtype))
    outer = [end for block in source.blocks() for end in _ends(block[np.isfinite(block)])]
    return nominal_range(np.array(outer or [np.nan]))


def _ends(values: NDArray[Any]) -> tuple[Any, ...]:
    return (values.min(), values.max()) if values.size else ()


def statistics(source: Measured, progress: Callable[[int, int], None] | None = None) -> Statistics:
    """Percentiles, mean and deviation over all channels.

    Exact for 8 and 16 bit. Percentiles of other types are those of a regular sample of at most MOST_SAMPLES values.
    """
    moments, total = _Moments(), len(places(source.image))
    values = _Histogram(source) if source.image.dtype.itemsize <= 2 else _Samples(source)
    for done, block in enumerate(source.blocks(), start=1):
        moments.add(block)
        values.add(block)
        if progress:
            progress(done, total)
    low, high = values.percentiles()
    return Statistics(low, high, moments.mean, float(np.sqrt(moments.squares / moments.count)))


class _Moments:
    """Count, mean and sum of squared differences of all values so far.

    Source: Chan, Golub and LeVeque 1979, which joins two groups without cancelling.
    """

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, block: NDArray[Any]) -> None:
        mean, total = float(block.mean(dtype=np.float64)), self.count + block.size
        squares = float(block.var(dtype=np.float64)) * block.size
        self.squares += squares + (mean - self.mean) ** 2 * self.count * block.size / total
        self.mean += (mean - self.mean) * block.size / total
        self.count = total


class _Histogram:
    """Of values of 8 or 16 bits."""

    def __init__(self, source: Measured) -> None:
        height, width = source.image.hw
        self._step = SAMPLED_EVERY if height * width > SMALL_PX else 1
        self._offset = 1 << 15 if source.image.dtype.kind == "i" else 0
        self._counts = np.zeros(1 << 16, np.int64)

    def add(self, block: NDArray[Any]) -> None:
        sampled = block[:: self._step, :: self._step].ravel().astype(np.int64) + self._offset
        self._counts += np.bincount(sampled, minlength=1 << 16)

    def percentiles(self) -> tuple[float, float]:
        """numpy's linear percentiles of the values that were counted."""
        reached = np.cumsum(self._counts)
        found = []
        for q in PERCENTILES:
            at = (int(reached[-1]) - 1) * q / 100
            below, above = (int(np.searchsorted(reached, k, side="right")) for k in (np.floor(at), np.ceil(at)))
            found.append(float(below + (above - below) * (at - np.floor(at)) - self._offset))
        return found[0], found[1]


class _Samples:
    """Of values of other types."""

    def __init__(self, source: Measured) -> None:
        height, width = source.image.hw
        self._step = SAMPLED_EVERY if height * width > SMALL_PX else 1
        while height * width * source.image.channels > MOST_SAMPLES * self._step**2:
            self._step *= 2
        self._found: list[NDArray[Any]] = []

    def add(self, block: NDArray[Any]) -> None:
        self._found.append(block[:: self._step, :: self._step].ravel().astype(np.float32))

    def percentiles(self) -> tuple[float, float]:
        low, high = np.percentile(np.concatenate(self._found), PERCENTILES)
        return float(low), float(high)
