"""GeoJSON out: nesting, orientation and closing of rings as RFC 7946 has them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from maskwright.annotations.drawn import AnnotatedImage
from maskwright.annotations.geojson_write import feature, write
from maskwright.classes import ClassMap
from maskwright.instances import Instances
from maskwright.ops.polygons import fill
from maskwright.ops.ring_checks import signed_area
from maskwright.ops.rle import Rle

CLASSES = ClassMap((0, 3), ("background", "barge"))


def one(mask: np.ndarray, *rings: np.ndarray, **given: object) -> Instances:
    hw = (mask.shape[0], mask.shape[1])
    return Instances(hw, CLASSES, np.array([3]), (Rle.from_mask(mask),), rings=(rings,) if rings else (), **given)


def test_a_square():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:6] = True
    found = feature(one(mask, ids=np.array([9]), scores=np.array([0.7], np.float32)), 0)
    assert found == {
        "type": "Feature",
        "properties": {"class": "barge", "id": 9, "score": 0.7},
        # Closed, and counterclockwise where y points up, as RFC 7946 draws it.
        "geometry": {"type": "Polygon", "coordinates": [[[2.0, 1.0], [6.0, 1.0], [6.0, 4.0], [2.0, 4.0], [2.0, 1.0]]]},
    }


def test_parts_and_holes_nest():
    mask = np.zeros((9, 12), bool)
    mask[1:8, 1:8] = True
    mask[2:7, 2:7] = False
    mask[4, 4] = True  # an island in the hole
    mask[0, 11] = True
    geometry = feature(one(mask), 0)["geometry"]
    assert geometry["type"] == "MultiPolygon"
    assert [len(polygon) for polygon in geometry["coordinates"]] == [1, 2, 1]
    for outer, *holes in geometry["coordinates"]:
        assert all(ring[0] == ring[-1] for ring in (outer, *holes))
        assert signed_area(np.array(outer[:-1])) > 0
        assert all(signed_area(np.array(hole[:-1])) < 0 for hole in holes)


def test_drawn_rings_are_nested_and_turned():
    outer = np.array([(1.3, 1.0), (1.0, 8.2), (9.0, 8.0), (9.0, 1.0)])  # negative area: turned when written
    hole = np.array([(3.0, 3.0), (6.1, 3.0), (5.0, 6.0)])
    mask = fill([hole, outer], (10, 12)).to_mask()
    geometry = feature(one(mask, hole, outer), 0)["geometry"]
    assert geometry["type"] == "Polygon"
    first, second = (np.array(ring[:-1]) for ring in geometry["coordinates"])
    assert first.tolist() == outer[::-1].tolist()
    assert second.tolist() == hole[::-1].tolist()
    assert (signed_area(first) > 0, signed_area(second) < 0) == (True, True)


def test_a_bow_tie_is_traced():
    tie = np.array([(1.0, 1.0), (9.0, 8.0), (9.0, 1.0), (1.0, 8.0)])
    mask = fill([tie], (10, 12)).to_mask()
    geometry = feature(one(mask, tie), 0)["geometry"]
    rings = [np.array(ring) for ring in geometry["coordinates"]]
    assert len(rings[0]) > 5
    assert all(np.array_equal(ring, ring.round()) for ring in rings)


def test_on_the_map_rings_keep_their_way_round(tmp_path):
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:6] = True
    image = AnnotatedImage("a", None, (6, 8), "val", None, "a.tif")

    def north_up(xy: np.ndarray) -> np.ndarray:
        return xy * (0.5, -0.5) + (1000.0, 2000.0)

    remarks = write(tmp_path, [(image, one(mask))], copy_images=False, to_map=lambda _: north_up)
    top = json.loads((tmp_path / "val/a.geojson").read_text())
    assert (remarks, top["type"]) == ([], "FeatureCollection")
    (ring,) = top["features"][0]["geometry"]["coordinates"]
    assert signed_area(np.array(ring[:-1])) > 0
    assert sorted(ring[:-1]) == [[1001.0, 1998.0], [1001.0, 1999.5], [1003.0, 1998.0], [1003.0, 1999.5]]


def test_a_crowd_says_so():
    assert feature(one(np.ones((2, 2), bool), crowd=np.array([True])), 0)["properties"]["crowd"] is True


@pytest.mark.parametrize("seed", range(4))
def test_every_pixel_comes_back(seed):
    mask = np.random.default_rng(seed).random((19, 23)) < (0.4, 0.5, 0.6, 0.8)[seed]
    geometry = feature(one(mask), 0)["geometry"]
    parts = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    rings = [np.array(ring) for part in parts for ring in part]
    assert fill(rings, (19, 23)) == Rle.from_mask(mask)
    # Parts do not overlap: filled one by one they have the same number of pixels in all.
    assert sum(fill([np.array(ring) for ring in part], (19, 23)).area_px for part in parts) == mask.sum()
