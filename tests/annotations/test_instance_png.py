"""Masks that number the objects."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from maskwright.annotations import instance_png
from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError
from maskwright.io.write import write_png, write_text

IDS = np.array([[0, 500, 500], [7, 0, 500]], np.uint16)


def picture(path):
    write_png(path, np.zeros((2, 3, 3), np.uint8))


def test_numbers_are_objects_of_one_class(tmp_path):
    picture(tmp_path / "images/a.png")
    write_png(tmp_path / "instances/a.png", IDS)
    assert instance_png.looks_like(tmp_path) == "instances/"
    read = instance_png.read(tmp_path)
    assert read.line == 'instance ids: 1 mask, no class masks beside them, classes one, "object"'
    drawn, remarks = read.objects(0)
    assert [(d.id, d.class_id, d.rle.area_px) for d in drawn] == [(7, 1, 1), (500, 1, 3)]
    assert (remarks, read.remarks, read.images[0].path) == ([], (), tmp_path / "images/a.png")


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/train/a.png", "instances/train/a.png"),
        ("train/images/a.png", "train/instance_ids/a.png"),
        ("train/a.png", "Instance-Masks/train/a.png"),
        ("train/a.png", "train/instances/a.png"),
    ],
)
def test_split_folders_may_stand_anywhere(image, mask, tmp_path):
    picture(tmp_path / image)
    write_png(tmp_path / mask, IDS)
    [found] = instance_png.read(tmp_path).images
    assert (found.name, found.path, found.split) == ("a", tmp_path / image, "train")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32, np.float32])
def test_tiff_of_any_depth(dtype, tmp_path):
    picture(tmp_path / "images/a.png")
    (tmp_path / "instances").mkdir()
    number = 200 if dtype == np.uint8 else 70_000 if np.dtype(dtype).itemsize == 4 else 60_000
    tifffile.imwrite(tmp_path / "instances/a.tif", np.array([[0, number, 0], [0, 0, 3]], dtype))
    assert [d.id for d in instance_png.read(tmp_path).objects(0)[0]] == [3, number]


def test_negative_numbers_are_no_objects(tmp_path):
    picture(tmp_path / "images/a.png")
    (tmp_path / "instances").mkdir()
    tifffile.imwrite(tmp_path / "instances/a.tif", np.array([[0, -1, 0], [0, 0, 3]], np.int32))
    assert [d.id for d in instance_png.read(tmp_path).objects(0)[0]] == [3]


def test_class_masks_say_the_class(tmp_path):
    picture(tmp_path / "images/a.png")
    write_png(tmp_path / "instances/a.png", IDS)
    write_png(tmp_path / "classes/a.png", np.array([[0, 2, 2], [1, 0, 1]], np.uint8))
    assert instance_png.read(tmp_path).classes.names == ("background", "class 1", "class 2")
    write_text(tmp_path / "labels.txt", "ship\ntanker\n")
    read = instance_png.read(tmp_path)
    # Object 500 has two pixels of class 2 and one of class 1.
    assert [(d.id, read.classes.name_of(d.class_id)) for d in read.objects(0)[0]] == [(7, "ship"), (500, "tanker")]


def test_several_classes_without_class_masks_cannot_be_told_apart(tmp_path):
    picture(tmp_path / "images/a.png")
    write_png(tmp_path / "instances/a.png", IDS)
    read = instance_png.read(tmp_path, classes=ClassMap((0, 1, 2), ("background", "ship", "tanker")))
    with pytest.raises(FormatError, match=r"instances/a.png: no class mask beside it, and several classes are known"):
        read.objects(0)
    read = instance_png.read(tmp_path, classes=ClassMap((0, 8), ("background", "ship")))
    assert [d.class_id for d in read.objects(0)[0]] == [8, 8]


def test_a_missing_class_mask_is_no_reason_to_guess(tmp_path):
    for name in "ab":
        picture(tmp_path / f"images/{name}.png")
        write_png(tmp_path / f"instances/{name}.png", IDS)
    write_png(tmp_path / "classes/a.png", np.ones((2, 3), np.uint8))
    read = instance_png.read(tmp_path)
    assert len(read.objects(0)[0]) == 2
    with pytest.raises(FormatError, match=r"instances/b.png: has no class mask of its name in classes/"):
        read.objects(1)


def test_class_masks_in_colours_or_without_a_class(tmp_path):
    picture(tmp_path / "images/a.png")
    write_png(tmp_path / "instances/a.png", IDS)
    write_png(tmp_path / "classes/a.png", np.full((2, 3, 3), [1, 2, 3], np.uint8))
    with pytest.raises(FormatError, match=r"a class mask in colours; say in a classes.yaml which colour is which class"):
        instance_png.read(tmp_path)
    write_png(tmp_path / "classes/a.png", np.zeros((2, 3), np.uint8))
    with pytest.raises(FormatError, match=r"the class masks hold no value but 0 and 255"):
        instance_png.read(tmp_path)


def test_photos_are_no_id_masks(tmp_path):
    ramp = np.arange(300 * 300)
    write_png(
        tmp_path / "instances/a.png",
        np.stack([ramp >> 16, ramp >> 8 & 255, ramp & 255], axis=1).astype(np.uint8).reshape(300, 300, 3),
    )
    with pytest.raises(FormatError, match=r"a.png: holds 90000 different values; that many are a photo"):
        instance_png.read(tmp_path).objects(0)


def test_nothing_here(tmp_path):
    assert instance_png.looks_like(tmp_path) == ""
    with pytest.raises(FormatError, match=r"no PNG or TIFF in a folder instances/"):
        instance_png.read(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        instance_png.read(tmp_path / "missing")
    (tmp_path / "instances").mkdir()
    assert instance_png.looks_like(tmp_path) == ""
