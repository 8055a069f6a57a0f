"""Masks to polygons that follow pixel edges exactly: filling them by the rule of ops/polygons.py gives the mask back.

Vertices are pixel corners (whole numbers), straight runs have no vertex in between. Pixels that touch at a corner only are apart
(4-connectivity), so that the two rings touch there and do not cross. An outer ring has a positive area, a hole a negative one
(ops/ring_checks.signed_area); on the screen, where y points down, the object lies to the right of the way.

Every corner has one horizontal and one vertical edge; one where two pixels touch diagonally has two of each and is taken as two
corners. Corners of a row joined in pairs are then the horizontal edges, those of a column the vertical ones, and only the walk
from corner to corner is a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.later import ndimage
from maskwright.ops.polygons import Ring
from maskwright.ops.rle import Rle

Polygon = tuple[Ring, list[Ring]]  # an outer ring and its holes


def rings(crop: NDArray[Any], corner_xy: tuple[int, int] = (0, 0)) -> list[Ring]:
    """All rings of a mask: one around each part, one around each hole; in reading order of their first pixels.

    Shapes:
        crop: (h, w), true or non-zero where the object is
        corner_xy: pixel of the image at crop[0, 0]
        returns: each (n, 2) x and y of pixel corners, n >= 4, beginning at its top left corner; no ring for an empty mask
    """
    x, y, follower = _corners(np.asarray(crop) != 0)
    place = np.stack([x + corner_xy[0], y + corner_xy[1]], axis=1).astype(np.float64)
    return [place[ring] for ring in _cycles(follower.tolist())]


def polygons(rle: Rle) -> list[Polygon]:
    """The parts of a mask, each an outer ring with the rings of its holes, for formats that nest them."""
    x0, y0, x1, y1 = rle.box_xyxy
    crop = rle.crop((x0, y0, x1, y1))
    part = np.pad(ndimage.label(crop)[0], ((1, 0), (0, 0)))  # a row above, so that part[y, x] is the pixel above corner (x, y)
    outer: dict[int, Polygon] = {}
    holes: list[tuple[int, Ring]] = []
    for ring in rings(crop):
        x, y = ring[0].astype(int)
        placed = ring + np.array([x0, y0])
        # At its top left corner an outer ring has its own part below it, a hole the part that it is cut from above it.
        if ring[1, 1] == y:
            outer[int(part[y + 1, x])] = (placed, [])
        else:
            holes.append((int(part[y, x]), placed))
    for owner, ring in holes:
        outer[owner][1].append(ring)
    return list(outer.values())


def bridged(outer: Ring, holes: Sequence[Ring]) -> Ring:
    """One ring for a part with holes; see joined."""
    return joined([(outer, list(holes))])


def joined(parts: Sequence[Polygon]) -> Ring:
    """One ring for several parts and holes, for formats that hold a single ring an object (a keyhole).

    Rings are joined by bridges that are walked there and back, so that they cancel under the even-odd rule. Bridges run along x
    and y only: there the crossing with a row of pixel centres is the same number on both ways, whatever the rounding.

    Shapes:
        returns: (n, 2); (0, 2) where there are no parts
    """
    every = [ring for outer, holes in parts for ring in (outer, *holes)]
    grown: Ring = every[0] if every else np.zeros((0, 2))
    for ring in every[1:]:
        here = int(np.abs(grown - ring[0]).sum(axis=1).argmin())
        there = int(np.abs(ring - grown[here]).sum(axis=1).argmin())
        start, end = grown[here], ring[there]
        knee = np.array([[end[0], start[1]]])
        # A bridge along one axis needs no knee.
        knee = knee[:0] if (knee == start).all() or (knee == end).all() else knee
        loop = np.roll(ring, -there, axis=0)
        grown = np.concatenate([grown[: here + 1], knee, loop, loop[:1], knee, grown[here:]])
    return grown


def _corners(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """x and y of each corner in reading order, and the number of the corner that follows it on its ring."""
    padded = np.pad(mask, 1)
    above_left, above, left, here = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    across = above_left ^ left  # an edge goes left from this corner
    upward = above_left ^ above
    crossing = across & upward & (above_left == here)  # two pixels that touch diagonally
    turning = (across ^ above ^ here) | crossing  # one of the edges to the left and to the right, or both pairs
    ys, xs = np.nonzero(turning)
    double = crossing[ys, xs]
    number = np.repeat(np.arange(len(xs)), 1 + double)
    x, y, double = xs[number], ys[number], double[number]
    second = np.zeros(len(number), bool)
    second[1:] = number[1:] == number[:-1]
    falling = above_left[y, x]  # of a double corner: the pixels above left and below right are the object's
    # The first of two corners has the edge to the left; it also has the edge upwards where its pixel is above.
    lower = double & (second == falling)
    beside = _pairs(np.arange(len(x)))
    along = _pairs(np.lexsort((lower, y, x)))
    # The way goes right along an edge with the object below it, and left with the object above.
    goes_right = beside > np.arange(len(x))
    leaves_across = np.where(goes_right, here[y, x], above_left[y, x])
    return x, y, np.where(leaves_across, beside, along)


def _pairs(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The partner of each corner, where neighbours in the order are joined two by two."""
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner


def _cycles(follower: list[int]) -> list[list[int]]:
    seen = bytearray(len(follower))
    found = []
    for start in range(len(follower)):
        if seen[start]:
            continue
        ring, at = [], start
        while not seen[at]:
            seen[at] = 1
            ring.append(at)
            at = follower[at]
        found.append(ring)
    return found
