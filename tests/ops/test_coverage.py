"""Polygons of a map tile it: no gap, no overlap, also after simplifying."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from scipy import ndimage

from maskwright.ops.coverage import coverage


def shapes(values: np.ndarray, tolerance_px: float = 0.0) -> np.ndarray:
    return np.array([shape for _, shape in coverage(values, tolerance_px)], object)


def test_corners_where_three_areas_meet_are_vertices_of_all():
    # 0 0 0 0 0    The long top side of 1 + 2 belongs to 0, which must have a vertex in its middle.
    # 1 1 2 2 2
    values = np.array([[0, 0, 0, 0, 0], [1, 1, 2, 2, 2]])
    found = dict(coverage(values))
    assert (2.0, 1.0) in found[0].exterior.coords
    assert shapely.coverage_is_valid(np.array(list(found.values()), object))
    assert [found[k].area for k in (0, 1, 2)] == [5, 2, 3]


def test_holes_and_diagonal_touches_are_sound():
    values = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 1], [0, 0, 1, 1]])
    found = shapes(values)
    assert shapely.is_valid(found).all()
    assert shapely.area(found).sum() == 16
    assert shapely.coverage_is_valid(found)


@pytest.mark.parametrize("tolerance_px", [0.0, 1.0, 4.0])
def test_areas_still_tile_after_simplifying(tolerance_px):
    rng = np.random.default_rng(3)
    values = np.argmax([ndimage.gaussian_filter(rng.normal(size=(70, 90)), 4) for _ in range(4)], axis=0)
    found = shapes(values, tolerance_px)
    assert shapely.coverage_is_valid(found)
    assert shapely.is_valid(found).all()
    assert shapely.area(found).sum() == pytest.approx(70 * 90)
    assert shapely.union_all(found).area == pytest.approx(70 * 90)
    assert shapely.union_all(found).equals(shapely.box(0, 0, 90, 70))
    if tolerance_px:
        assert shapely.get_num_coordinates(found).sum() < shapely.get_num_coordinates(shapes(values)).sum() * 0.6


def test_every_part_of_noise_is_there():
    values = np.random.default_rng(1).integers(0, 3, (20, 30))
    found = coverage(values)
    assert len(found) == sum(ndimage.label(values == k)[1] for k in range(3))
    assert shapely.coverage_is_valid(np.array([shape for _, shape in found], object))
