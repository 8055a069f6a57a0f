"""Geometry of rings as they were drawn: area, box, whether a ring crosses itself, how much of it lies outside the image.

A ring is (n, 2) x and y in pixels and closes by itself. Rings that touch themselves are sound, those that cross are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.ops.polygons import Ring

# Annotation files round to hundredths: a vertex that touched an edge may lie this far beyond it.
TOUCHING_PX = 0.01
_PAIRS_AT_ONCE = 1 << 20


def signed_area(ring: NDArray[Any]) -> float:
    """Area by the shoelace formula, in pixels; positive where the ring goes clockwise on the screen (y points down)."""
    if len(ring) < 3:
        return 0.0
    # Relative to the first vertex, so that small rings far from the corner of the image keep their digits.
    x, y = (np.asarray(ring, np.float64) - np.asarray(ring[0], np.float64)).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def box_of(rings: Sequence[NDArray[Any]]) -> tuple[float, float, float, float]:
    """The smallest box around all vertices, xyxy in pixels; (0, 0, 0, 0) where there is none."""
    vertices = np.concatenate([np.asarray(ring, np.float64).reshape(-1, 2) for ring in rings] or [np.zeros((0, 2))])
    if not len(vertices):
        return 0.0, 0.0, 0.0, 0.0
    (x0, y0), (x1, y1) = vertices.min(axis=0), vertices.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def share_outside(rings: Sequence[NDArray[Any]], hw: tuple[int, int]) -> float:
    """Share of the rings' area that lies outside the image, in [0, 1]; a hole counts as area. 0.0 where there is no area."""
    whole = sum(abs(signed_area(ring)) for ring in rings)
    inside = sum(abs(signed_area(clipped(ring, hw))) for ring in rings)
    return min(1.0, max(0.0, 1.0 - inside / whole)) if whole > 0 else 0.0


def clipped(ring: NDArray[Any], hw: tuple[int, int]) -> Ring:
    """The ring cut off at the image's borders, (m, 2); parts may stay joined by edges along a border, which have no area.

    Source: Sutherland and Hodgman 1974, Reentrant polygon clipping.
    """
    kept: Ring = np.asarray(ring, np.float64).reshape(-1, 2)
    for axis, border, sign in ((0, 0.0, 1), (0, float(hw[1]), -1), (1, 0.0, 1), (1, float(hw[0]), -1)):
        kept = _beyond(kept, axis, border, sign)
    return kept


def crosses_itself(ring: NDArray[Any], touching_px: float = TOUCHING_PX) -> tuple[float, float] | None:
    """A point (x, y) where two edges of the ring cross, None where none do.

    Edges that touch, share a vertex or lie on each other do not cross: both ends of each must lie on different sides of the
    other, farther than touching_px. Edges that are walked there and back (the bridges of a keyhole) cancel and are left out.
    Crossings that pass through a vertex exactly are not seen.

    Pairs are compared where their extents overlap along one axis, so that thousands of vertices take well under a second.
    """
    begins, ends = _edges(np.asarray(ring, np.float64).reshape(-1, 2))
    low, high = np.minimum(begins, ends), np.maximum(begins, ends)
    axis = int(np.argmax(high.max(axis=0) - low.min(axis=0))) if len(low) else 0
    order = np.argsort(low[:, axis], kind="stable")
    begins, ends, low, high = begins[order], ends[order], low[order], high[order]
    for one, two in _overlapping(low[:, axis], high[:, axis]):
        near = (low[one, 1 - axis] <= high[two, 1 - axis]) & (low[two, 1 - axis] <= high[one, 1 - axis])
        one, two = one[near], two[near]
        crossing = _apart(begins[one], ends[one], begins[two], ends[two], touching_px)
        crossing &= _apart(begins[two], ends[two], begins[one], ends[one], touching_px)
        if crossing.any():
            k = int(np.argmax(crossing))
            return _meeting(begins[one[k]], ends[one[k]], begins[two[k]], ends[two[k]])
    return None


def _beyond(ring: Ring, axis: int, border: float, sign: int) -> Ring:
    """The part of a ring where sign * (coordinate - border) >= 0."""
    if not len(ring):
        return ring
    depth = sign * (ring[:, axis] - border)
    after, next_depth = np.roll(ring, -1, axis=0), np.roll(depth, -1)
    stays, cuts = depth >= 0, (depth >= 0) != (next_depth >= 0)
    share = np.divide(depth, depth - next_depth, out=np.zeros(len(ring)), where=cuts)
    # Each edge gives its first vertex where that stays, then the point where it cuts the border.
    both = np.stack([ring, ring + share[:, None] * (after - ring)], axis=1)
    return np.asarray(both[np.stack([stays, cuts], axis=1)], np.float64)


def _edges(ring: Ring) -> tuple[Ring, Ring]:
    """Begins and ends of the edges that count: with a length, and not walked back by another."""
    if len(ring) < 4:
        return ring[:0], ring[:0]
    edges = np.concatenate([ring, np.roll(ring, -1, axis=0)], axis=1)
    edges = edges[(edges[:, :2] != edges[:, 2:]).any(axis=1)]
    # Both ways of an edge get one number by its lower end; an even number of walks is none.
    swap = (edges[:, 0] > edges[:, 2]) | ((edges[:, 0] == edges[:, 2]) & (edges[:, 1] > edges[:, 3]))
    edges[swap] = edges[swap][:, [2, 3, 0, 1]]
    edges, walks = np.unique(edges, axis=0, return_counts=True)
    edges = edges[walks % 2 == 1]
    return edges[:, :2], edges[:, 2:]


def _overlapping(low: NDArray[np.float64], high: NDArray[np.float64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Positions of all pairs of intervals that overlap, a block at a time; low ascends."""
    counts = np.searchsorted(low, high, side="right") - np.arange(len(low)) - 1
    total = np.cumsum(counts)
    first = 0
    while first < len(low):
        before = int(total[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(total, before + _PAIRS_AT_ONCE, side="right")))
        block = counts[first:last]
        one = np.repeat(np.arange(first, last), block)
        two = np.arange(one.size) - np.repeat(np.cumsum(block) - block, block) + one + 1
        yield one, two
        first = last


def _apart(begins: Ring, ends: Ring, one: Ring, two: Ring, touching_px: float) -> NDArray[np.bool_]:
    """Whether the points one and two lie on different sides of the line begins-ends, each farther from it than touching_px."""
    way = ends - begins
    sides = [way[:, 0] * (p[:, 1] - begins[:, 1]) - way[:, 1] * (p[:, 0] - begins[:, 0]) for p in (one, two)]
    margin = touching_px * np.hypot(way[:, 0], way[:, 1])
    return ((sides[0] > margin) & (sides[1] < -margin)) | ((sides[0] < -margin) & (sides[1] > margin))


def _meeting(a: Ring, b: Ring, c: Ring, d: Ring) -> tuple[float, float]:
    """Where the lines a-b and c-d meet."""
    way, other = b - a, d - c
    share = ((c[0] - a[0]) * other[1] - (c[1] - a[1]) * other[0]) / (way[0] * other[1] - way[1] * other[0])
    return float(a[0] + share * way[0]), float(a[1] + share * way[1])
