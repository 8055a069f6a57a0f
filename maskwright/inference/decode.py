"""From logits at the size the net saw to class ids at the image's own size.

Bringing logits back to the full size and choosing the class are done together, a block of rows at a time: the full-size
logits of a large image (K x H x W floats) never stand in memory. numpy does it in the calling thread, on blocks that stay in
the processor's cache: torch would start its thread team for each of these small steps, which stalls where other threads want
the cores (files are read and written meanwhile), and its argmax over the class axis is several times slower than comparing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.transforms import Frame

if TYPE_CHECKING:
    from torch import Tensor

BLOCK_VALUES = 1 << 17  # of a block's K x rows x W logits: 512 KiB
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Decoded:
    """labels (H, W) class ids; confidence (H, W) and probs (K, H, W) float32 in [0, 1] where they were asked for."""

    labels: NDArray[Any]
    confidence: NDArray[np.float32] | None
    probs: NDArray[np.float32] | None


def decode(raw: Iterable[Tensor], frame: Frame, classes: ClassMap, *, confidence: bool = False, probs: bool = False) -> Decoded:
    """The class of each pixel of the original image; the lower channel wins a tie.

    Logits are interpolated bilinearly to the original size before the classes are chosen, so labels, confidence and probs
    always agree with each other.

    Shapes:
        raw: logits at frame.work_hw in bands from top to bottom, (1, K, rows, w) each; mostly a single one

    Raises:
        InputError: a pixel's highest logit is not finite, which a value of nan in the image does.
    """
    height, width = frame.hw
    labels = np.empty((height, width), classes.dtype)
    sure = np.empty((height, width), np.float32) if confidence else None
    shares = np.empty((len(classes), height, width), np.float32) if probs else None
    for top, logits in full_size_blocks(raw, frame):
        rows = slice(top, top + logits.shape[1])
        best, chosen = highest(logits)
        if not np.isfinite(best).all():
            raise InputError("the model's answer holds numbers that are not finite; look for nan or extreme values in the image.")
        labels[rows] = classes.to_ids(chosen)
        if sure is not None or shares is not None:
            odds = np.exp(logits - best)  # (K, rows, W) against the best class, so in [0, 1]
            total = odds.sum(axis=0)
            if sure is not None:
                sure[rows] = 1 / total
            if shares is not None:
                shares[:, rows] = odds / total
    return Decoded(labels, sure, shares)


def full_size_blocks(bands: Iterable[Tensor], frame: Frame) -> Iterator[tuple[int, Floats]]:
    """Logits at frame.hw in blocks of full width: (first row, (K, rows, W)), from top to bottom.

    The same numbers as Frame.restore up to rounding; unchanged to the bit where the sizes are equal.
    """
    (height, width), (work_height, work_width) = frame.hw, frame.work_hw
    above, below, down = _neighbours(height, work_height)
    left, right, along = _neighbours(width, work_width)
    kept = np.empty((0, 0, 0), np.float32)  # (K, n, w) the rows of the net's answer from row `first` on
    first = done = 0
    for band in bands:
        came = band[0].float().cpu().numpy()
        kept = np.concatenate((kept, came), axis=1) if kept.size else came
        ready = int(np.searchsorted(below, first + kept.shape[1]))  # rows whose lower neighbour has come
        step = max(1, BLOCK_VALUES // (kept.shape[0] * width))
        for top in range(done, ready, step):
            rows = slice(top, min(top + step, ready))
            block = kept[:, above[rows] - first]
            if height != work_height:
                block = _between(block, kept[:, below[rows] - first], down[rows, None])
            if width != work_width:
                block = _between(block.take(left, axis=2), block.take(right, axis=2), along)
            yield top, block
        done = ready
        if done < height:
            drop = min(int(above[done]) - first, kept.shape[1])
            kept, first = kept[:, drop:], first + drop


def _neighbours(length: int, work_length: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """For each of length full-size positions: the two of the answer it lies between, and the share of the second.

    Pixels are areas, so position y of the image lies at (y + 0.5) * work / full - 0.5 of the answer (align_corners=False).
    """
    at = ((np.arange(length) + 0.5) * (work_length / length) - 0.5).clip(0, work_length - 1)
    before = np.floor(at).astype(np.intp)
    return before, np.minimum(before + 1, work_length - 1), (at - before).astype(np.float32)


def _between(one: Floats, other: Floats, share: Floats) -> Floats:
    """one + (other - one) * share, in place of `other`: two equal neighbours give their value to the bit."""
    other -= one
    other *= share
    other += one
    return other


def highest(logits: Floats) -> tuple[Floats, NDArray[np.uint16]]:
    """(rows, W) highest logit, nan where one is nan, and its channel; the lower channel wins a tie."""
    best = logits[0].copy()
    chosen = np.zeros(best.shape, np.uint16)
    for k, channel in enumerate(logits[1:], start=1):
        np.copyto(chosen, k, where=channel > best)
        np.maximum(best, channel, out=best)  # hands nan on, which the comparison does not
    return best, chosen
