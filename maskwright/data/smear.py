"""Smear: mask values that no class has, made by JPEG, by smoothed edges or by resizing with interpolation.

The tests look at where such pixels lie: smear is thin and lies between known values, a class has an inside.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from maskwright.classes import StoredValue
from maskwright.io.masks import StoredMask, pack

ANTI_ALIASED, SMEARED, UNKNOWN = "anti-aliased", "smeared-mask", "unknown-value"

# How far from an unknown pixel known values are looked for: half the width of a smoothed edge.
REACH_PX = 3
MOST_SOLID, MOST_OF_MASK = 0.2, 0.5
FEWEST_BETWEEN, FEWEST_MONOTONE = 0.8, 0.5
# A smoothed mask has hardly an edge left where two known values meet; a small slip of the brush leaves nearly all.
FEWEST_OF_EDGE = 0.2
FEWEST_VALUES = 8


def solid(numbers: NDArray[Any]) -> NDArray[np.bool]:
    """Pixels whose eight neighbours all have their value; beyond the border the border goes on.

    Shapes:
        numbers: (H, W) integers (colours packed)
        returns: (H, W)
    """
    padded = np.pad(numbers, 1, mode="edge")
    height, width = numbers.shape
    same = np.ones(numbers.shape, np.bool)
    for down in range(3):
        for right in range(3):
            same &= padded[down : down + height, right : right + width] == numbers
    return same


def kind_of_unknown(mask: StoredMask, unknown: Collection[StoredValue]) -> str:
    """ANTI_ALIASED, SMEARED or UNKNOWN: what the values without a class in this mask are.

    unknown: stored values of the mask that its class map does not have.
    """
    numbers = pack(mask.values) if mask.kind == "rgb" else mask.values
    odd = np.isin(numbers, [_packed(v) for v in unknown])
    count = np.count_nonzero(odd)
    if count > MOST_OF_MASK * odd.size or count == odd.size:
        return UNKNOWN
    if np.count_nonzero(solid(numbers) & odd) > MOST_SOLID * count:
        return UNKNOWN
    channels = mask.values[..., None] if mask.kind != "rgb" else mask.values      # (H, W, C)
    if _on_edges(numbers, odd) and _between(channels, odd).mean() >= FEWEST_BETWEEN:
        # Measured on X-ray, street and drawn masks: smoothing leaves 0.6 to 1.0 of the pixels monotone, JPEG 0.1 to 0.5.
        return ANTI_ALIASED if _monotone(channels, odd).mean() >= FEWEST_MONOTONE else _by_number(unknown)
    return _by_number(unknown)


def _by_number(unknown: Collection[StoredValue]) -> str:
    return SMEARED if len(unknown) >= FEWEST_VALUES else UNKNOWN


def _on_edges(numbers: NDArray[Any], odd: NDArray[np.bool]) -> bool:
    """Do the odd pixels take a fair share of the edges between areas, instead of one place?"""
    meet = np.zeros(odd.shape, np.bool)
    meet[1:] |= (numbers[1:] != numbers[:-1]) & ~odd[1:] & ~odd[:-1]
    meet[:, 1:] |= (numbers[:, 1:] != numbers[:, :-1]) & ~odd[:, 1:] & ~odd[:, :-1]
    count = np.count_nonzero(odd)
    return bool(count >= FEWEST_OF_EDGE * (count + np.count_nonzero(meet)))


def _monotone(channels: NDArray[Any], odd: NDArray[np.bool]) -> NDArray[np.bool]:
    """Of each odd pixel: does it lie between its left and right, and between its upper and lower neighbour?

    Smoothed edges are ramps; JPEG ripples up and down.

    Shapes:
        channels: (H, W, C); odd: (H, W)
        returns: (N,), N odd pixels
    """
    padded = np.pad(channels, ((1, 1), (1, 1), (0, 0)), mode="edge")
    middle = np.ones(channels.shape, np.bool)
    for one, other in ((padded[1:-1, :-2], padded[1:-1, 2:]), (padded[:-2, 1:-1], padded[2:, 1:-1])):
        middle &= (np.minimum(one, other) <= channels) & (channels <= np.maximum(one, other))
    ramp: NDArray[np.bool] = middle[odd].all(axis=1)
    return ramp


def _between(channels: NDArray[Any], odd: NDArray[np.bool]) -> NDArray[np.bool]:
    """Of each odd pixel: does it lie between the known values around it, in every channel?

    Shapes:
        channels: (H, W, C); odd: (H, W)
        returns: (N,), N odd pixels
    """
    side = 2 * REACH_PX + 1
    within = np.ones(np.count_nonzero(odd), np.bool)
    differs = np.zeros_like(within)
    for channel in np.moveaxis(channels.astype(np.int64), 2, 0):
        lowest = scipy.ndimage.minimum_filter(np.where(odd, np.iinfo(np.int64).max, channel), side, mode="nearest")[odd]
        highest = scipy.ndimage.maximum_filter(np.where(odd, -1, channel), side, mode="nearest")[odd]
        value = channel[odd]
        within &= (lowest <= value) & (value <= highest)
        differs |= (lowest < value) & (value < highest)
    return within & differs


def _packed(value: StoredValue) -> int:
    return value if isinstance(value, int) else value[0] << 16 | value[1] << 8 | value[2]
