"""Drawn shapes as polygons: rectangles, circles, ellipses, and which rings are none.

A rectangle of x, y, width and height covers [x, x + w) x [y, y + h): with whole numbers exactly w x h pixels.

Circles and ellipses become polygons whose edges stay within 1/16 pixel of the curve: a pixel changes sides only where its centre
lies that close to it, far below the half pixel that a border can be known to. A chord that spans the angle 2 pi / n of a circle
of radius r leaves it by r (1 - cos(pi / n)); an ellipse is a circle stretched: its larger half axis takes the place of r. That
is 9 vertices for r = 1, 29 for r = 10 and 89 for r = 100; at least 16 are used.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.records import LARGEST_SIDE_PX, Refused
from maskwright.errors import FormatError

Ring = NDArray[np.float64]

CURVE_TOLERANCE_PX = 1 / 16
FEWEST_VERTICES, MOST_VERTICES = 16, 4096


def polygon(points_xy: Ring, where: str, what: str = "the polygon") -> Ring:
    """A ring as it was drawn.

    Raises:
        Refused: "two-points", where fewer than three vertices are left without one that repeats the first.
        FormatError: a vertex lies farther off than any image reaches.
    """
    in_reach(points_xy, where, what)
    count = len(points_xy)
    if count > 1 and np.array_equal(points_xy[0], points_xy[-1]):
        count -= 1
    if count < 3:
        raise Refused("two-points", f"{where}: {what} has {count} {'vertex' if count == 1 else 'vertices'}; an area needs three.")
    return points_xy


def in_reach(points_xy: Ring, where: str, what: str) -> None:
    """Refuse what lies farther off than any image reaches: filling it would cost as much as that image.

    Raises:
        FormatError: a coordinate does.
    """
    if points_xy.size and np.abs(points_xy).max() > LARGEST_SIDE_PX:
        raise FormatError(f"{where}: {what} reaches to {np.abs(points_xy).max():.6g}; expected pixels of the image.")


def closed_line(points_xy: Ring, where: str) -> Ring:
    """A line of several points as an area: only where its ends meet within a pixel.

    Raises:
        Refused: it is open, and so encloses nothing; or it has too few vertices.
    """
    polygon(points_xy, where, "the line")
    gap = float(np.hypot(*(points_xy[0] - points_xy[-1])))
    if gap > 1:
        raise no_area(where, f"an open line (its ends are {gap:.0f} pixels apart)")
    return points_xy


def no_area(where: str, shape: str) -> FormatError:
    """The reason why a point or a line is left out."""
    return FormatError(f"{where}: is {shape}, which covers no area; draw it as a polygon.")


def rectangle(
    x: float, y: float, w: float, h: float, *, radians: float = 0.0, about_xy: tuple[float, float] | None = None
) -> Ring:
    """The corners of [x, x + w) x [y, y + h), (4, 2), turned clockwise on the screen about a point (default: its centre)."""
    corners = np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], np.float64)
    return turned(corners, radians, about_xy or (x + w / 2, y + h / 2)) if radians else corners


def ellipse(x: float, y: float, rx: float, ry: float, *, radians: float = 0.0) -> Ring:
    """An ellipse about (x, y) with half axes rx and ry, turned clockwise on the screen, (n, 2)."""
    largest = max(abs(rx), abs(ry))
    count = FEWEST_VERTICES
    if largest > CURVE_TOLERANCE_PX:
        needed = math.pi / math.acos(1 - CURVE_TOLERANCE_PX / largest) if largest < 1e9 else MOST_VERTICES
        count = min(max(count, math.ceil(needed)), MOST_VERTICES)
    angle = np.arange(count) * (2 * np.pi / count)
    ring = np.empty((count, 2), np.float64)
    ring[:, 0], ring[:, 1] = x + rx * np.cos(angle), y + ry * np.sin(angle)
    return turned(ring, radians, (x, y)) if radians else ring


def circle_through(points_xy: Ring, where: str) -> Ring:
    """The circle through three points.

    Raises:
        FormatError: they lie on one line.
    """
    a, b, c = points_xy
    (bx, by), (cx, cy) = b - a, c - a
    twice_area = 2 * (bx * cy - by * cx)
    if abs(twice_area) < 1e-9:
        raise FormatError(f"{where}: the three points of its circle lie on one line.")
    x = (cy * (bx**2 + by**2) - by * (cx**2 + cy**2)) / twice_area
    y = (bx * (cx**2 + cy**2) - cx * (bx**2 + by**2)) / twice_area
    radius = math.hypot(x, y)
    return ellipse(a[0] + x, a[1] + y, radius, radius)


def turned(ring: Ring, radians: float, about_xy: tuple[float, float]) -> Ring:
    """A ring turned clockwise as the screen shows it, where y points down."""
    cos, sin = math.cos(radians), math.sin(radians)
    return np.asarray((ring - about_xy) @ np.array([(cos, sin), (-sin, cos)]) + about_xy, np.float64)
