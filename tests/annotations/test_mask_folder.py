"""A file an object."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from maskwright.annotations import mask_folder
from maskwright.annotations.assemble import instances_of
from maskwright.annotations.imagesize import image_hw
from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError
from maskwright.io.write import write_png, write_text


def picture(path, hw=(2, 3)):
    write_png(path, np.zeros((*hw, 3), np.uint8))


def mask(path, *pixels, value=255):
    """A 2 x 3 mask of these positions in reading order."""
    write_png(path, (np.isin(np.arange(6), pixels) * value).astype(np.uint8).reshape(2, 3))


def areas(read, k=0):
    return [(read.classes.name_of(d.class_id), d.id, d.rle.area_px) for d in read.objects(k)[0]]


def test_a_folder_an_image(tmp_path):
    picture(tmp_path / "stage1_train/f00/images/f00.png")
    mask(tmp_path / "stage1_train/f00/masks/9c.png", 0, 1)
    mask(tmp_path / "stage1_train/f00/masks/1b.png", 5)
    picture(tmp_path / "stage1_train/f01/images/f01.png")
    (tmp_path / "stage1_train/f01/masks").mkdir()
    assert mask_folder.looks_like(tmp_path) == "stage1_train/f00/masks/"
    read = mask_folder.read(tmp_path)
    assert read.line == "mask folders: 2 masks of 2 images, classes by folders"
    assert [(i.name, i.split) for i in read.images] == [("f00", "train"), ("f01", "train")]
    assert areas(read) == [("object", None, 1), ("object", None, 2)]
    assert (read.objects(1), read.remarks) == (([], []), ())


def test_all_images_in_one_folder_and_a_folder_of_masks_each(tmp_path):
    for name in ("a", "b", "c"):
        picture(tmp_path / f"images/{name}.png")
    mask(tmp_path / "masks/a/10.png", 0)
    mask(tmp_path / "masks/a/9.png", 1, 2)
    (tmp_path / "masks/b").mkdir()
    read = mask_folder.read(tmp_path)
    # By number, not by text: 9 before 10.
    assert areas(read) == [("object", 9, 2), ("object", 10, 1)]
    assert [(r.code, r.image) for r in read.remarks] == [("image-not-annotated", "c")]
    assert [len(read.objects(k)[0]) for k in range(3)] == [2, 0, 0]


@pytest.mark.parametrize(
    ("image", "folder"),
    [
        ("images/a.png", "masks/a"),
        ("f00/images/f00.png", "f00/masks"),
        ("f00/image.png", "f00/masks"),
        ("train/images/a.png", "train/masks/a"),
        ("images/train/a.png", "masks/train/a"),
    ],
)
def test_class_folders(image, folder, tmp_path):
    picture(tmp_path / image)
    mask(tmp_path / folder / "tanker/1.png", 0)
    mask(tmp_path / folder / "ship/2.png", 1, 2)
    read = mask_folder.read(tmp_path)
    assert read.classes.names == ("background", "ship", "tanker")
    assert sorted(areas(read)) == [("ship", 2, 2), ("tanker", 1, 1)]
    assert [i.path for i in read.images] == [tmp_path / image]
    assert read.images[0].split == ("train" if "train" in image else "all")


def test_names_of_classes_that_no_folder_can_have(tmp_path):
    classes = ClassMap((0, 1, 2, 3), ("background", "a/b", "a:b", ".hidden"))
    assert mask_folder.class_folders(classes) == {"a_b": 1, "a_b_2": 2, "_hidden": 3}


def test_classes_that_are_stated(tmp_path):
    picture(tmp_path / "images/a.png")
    mask(tmp_path / "masks/a/shop/1.png", 0)
    mask(tmp_path / "masks/a/2.png", 1)
    write_text(tmp_path / "classes.yaml", "classes: [background, {id: 5, name: ship}]\n")
    read = mask_folder.read(tmp_path)
    assert areas(read) == [("ship", 2, 1)]
    [remark] = read.objects(0)[1]
    assert remark.code == "unknown-class"
    assert "class 'shop' is not in the class map (near ones: ship)" in remark.text


@pytest.mark.parametrize("value", [1, 128, 255])
def test_whatever_is_not_0_belongs_to_the_object(value, tmp_path):
    picture(tmp_path / "images/a.png")
    mask(tmp_path / "masks/a/1.png", 0, 4, value=value)
    assert areas(mask_folder.read(tmp_path)) == [("object", 1, 2)]


def test_masks_in_colours_and_in_jpeg(tmp_path):
    picture(tmp_path / "images/a.png", (16, 16))
    square = np.zeros((16, 16, 3), np.uint8)
    square[:8, :8] = 0, 200, 0
    write_png(tmp_path / "masks/a/1.png", square)
    # A lone green square of JPEG would be smeared in colour; grey is what people store.
    PIL.Image.fromarray(square[..., 1]).save(tmp_path / "masks/a/2.jpg", quality=60)
    assert areas(mask_folder.read(tmp_path)) == [("object", 1, 64), ("object", 2, 64)]


def test_a_damaged_mask_loses_that_object_only(tmp_path):
    picture(tmp_path / "images/a.png")
    mask(tmp_path / "masks/a/1.png", 0)
    (tmp_path / "masks/a/2.png").write_bytes(b"no picture")
    read = mask_folder.read(tmp_path)
    assert areas(read) == [("object", 1, 1)]
    [remark] = read.objects(0)[1]
    assert (remark.code, remark.image) == ("unreadable", "a")
    assert "2.png: not an image" in remark.text


def test_a_mask_that_lies_in_no_folder_of_an_image(tmp_path):
    for name in "ab":
        picture(tmp_path / f"images/{name}.png")
    mask(tmp_path / "masks/a/1.png", 0)
    mask(tmp_path / "masks/b.png", 0)
    read = mask_folder.read(tmp_path)
    assert [(r.code, r.path) for r in read.remarks] == [
        ("bad-object", tmp_path / "masks/b.png"),
        ("image-not-annotated", tmp_path / "images/b.png"),
    ]


def test_masks_of_classes_are_another_format(tmp_path):
    for name in "ab":
        picture(tmp_path / f"images/{name}.png")
        mask(tmp_path / f"masks/{name}.png", 0)
    assert mask_folder.looks_like(tmp_path) == ""
    with pytest.raises(FormatError, match="no masks of single objects here"):
        mask_folder.read(tmp_path)


@pytest.mark.parametrize("place", ["{}/a.png", "train/{}/a.png", "{}/train/a.png"])
def test_one_class_mask_is_not_taken_for_an_object(place, tmp_path):
    picture(tmp_path / place.format("images"))
    mask(tmp_path / place.format("masks"), 0)
    assert mask_folder.looks_like(tmp_path) == ""


def test_no_folder(tmp_path):
    assert mask_folder.looks_like(tmp_path) == mask_folder.looks_like(tmp_path / "missing") == ""
    with pytest.raises(InputError, match="no such folder"):
        mask_folder.read(tmp_path / "missing")


def test_a_link_in_a_circle_ends(tmp_path):
    picture(tmp_path / "images/a.png")
    mask(tmp_path / "masks/a/1.png", 0)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert len(mask_folder.read(tmp_path).images) == 1


def test_real_nuclei(shared_data):
    root = shared_data("nuclei-dsb2018")
    assert mask_folder.looks_like(root).endswith("/masks/")
    read = mask_folder.read(root)
    assert (len(read.images), read.remarks) == (150, ())
    assert {i.split for i in read.images} == {"train"}
    for k in range(0, 150, 50):
        folder = read.images[k].path.parents[1] / "masks"
        found, remarks = instances_of(read, k, image_hw(read.images[k].path))
        assert (len(found), remarks) == (len(list(folder.iterdir())), [])
        assert found.boxes.min() >= 0
