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
REACH_PX = 6
MOST_SOLID, MOST_OF_MASK = 0.2, 0.5
FEWEST_ON_EDGE, FEWEST_BETWEEN, FEWEST_MONOTONE = 0.9, 0.6, 0.55
# A smoothed mask has hardly an edge left where two known values meet; a small slip of the brush leaves nearly all.
FEWEST_OF_EDGE = 0.2
FEWEST_VALUES, MOST_CLOSE = 8, 24


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
    known = [v for v in mask.counts if v not in set(unknown)]
    if not known:
        return UNKNOWN
    numbers = pack(mask.values) if mask.kind == "rgb" else mask.values
    odd = np.isin(numbers, [_packed(v) for v in unknown])
    # Strong JPEG shifts whole areas by a little; what is that near a known value says nothing against smear.
    telling = odd if len(unknown) < FEWEST_VALUES else np.isin(numbers, [_packed(v) for v in far_from(known, unknown)])
    if np.count_nonzero(telling) > MOST_OF_MASK * odd.size:
        return UNKNOWN
    if np.count_nonzero(solid(numbers) & telling) > MOST_SOLID * np.count_nonzero(odd):
        return UNKNOWN
    channels = mask.values[..., None] if mask.kind != "rgb" else mask.values  # (H, W, C)
    if not _on_edges(numbers, odd):
        return UNKNOWN if len(unknown) < FEWEST_VALUES else SMEARED
    edge, between = _around(channels, odd)
    if len(unknown) < FEWEST_VALUES:
        return ANTI_ALIASED if edge.mean() >= FEWEST_ON_EDGE else UNKNOWN
    # Measured on X-ray, street and drawn masks: smoothing leaves 0.6 to 1.0 of the pixels monotone, JPEG 0.1 to 0.5.
    smooth = between.mean() >= FEWEST_BETWEEN and _monotone(channels, odd).mean() >= FEWEST_MONOTONE
    return ANTI_ALIASED if smooth else SMEARED


def far_from(known: Collection[StoredValue], unknown: Collection[StoredValue]) -> list[StoredValue]:
    """The unknown values that are near no known one, measured by how far the known ones lie apart; dense ids have no near."""
    reach = min(MOST_CLOSE, least_apart(known) // 4)
    fixed = _points(known)
    return [v for v in unknown if np.abs(fixed - np.array(v)).max(axis=1).min() > reach]


def least_apart(values: Collection[StoredValue]) -> int:
    """The smallest distance between two values, for colours in the channel that differs most; 255 where there is only one."""
    points = _points(values)
    apart = np.abs(points[:, None] - points).max(axis=2)  # (V, V)
    return int(apart[apart > 0].min(initial=255))


def _points(values: Collection[StoredValue]) -> NDArray[np.int64]:
    return np.array([v if isinstance(v, tuple) else (v, v, v) for v in values], np.int64)  # (V, 3)


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
    left, right, above, below = (p[odd] for p in (padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]))
    value = channels[odd]  # (N, C)
    across = (np.minimum(left, right) <= value) & (value <= np.maximum(left, right))
    down = (np.minimum(above, below) <= value) & (value <= np.maximum(above, below))
    ramp: NDArray[np.bool] = (across & down).all(axis=1)
    return ramp


def _around(channels: NDArray[Any], odd: NDArray[np.bool]) -> tuple[NDArray[np.bool], NDArray[np.bool]]:
    """Of each odd pixel: do two known values lie within reach, and is its own value between them in every channel?

    Shapes:
        channels: (H, W, C); odd: (H, W)
        returns: twice (N,), N odd pixels
    """
    side = 2 * REACH_PX + 1
    edge = np.zeros(np.count_nonzero(odd), np.bool)
    within, inside = np.ones_like(edge), np.zeros_like(edge)
    for channel in np.moveaxis(channels.astype(np.int64), 2, 0):
        lowest = scipy.ndimage.minimum_filter(np.where(odd, np.iinfo(np.int64).max, channel), side, mode="nearest")[odd]
        highest = scipy.ndimage.maximum_filter(np.where(odd, -1, channel), side, mode="nearest")[odd]
        value = channel[odd]
        edge |= lowest < highest
        within &= (lowest <= value) & (value <= highest)
        inside |= (lowest < value) & (value < highest)
    return edge, within & inside


def _packed(value: StoredValue) -> int:
    return value if isinstance(value, int) else value[0] << 16 | value[1] << 8 | value[2]
