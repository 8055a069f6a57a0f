"""Segmentation with objects: labels from them, overlays, files, and photos with another background."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from maskwright.classes import BRIGHT_COLOURS, ClassMap
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.io import Image, read_labels
from maskwright.ops.polygons import fill_coco
from maskwright.ops.rle import Rle
from maskwright.result import Segmentation

CLASSES = ClassMap((0, 1, 4), ("background", "barge", "tanker"))
HW = (24, 40)
IMAGE = Image(np.full((*HW, 3), 90, np.uint8), Path("folder/scene.jpg"))


def box_mask(x0: int, y0: int, x1: int, y1: int) -> Rle:
    return Rle.from_crop(np.ones((y1 - y0, x1 - x0)), (x0, y0), HW)


def two_ships(**given: object) -> Instances:
    """A barge on the left and a tanker on the right; columns 10 to 14 are of both, and the tanker's score is higher."""
    masks = (box_mask(2, 4, 15, 20), box_mask(10, 6, 36, 12))
    scores = np.array([0.5, 0.9], np.float32)
    return Instances(HW, CLASSES, np.array([1, 4]), masks, **{"scores": scores, "ids": np.array([7, 3]), **given})


def answer(**given: object) -> Segmentation:
    return Segmentation.of_instances(two_ships(**given), IMAGE)


def test_labels_are_the_class_on_top():
    found = answer()
    assert found.name == "scene"
    assert found.labels[8, 12] == 4
    assert found.labels[15, 12] == 1
    assert found.areas() == {"background": 24 * 40 - 13 * 16 - 26 * 6 + 5 * 6, "barge": 13 * 16 - 5 * 6, "tanker": 26 * 6}


def test_checks_at_birth():
    labels = np.zeros(HW, np.uint8)
    with pytest.raises(InputError, match=r"the set of objects has the shape \(24, 40\); labels of \(3, 3\) need \(3, 3\)"):
        Segmentation(labels[:3, :3], CLASSES, instances=two_ships())
    with pytest.raises(InputError, match="the objects have other classes than the labels"):
        Segmentation(labels, ClassMap((0, 1), ("background", "ship")), instances=two_ships())


def test_overlay_shows_objects_in_colours_of_their_own():
    plain = answer().overlay(legend=False)
    assert plain.shape == (*HW, 3)
    assert plain[4, 2].tolist() == list(BRIGHT_COLOURS[0])
    assert plain[6, 35].tolist() == list(BRIGHT_COLOURS[1])
    assert plain[0, 0].tolist() == [90, 90, 90]
    assert answer().overlay().shape[1] == 320
    assert answer().overlay(np.zeros(HW, np.uint8), legend=False)[0, 0].tolist() == [0, 0, 0]
    with pytest.raises(InputError, match="an overlay needs a picture"):
        Segmentation.of_instances(two_ships()).overlay()


def test_overlay_of_no_objects():
    none = Instances(HW, CLASSES, np.zeros(0, np.int64), ())
    assert np.array_equal(Segmentation.of_instances(none, IMAGE).overlay(legend=False), IMAGE.pixels)
    assert Segmentation.of_instances(none, IMAGE).overlay().shape[0] > 24 * 8


def test_every_format(tmp_path):
    written = answer().save(tmp_path, formats=("labels", "ids", "coco", "geojson", "labelme", "yolo", "masks"))
    assert [str(p.relative_to(tmp_path)) for p in written] == [
        "scene.png",
        "scene_ids.png",
        "scene_coco.json",
        "scene.geojson",
        "scene.json",
        "scene.txt",
        "scene_masks/7_barge.png",
        "scene_masks/3_tanker.png",
    ]
    assert sorted(written) == sorted(p for p in tmp_path.rglob("*.*") if p.is_file())
    assert read_labels(written[0], CLASSES).labels[8, 12] == 4
    with PIL.Image.open(written[1]) as picture:
        assert picture.mode.startswith("I;16")
        ids = np.asarray(picture)
    assert (ids[8, 12], ids[15, 12], ids[0, 0]) == (3, 7, 0)
    coco = json.loads(written[2].read_text())
    assert [(a["id"], a["category_id"], a["score"]) for a in coco["annotations"]] == [(7, 1, 0.5), (3, 4, 0.9)]
    assert coco["images"] == [{"id": 1, "file_name": "scene.jpg", "height": 24, "width": 40}]
    ring = np.reshape(coco["annotations"][1]["segmentation"][0], (-1, 2))
    assert fill_coco([ring], HW) == box_mask(10, 6, 36, 12)
    assert [f["properties"]["class"] for f in json.loads(written[3].read_text())["features"]] == ["barge", "tanker"]
    assert json.loads(written[4].read_text())["imagePath"] == "scene.jpg"
    assert [line[:2] for line in written[5].read_text().splitlines()] == ["0 ", "1 "]
    assert np.array_equal(np.asarray(PIL.Image.open(written[7])) == 255, box_mask(10, 6, 36, 12).to_mask())


def test_masks_of_an_earlier_answer_do_not_stay(tmp_path):
    answer().save(tmp_path, formats=["masks"])
    (tmp_path / "scene_masks" / "notes.txt").write_text("mine")
    answer(ids=np.array([8, 9])).save(tmp_path, formats=["masks"])
    assert sorted(p.name for p in (tmp_path / "scene_masks").iterdir()) == ["8_barge.png", "9_tanker.png", "notes.txt"]


def test_crowds_and_empty_masks_in_files(tmp_path):
    empty = Rle.from_mask(np.zeros(HW))
    masks = (box_mask(2, 4, 15, 20), empty, box_mask(20, 2, 30, 9))
    found = Instances(HW, CLASSES, np.array([1, 1, 4]), masks, crowd=np.array([False, False, True]))
    written = Segmentation.of_instances(found, IMAGE).save(tmp_path, formats=["coco", "geojson", "labelme", "yolo"])
    assert [a["iscrowd"] for a in json.loads(written[0].read_text())["annotations"]] == [0, 1]
    assert len(json.loads(written[2].read_text())["shapes"]) == 1
    assert len(written[3].read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        (["labels", "cocoa"], r"no format named 'cocoa' to save objects in; did you mean coco\?"),
        (["shapefile!"], "did you mean ids, coco, geojson, labelme, yolo, masks"),
    ],
)
def test_unknown_formats(formats, message, tmp_path):
    with pytest.raises(InputError, match=message):
        answer().save(tmp_path, formats=formats)
    assert list(tmp_path.iterdir()) == []


def test_a_semantic_answer_has_no_objects_to_save(tmp_path):
    semantic = Segmentation(answer().labels, CLASSES, IMAGE)
    with pytest.raises(InputError, match="scene: coco, ids hold objects, this answer has classes only; save 'labels'"):
        semantic.save(tmp_path, formats=["coco", "labels", "ids"])


def test_what_is_kept():
    found = answer()
    both = box_mask(2, 4, 15, 20).to_mask() | box_mask(10, 6, 36, 12).to_mask()
    assert np.array_equal(found.kept(), both)
    assert np.array_equal(found.kept("tanker"), box_mask(10, 6, 36, 12).to_mask())
    assert np.array_equal(found.kept(7), box_mask(2, 4, 15, 20).to_mask())  # whole, also where the tanker lies on top
    assert np.array_equal(found.kept([7, "tanker"]), both)
    assert np.array_equal(found.kept("background"), ~both)
    assert not found.kept([]).any()


def test_what_is_kept_of_a_semantic_answer():
    labels = np.zeros(HW, np.uint8)
    labels[3:6, 3:6], labels[10:12, 10:12], labels[20, 20] = 1, 4, 255
    found = Segmentation(labels, CLASSES, IMAGE)
    assert found.kept().sum() == 9 + 4  # ignored pixels are nobody's
    assert found.kept(["tanker"]).sum() == 4


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ("tonker", r"no class named 'tonker'; did you mean tanker\?"),
        (5, r"no object has the id 5 \(known: \[7, 3\]\)"),
        ([3, "x"], "no class named 'x'; did you mean background, barge, tanker"),
    ],
)
def test_keeping_what_is_not_there(keep, message):
    with pytest.raises(InputError, match=message):
        answer().cutout(keep=keep)


def test_keeping_objects_of_a_semantic_answer():
    with pytest.raises(InputError, match=r"no object has the id 1 \(it has no objects\)"):
        Segmentation(answer().labels, CLASSES, IMAGE).cutout(keep=1)


def test_without_a_background_somebody_must_say_what_to_keep():
    everything = ClassMap((0, 1), ("road", "car"), background=None)
    found = Segmentation(np.zeros(HW, np.uint8), everything, IMAGE)
    with pytest.raises(InputError, match=r"the classes have no background; say what to keep \(keep=, of road, car\)"):
        found.cutout()
    assert found.cutout(keep="road")[..., 3].min() == 255


def photo() -> Segmentation:
    pixels = np.full((*HW, 3), (20, 40, 200), np.uint8)
    pixels[6:12, 10:36] = (200, 60, 10)
    masks = (box_mask(10, 6, 36, 12),)
    return Segmentation.of_instances(Instances(HW, CLASSES, np.array([4]), masks), Image(pixels))


def test_cutout():
    cut = photo().cutout()
    assert (cut.shape, cut.dtype) == ((*HW, 4), np.uint8)
    assert cut[9, 20].tolist() == [200, 60, 10, 255]
    assert cut[20, 20, 3] == 0
    assert 0 < cut[5, 20, 3] < 255
    hard = photo().cutout(feather_px=0)
    assert set(np.unique(hard[..., 3])) == {0, 255}


def test_another_background(tmp_path):
    assert photo().replace_background((0, 255, 0))[20, 20].tolist() == [0, 255, 0]
    assert photo().replace_background((0, 255, 0))[9, 20].tolist() == [200, 60, 10]
    PIL.Image.fromarray(np.full((5, 5, 3), 77, np.uint8)).save(tmp_path / "sea.png")
    for background in (tmp_path / "sea.png", str(tmp_path / "sea.png"), np.full((9, 30), 77, np.uint8)):
        assert photo().replace_background(background)[20, 20].tolist() == [77, 77, 77]
    with pytest.raises(InputError, match=r"the background \(0, 300, 0\) is no colour"):
        photo().replace_background((0, 300, 0))
    with pytest.raises(InputError, match="no such file"):
        photo().replace_background("gone.png")


def test_blurred_background():
    pixels = np.random.default_rng(0).integers(0, 256, (*HW, 3), np.uint8)
    found = Segmentation.of_instances(Instances(HW, CLASSES, np.array([4]), (box_mask(10, 6, 36, 18),)), Image(pixels))
    blurred = found.blur_background(8)
    assert np.array_equal(blurred[10:14, 14:32], pixels[10:14, 14:32])
    assert blurred[:, :6].std() < pixels[:, :6].std() / 3
    assert np.array_equal(found.blur_background(0), pixels)


def test_deep_pictures_are_shown_in_8_bits():
    deep = Image(np.arange(24 * 40, dtype=np.uint16).reshape(*HW, 1) * 4)
    found = Segmentation.of_instances(two_ships(), deep)
    assert found.cutout().dtype == np.uint8
    assert found.blur_background(4).shape == (*HW, 3)


@pytest.mark.parametrize("make", ["cutout", "blur_background"])
def test_without_a_picture(make):
    with pytest.raises(InputError, match=r"image: a .* needs a picture; give one"):
        getattr(Segmentation.of_instances(two_ships()), make)()


def test_what_to_keep_may_be_a_number_of_numpy():
    found = Segmentation.of_instances(two_ships(), IMAGE)
    first = found.instances.all_ids[0]
    assert np.array_equal(found.kept(first), found.kept(int(first)))
    assert found.kept(list(found.instances.all_ids)).sum() > found.kept(first).sum()
    for wrong in (True, 1.0, [1.5]):
        with pytest.raises(InputError, match="expected names of classes or ids of objects"):
            found.kept(wrong)


@pytest.mark.parametrize("length", [-1, float("nan"), float("inf")])
def test_lengths_that_are_none(length):
    found = Segmentation.of_instances(two_ships(), IMAGE)
    with pytest.raises(InputError, match=r"radius_px=.*expected 0 or more pixels"):
        found.blur_background(length)
    with pytest.raises(InputError, match=r"feather_px=.*expected 0 or more pixels"):
        found.cutout(feather_px=length)
    with pytest.raises(InputError, match=r"alpha=.*expected a number from 0 to 1"):
        found.overlay(alpha=length)


def test_a_colour_of_shares_is_none():
    found = Segmentation.of_instances(two_ships(), IMAGE)
    with pytest.raises(InputError, match="is no colour; expected whole numbers"):
        found.replace_background((0.5, 0.5, 0.5))
