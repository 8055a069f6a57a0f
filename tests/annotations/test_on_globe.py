"""Shapes across the 180th meridian, around a pole, and wider than half the earth: what holds a pixel's centre holds it on the globe."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from maskwright.annotations.on_globe import on_globe
from maskwright.annotations.vector_files import DEGREES, Place
from maskwright.io.georeference import Georeference
from maskwright.ops.coverage import coverage

ROWS, COLUMNS = np.mgrid[:60, :90]
DISC = (ROWS - 30) ** 2 + (COLUMNS - 45) ** 2 < 500
RING = DISC & ((ROWS - 30) ** 2 + (COLUMNS - 45) ** 2 > 100)
BAND = (abs(ROWS - 30) < 12) & (abs(COLUMNS - 45) < 28)  # 55 of 90 columns
ROUND = abs(ROWS - 30) < 12
BESIDE = (ROWS >= 30) & (abs(ROWS - 30) < 12) & (abs(COLUMNS - 45) < 28)  # begins right at the middle of the image
SECTOR = BAND & ~((ROWS < 30) & (COLUMNS < 45))  # has its corner there

WORLD = Georeference((4, 0, -180, 0, -3, 90), "EPSG:4326")
FROM_GREENWICH = Georeference((4, 0, 0, 0, -3, 90), "EPSG:4326")
EAST_OF_180 = Georeference((0.1, 0, 175, 0, -0.1, 10), "EPSG:4326")
NAD83 = Georeference((4, 0, 0, 0, -3, 90), "EPSG:4269")
MERCATOR = Georeference((445277.96, 0, -20037508.3, 0, -445277.96, 13358338.9), "EPSG:3857")
PACIFIC = Georeference((445277.96, 0, -20037508.3, 0, -445277.96, 13358338.9), "+proj=merc +lon_0=170 +datum=WGS84")
FIJI = Georeference((1000, 0, 855000, 0, -1000, 8030000), "EPSG:32760")
ANTARCTIC = Georeference((50000, 0, -45 * 50000, 0, -50000, 30 * 50000), "EPSG:3031")  # the pole is a corner of four pixels
ARCTIC = Georeference((50000, 0, -44.7 * 50000, 0, -50000, 28.4 * 50000), "EPSG:3413")
SOUTH_UP = Georeference((50000, 0, -44.7 * 50000, 0, 50000, -28.4 * 50000), "EPSG:3413")
CASES = {
    "world": (WORLD, BAND), "whole world": (WORLD, ROUND), "from Greenwich": (FROM_GREENWICH, BAND),
    "from Greenwich, round": (FROM_GREENWICH, ROUND), "beyond 180": (EAST_OF_180, BAND), "another datum": (NAD83, BAND),
    "mercator": (MERCATOR, BAND), "mercator, round": (MERCATOR, ROUND), "pacific": (PACIFIC, BAND), "pacific, ring": (PACIFIC, RING),
    "pacific, round": (PACIFIC, ROUND), "fiji": (FIJI, BAND), "fiji, ring": (FIJI, RING),
    "south pole": (ANTARCTIC, DISC), "south pole, ring": (ANTARCTIC, RING), "south pole, four corners": (ANTARCTIC, BAND),
    "pole on an edge": (ANTARCTIC, BESIDE), "pole on a corner": (ANTARCTIC, SECTOR),
    "north pole": (ARCTIC, BAND), "north pole, ring": (ARCTIC, RING), "north pole, beside": (ARCTIC, BESIDE),
    "rows to the north": (SOUTH_UP, BAND),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_centre_of_a_pixel_is_where_it_was(case):
    georeference, mask = CASES[case]
    place = Place(georeference, DEGREES)
    shapes = place.placed([shape for value, shape in coverage(mask.astype(np.uint8)) if value])
    assert shapely.is_valid(shapes).all()
    left, bottom, right, top = shapely.total_bounds(shapes)
    assert (left >= -180, right <= 180, bottom >= -90, top <= 90) == (True, True, True, True)
    centres = place.to_map(np.stack([COLUMNS.ravel() + 0.5, ROWS.ravel() + 0.5], axis=1))
    centres[:, 0] = (centres[:, 0] + 180) % 360 - 180
    found = sum(shapely.contains_xy(shape, *centres.T).astype(int) for shape in shapes)
    assert np.flatnonzero(found != mask.ravel()).tolist() == []


@pytest.mark.parametrize("case", ["world", "whole world", "mercator", "mercator, round", "pacific", "south pole, ring"])
def test_there_are_no_more_parts_than_the_meridian_makes(case):
    georeference, mask = CASES[case]
    ((_, shape),) = [row for row in coverage(mask.astype(np.uint8)) if row[0]]
    (placed,) = Place(georeference, DEGREES).placed([shape])
    assert len(shapely.get_parts(placed)) == (2 if case == "pacific" else 1)
    assert placed.exterior.is_ccw if case != "pacific" else True


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("another datum", "beyond 180", "fiji", "fiji, ring")])
def test_areas_are_those_of_the_pixels(case):
    """The area of the pixels one by one: each small enough for its own plane."""
    georeference, mask = CASES[case]
    shapes = [shape for value, shape in coverage(mask.astype(np.uint8)) if value]
    place = Place(georeference, DEGREES)
    single = sum(place.areas_m2([shapely.box(x, y, x + 1, y + 1)])[0] for y, x in np.argwhere(mask)[::7])
    assert sum(place.areas_m2(shapes)) == pytest.approx(7 * single, rel=0.02)


def test_what_lies_on_one_side_is_left_as_it_is():
    square = shapely.box(0, 0, 2, 2)
    (found,) = on_globe([square], lambda points: points + np.array([-180.0, 0.0]), wraps=False)
    assert found.equals_exact(shapely.box(-180, 0, -178, 2), 0)


def test_neighbours_stay_neighbours_where_their_edges_bend():
    halves = [shape for _, shape in coverage((ROWS >= 26).astype(np.uint8))]
    found = Place(ARCTIC, DEGREES).placed(halves)
    assert shapely.area(shapely.intersection(*found)) < 1e-6
    assert shapely.coverage_is_valid(np.array([part for one in found for part in shapely.get_parts(one)], object))


def test_nothing_stays_nothing():
    assert on_globe([], lambda points: points, wraps=True) == []
    (found,) = on_globe([shapely.Polygon()], lambda points: points, wraps=True)
    assert found.is_empty
