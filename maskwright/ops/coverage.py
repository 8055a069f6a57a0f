"""A map of values as polygons that tile it: neighbours share their vertices, so that they can be simplified without gaps.

Outlines follow pixel edges (ops/tracing.py), and every corner where three areas meet is a vertex of all of them; the polygons are
then a coverage in the sense of GEOS, whose shared edges are simplified once for both sides (Visvalingam and Whyatt 1993).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import MissingExtraError
from maskwright.later import ndimage
from maskwright.ops.polygons import Ring
from maskwright.ops.rle import Rle
from maskwright.ops.tracing import polygons


def shapely_for(purpose: str) -> Any:
    """The package shapely.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import shapely
    except ImportError as error:
        raise MissingExtraError("shapely", "geo", purpose) from error
    return shapely


def coverage(values: NDArray[Any], tolerance_px: float = 0.0) -> list[tuple[int, Any]]:
    """Every connected part of every value as a shapely polygon in pixels, with its value; together they cover the map.

    Args:
        tolerance_px: outlines lose details whose area is below its square; the border of the map stays as it is

    Shapes:
        values: (H, W) whole numbers from 0 on

    Raises:
        MissingExtraError: shapely is not installed.
    """
    shapely = shapely_for("drawing areas as polygons")
    nodes = _nodes(values)
    found: list[int] = []
    shapes = []
    for value, box in enumerate(ndimage.find_objects(values.astype(np.int32) + 1)):
        if box is None:
            continue
        rows, columns = box
        mask = Rle.from_crop(values[box] == value, (columns.start, rows.start), (values.shape[0], values.shape[1]))
        for outer, holes in polygons(mask):
            found.append(value)
            shapes.append(shapely.Polygon(_with_nodes(outer, nodes), [_with_nodes(hole, nodes) for hole in holes]))
    # A ring that touches itself at a corner is two rings to GEOS.
    sound = shapely.make_valid(np.array(shapes, object))
    if tolerance_px > 0:
        sound = shapely.coverage_simplify(sound, tolerance_px, simplify_boundary=False)
    return list(zip(found, sound, strict=True))


def _nodes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """(H + 1, W + 1): the pixel corners where three borders or more meet, and those of the map."""
    padded = np.pad(values.astype(np.int32), 1, constant_values=-1)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    borders = (a != b).astype(np.int8) + (c != d) + (a != c) + (b != d)
    nodes = np.asarray(borders >= 3)
    nodes[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    return nodes


def _with_nodes(ring: Ring, nodes: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The ring with a vertex at each node that one of its edges passes."""
    begins = ring.astype(np.int64)
    way = np.roll(begins, -1, axis=0) - begins
    lengths = np.abs(way).sum(axis=1)
    edge = np.repeat(np.arange(len(ring)), lengths)
    along = np.arange(edge.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    points = begins[edge] + np.sign(way)[edge] * along[:, None]
    return np.asarray(points[(along == 0) | nodes[points[:, 1], points[:, 0]]], np.float64)
