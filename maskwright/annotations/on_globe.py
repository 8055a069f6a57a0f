"""Shapes of an image in longitude and latitude (degrees): cut at the 180th meridian, closed over the poles.

Longitudes jump by 360 degrees at the meridian, so that the ends of an edge do not tell which way round the earth it goes; its
middle does. Edges that are straight in the image and bend on the globe, as beside a pole, get more vertices.

Source: RFC 7946, section 3.1.9, for the cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.ops.coverage import shapely_for

Warp = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # points in pixels to longitude and latitude, (n, 2) each
TURN = 360.0
GRID = 1e-10  # degrees, the hundredth of a millimetre: what was cut at one place meets there again
NARROW = 1e-7  # degrees, a centimetre: what rounding leaves on the other side of the meridian
BEND_PX = 0.25  # the centres of pixels stay on their side of outlines along pixels
SHORTEST_PX = 0.25  # of edges that are halved
HALVINGS = 32


def goes_round(shapes: Sequence[Any], warp: Warp) -> tuple[bool, bool]:
    """Whether shapes in pixels may cross the 180th meridian, hold a pole or be wider than half the earth; whether edges bend."""
    shapely = shapely_for("putting polygons on the map")
    points, rings = shapely.get_coordinates(shapely.get_rings(np.array(shapes, object)), return_index=True)
    if not len(points):
        return False, False
    edges = np.flatnonzero(rings[1:] == rings[:-1])
    lengths_px = np.hypot(*(points[edges + 1] - points[edges]).T)
    ends, middles = warp(points), warp((points[edges] + points[edges + 1]) / 2)
    # Of an edge that is wider than half the earth, one half is not.
    longitudes = np.concatenate([ends, middles])[:, 0]
    left, right = longitudes.min(), longitudes.max()
    bent = _bent(ends[edges], ends[edges + 1], middles, lengths_px)
    return bool(left < -TURN / 2 or right > TURN / 2 or right - left > TURN / 2), bool(bent.any())


def on_globe(shapes: Sequence[Any], warp: Warp, *, wraps: bool) -> list[Any]:
    """Shapes in pixels to degrees within -180..180 and -90..90.

    Args:
        wraps: longitudes of warp jump at the 180th meridian; else they go on beyond it, as those of images in degrees
    """
    shapely = shapely_for("putting polygons on the map")
    polygons = [_polygons(shape) for shape in shapes]
    singles = [polygon for parts in polygons for polygon in parts]
    rings, of_polygon = shapely.get_rings(np.array(singles, object), return_index=True)
    points, of_ring = shapely.get_coordinates(rings, return_index=True)
    pixels = _split(points, of_ring)
    moved = [*map(_without_jumps, _split(*_with_bends(points, of_ring, warp)))] if wraps else _split(warp(points), of_ring)
    starts = np.searchsorted(of_polygon, np.arange(len(singles) + 1))
    placed = iter([_placed(pixels[a:b], moved[a:b], warp) for a, b in pairwise(starts)])
    return [_of_parts([part for _ in parts for part in next(placed)]) for parts in polygons]


def _placed(pixels: Sequence[NDArray[np.float64]], moved: Sequence[NDArray[np.float64]], warp: Warp) -> list[Any]:
    """The polygon of some rings, which are given in pixels and in degrees, in the parts that the meridian leaves of it."""
    shapely = shapely_for("putting polygons on the map")
    whole = shapely.Polygon(moved[0], moved[1:])
    if all(not _turns(ring) and _in_range(ring) for ring in moved):
        return [whole]
    # What lies in an odd number of rings is in the polygon, wherever on the globe each of them was begun.
    closed = (_closed(ring, was, warp) if _turns(ring) else ring for ring, was in zip(moved, pixels, strict=True))
    parts = _polygons(reduce(_in_one_alone, map(_region, closed)))
    return [part for part in parts if part.bounds[2] - part.bounds[0] > NARROW] or parts or [whole]


def _with_bends(points: NDArray[np.float64], rings: NDArray[np.int64], warp: Warp) -> tuple[Any, NDArray[np.int64]]:
    """Closed rings in degrees, with more vertices where their edges bend or go round the earth.

    Shapes:
        points: (n, 2) in pixels
        rings: (n,) which ring each point is of, in order
        returns: (m, 2), (m,)
    """
    degrees = warp(points)
    edges = np.flatnonzero(rings[1:] == rings[:-1])
    for _ in range(HALVINGS):
        middles = (points[edges] + points[edges + 1]) / 2
        found = warp(middles)
        lengths_px = np.hypot(*(points[edges + 1] - points[edges]).T)
        bent = _bent(degrees[edges], degrees[edges + 1], found, lengths_px) & (lengths_px > SHORTEST_PX)
        if not bent.any():
            break
        at = edges[bent] + 1
        points, degrees = np.insert(points, at, middles[bent], axis=0), np.insert(degrees, at, found[bent], axis=0)
        rings = np.insert(rings, at, rings[at])
        halves = at + np.arange(len(at))  # where the new points are now
        edges = np.sort(np.concatenate([halves - 1, halves]))
    return degrees, rings


def _split(points: NDArray[np.float64], rings: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    return np.split(points, np.flatnonzero(np.diff(rings)) + 1) if len(points) else []


def _bent(
    begins: NDArray[np.float64], ends: NDArray[np.float64], middles: NDArray[np.float64], lengths_px: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which edges are not what lies between their ends: they go round the other way, or bend by more than BEND_PX.

    Shapes:
        begins, ends, middles: of the edges, in degrees, (n, 2)
        lengths_px: of the edges in pixels, (n,)
    """
    along, off = _shorter_way(ends - begins), _shorter_way(middles - begins)
    wrong_way = np.abs(_shorter_way(off - along / 2)[:, 0]) > TURN / 4
    narrowed = np.cos(np.radians(middles[:, 1]))  # of a degree of longitude
    off_x, along_x = off[:, 0] * narrowed, along[:, 0] * narrowed
    squared = np.maximum(along_x**2 + along[:, 1] ** 2, np.finfo(float).tiny)
    bend_px = np.abs(along_x * off[:, 1] - along[:, 1] * off_x) / squared * lengths_px
    return np.asarray(wrong_way | (bend_px > BEND_PX))


def _shorter_way(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Steps in degrees, those of the longitude by half the earth at most."""
    return np.stack([steps[:, 0] - TURN * np.round(steps[:, 0] / TURN), steps[:, 1]], axis=1)


def _without_jumps(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitudes that go on beyond the 180th meridian, by the shorter way from point to point."""
    turns = np.cumsum(np.round(np.diff(points[:, 0], prepend=points[0, 0]) / TURN))
    return np.stack([points[:, 0] - TURN * turns, points[:, 1]], axis=1)


def _turns(ring: NDArray[np.float64]) -> int:
    """How often a ring goes round the earth, eastwards; then it holds a pole."""
    return round(float(ring[-1, 0] - ring[0, 0]) / TURN)


def _in_range(ring: NDArray[np.float64]) -> bool:
    return bool((np.abs(ring) <= (TURN / 2, TURN / 4)).all())


def _closed(ring: NDArray[np.float64], pixels: NDArray[np.float64], warp: Warp) -> NDArray[np.float64]:
    """A ring that goes round the earth, closed over the pole that it holds.

    Shapes:
        ring, pixels: the ring in degrees and in pixels, (n, 2) and (m, 2)
    """
    shapely = shapely_for("putting polygons on the map")
    on_its_left = shapely.is_ccw(shapely.LinearRing(pixels)) != _mirrored(pixels, warp)
    goes_east = _turns(ring) > 0
    pole = TURN / 4 if goes_east == on_its_left else -TURN / 4
    return np.concatenate([ring, [(ring[-1, 0], pole), (ring[0, 0], pole)]])


def _mirrored(pixels: NDArray[np.float64], warp: Warp) -> bool:
    """Whether left and right change places on the way to the map, as they do where rows go south."""
    corner = pixels[np.abs(warp(pixels)[:, 1]).argmin()]  # far from the poles, about which longitudes spin
    origin, right, down = _without_jumps(warp(corner + np.array([(0.0, 0.0), (0.01, 0.0), (0.0, 0.01)])))
    (a, b), (c, d) = right - origin, down - origin
    return bool(a * d < b * c)


def _region(ring: NDArray[np.float64]) -> Any:
    """What a closed ring in degrees holds, brought to longitudes in -180..180."""
    shapely = shapely_for("putting polygons on the map")
    whole = _of_parts(_polygons(shapely.make_valid(shapely.Polygon(ring))))
    half = TURN / 2
    first, last = math.floor((ring[:, 0].min() + half) / TURN), math.ceil((ring[:, 0].max() + half) / TURN)
    pieces = []
    for turn in range(first, max(last, first + 1)):
        strip = shapely.box(turn * TURN - half, -TURN / 4, turn * TURN + half, TURN / 4)
        piece = _of_parts(_polygons(shapely.intersection(whole, strip)))
        pieces.append(shapely.transform(piece, partial(_moved_west, by=turn * TURN)))
    return reduce(_in_one_alone, pieces)


def _in_one_alone(a: Any, b: Any) -> Any:
    return shapely_for("putting polygons on the map").symmetric_difference(a, b, grid_size=GRID)


def _moved_west(points: NDArray[np.float64], by: float) -> NDArray[np.float64]:
    return np.asarray(points - np.array([by, 0.0]))


def _polygons(shape: Any) -> list[Any]:
    """The polygons of a shape; lines and points, which have no area, are left out."""
    shapely = shapely_for("putting polygons on the map")
    parts = shapely.get_parts(shapely.get_parts(shape))  # of several in a collection too
    return [part for part in parts if part.area > 0]


def _of_parts(parts: Sequence[Any]) -> Any:
    shapely = shapely_for("putting polygons on the map")
    return parts[0] if len(parts) == 1 else shapely.multipolygons(np.array(parts, object))
