"""Objects of images by windows: those of the whole image, in every file that is written, and interrupted jobs go on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import torch
import zarr

from maskwright.annotations.coco_objects import mask_of_row
from maskwright.checkpoint import Manifest
from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.inference import large_work
from maskwright.inference.files import predict_files
from maskwright.inference.large import predict_large
from maskwright.inference.large_objects import LARGE_FORMATS
from maskwright.inference.part import part_folder
from maskwright.inference.predictor import Predictor
from maskwright.inference.tiled_objects import comes_in_tiles, objects_in_tiles, view_of_objects
from maskwright.instances import Instances
from maskwright.io.image import Image
from maskwright.io.masks import read_mask
from maskwright.io.read import read_image
from maskwright.models.mask_rcnn.model import TINY, MaskRCNN
from maskwright.ops.components import components
from maskwright.result import Segmentation
from maskwright.transforms import Preprocess

CLASSES = ClassMap((0, 2, 5), ("background", "ship", "buoy"))
PLACE = [(33550, 12, 3, (2.0, 2.0, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 500000.0, 5000000.0, 0.0), True),
         (34735, 3, 8, (1, 1, 0, 1, 3072, 0, 1, 32632), True)]  # fmt: skip


def net_predictor(**preprocess):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = MaskRCNN(1, 3, **{**TINY, "norm": "batch", "box_convs": True, "detections": 20}).eval()
        torch.nn.init.normal_(net.box_head.classes.weight, std=1.0)
    seen = Preprocess(1, mean=(0.5,), std=(0.25,), **preprocess).to_dict()
    manifest = Manifest(task="instance", model="mask_rcnn", classes=CLASSES.to_dict(), preprocess=seen)
    return Predictor(net, manifest, device="cpu", min_score=0.3)


def view_of(predictor, hw):
    return view_of_objects(predictor.preprocess, hw, predictor.tile, predictor.overlap)


def components_of(values, hw):
    """Ships are values of 100, buoys of 200; the larger of each the surer."""
    masks = [(class_id, mask) for value, class_id in ((100, 2), (200, 5)) for mask in components(values == value)]
    scores = np.array([0.5 + mask.area_px / 1e6 for _, mask in masks], np.float32)
    return Instances(hw, CLASSES, np.array([c for c, _ in masks], np.int64), tuple(m for _, m in masks), scores=scores)


@pytest.fixture
def predictor(monkeypatch):
    """A detector that errs nowhere behind the door of a real one."""
    given = net_predictor()
    monkeypatch.setattr(given, "tile", 128)
    monkeypatch.setattr(
        given, "objects", lambda x, frame: components_of(np.round((x[0, 0].numpy() * 0.25 + 0.5) * 255), frame.hw)
    )
    return given


def drawn():
    pixels = np.zeros((300, 410), np.uint8)
    pixels[20:30, 5:400] = pixels[60:280, 200:206] = pixels[150:160, 30:60] = 100
    pixels[90:130, 100:140] = pixels[5:8, 300:303] = 200
    return pixels


@pytest.fixture
def image(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", drawn(), photometric="minisblack", tile=(64, 64), extratags=PLACE)
    return tmp_path / "a.tif"


def test_every_file_holds_the_objects_of_the_whole(predictor, image, tmp_path):
    report = predict_large(predictor, image, tmp_path / "out" / "a", formats=LARGE_FORMATS, vector_crs="pixels", overlay=True)
    whole = components_of(drawn(), (300, 410))
    assert report.counts == {"ship": 3, "buoy": 2}
    assert report.file == tmp_path / "out" / "a.tif"
    assert np.array_equal(read_mask(report.file).values, whole.to_labels())
    found = json.loads((tmp_path / "out" / "a_coco.json").read_text())
    assert found["images"] == [{"id": 1, "file_name": "a.tif", "height": 300, "width": 410}]
    rows = {row["id"]: row for row in found["annotations"]}
    assert sorted(rows) == [1, 2, 3, 4, 5]
    masks = {number: mask_of_row(row, "", (300, 410)) for number, row in rows.items()}
    assert set(masks.values()) == set(whole.masks)
    ids = tifffile.imread(tmp_path / "out" / "a_ids.tif")
    assert ids.dtype == np.uint32
    for number, mask in masks.items():
        assert np.array_equal(ids == number, mask.to_mask())  # they do not overlap here
    features = json.loads((tmp_path / "out" / "a.geojson").read_text())["features"]
    assert [f["properties"]["id"] for f in features] == [1, 2, 3, 4, 5]
    assert sorted(f["properties"]["class"] for f in features) == ["buoy"] * 2 + ["ship"] * 3
    drawn_over = Segmentation(whole.to_labels(), CLASSES, read_image(image)).overlay()
    assert np.array_equal(read_image(tmp_path / "out" / "a_overlay.png").pixels, drawn_over)
    assert not part_folder(tmp_path / "out" / "a").exists()


def test_buildings_and_roads_of_a_real_city_are_those_of_the_whole(predictor, shared_data, tmp_path):
    colours = tifffile.imread(shared_data("zurich-tile") / "zh17_gt.tif").astype(np.int64)
    kinds = {(100, 100, 100): 100, (0, 0, 0): 200}  # buildings, roads: those run through nearly every tile
    pixels = sum(np.uint8(value) * (colours == kind).all(axis=2).astype(np.uint8) for kind, value in kinds.items())
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", tile=(64, 64))
    report = predict_large(predictor, tmp_path / "a.tif", tmp_path / "b", formats=["coco", "ids"])
    whole = components_of(pixels, pixels.shape)
    rows = json.loads((tmp_path / "b_coco.json").read_text())["annotations"]
    assert len(whole.masks) > 100
    assert {(row["category_id"], mask_of_row(row, "", pixels.shape)) for row in rows} == set(
        zip(whole.class_ids.tolist(), whole.masks, strict=True)
    )
    assert report.counts == {"ship": sum(whole.class_ids == 2), "buoy": sum(whole.class_ids == 5)}
    assert len(np.unique(tifffile.imread(tmp_path / "b_ids.tif"))) == len(whole.masks) + 1


def test_polygons_lie_on_the_map(predictor, image, tmp_path):
    pytest.importorskip("rasterio")
    predict_large(predictor, image, tmp_path / "b", formats=["geojson"], vector_crs="image")
    found = json.loads((tmp_path / "b.geojson").read_text())
    assert found["crs"]["properties"]["name"].endswith("EPSG::32632")
    corners = np.concatenate([np.array(f["geometry"]["coordinates"][0]) for f in found["features"]])
    # pixels of 2 m: columns 5 to 400, rows 5 to 280
    assert corners.min(axis=0).tolist() == [500010, 5000000 - 560]
    assert corners.max(axis=0).tolist() == [500800, 5000000 - 10]
    predict_large(predictor, image, tmp_path / "b", formats=["geojson"])
    (longitude, latitude) = json.loads((tmp_path / "b.geojson").read_text())["features"][0]["geometry"]["coordinates"][0][0]
    assert (round(longitude), round(latitude)) == (9, 45)


def test_void_pixels_have_no_class(predictor, tmp_path):
    pixels = drawn()
    pixels[:128, 300:] = 7
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="minisblack", tile=(64, 64), extratags=[*PLACE, (42113, 2, 2, "7", True)]
    )
    report = predict_large(predictor, tmp_path / "a.tif", tmp_path / "b")
    labels = read_mask(report.file).values
    assert (labels[:128, 300:] == CLASSES.ignore_id).all()
    assert labels[25, 200] == 2


def test_zarr_in_zarr_out(predictor, tmp_path):
    zarr.save_array(str(tmp_path / "a.zarr"), drawn())
    predict_large(predictor, tmp_path / "a.zarr", tmp_path / "b", formats=["labels", "ids"])
    assert zarr.open_array(str(tmp_path / "b.zarr"), mode="r")[25, 200] == 2
    ids = zarr.open_array(str(tmp_path / "b_ids.zarr"), mode="r")[:]
    assert sorted(np.unique(ids)) == [0, 1, 2, 3, 4, 5]


def test_an_image_without_objects(predictor, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((200, 300), np.uint8), photometric="minisblack")
    report = predict_large(predictor, tmp_path / "a.tif", tmp_path / "b", formats=LARGE_FORMATS)
    assert report.counts == {"ship": 0, "buoy": 0}
    assert json.loads((tmp_path / "b_coco.json").read_text())["annotations"] == []
    assert json.loads((tmp_path / "b.geojson").read_text())["features"] == []
    assert not read_mask(report.file).values.any()


def test_an_interrupted_job_goes_on(predictor, image, tmp_path):
    def stop(done, total):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_large(predictor, image, tmp_path / "b", stop, formats=["coco"])
    all_tiles = len(view_of(predictor, (300, 410)).tiling)
    report = predict_large(predictor, image, tmp_path / "b", formats=["coco"])
    assert report.tiles < all_tiles
    straight = predict_large(predictor, image, tmp_path / "c", formats=["coco"])
    assert straight.tiles == all_tiles
    assert report.file.read_bytes() == straight.file.read_bytes()


def test_predict_files_sends_large_images_this_way(predictor, image, tmp_path, monkeypatch):
    monkeypatch.setattr(large_work, "LARGE_PX", 100 * 100)
    report = predict_files(predictor, image, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.tif", "a_ids.tif", "counts.csv"]
    assert (tmp_path / "out" / "counts.csv").read_text() == f"image,ship,buoy\n{image},3,2\n"
    assert report.total() == {"ship": 3, "buoy": 2}
    (tmp_path / "out" / "counts.csv").unlink()
    (tmp_path / "out" / "a.tif").unlink()
    with pytest.raises(InputError, match=r"a_ids.tif: is already there"):
        predict_files(predictor, image, tmp_path / "out")
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 5000)
    refused = r"a.tif: is read by windows and answered with --format labels,ids,coco,geojson alone; leave out "
    with pytest.raises(InputError, match=refused + "--format masks"):
        predict_files(predictor, image, tmp_path / "other", formats=["masks"])
    with pytest.raises(InputError, match=refused + "--blur-background, --simplify"):
        predict_files(predictor, image, tmp_path / "other", formats=["geojson"], blur_background_px=3, simplify=2.0)


def test_of_an_answer_that_cannot_be_written_nothing_stays(predictor, image, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise InputError("a.geojson: an area cannot be made a polygon.")

    monkeypatch.setattr(large_work, "LARGE_PX", 100 * 100)
    monkeypatch.setattr("maskwright.inference.large_objects.write_parts", refused)
    report = predict_files(predictor, image, tmp_path / "out", formats=["labels", "geojson"])
    assert [f.source for f in report.failed] == [str(image)]
    assert list((tmp_path / "out").glob("a.*")) == []
    assert predict_files(predictor, image, tmp_path / "out", formats=["labels"]).ok  # another command is not in its way


def test_a_job_of_several_goes_on_after_the_first(predictor, image, tmp_path, monkeypatch):
    monkeypatch.setattr(large_work, "LARGE_PX", 100 * 100)
    (tmp_path / "b.tif").write_bytes(image.read_bytes())

    def stop(done, total):
        if (tmp_path / "out" / "a_ids.tif").exists() and done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_files(predictor, [image, tmp_path / "b.tif"], tmp_path / "out", progress=stop)
    table = f"image,ship,buoy\n{image},3,2\n"
    assert (tmp_path / "out" / "counts.csv").read_text() == table
    report = predict_files(predictor, [image, tmp_path / "b.tif"], tmp_path / "out")
    assert [path.name for path in report.done] == ["a.tif", "b.tif"]
    assert (tmp_path / "out" / "counts.csv").read_text() == f"{table}{tmp_path / 'b.tif'},3,2\n"
    assert report.total() == {"ship": 6, "buoy": 4}


def test_coordinates_that_cannot_be_had_are_refused_before_any_work(predictor, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", drawn(), photometric="minisblack")
    with pytest.raises(InputError, match="does not state where it lies"):
        predict_large(predictor, tmp_path / "a.tif", tmp_path / "b", formats=["geojson"], vector_crs="wgs84")
    assert not part_folder(tmp_path / "b").exists()


def test_tiles_are_seen_as_images_of_their_size():
    sized = net_predictor(min_side_px=800, max_side_px=1333)
    view = view_of(sized, (9000, 9000))
    assert (view.tiling.tile_px, view.tiling.overlap_px) == (1024, 256)
    assert view.preprocess.work_hw((1024, 512)) == (800, 400)  # a tile at the edge, at the same scale
    assert "tiles of 1024 px at 0.781 of their size" in view.remarks[0]
    assert view_of(sized, (400, 600)).preprocess.work_hw((400, 600)) == (800, 1200)
    assert view_of(net_predictor(zoom=2.0), (9000, 9000)).tiling.tile_px == 512


@pytest.mark.parametrize("scaling", ["range", "percentile", "zscore"])
def test_tiles_of_an_image_in_memory(scaling):
    predictor, image = net_predictor(scaling=scaling), Image.from_array(drawn())
    predictor.tile = 128
    whole, seen = components_of(drawn(), (300, 410)), []
    of_whole = np.round(predictor.preprocess(image)[0][0, 0].numpy(), 4)
    values = {value: drawn()[of_whole == value].max() for value in np.unique(of_whole).tolist()}

    def look(x, frame):
        seen.append(frame.hw)
        return components_of(np.vectorize(values.get)(np.round(x[0, 0].numpy(), 4)), frame.hw)

    found = objects_in_tiles(image, view_of(predictor, image.hw), CLASSES, look)
    assert len(seen) == len(view_of(predictor, image.hw).tiling) > 6
    assert set(zip(found.class_ids.tolist(), found.masks, strict=True)) == set(
        zip(whole.class_ids.tolist(), whole.masks, strict=True)
    )
    assert (np.diff(found.scores) <= 0).all()


def test_which_images_in_memory_come_in_tiles():
    assert not comes_in_tiles(Preprocess(1), (2000, 4000), None)
    assert comes_in_tiles(Preprocess(1), (3000, 4000), None)
    assert comes_in_tiles(Preprocess(1, zoom=2.0), (2000, 2000), None)
    assert not comes_in_tiles(Preprocess(1, min_side_px=800, max_side_px=1333), (8000, 8000), None)
    assert comes_in_tiles(Preprocess(1), (100, 130), 128)
    assert not comes_in_tiles(Preprocess(1), (100, 128), 128)


@pytest.mark.parametrize("zoom", [1.0, 2.0])
def test_in_memory_and_by_windows_the_same_objects_are_found(tmp_path, zoom):
    pixels = np.random.default_rng(0).integers(0, 256, (150, 200), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    predictor = net_predictor(zoom=zoom)
    predictor.tile = 96
    predict_large(predictor, tmp_path / "a.tif", tmp_path / "b", formats=["coco"])
    rows = json.loads((tmp_path / "b_coco.json").read_text())["annotations"]
    found = predictor(tmp_path / "a.tif").instances
    assert set(predictor([tmp_path / "a.tif", pixels[:90, :90]])[0].instances.masks) == set(found.masks)
    assert len(found) > 3
    assert {mask_of_row(row, "", (150, 200)) for row in rows} == set(found.masks)
    assert sorted(row["score"] for row in rows) == pytest.approx(sorted(found.scores.tolist()))
    assert len(predictor.all_objects(pixels)) >= len(found)


def test_a_real_net(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (150, 200), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    predictor = net_predictor()
    predictor.tile = 96
    report = predict_large(predictor, tmp_path / "a.tif", tmp_path / "b", formats=LARGE_FORMATS)
    found = json.loads((tmp_path / "b_coco.json").read_text())["annotations"]
    assert sum(report.counts.values()) == len(found) > 0
    assert [row["id"] for row in found] == list(range(1, len(found) + 1))
    labels, ids = read_mask(report.file).values, tifffile.imread(tmp_path / "b_ids.tif")
    assert np.array_equal(labels != 0, ids != 0)
