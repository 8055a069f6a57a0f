"""Numbered pixels to masks: the objects of an id map, and the connected parts of a mask.

All objects come from one pass over the runs of equal pixels, so that the cost is the image's and the number of its runs, however
many objects there are and however far each one reaches; no mask of full size is made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.later import ndimage
from maskwright.ops.rle import Rle

EDGES, CORNERS = 4, 8


def masks_of_ids(ids: NDArray[Any]) -> dict[int, Rle]:
    """The mask of each number in an id map, by ascending number; 0 is no object.

    Shapes:
        ids: (H, W) integers; negative numbers are objects too
    """
    hw = (ids.shape[0], ids.shape[1])
    flat = np.ascontiguousarray(ids.T).ravel()
    starts = np.flatnonzero(np.r_[flat.size > 0, flat[1:] != flat[:-1]])
    ends = np.r_[starts[1:], flat.size]
    numbers = flat[starts]
    # Stable: the runs of one object stay in ascending order.
    order = np.argsort(numbers, kind="stable")
    order = order[numbers[order] != 0]
    if not order.size:
        return {}
    borders = np.flatnonzero(np.diff(numbers[order])) + 1
    return {int(numbers[runs[0]]): Rle.from_runs(starts[runs], ends[runs], hw) for runs in np.split(order, borders)}


def components(mask: NDArray[Any], connectivity: int = CORNERS) -> list[Rle]:
    """The connected parts of a mask, in reading order of their first pixels.

    Shapes:
        mask: (H, W), true or non-zero where something is
        connectivity: 4: pixels that share an edge belong together; 8: those that share a corner, too
    """
    if connectivity not in (EDGES, CORNERS):
        raise ValueError(f"connectivity is {connectivity}; expected 4 or 8")
    numbered, _ = ndimage.label(mask, ndimage.generate_binary_structure(2, 1 if connectivity == EDGES else 2))
    return list(masks_of_ids(numbered).values())
