"""Masks to polygons along pixel edges, and back."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from maskwright.ops.polygons import fill
from maskwright.ops.ring_checks import crosses_itself, signed_area
from maskwright.ops.rle import Rle
from maskwright.ops.tracing import bridged, joined, polygons, rings

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))
quick = settings(max_examples=60, deadline=None)


def mask(text: str) -> np.ndarray:
    return np.array([[c == "1" for c in line] for line in text.split()])


def test_a_square_has_four_corners_clockwise_from_the_top_left():
    [ring] = rings(mask("000 011 011"))
    assert ring.tolist() == [[1, 1], [3, 1], [3, 3], [1, 3]]
    assert ring.dtype == np.float64
    assert signed_area(ring) == 4


def test_straight_runs_have_no_vertex_in_between():
    [ring] = rings(mask("111 100"))
    assert ring.tolist() == [[0, 0], [3, 0], [3, 1], [1, 1], [1, 2], [0, 2]]


def test_a_hole_goes_the_other_way():
    outer, hole = rings(mask("111 101 111"))
    assert outer.tolist() == [[0, 0], [3, 0], [3, 3], [0, 3]]
    assert hole.tolist() == [[1, 1], [1, 2], [2, 2], [2, 1]]
    assert (signed_area(outer), signed_area(hole)) == (9, -1)


@pytest.mark.parametrize("text", ["10 01", "01 10"])
def test_pixels_that_touch_at_a_corner_are_two_rings(text):
    assert [len(r) for r in rings(mask(text))] == [4, 4]
    assert [signed_area(r) for r in rings(mask(text))] == [1, 1]


def test_a_gap_that_touches_the_outside_at_a_corner_is_no_hole():
    # The gap in the middle meets the missing pixel at the lower right: one ring that touches itself at (2, 2).
    [ring] = rings(mask("111 101 110"))
    assert signed_area(ring) == 7
    assert (ring == (2, 2)).all(axis=1).sum() == 2
    assert crosses_itself(ring) is None


def test_the_corner_is_added():
    [ring] = rings(mask("1"), corner_xy=(7, -2))
    assert ring.tolist() == [[7, -2], [8, -2], [8, -1], [7, -1]]


def test_an_empty_mask_has_no_ring():
    assert rings(np.zeros((3, 4), bool)) == []
    assert rings(np.zeros((0, 0), bool)) == []
    assert polygons(Rle.from_mask(np.zeros((3, 4), bool))) == []
    assert joined([]).shape == (0, 2)


@quick
@given(MASKS)
def test_filling_the_rings_gives_the_mask_back(drawn):
    assert (fill(rings(drawn), drawn.shape).to_mask() == drawn).all()


@quick
@given(MASKS)
def test_areas_of_the_rings_add_up_to_the_mask(drawn):
    assert sum(signed_area(r) for r in rings(drawn)) == drawn.sum()


@quick
@given(MASKS)
def test_every_ring_is_sound(drawn):
    for ring in rings(drawn):
        assert crosses_itself(ring) is None
        steps = np.roll(ring, -1, axis=0) - ring
        assert ((steps != 0).sum(axis=1) == 1).all()
        # Along x and along y by turns: no vertex lies on a straight run.
        assert ((steps != 0)[:, 0] != (np.roll(steps, -1, axis=0) != 0)[:, 0]).all()


@quick
@given(MASKS)
def test_parts_and_their_holes_give_the_mask_back(drawn):
    found = polygons(Rle.from_mask(drawn))
    assert all(signed_area(outer) > 0 for outer, _ in found)
    assert all(signed_area(hole) < 0 for _, holes in found for hole in holes)
    # No part covers another: each filled by itself, they add up.
    together = sum(fill([outer, *holes], drawn.shape).to_mask().astype(int) for outer, holes in found) + np.zeros(
        drawn.shape, int
    )
    assert (together == drawn).all()


def test_an_island_in_a_hole_is_a_part_of_its_own():
    drawn = mask("""0000000
                    0111110
                    0100010
                    0101010
                    0100010
                    0111110""")
    outside, island = polygons(Rle.from_mask(drawn))
    assert outside[0].tolist() == [[1, 1], [6, 1], [6, 6], [1, 6]]
    assert [hole.tolist() for hole in outside[1]] == [[[2, 2], [2, 5], [5, 5], [5, 2]]]
    assert (island[0].tolist(), island[1]) == ([[3, 3], [4, 3], [4, 4], [3, 4]], [])


def test_a_keyhole_by_hand():
    [(outer, holes)] = polygons(Rle.from_mask(mask("111 101 111")))
    # From (0, 0) over the knee (1, 0) to the hole's corner (1, 1), around, and the same way back.
    assert bridged(outer, holes).tolist() == [
        [0, 0], [1, 0], [1, 1], [1, 2], [2, 2], [2, 1], [1, 1], [1, 0], [0, 0], [3, 0], [3, 3], [0, 3],
    ]  # fmt: skip


def test_a_part_without_holes_stays_as_it_is():
    [(outer, holes)] = polygons(Rle.from_mask(mask("011 011")))
    assert joined([(outer, holes)]) is outer


@quick
@given(MASKS, st.floats(0.1, 3000))
def test_one_ring_for_all_parts_and_holes_gives_the_mask_back(drawn, scale):
    ring = joined(polygons(Rle.from_mask(drawn)))
    assert (fill([ring], drawn.shape).to_mask() == drawn).all()
    assert crosses_itself(ring) is None
    # As a file of shares of the image would give it back.
    assert (fill([ring / scale * scale], drawn.shape).to_mask() == drawn).all()


def test_a_large_blob_takes_well_under_a_second():
    y, x = np.mgrid[:1000, :1000]
    blob = np.hypot(x - 500, y - 500) < 450 + 30 * np.sin(np.arctan2(y - 500, x - 500) * 40)
    rings(blob[:9, :9])
    start = time.process_time()
    found = rings(blob)
    assert time.process_time() - start < 0.5
    assert (fill(found, blob.shape).to_mask() == blob).all()
