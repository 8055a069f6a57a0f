"""Polygons to pixels, by two rules that are stated and tested.

The rule of this project: a pixel belongs to a polygon when its centre lies inside by the even-odd rule; vertices lie on the
plane where pixel (column c, row r) covers [c, c + 1) x [r, r + 1), so integer coordinates are pixel edges. A centre that lies
exactly on an edge belongs to the side of larger x. All rings of an object are filled together: a ring in a ring is a hole.

COCO's rule differs by up to half a pixel along borders; `fill_coco` follows it to the pixel, because published COCO scores do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.ops.rle import Rle

Ring = NDArray[np.float64]  # (n, 2) x and y in pixels; closed by itself: the last vertex joins the first


def fill(rings: Sequence[NDArray[Any]], hw: tuple[int, int]) -> Rle:
    """The pixels whose centres lie inside the rings by the even-odd rule; parts outside the image are cut off.

    Costs the size of the rings' box, not of the image.

    Shapes:
        rings: each (n, 2) x and y, n >= 3; fewer vertices cover nothing
    """
    kept = [np.asarray(ring, np.float64) for ring in rings if len(ring) >= 3]
    if not kept:
        return Rle(hw, np.array([hw[0] * hw[1]]))
    begins = np.concatenate(kept)
    finishes = np.concatenate([np.roll(ring, -1, axis=0) for ring in kept])
    corner = np.clip(np.floor(begins.min(axis=0)), 0, (hw[1], hw[0])).astype(int)
    far = np.clip(np.ceil(begins.max(axis=0)), corner, (hw[1], hw[0])).astype(int)
    w, h = far - corner
    # Rows whose centre line y = row + 0.5 an edge crosses: its lower end counts, its upper one does not: a vertex counts once.
    low = np.clip(np.ceil(np.minimum(begins[:, 1], finishes[:, 1]) - 0.5), corner[1], far[1]).astype(int)
    high = np.clip(np.ceil(np.maximum(begins[:, 1], finishes[:, 1]) - 0.5), corner[1], far[1]).astype(int)
    edge = np.repeat(np.arange(len(begins)), high - low)
    row = np.arange(edge.size) - np.repeat(np.cumsum(high - low) - (high - low), high - low) + low[edge]
    (x0, y0), (x1, y1) = begins[edge].T, finishes[edge].T
    x = x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0) if edge.size else np.zeros(0)
    column = np.clip(np.ceil(x - 0.5) - corner[0], 0, w).astype(int)
    crossings = np.zeros((h, w + 1), np.int32)
    np.add.at(crossings, (row - corner[1], column), 1)
    inside = np.cumsum(crossings[:, :w], axis=1) & 1
    return Rle.from_crop(inside, (int(corner[0]), int(corner[1])), hw)


def fill_coco(rings: Sequence[NDArray[Any]], hw: tuple[int, int]) -> Rle:
    """The pixels that the COCO API gives these polygons: each filled by itself, then joined, so that there are no holes."""
    from faster_coco_eval.core import mask as coco

    flat = [np.asarray(ring, np.float64).ravel().tolist() for ring in rings if len(ring) >= 3]
    if not flat:
        return Rle(hw, np.array([hw[0] * hw[1]]))
    return Rle.from_text(coco.merge(coco.frPyObjects(flat, *hw))["counts"], hw)
