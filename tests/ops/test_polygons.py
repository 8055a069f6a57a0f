"""Polygons to pixels: this project's rule by drawings, COCO's rule against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from maskwright.ops.polygons import fill, fill_coco


def shown(rings, hw):
    return "\n".join("".join(".1"[int(v)] for v in row) for row in fill([np.array(r, float) for r in rings], hw).to_mask())


def test_integer_vertices_are_pixel_edges():
    # [1, 3) x [1, 2): two pixels of row 1
    assert shown([[(1, 1), (3, 1), (3, 2), (1, 2)]], (3, 4)) == "....\n.11.\n...."


def test_a_pixel_belongs_where_its_centre_lies():
    # x from 0.6 to 2.4: centres 1.5 inside, 0.5 and 2.5 outside
    assert shown([[(0.6, 0), (2.4, 0), (2.4, 1), (0.6, 1)]], (1, 4)) == ".1.."


def test_a_centre_on_an_edge_belongs_to_the_side_of_larger_x():
    left = [[(0, 0), (1.5, 0), (1.5, 1), (0, 1)]]
    right = [[(1.5, 0), (3, 0), (3, 1), (1.5, 1)]]
    assert shown(left, (1, 3)) == "1.."
    assert shown(right, (1, 3)) == ".11"


def test_a_ring_in_a_ring_is_a_hole():
    outer = [(0, 0), (4, 0), (4, 4), (0, 4)]
    inner = [(1, 1), (3, 1), (3, 3), (1, 3)]
    assert shown([outer, inner], (4, 4)) == "1111\n1..1\n1..1\n1111"


def test_a_ring_that_crosses_itself_is_even_odd():
    # a bow tie lying on its side: row r spans from its left to its right diagonal, the nearer to the waist the shorter
    assert shown([[(0, 0), (8, 4), (8, 0), (0, 4)]], (4, 8)) == "1......1\n111..111\n111..111\n1......1"


def test_outside_is_cut_off():
    assert shown([[(-5, -5), (2, -5), (2, 9), (-5, 9)]], (2, 3)) == "11.\n11."
    assert shown([[(5, 5), (9, 5), (9, 9)]], (2, 3)) == "...\n..."


@pytest.mark.parametrize("ring", [[], [(1, 1)], [(0, 0), (3, 3)]])
def test_fewer_than_three_vertices_cover_nothing(ring):
    assert fill([np.array(ring, float).reshape(-1, 2)], (4, 4)).area_px == 0


def test_against_the_definition_on_random_rings():
    random = np.random.default_rng(0)
    for _ in range(40):
        h, w = (int(n) for n in random.integers(1, 20, 2))
        rings = [random.uniform(-3, 22, (int(random.integers(3, 7)), 2)) for _ in range(2)]
        expected = [[sum(_crossings(ring, c + 0.5, r + 0.5) for ring in rings) % 2 for c in range(w)] for r in range(h)]
        assert np.array_equal(fill(rings, (h, w)).to_mask(), np.array(expected, bool))


def _crossings(ring, x, y):
    """How many edges a ray from (x, y) towards smaller x meets."""
    count = 0
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if (y0 > y) != (y1 > y):
            count += x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x
    return count


def test_coco_as_pycocotools():
    random = np.random.default_rng(1)
    for _ in range(30):
        rings = [random.uniform(-2, 30, (int(random.integers(3, 9)), 2)) for _ in range(int(random.integers(1, 4)))]
        theirs = coco.decode(coco.merge(coco.frPyObjects([r.ravel().tolist() for r in rings], 25, 31)))
        assert np.array_equal(fill_coco(rings, (25, 31)).to_mask(), theirs)


def test_coco_fills_what_would_be_a_hole():
    rings = [np.array(r, float) for r in ([(0, 0), (9, 0), (9, 9), (0, 9)], [(3, 3), (6, 3), (6, 6), (3, 6)])]
    assert fill_coco(rings, (9, 9)).area_px == 81
    assert fill(rings, (9, 9)).area_px == 81 - 9


def test_coco_without_a_ring_is_empty():
    assert fill_coco([], (3, 4)).area_px == 0
