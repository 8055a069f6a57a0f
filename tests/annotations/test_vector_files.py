"""Answers as GeoJSON and GeoPackage: at the right place, with right areas, and readable by other programs."""

from __future__ import annotations

import builtins
import json
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.warp
import shapely

from maskwright.classes import ClassMap
from maskwright.errors import InputError, MissingExtraError
from maskwright.instances import Instances
from maskwright.io.georeference import Georeference
from maskwright.io.image import Image
from maskwright.io.write import disk_ends_it
from maskwright.ops.rle import Rle
from maskwright.result import Segmentation

CLASSES = ClassMap((0, 1, 2), ("ground", "house", "road"), background=0)
UTM = Georeference((0.5, 0, 733601, 0, -0.5, 3725139), "EPSG:32616")
ROTATED = Georeference((0.4, 0.3, 500000, 0.3, -0.4, 4000000), "EPSG:32633")
DEGREES = Georeference((5e-6, 0, 12.0, 0, -5e-6, 60.0), "EPSG:4326")
NO_CRS = Georeference((0.5, 0, 100, 0, -0.5, 200))


def labels() -> np.ndarray:
    painted = np.zeros((40, 60), np.uint8)
    painted[10:20, 10:30] = 1  # 200 px with a hole of 4
    painted[14:16, 14:16] = 0
    painted[20:30, 20:50] = 2  # 300 px, beside the first
    painted[35, 50] = 255
    return painted


def answer(place: Georeference | None) -> Segmentation:
    return Segmentation(labels(), CLASSES, Image(np.zeros((40, 60, 3), np.uint8), Path("town.tif"), georeference=place))


def objects(place: Georeference | None, *, overlapping: bool = False) -> Segmentation:
    painted = labels()
    masks = [painted == 1, (painted == 2) | ((painted == 1) & overlapping)]
    found = Instances((40, 60), CLASSES, [1, 2], tuple(map(Rle.from_mask, masks)), np.array([0.9, 0.5], np.float32), name="town")
    return Segmentation.of_instances(found, answer(place).image)


def features(path: Path) -> list[dict]:
    return json.loads(path.read_text())["features"]


@pytest.mark.parametrize("place", [UTM, ROTATED, DEGREES], ids=["utm", "rotated", "degrees"])
def test_geojson_is_in_wgs_84_with_outer_rings_counterclockwise(tmp_path, place):
    (path,) = answer(place).save(tmp_path, formats=["geojson"])
    rows = features(path)
    assert "crs" not in json.loads(path.read_text())
    assert [row["properties"]["class"] for row in rows] == ["house", "road"]
    house = shapely.geometry.shape(rows[0]["geometry"])
    assert house.exterior.is_ccw
    assert not house.interiors[0].is_ccw
    lon, lat = rasterio.warp.transform(place.crs, "EPSG:4326", *np.array(place.to_map(np.array([[10, 10]]))).T)
    assert min(np.hypot(*(np.array(house.exterior.coords) - [lon[0], lat[0]]).T)) < 1e-9


def test_areas_are_square_metres_in_any_system(tmp_path):
    # A pixel of UTM is 0.25 m2 on the grid; the grid is stretched by the zone's scale, here by 1.0002 a side.
    rows = features(answer(UTM).save(tmp_path / "a", formats=["geojson"])[0])
    assert rows[0]["properties"]["area_m2"] == pytest.approx(196 * 0.25, rel=1e-3)
    # At 60 degrees north a degree of latitude has 111412 m, one of longitude 55800 m (WGS 84).
    rows = features(answer(DEGREES).save(tmp_path / "b", formats=["geojson"])[0])
    assert rows[1]["properties"]["area_m2"] == pytest.approx(300 * 111412 * 55800 * 25e-12, rel=1e-3)
    mercator = Georeference((1, 0, 0, 0, -1, 8399737.9), "EPSG:3857")  # 60 degrees north: metres are half as long there
    rows = features(answer(mercator).save(tmp_path / "c", formats=["geojson"])[0])
    assert rows[1]["properties"]["area_m2"] == pytest.approx(300 * 0.25, rel=0.01)


def test_a_geopackage_is_in_the_system_of_the_image(tmp_path):
    (path,) = objects(ROTATED).save(tmp_path, formats=["gpkg"])
    meta, _, shapes, columns = pyogrio.raw.read(path)
    assert meta["crs"] == "EPSG:32633"
    assert meta["fields"].tolist() == ["class", "id", "class_id", "area_m2", "score"]
    assert columns[0].tolist() == ["house", "road"]
    assert columns[4] == pytest.approx([0.9, 0.5])
    found = shapely.from_wkb(shapes)
    assert shapely.area(found) == pytest.approx([196 * 0.25, 300 * 0.25])
    assert ROTATED.to_pixels(np.array(found[0].geoms[0].exterior.coords)).min(axis=0) == pytest.approx([10, 10], abs=1e-6)


def test_an_answer_without_areas_is_an_empty_file(tmp_path):
    found = Segmentation(np.zeros((40, 60), np.uint8), CLASSES, answer(UTM).image)
    paths = found.save(tmp_path, formats=["geojson", "gpkg"], simplify=1)
    assert features(paths[0]) == []
    assert len(pyogrio.raw.read(paths[1])[2]) == 0


@pytest.mark.parametrize("overlapping", [False, True])
def test_objects_are_simplified_and_stay_neighbours(tmp_path, overlapping):
    found = objects(UTM, overlapping=overlapping)
    (path,) = found.save(tmp_path, formats=["geojson"], vector_crs="image", simplify=2.0)
    assert json.loads(path.read_text())["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32616"
    rows = features(path)
    assert [row["properties"]["score"] for row in rows] == [0.9, 0.5]
    shapes = [shapely.geometry.shape(row["geometry"]) for row in rows]
    if not overlapping:
        assert shapely.coverage_is_valid(np.array(shapes, object))
        assert shapes[0].intersection(shapes[1]).length == pytest.approx(5.0)  # columns 20 to 30 of 0.5 m
    assert pyogrio.read_info(path)["crs"] == "EPSG:32616"


def test_crowds_are_marked(tmp_path):
    found = objects(UTM).instances
    crowd = Segmentation.of_instances(
        Instances(found.hw, CLASSES, [1, 2], found.masks, crowd=np.array([False, True])), answer(UTM).image
    )
    rows = features(crowd.save(tmp_path, formats=["geojson"])[0])
    assert [row["properties"]["crowd"] for row in rows] == [False, True]


def test_without_a_place_polygons_are_in_pixels(tmp_path):
    (path,) = answer(None).save(tmp_path, formats=["geojson"], simplify=1)
    assert features(path)[1]["properties"]["area_px"] == pytest.approx(300, rel=0.05)
    with warnings.catch_warnings(record=True) as warned:
        (path,) = answer(UTM).save(tmp_path / "b", formats=["gpkg"], vector_crs="pixels")
    assert warned == []
    _, _, shapes, _ = pyogrio.raw.read(path)
    assert shapely.total_bounds(shapely.from_wkb(shapes)).tolist() == [10, 10, 50, 30]


def test_what_cannot_be_written_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(InputError, match=r"town: does not state its coordinate reference system .* --vector-crs pixels"):
        answer(NO_CRS).save(tmp_path, formats=["geojson"])
    with pytest.raises(InputError, match="does not state where it lies"):
        answer(None).save(tmp_path, formats=["gpkg"], vector_crs="wgs84")
    with pytest.raises(InputError, match="no coordinates named 'utm'"):
        answer(UTM).save(tmp_path, formats=["gpkg"], vector_crs="utm")
    with pytest.raises(InputError, match="expected a length in metres"):
        answer(UTM).save(tmp_path, formats=["gpkg"], simplify=-1)
    worded = Georeference(UTM.transform, "+proj=aea +lat_1=29.5 +lat_2=45.5 +lat_0=23 +lon_0=-96 +datum=WGS84")
    with pytest.raises(InputError, match="cannot name the image's projection"):
        answer(worded).save(tmp_path, formats=["geojson"], vector_crs="image")
    with pytest.raises(InputError, match="write gpkg, or wgs84"):
        answer(worded).save(tmp_path, formats=["labels", "gpkg", "geojson"], vector_crs="image")
    with pytest.raises(InputError, match="needs an image that states its place"):
        answer(None).save(tmp_path, formats=["labels", "cog"])
    assert list(tmp_path.iterdir()) == []


def test_polygons_are_cut_at_the_180th_meridian(tmp_path):
    x, y = rasterio.warp.transform("EPSG:4326", "EPSG:32601", [180.0], [-16.5])
    place = Georeference((100, 0, x[0] - 3000, 0, -100, y[0] + 2000), "EPSG:32601")
    (path,) = answer(place).save(tmp_path, formats=["geojson"])
    rows = features(path)
    for row, area in zip(rows, (196, 300), strict=True):
        shape = shapely.geometry.shape(row["geometry"])
        assert shape.is_valid
        parts = [part.bounds for part in getattr(shape, "geoms", [shape])]
        assert all(right - left < 0.1 for left, _, right, _ in parts)
        assert row["properties"]["area_m2"] == pytest.approx(area * 10_000, rel=0.01)
    # Columns 20 to 50: ten of them lie west of the meridian.
    crossing = shapely.geometry.shape(rows[1]["geometry"])
    west, east = (sum(p.area for p in crossing.geoms if (p.bounds[0] > 0) == is_west) for is_west in (True, False))
    assert west / (west + east) == pytest.approx(1 / 3, abs=0.03)


@pytest.mark.parametrize("format", ["geojson", "gpkg"])
@pytest.mark.parametrize("system", ["auto", "image"])
def test_a_projection_that_nobody_knows_is_said(tmp_path, format, system):
    if (format, system) == ("geojson", "image"):
        pytest.skip("the code is written as it stands")
    with pytest.raises(InputError, match=r"EPSG:30000 .*is not known .*--vector-crs pixels"):
        answer(Georeference(UTM.transform, "EPSG:30000")).save(tmp_path, formats=[format], vector_crs=system)
    assert list(tmp_path.iterdir()) == []
    (path,) = answer(Georeference(UTM.transform, "EPSG:30000")).save(tmp_path, formats=[format], vector_crs="pixels")
    assert path.is_file()


@pytest.mark.parametrize("format", ["geojson", "gpkg"])
def test_an_area_that_shapely_refuses_is_said_with_the_file(tmp_path, monkeypatch, format):
    def refused(*_):
        raise shapely.errors.GEOSException("TopologyException: side location conflict at 0 0")

    monkeypatch.setattr(shapely, "orient_polygons", refused)
    with pytest.raises(
        InputError, match=rf"town\.{format}: an area cannot be made a polygon .*side location .* --vector-crs pixels"
    ):
        answer(UTM).save(tmp_path, formats=[format])
    assert list(tmp_path.iterdir()) == []


def test_an_image_beyond_the_edge_of_the_earth_is_said(tmp_path):
    # A satellite above 140 degrees east sees a disc; the image's corner is space.
    place = Georeference((1e5, 0, -5.5e6, 0, -1e5, 5.5e6), "+proj=geos +h=35785831 +lon_0=140.7 +sweep=y")
    with pytest.raises(InputError, match=r"\+proj=geos .* does not reach .* --vector-crs pixels"):
        answer(place).save(tmp_path, formats=["geojson"])
    assert answer(place).save(tmp_path, formats=["geojson"], vector_crs="pixels")[0].is_file()


@pytest.mark.parametrize("kind", [pyogrio.errors.DataSourceError, pyogrio.errors.FeatureError])
def test_a_full_disk_is_known_where_the_library_does_not_say_so(tmp_path, monkeypatch, kind):
    def full(*_, **__):
        raise kind("sqlite3_exec failed: database or disk is full")

    monkeypatch.setattr(pyogrio.raw, "write", full)
    with pytest.raises(InputError, match=r"town\.gpkg: cannot be written \(sqlite3_exec") as raised:
        answer(UTM).save(tmp_path, formats=["gpkg"])
    assert not disk_ends_it(raised.value)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=4096))
    with pytest.raises(InputError, match=r"town\.gpkg: cannot be written, the disk is full") as raised:
        answer(UTM).save(tmp_path, formats=["gpkg"])
    assert disk_ends_it(raised.value)


def test_a_read_only_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"town\.gpkg: cannot be written"):
        answer(UTM).save(tmp_path / "file", formats=["gpkg"])


@pytest.mark.parametrize(("package", "format"), [("shapely", "geojson"), ("rasterio", "geojson"), ("pyogrio", "gpkg")])
def test_missing_packages_are_named(tmp_path, monkeypatch, package, format):
    importing = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == package:
            raise ImportError(name)
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=rf"'{package}': pip install 'maskwright\[geo\]'"):
        answer(UTM).save(tmp_path, formats=[format])


def test_a_cog_lies_beside_the_labels(tmp_path):
    tags = answer(UTM)
    paths = tags.save(tmp_path, formats=["labels", "cog"])
    assert [path.name for path in paths] == ["town.png", "town_cog.tif"]
    with rasterio.open(paths[1]) as file:
        assert (file.read(1) == labels()).all()
