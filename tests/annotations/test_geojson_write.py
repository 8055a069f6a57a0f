"""GeoJSON out: nesting, orientation and closing of rings as RFC 7946 has them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from maskwright.annotations.drawn import AnnotatedImage
from maskwright.annotations.geojson_write import feature, write, write_parts
from maskwright.annotations.vector_files import Place, save_vectors
from maskwright.classes import ClassMap
from maskwright.instances import Instances
from maskwright.io.georeference import Georeference
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


UTM = Georeference((0.5, 0, 733601, 0, -0.5, 3725139), "EPSG:32616")
SMALL = Georeference((1e-7, 0, -84.0, 0, -1e-7, 33.6), "EPSG:4326")  # a pixel of a centimetre


@pytest.mark.parametrize("georeference", [UTM, SMALL], ids=["utm", "degrees"])
def test_on_the_map_rings_keep_their_way_round(georeference):
    mask = np.zeros((6, 8), bool)
    mask[1:5, 2:7] = True
    mask[2, 4] = False  # a hole of one pixel
    place = Place(georeference, "EPSG:4326")
    outer, hole = (np.array(ring[:-1]) for ring in feature(one(mask), 0, place)["geometry"]["coordinates"])
    assert (signed_area(outer) > 0, signed_area(hole) < 0) == (True, True)
    assert place.to_pixels(outer) == pytest.approx(np.array([(2, 1), (2, 5), (7, 5), (7, 1)]), abs=1e-5)


def test_drawn_rings_go_to_the_map_as_long_as_they_give_the_mask_on_the_way_back():
    slanted = np.array([(1.3, 1.0), (1.0, 8.2), (9.0, 8.0), (9.3, 1.1)])
    mask = fill([slanted], (10, 12)).to_mask()
    (ring,) = feature(one(mask, slanted), 0, Place(UTM, "EPSG:4326"))["geometry"]["coordinates"]
    assert len(ring) == 5
    # Its edges pass through the centres of pixels: a millionth of a pixel decides.
    centred = np.array([(1.5, 1.5), (6.5, 1.5), (6.5, 6.5), (1.5, 6.5)])
    mask = fill([centred], (10, 12)).to_mask()
    place = Place(UTM, "EPSG:4326")
    (ring,) = feature(one(mask, centred), 0, place)["geometry"]["coordinates"]
    assert fill([place.to_pixels(np.array(ring[:-1]))], (10, 12)).to_mask().tolist() == mask.tolist()


FIJI = Georeference((1000, 0, 800000, 0, -1000, 8000000), "EPSG:32760")  # 180 degrees east lies at column 16


@pytest.mark.parametrize("georeference", [UTM, FIJI], ids=["utm", "across the 180th meridian"])
def test_objects_that_come_a_few_at_a_time_are_those_of_a_whole_image(tmp_path, georeference):
    mask = np.zeros((30, 60), bool)
    mask[5:20, 4:50] = True
    mask[8:12, 30:40] = False
    found = one(mask, ids=np.array([9]), scores=np.array([0.7], np.float32))
    (whole,) = save_vectors(tmp_path / "whole", ["geojson"], found, georeference)
    write_parts(tmp_path / "parts.geojson", [found], Place(georeference, "EPSG:4326"))
    (expected,), (written,) = (json.loads(p.read_text())["features"] for p in (whole, tmp_path / "parts.geojson"))
    assert written == expected
    assert list(written["properties"]) == ["class", "id", "class_id", "area_m2", "score"]


def test_objects_are_cut_at_the_180th_meridian():
    mask = np.zeros((30, 60), bool)
    mask[5:20, 4:50] = True
    written = feature(one(mask), 0, Place(FIJI, "EPSG:4326"))["geometry"]
    assert written["type"] == "MultiPolygon"
    for (ring,) in written["coordinates"]:
        longitudes = np.array(ring)[:, 0]
        assert np.ptp(longitudes) < 1
        assert np.abs(longitudes).max() == 180


def test_what_does_not_state_where_it_lies_is_in_pixels_and_counted(tmp_path):
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:6] = True
    remarks = write(tmp_path, [(AnnotatedImage("a", None, (6, 8), "val", None, "a.tif"), one(mask))], copy_images=False)
    top = json.loads((tmp_path / "val/a.geojson").read_text())
    assert (top["type"], "crs" in top) == ("FeatureCollection", False)
    assert sorted(top["features"][0]["geometry"]["coordinates"][0][:-1]) == [[2, 1], [2, 4], [6, 1], [6, 4]]
    assert [(r.code, r.image) for r in remarks] == [("not-on-map", "a")]
    assert remarks[0].text == "a: does not state where it lies, so the coordinates of its objects are pixels, not degrees."


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
