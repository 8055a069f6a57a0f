"""Which rings lie inside which: for formats that nest holes in their polygons, and to see holes that a format would fill."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskwright.ops.polygons import Ring
from maskwright.ops.ring_checks import box_of, signed_area
from maskwright.ops.tracing import Polygon

_PAIRS_AT_ONCE = 1 << 20


def contains(ring: Ring, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each point lies inside a ring by the even-odd rule; on its border either may come out.

    Shapes:
        ring: (n, 2)
        points: (m, 2)
        returns: (m,) bool
    """
    (x0, y0), (x1, y1) = ring.T, np.roll(ring, -1, axis=0).T
    inside = np.zeros(len(points), bool)
    step = max(1, _PAIRS_AT_ONCE // max(1, len(ring)))
    for first in range(0, len(points), step):
        x, y = points[first : first + step, :1], points[first : first + step, 1:]  # (m, 1) each
        spans = (y0 <= y) != (y1 <= y)
        at = x0 + (y - y0) * (x1 - x0) / np.where(spans, y1 - y0, 1.0)
        inside[first : first + step] = ((spans & (x < at)).sum(axis=1) & 1) == 1
    return inside


def lies_inside(inner: Ring, outer: Ring) -> bool:
    """Whether a ring lies in another, larger one: all its vertices do. A ring lies in neither itself nor a copy of itself."""
    a, b = box_of([inner]), box_of([outer])
    if a[0] < b[0] or a[1] < b[1] or a[2] > b[2] or a[3] > b[3] or abs(signed_area(inner)) >= abs(signed_area(outer)):
        return False
    return bool(contains(outer, inner).all())


def nested(rings: Sequence[Ring]) -> list[Polygon]:
    """Rings as polygons with their holes: a ring in an odd number of others is a hole of the smallest of these.

    Only rings that neither cross each other nor themselves can be told apart so; the caller compares pixels.
    """
    around = [[j for j, other in enumerate(rings) if j != i and lies_inside(ring, other)] for i, ring in enumerate(rings)]
    outer: dict[int, Polygon] = {i: (rings[i], []) for i, others in enumerate(around) if len(others) % 2 == 0}
    for i, others in enumerate(around):
        if len(others) % 2:
            # The smallest ring around a hole is one level above it, so it is an outer ring.
            owner = min(others, key=lambda j: abs(signed_area(rings[j])))
            if owner in outer:
                outer[owner][1].append(rings[i])
    return list(outer.values())
