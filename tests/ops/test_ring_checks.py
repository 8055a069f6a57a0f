"""Checks on polygons as they were drawn."""

from __future__ import annotations

import time

import numpy as np
import pytest

from maskwright.ops.ring_checks import box_of, clipped, crosses_itself, share_outside, signed_area

SQUARE = np.array([[0, 0], [4, 0], [4, 4], [0, 4]])


def test_area_is_positive_clockwise_on_the_screen():
    assert signed_area(SQUARE) == 16
    assert signed_area(SQUARE[::-1]) == -16
    assert signed_area(SQUARE[:2]) == 0


def test_area_far_from_the_corner_keeps_its_digits():
    assert signed_area(SQUARE * 0.001 + 1e7) == pytest.approx(16e-6, rel=1e-3)


def test_box_of_several_rings():
    assert box_of([SQUARE, SQUARE + np.array([10, -2.5])]) == (0, -2.5, 14, 4)
    assert box_of([]) == (0, 0, 0, 0)


def test_a_bow_tie_crosses_itself_in_the_middle():
    assert crosses_itself(np.array([[0, 0], [4, 4], [4, 0], [0, 4]])) == (2, 2)


@pytest.mark.parametrize(
    "ring",
    [
        SQUARE,
        [[0, 0], [4, 0], [2, 0], [2, 3]],  # edges on each other
        [[0, 0], [2, 2], [4, 0], [4, 4], [2, 2], [0, 4]],  # two parts that touch in a vertex
        [[0, 0], [4, 0], [4, 4], [2, 0], [0, 4]],  # a vertex on another edge
        [[0, 0], [4, 0], [4, 4], [2, -0.004], [0, 4]],  # the same, rounded to beyond it
        [[0, 0], [0, 0], [4, 0], [4, 4]],  # an edge of no length
        [[0, 0], [4, 4], [0, 4]],
        [[0, 0], [4, 4]],
        np.zeros((0, 2)),
    ],
)
def test_rings_that_only_touch_do_not_cross(ring):
    assert crosses_itself(np.asarray(ring, float)) is None


def test_a_vertex_well_beyond_another_edge_crosses():
    assert crosses_itself(np.array([[0, 0], [4, 0], [4, 4], [2, -1], [0, 4]])) is not None


def test_bridges_of_a_keyhole_cancel():
    # The bridge from (0, 0) to (9, 1) runs through a notch of the ring, there and back.
    ring = [[0, 0], [9, 1], [9, 2], [10, 1], [9, 1], [0, 0], [4, 0], [4, 4], [3, 4], [3, 0.1], [2, 0.1], [2, 4], [0, 4]]
    assert crosses_itself(np.array(ring)) is None
    assert crosses_itself(np.array([*ring[:5], *ring[6:]])) is not None


def test_thousands_of_vertices_are_compared_quickly_and_rightly():
    angle = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    radius = 400 + 100 * np.sin(angle * 200)
    ring = np.stack([500 + radius * np.cos(angle), 500 + radius * np.sin(angle)], axis=1)
    start = time.process_time()
    assert crosses_itself(ring) is None
    ring[[100, 2500]] = ring[[2500, 100]]
    assert crosses_itself(ring) is not None
    assert time.process_time() - start < 3


def test_the_same_answer_as_every_pair_by_hand():
    rng = np.random.default_rng(4)

    def proper(a, b, c, d):
        def side(p, q, r):
            return np.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

        return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0

    answers = set()
    for _ in range(60):
        ring = rng.integers(0, 30, (5, 2)).astype(float)
        ends = np.roll(ring, -1, axis=0)
        expected = any(proper(ring[i], ends[i], ring[j], ends[j]) for i in range(5) for j in range(i))
        assert (crosses_itself(ring, touching_px=0) is not None) == expected
        answers.add(expected)
    assert answers == {True, False}


@pytest.mark.parametrize(
    ("shift", "share"),
    [((0, 0), 0), ((-2, 0), 0.5), ((0, 8), 0.5), ((8, -1), 1 - 2 * 3 / 16), ((20, 0), 1)],
)
def test_share_outside_of_a_square(shift, share):
    assert share_outside([SQUARE + shift], (10, 10)) == pytest.approx(share)


def test_share_outside_of_two_rings_and_of_none():
    assert share_outside([SQUARE, SQUARE + np.array([20, 0])], (10, 10)) == 0.5
    assert share_outside([], (10, 10)) == 0
    assert share_outside([SQUARE[:2]], (10, 10)) == 0


def test_a_ring_that_leaves_the_image_twice_keeps_both_parts():
    # A "U" on its side whose bow lies to the left of the image: two bars of 3 x 1 are left.
    ring = np.array([[3, 0], [-2, 0], [-2, 3], [3, 3], [3, 2], [-1, 2], [-1, 1], [3, 1]])
    assert abs(signed_area(clipped(ring, (10, 10)))) == 6
