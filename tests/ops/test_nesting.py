"""Rings inside rings."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.ops.nesting import contains, lies_inside, nested


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


C_SHAPE = np.array([(0.0, 0.0), (9.0, 0.0), (9.0, 3.0), (3.0, 3.0), (3.0, 6.0), (9.0, 6.0), (9.0, 9.0), (0.0, 9.0)])


def test_points():
    points = np.array([(1.0, 4.5), (5.0, 4.5), (5.0, 1.0), (-1.0, 1.0), (5.0, 10.0)])
    assert contains(C_SHAPE, points).tolist() == [True, False, True, False, False]  # (5, 4.5) stands in the mouth of the C


@pytest.mark.parametrize(
    ("inner", "outer", "inside"),
    [
        (box(2, 2, 4, 4), box(1, 1, 9, 9), True),
        (box(1, 1, 9, 9), box(2, 2, 4, 4), False),
        (box(1, 1, 9, 9), box(1, 1, 9, 9), False),
        (box(8, 8, 12, 12), box(1, 1, 9, 9), False),
        (box(4, 4, 8, 5), C_SHAPE, False),  # within the box of the C, in its mouth
        (box(1, 4, 2, 5), C_SHAPE, True),
    ],
)
def test_one_in_another(inner, outer, inside):
    assert lies_inside(inner, outer) is inside


def test_levels():
    sea, island, lake, other = box(0, 0, 20, 20), box(2, 2, 18, 18), box(5, 5, 10, 10), box(30, 0, 35, 5)
    found = nested([lake, other, sea, island])
    # Three rings in each other: the middle one is a hole of the first, the third is a part of its own again.
    as_lists = [(outer[0].tolist(), [hole[0].tolist() for hole in holes]) for outer, holes in found]
    assert as_lists == [([5, 5], []), ([30, 0], []), ([0, 0], [[2, 2]])]
