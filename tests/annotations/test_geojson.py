"""Vector truth over rasters: the right pixels from any system, any pairing, and sentences for what cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import rasterio.warp
import shapely

from maskwright.annotations.assemble import instances_of
from maskwright.annotations.formats import detect, read_annotations
from maskwright.data.check import check
from maskwright.data.convert import convert
from maskwright.data.dataset import open_dataset
from maskwright.errors import FormatError, InputError
from maskwright.io.write import write_png
from maskwright.ops.rle import Rle

UTM = rasterio.Affine(0.5, 0, 733601, 0, -0.5, 3725139)
ROTATED = rasterio.Affine.translation(733601, 3725139) @ rasterio.Affine.rotation(30) @ rasterio.Affine.scale(2, -3)
DEGREES = rasterio.Affine(1e-5, 0, -115.2, 0, -1e-5, 36.1)
# x0, y0, x1, y1 in pixels and the class: a house of 10 x 5 and a road of 30 x 4 pixels.
BOXES = {"house": (4, 3, 14, 8), "road": (5, 20, 35, 24)}


def raster(path: Path, transform=UTM, crs: str | None = "EPSG:32616", **profile) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(1, 255, (3, 30, 40)).astype(np.uint8)
    given = {"driver": "GTiff", "count": 3, "height": 30, "width": 40, "dtype": "uint8", "transform": transform, "crs": crs}
    with rasterio.open(path, "w", **(given | profile)) as file:
        file.write(pixels)
    return path


def box(name: str, transform, source: str | None, target: str | None) -> list[list[list[float]]]:
    """A box of BOXES as a closed ring on the map, in the system `target`."""
    x0, y0, x1, y1 = BOXES[name]
    points = [transform @ point for point in [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]]
    if target not in (None, source):
        points = list(zip(*rasterio.warp.transform(source, target, *zip(*points, strict=True)), strict=True))
    return [list(map(list, points))]


def features(transform=UTM, source="EPSG:32616", target=None) -> list[dict]:
    return [
        {
            "type": "Feature",
            "properties": {"id": 7 + k, "class": name},
            "geometry": {"type": "Polygon", "coordinates": box(name, transform, source, target)},
        }
        for k, name in enumerate(BOXES)
    ]


def geojson(path: Path, rows: list, crs: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    path.write_text(json.dumps({"type": "FeatureCollection", **named, "features": rows}))
    return path


def areas(root: Path, k: int = 0) -> dict[str, int]:
    found, remarks = instances_of(read_annotations(root), k, (30, 40))
    assert remarks == []
    return dict(zip(found.names, found.areas_px.tolist(), strict=True))


@pytest.mark.parametrize(("transform", "system"), [(UTM, "EPSG:32616"), (ROTATED, "EPSG:32616"), (DEGREES, "EPSG:4326")])
@pytest.mark.parametrize("target", [None, "EPSG:4326", "EPSG:3857"])
def test_polygons_of_any_system_cover_the_pixels_that_they_were_drawn_on(tmp_path, transform, system, target):
    raster(tmp_path / "images" / "a.tif", transform, system)
    name = f"urn:ogc:def:crs:EPSG::{(target or system)[5:]}"
    geojson(tmp_path / "labels" / "a.geojson", features(transform, system, target), name)
    assert areas(tmp_path) == {"house": 50, "road": 120}
    found = instances_of(read_annotations(tmp_path), 0, (30, 40))[0]
    assert found.masks[0].box_xyxy == BOXES["house"]
    assert found.all_ids.tolist() == [7, 8]


def test_without_a_stated_system_it_is_wgs_84_or_that_of_the_raster(tmp_path):
    raster(tmp_path / "a" / "x.tif")
    geojson(tmp_path / "a" / "x.geojson", features(target="EPSG:4326"))
    assert areas(tmp_path / "a") == {"house": 50, "road": 120}
    assert read_annotations(tmp_path / "a").remarks == ()
    raster(tmp_path / "b" / "x.tif")
    geojson(tmp_path / "b" / "x.geojson", features())
    assert areas(tmp_path / "b") == {"house": 50, "road": 120}
    (remark,) = read_annotations(tmp_path / "b").remarks
    assert remark.code == "place-guessed"
    assert "taken as those of x.tif" in remark.text


@pytest.mark.parametrize("driver", ["GPKG", "ESRI Shapefile"])
def test_one_file_of_another_name_serves_all_rasters_that_it_lies_on(tmp_path, driver):
    east, far = UTM @ rasterio.Affine.translation(20, 0), UTM @ rasterio.Affine.translation(5000, 0)
    for name, transform in {"east": east, "far": far, "west": UTM}.items():
        raster(tmp_path / f"{name}.tif", transform)
    shapes = [shapely.Polygon(box(name, UTM, "EPSG:32616", "EPSG:32617")[0]) for name in BOXES]
    path = tmp_path / ("houses.gpkg" if driver == "GPKG" else "houses.shp")
    columns = [np.array(list(BOXES), object)]
    pyogrio.raw.write(path, shapely.to_wkb(shapes), columns, ["Label"], driver=driver, geometry_type="Polygon", crs="EPSG:32617")
    found = read_annotations(tmp_path)
    assert [image.name for image in found.images] == ["east", "west"]
    assert "property 'Label'" in found.line
    assert [remark.code for remark in found.remarks] == ["image-not-annotated"]
    east_found, _ = instances_of(found, 0, (30, 40))
    # The road of columns 5 to 35 lies 20 columns further left there.
    assert east_found.names == ["road"]
    assert east_found.masks[0].box_xyxy == (0, 20, 15, 24)
    west_found, _ = instances_of(found, 1, (30, 40))
    assert west_found.areas_px.tolist() == [50, 120]


def test_further_layers_are_said(tmp_path):
    raster(tmp_path / "a.tif")
    shape = shapely.to_wkb([shapely.Polygon(box("house", UTM, "EPSG:32616", "EPSG:32616")[0])])
    for number, layer in enumerate(["houses", "roads"]):
        pyogrio.raw.write(
            tmp_path / "a.gpkg", shape, [np.array(["house"], object)], ["class"], driver="GPKG", layer=layer,
            geometry_type="Polygon", crs="EPSG:32616", append=bool(number),
        )  # fmt: skip
    texts = [remark.text for remark in read_annotations(tmp_path).remarks]
    assert any("holds 2 layers, of which the first is read; roads is left out" in text for text in texts)


def test_what_has_no_area_is_left_out_with_a_sentence(tmp_path):
    raster(tmp_path / "a.tif")
    rows = features()
    rows += [
        {"type": "Feature", "properties": {"class": "x"}, "geometry": None},
        {"type": "Feature", "properties": {"class": "x"}, "geometry": {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}},
        {"type": "Feature", "properties": {"class": "x"}, "geometry": {"type": "Blob", "coordinates": []}},
        {"type": "Feature", "properties": {"class": "x"}, "geometry": {"type": "Polygon", "coordinates": []}},
        {"type": "Feature", "properties": {"class": "x"}, "geometry": {"type": "Polygon", "coordinates": [[[0], [1, 2]]]}},
        "nothing",
    ]
    geojson(tmp_path / "a.geojson", rows, "EPSG:32616")
    texts = " ".join(remark.text for remark in read_annotations(tmp_path).remarks)
    for said in (
        "feature 3: has no geometry",
        "is a LineString, which covers no area",
        "is the text 'Blob'",
        "is empty",
        "not [x, y]",
    ):
        assert said in texts
    assert areas(tmp_path) == {"house": 50, "road": 120}


def test_damaged_files_and_strange_systems_are_named(tmp_path):
    raster(tmp_path / "a.tif")
    (tmp_path / "a.geojson").write_text('{"type": "FeatureCollection", "features": [')
    with pytest.raises(FormatError, match=r"a\.geojson: is not whole JSON"):
        read_annotations(tmp_path)
    geojson(tmp_path / "a.geojson", features(), "my own grid")
    with pytest.raises(FormatError, match="its crs the text 'my own grid' is not known"):
        read_annotations(tmp_path)
    (tmp_path / "a.geojson").write_text('{"type": "Topology"}')
    with pytest.raises(FormatError, match="expected a GeoJSON FeatureCollection"):
        read_annotations(tmp_path)
    (tmp_path / "a.geojson").unlink()
    (tmp_path / "b.gpkg").write_bytes(b"no database")
    with pytest.raises(FormatError, match=r"b\.gpkg: cannot be read"):
        read_annotations(tmp_path)


def test_one_damaged_file_of_several_is_a_failure_and_the_others_go_on(tmp_path):
    for name in "ab":
        raster(tmp_path / "in" / f"{name}.tif")
        geojson(tmp_path / "in" / f"{name}.geojson", features(target="EPSG:4326"))
    (tmp_path / "in" / "b.geojson").write_text("{")
    report = convert(tmp_path / "in", tmp_path / "out", to="coco")
    assert (report.images, report.objects, report.ok) == (1, 2, False)
    assert [(f.code, f.path) for f in report.failures] == [("unreadable", tmp_path / "in" / "b.geojson")]


def test_polygons_that_lie_elsewhere_are_said(tmp_path):
    raster(tmp_path / "a.tif")
    elsewhere = features(transform=UTM @ rasterio.Affine.translation(9000, 0))
    geojson(tmp_path / "a.geojson", elsewhere, "EPSG:32616")
    found = read_annotations(tmp_path)
    assert found.remarks[0].code == "bad-object"  # a loss, not a guess
    assert "lies nowhere on a.tif" in found.remarks[0].text
    (tmp_path / "a.geojson").rename(tmp_path / "b.geojson")
    with pytest.raises(FormatError, match="no raster that the polygons lie on"):
        read_annotations(tmp_path)


def test_rasters_without_a_place_or_a_system(tmp_path):
    raster(tmp_path / "a.tif", crs=None)
    geojson(tmp_path / "a.geojson", features(), "EPSG:32616")
    assert areas(tmp_path) == {"house": 50, "road": 120}
    assert read_annotations(tmp_path).remarks[0].code == "place-guessed"
    write_png(tmp_path / "b" / "b.png", np.zeros((30, 40, 3), np.uint8))
    geojson(tmp_path / "b" / "b.geojson", features(), "EPSG:32616")
    assert "does not state where it lies" in read_annotations(tmp_path / "b").remarks[0].text


def test_an_empty_file_is_an_image_without_objects(tmp_path):
    raster(tmp_path / "a.tif")
    geojson(tmp_path / "a.geojson", [])
    assert areas(tmp_path) == {}


def test_the_class_property_is_found_or_stated(tmp_path):
    raster(tmp_path / "a.tif")
    rows = features()
    for row in rows:
        row["properties"] = {"id": 1, "use": f"use of a {row['properties']['class']}"}
    geojson(tmp_path / "a.geojson", rows, "EPSG:32616")
    assert read_annotations(tmp_path).classes.names == ("background", "object")
    found = read_annotations(tmp_path, class_property="use")
    assert found.classes.names == ("background", "use of a house", "use of a road")
    with pytest.raises(InputError, match=r"no feature has a property 'usage' .* there are: use"):
        read_annotations(tmp_path, class_property="usage")
    report = convert(tmp_path, tmp_path.parent / "as_coco", to="coco", class_property="use")
    assert (report.images, report.objects) == (1, 2)
    with pytest.raises(InputError, match="leave --class-property out"):
        read_annotations(tmp_path.parent / "as_coco", class_property="use")


def test_what_is_written_in_pixels_is_read_back(tmp_path, objects_folder):
    convert(objects_folder, tmp_path / "new", to="geojson")
    before, after = read_annotations(objects_folder), read_annotations(tmp_path / "new")
    assert detect(tmp_path / "new")[0][0] == "geojson"
    assert after.remarks == ()
    for k, image in enumerate(before.images):
        old, _ = instances_of(before, k, (64, 80))
        new, _ = instances_of(after, [one.name for one in after.images].index(image.name), (64, 80))
        assert new.masks == old.masks
        assert new.names == old.names


def test_the_doctor_and_the_data_set_take_it(tmp_path):
    root = tmp_path / "town"
    for name in "ab":
        raster(root / "images" / f"{name}.tif")
        geojson(root / "labels" / f"{name}.geojson", features(target="EPSG:4326"))
    data = open_dataset(root)
    sample = data.read(data.pairs[0])
    assert sample.instances is not None
    counted = np.bincount(sample.labels.ravel(), minlength=3)
    assert counted[1] == 50
    assert counted[2] == 120
    report = check(root)
    assert report.class_objects == {"house": 2, "road": 2}


def test_real_footprints_lie_on_their_houses(shared_data):
    found = read_annotations(shared_data("geotiff-spacenet"))
    assert [image.name for image in found.images] == ["sample_geotiff", "sample_geotiff_custom_proj"]
    houses, remarks = instances_of(found, 0, (900, 900))
    assert len(houses) == 43
    assert remarks == []
    with rasterio.open(found.images[0].path) as file:
        rows = json.loads((found.root / "geotiff_labels.geojson").read_text())["features"]
        theirs = rasterio.features.rasterize([row["geometry"] for row in rows], (900, 900), transform=file.transform)
    ours = houses.to_labels() == 1
    # Both rules ask for the pixel's centre; they may differ where one lies on an edge.
    assert np.count_nonzero(ours != (theirs == 1)) <= 5


def drawn_on_the_map(root: Path, transform=UTM, crs="EPSG:32616") -> None:
    """A raster with a ring around a hole of a pixel, a slanted hull, and an outline through the centres of pixels, as COCO json."""
    raster(root / "a.tif", transform, crs)
    mask = np.zeros((30, 40), bool)
    mask[3:8, 4:14] = True
    mask[5, 9] = False
    objects = [
        {"segmentation": Rle.from_mask(mask)},
        {"segmentation": [[20.3, 4.1, 33.7, 9.2, 22.4, 17.9]]},
        {"segmentation": [[5.5, 20.5, 35.5, 20.5, 35.5, 24.5, 5.5, 24.5]]},
    ]
    for one in objects:
        if isinstance(one["segmentation"], Rle):
            one["segmentation"] = {"size": [30, 40], "counts": one["segmentation"].to_text()}
    rows = [{"id": k, "image_id": 1, "category_id": 1, "iscrowd": 0, **one} for k, one in enumerate(objects, 1)]
    images = [{"id": 1, "file_name": "a.tif", "height": 30, "width": 40}]
    top = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "house"}]}
    (root / "set.json").write_text(json.dumps(top))


@pytest.mark.parametrize(
    ("transform", "system"), [(UTM, "EPSG:32616"), (ROTATED, "EPSG:32616"), (DEGREES, "EPSG:4326"), (UTM, "EPSG:3857")]
)
def test_objects_of_georeferenced_images_are_converted_to_the_map_and_back(tmp_path, transform, system):
    (tmp_path / "in").mkdir()
    drawn_on_the_map(tmp_path / "in", transform, system)
    report = convert(tmp_path / "in", tmp_path / "new", to="geojson")
    assert (report.counts, report.ok) == ({}, True)
    assert pyogrio.read_info(tmp_path / "new" / "a.geojson")["crs"] == "EPSG:4326"
    bounds = pyogrio.read_info(tmp_path / "new" / "a.geojson", force_total_bounds=True)["total_bounds"]
    (west, east), (north, south) = (
        np.sort(v)
        for v in rasterio.warp.transform(system, "EPSG:4326", *zip(*(transform @ p for p in [(0, 0), (40, 30)]), strict=True))
    )
    if transform is not ROTATED:
        assert west <= bounds[0] < bounds[2] <= east
        assert min(north, south) <= bounds[1] < bounds[3] <= max(north, south)
    before, after = read_annotations(tmp_path / "in"), read_annotations(tmp_path / "new")
    assert after.remarks == ()
    old, new = (instances_of(one, 0, (30, 40))[0] for one in (before, after))
    assert new.masks == old.masks
    assert new.all_ids.tolist() == old.all_ids.tolist()


def test_rasters_without_a_system_keep_pixels_and_say_so(tmp_path):
    (tmp_path / "in").mkdir()
    drawn_on_the_map(tmp_path / "in", UTM, None)
    report = convert(tmp_path / "in", tmp_path / "new", to="geojson")
    assert (report.counts, report.ok) == ({"not-on-map": 1}, True)
    old, new = (instances_of(read_annotations(tmp_path / name), 0, (30, 40))[0] for name in ("in", "new"))
    assert new.masks == old.masks


def test_real_footprints_are_converted_to_the_map_and_back(shared_data, tmp_path):
    source = shared_data("geotiff-spacenet")
    report = convert(source, tmp_path / "new", to="geojson")
    assert "not-on-map" not in report.counts
    before, after = read_annotations(source), read_annotations(tmp_path / "new")
    names = [image.name for image in after.images]
    assert names == [image.name for image in before.images]
    for k in range(len(names)):
        old, new = (instances_of(one, k, (900, 900))[0] for one in (before, after))
        assert new.masks == old.masks
