"""Statistics of a whole image in one pass over its windows, so that each window is scaled as the whole would be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.io.image import BY_PIXELS, Statistics, nominal_range
from maskwright.io.windows import Windows, is_nodata

BLOCK_PX = 1024  # a multiple of SAMPLED_EVERY
# Preprocess takes percentiles of every 4th pixel each way, and so do we: both then agree.
SAMPLED_EVERY = 4
MOST_SAMPLES = 1 << 22  # of floats, which have no histogram of single values
PERCENTILES = (0.5, 99.5)


def value_range(image: Windows) -> tuple[float, float]:
    """Image.value_range of the whole; floats are read once for it."""
    if image.top is not None:
        return 0.0, float(image.top)
    if image.dtype.kind in "iu":
        return nominal_range(np.zeros(1, image.dtype))
    found = [(float(part.min()), float(part.max())) for _, part in _measured(image) if part.size]
    if not found:
        return BY_PIXELS
    return nominal_range(np.array([min(low for low, _ in found), max(high for _, high in found)], image.dtype))


def statistics(image: Windows, progress: Callable[[int, int], None] | None = None) -> Statistics:
    """Percentiles, mean and deviation over all channels; of what was measured, where the file says what was not.

    Exact for 8 and 16 bit. Percentiles of other types are those of a regular sample of at most MOST_SAMPLES values.
    """
    blocks = _blocks(image)
    count, mean, spread = 0, 0.0, 0.0
    histogram = np.zeros(1 << 16, np.int64) if image.dtype.itemsize <= 2 else None
    offset = 1 << 15 if image.dtype == np.int16 else 0
    every = SAMPLED_EVERY
    while histogram is None and image.hw[0] * image.hw[1] * image.channels > MOST_SAMPLES * every**2:
        every *= 2
    samples = []
    for done, (at, part) in enumerate(_measured(image), start=1):
        if part.size:
            values = part.astype(np.float64)
            here, squares = float(values.mean()), float(values.var()) * values.size
            # Chan, Golub and LeVeque 1979: two groups' means and squares, joined without cancelling.
            total = count + values.size
            spread += squares + (here - mean) ** 2 * count * values.size / total
            mean += (here - mean) * values.size / total
            count = total
        sampled = _sample(image, at, every)
        if histogram is not None:
            histogram += np.bincount(sampled.astype(np.int64) + offset, minlength=1 << 16)
        else:
            samples.append(sampled)
        if progress:
            progress(done, len(blocks))
    if histogram is not None:
        low, high = (_percentile(histogram, q) - offset for q in PERCENTILES)
    else:
        low, high = np.percentile(np.concatenate(samples).astype(np.float32), PERCENTILES)
    return Statistics(float(low), float(high), mean, float(np.sqrt(spread / max(count, 1))))


Place = tuple[slice, slice]


def _blocks(image: Windows) -> list[Place]:
    height, width = image.hw
    return [
        (slice(y, min(y + BLOCK_PX, height)), slice(x, min(x + BLOCK_PX, width)))
        for y in range(0, height, BLOCK_PX)
        for x in range(0, width, BLOCK_PX)
    ]


def _measured(image: Windows) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Each block (h, w, C), and its values that are measured and finite, (n,)."""
    for rows, cols in _blocks(image):
        block = image.read(rows, cols)
        yield block, _values(block, image.nodata)


def _values(block: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    missing = is_nodata(block, nodata)
    values = block[~missing].ravel() if missing is not None else block.ravel()
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values


def _sample(image: Windows, block: NDArray[Any], every: int) -> NDArray[Any]:
    small = image.hw[0] * image.hw[1] <= 1 << 18  # Preprocess then takes every pixel
    step = 1 if small else every
    return _values(block[::step, ::step], image.nodata)


def _percentile(histogram: NDArray[np.int64], q: float) -> float:
    """numpy's linear percentile of the values that a histogram counts."""
    at = (int(histogram.sum()) - 1) * q / 100
    reached = np.cumsum(histogram)
    below, above = (int(np.searchsorted(reached, k, side="right")) for k in (np.floor(at), np.ceil(at)))
    return below + (above - below) * (at - np.floor(at))
