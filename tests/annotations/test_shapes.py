"""Rectangles, circles and ellipses as polygons, and parts of one object put together."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.annotations.drawn import AnnotatedImage, Drawn
from maskwright.annotations.groups import grouped, join, union
from maskwright.annotations.shapes import circle_through, closed_line, ellipse, polygon, rectangle, turned
from maskwright.errors import FormatError
from maskwright.ops.polygons import fill
from maskwright.ops.rle import Rle

IMAGE = AnnotatedImage("a", None, (6, 8))


def test_rectangle_covers_as_many_pixels_as_it_says():
    mask = fill([rectangle(1, 2, 3, 2)], (6, 8)).to_mask()
    expected = np.zeros((6, 8), bool)
    expected[2:4, 1:4] = True
    np.testing.assert_array_equal(mask, expected)


def test_rectangle_turned_by_a_quarter_about_its_corner():
    # Clockwise on the screen, where y points down: the side that went right goes down, the one that went down goes left.
    ring = rectangle(4, 1, 3, 2, radians=np.pi / 2, about_xy=(4, 1))
    np.testing.assert_allclose(ring, [(4, 1), (4, 4), (2, 4), (2, 1)], atol=1e-12)


def test_turning_about_the_centre_keeps_a_square():
    ring = rectangle(0, 0, 2, 2, radians=np.pi / 2)
    assert {tuple(v) for v in ring.round(9).tolist()} == {(0, 0), (2, 0), (2, 2), (0, 2)}


@pytest.mark.parametrize("radius", [0.8, 3.0, 10.0, 57.3, 400.0])
def test_circle_differs_from_the_true_one_only_within_a_sixteenth_of_a_pixel(radius):
    x, y = 410.3, 405.6
    found = fill([ellipse(x, y, radius, radius)], (820, 830)).to_mask()
    rows, columns = np.mgrid[:820, :830]
    distance = np.hypot(columns + 0.5 - x, rows + 0.5 - y)
    # The polygon lies inside the circle, never more than 1/16 pixel from it.
    assert not found[distance > radius].any()
    assert found[distance < radius - 1 / 16].all()


def test_number_of_vertices():
    # pi / acos(1 - 1 / (16 r)) rounded up: 28.1 for 10, 88.9 for 100; at least 16.
    assert [len(ellipse(0, 0, r, 1)) for r in (0.0, 1.0, 10.0, 100.0)] == [16, 16, 29, 89]
    assert len(ellipse(0, 0, 1e300, 1)) == 4096


def test_ellipse_turned():
    ring = ellipse(5, 5, 4, 1, radians=np.pi / 2)
    assert np.ptp(ring[:, 0]) == pytest.approx(2, abs=0.05)
    assert np.ptp(ring[:, 1]) == pytest.approx(8)


def test_circle_through_three_points():
    # (0, 0), (2, 0) and (0, 2) lie on the circle about (1, 1) of radius sqrt(2).
    ring = circle_through(np.array([(0.0, 0), (2, 0), (0, 2)]), "x")
    np.testing.assert_allclose(np.hypot(*(ring - (1, 1)).T), np.sqrt(2))
    with pytest.raises(FormatError, match="x: the three points of its circle lie on one line"):
        circle_through(np.array([(0.0, 0), (1, 1), (2, 2)]), "x")


@pytest.mark.parametrize(("count", "vertices"), [(0, "0 vertices"), (1, "1 vertex"), (2, "2 vertices")])
def test_too_few_vertices(count, vertices):
    ring = np.arange(2.0 * count).reshape(-1, 2)
    with pytest.raises(FormatError, match=f"x: the polygon has {vertices}; an area needs three") as raised:
        polygon(ring, "x")
    assert raised.value.code == "two-points"


def test_a_vertex_that_repeats_the_first_does_not_count():
    with pytest.raises(FormatError, match="has 2 vertices"):
        polygon(np.array([(0.0, 0), (3, 3), (0, 0)]), "x")


def test_vertices_beyond_every_image_are_refused():
    with pytest.raises(FormatError, match=r"x: the polygon reaches to 1e\+300"):
        polygon(np.array([(0.0, 0), (1e300, 3), (0, 3)]), "x")


def test_a_line_is_an_area_only_where_its_ends_meet():
    corners = np.array([(0.0, 0), (4, 0), (4, 3), (0.5, 0.5)])
    assert closed_line(corners, "x") is corners
    with pytest.raises(FormatError, match=r"x: is an open line \(its ends are 5 pixels apart\), which covers no area"):
        closed_line(corners[:3], "x")  # from (0, 0) to (4, 3)


def box(x, y, w, h, **more) -> Drawn:
    return Drawn(1, (rectangle(x, y, w, h),), where="shape 1", **more)


def test_parts_that_lie_apart_stay_rings():
    joined = join([box(0, 0, 2, 2), box(2, 0, 2, 2)], None)  # they touch, but share no pixel
    assert len(joined.rings) == 2
    assert joined.mask((6, 8)).area_px == 8
    assert joined.where == "shape 1 and 1 more"


def test_parts_that_overlap_make_no_hole():
    joined = join([box(0, 0, 3, 3), box(1, 1, 3, 3)], (6, 8))
    assert joined.rings == ()
    assert joined.mask((6, 8)).area_px == 9 + 9 - 4  # the 2 x 2 pixels of both count once
    with pytest.raises(FormatError, match="parts of one object overlap, and the size of their image is not known"):
        join([box(0, 0, 3, 3), box(1, 1, 3, 3)], None)


def test_union_of_nothing_is_empty():
    empty = Rle.from_mask(np.zeros((2, 3), bool))
    assert union([empty, empty]).area_px == 0


def test_groups_join_parts_of_one_class_only():
    other = Drawn(2, (rectangle(6, 0, 1, 1),))
    parts = [("7", box(0, 0, 1, 1)), (None, box(2, 0, 1, 1)), ("7", other), ("7", box(4, 0, 1, 1))]
    objects, remarks = grouped(parts, None, IMAGE)
    assert [(d.class_id, len(d.rings)) for d in objects] == [(1, 2), (1, 1), (2, 1)]
    assert remarks == []


def test_a_group_that_cannot_be_joined_is_a_remark():
    objects, remarks = grouped([("7", box(0, 0, 2, 2)), ("7", box(1, 1, 2, 2))], None, IMAGE)
    assert objects == []
    assert [r.code for r in remarks] == ["bad-object"]


def test_turned_about_a_point():
    np.testing.assert_allclose(turned(np.array([(2.0, 0.0)]), np.pi, (1, 1)), [(0, 2)], atol=1e-12)
