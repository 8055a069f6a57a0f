"""YOLO-seg: data.yaml or classes.txt, trees of images and labels, polygons and boxes as shares of the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.annotations import yolo
from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError

HW = (6, 8)
# x 2 to 6 of 8, y 1.5 to 4.5 of 6: columns 2 to 5, rows 1 to 3 (a centre on the upper edge counts, one on the lower does not)
POLYGON = "1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75"
YAML = "path: /nowhere/at/all\ntrain: images/train\nval: images/val\nnames:\n  0: ship\n  1: tug\n"


def picture(path: Path, hw: tuple[int, int] = HW, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*hw, 3), np.uint8)).save(path, **options)


def label(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def read(root: Path, *lines: str, **options):
    picture(root / "images/train/a.png")
    label(root / "labels/train/a.txt", *lines)
    (root / "data.yaml").write_text(YAML)
    found = yolo.read(root, **options)
    return found, *found.objects(0)


def test_polygons_in_pixels_and_classes_one_up(tmp_path):
    found, objects, remarks = read(tmp_path, POLYGON, "", "0 0 0 1 0 1 1")
    assert remarks == []
    assert found.remarks == ()
    assert (found.classes.ids, found.classes.names) == ((0, 1, 2), ("background", "ship", "tug"))
    assert [(d.class_id, d.where) for d in objects] == [(2, "line 1"), (1, "line 3")]
    np.testing.assert_array_equal(objects[0].rings[0], [(2, 1.5), (6, 1.5), (6, 4.5), (2, 4.5)])
    assert objects[0].mask(HW).area_px == 4 * 3
    assert [(i.name, i.split, i.hw, i.path) for i in found.images] == [("a", "train", None, tmp_path / "images/train/a.png")]
    assert found.line == "YOLO: 1 label file, 2 classes from data.yaml"


def test_the_size_is_that_of_the_upright_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(tmp_path / "images/a.jpg", (8, 6), exif=exif)  # stored 6 wide and 8 high, shown 8 wide and 6 high
    label(tmp_path / "labels/a.txt", POLYGON)
    assert yolo.read(tmp_path).objects(0)[0][0].rings[0][2].tolist() == [6, 4.5]


def test_boxes_become_rectangles_and_one_remark(tmp_path):
    picture(tmp_path / "images/train/b.png")
    label(tmp_path / "labels/train/b.txt", "0 0.5 0.5 0.25 0.5", POLYGON)
    found, objects, _ = read(tmp_path, "1 0.5 0.5 0.5 0.5", "0 0.5 0.5 1 1")
    assert [d.mask(HW).area_px for d in objects] == [12, 48]
    assert [(r.code, "2 of 2 label files hold boxes" in r.text) for r in found.remarks] == [("bad-object", True)]


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("1 0.1 0.1 0.2", "bad-object", "holds 4 numbers; expected a class and pairs of x and y"),
        ("1 0.1 0.1 0.2 0.2 0.9", "bad-object", "holds 6 numbers"),
        ("1", "bad-object", "holds 1 numbers"),
        ("1 a 0.1 0.2 0.2 0.3 0.3", "bad-object", "holds a word that is no number"),
        ("x 0.1 0.1 0.2 0.2 0.3 0.3", "bad-object", "holds a word that is no number"),
        ("1.5 0.1 0.1 0.2 0.2 0.3 0.3", "bad-object", "begins with '1.5'; expected the number of a class"),
        ("-1 0.1 0.1 0.2 0.2 0.3 0.3", "bad-object", "begins with '-1'"),
        ("1 nan 0.1 0.2 0.2 0.3 0.3", "bad-object", "expected the number of a class, then shares"),
        ("1 10 10 200 20 30 30", "bad-object", "holds 200; expected shares of the image from 0 to 1, not pixels"),
        ("7 0.1 0.1 0.2 0.2 0.3 0.3", "unknown-class", r"class 7 has no name \(known numbers: 0 to 1\)"),
        ("1 0.1 0.1 0.2 0.2 0.1 0.1", "two-points", "the polygon has 2 vertices"),
    ],
)
def test_one_bad_line_is_left_out_and_said(line, code, said, tmp_path):
    _, objects, remarks = read(tmp_path, line, POLYGON)
    assert [d.where for d in objects] == ["line 2"]
    assert [(r.code, r.image) for r in remarks] == [(code, "a")]
    with pytest.raises(FormatError, match=rf"a\.txt: line 1: .*{said}.*; the object is left out\.$"):
        raise FormatError(remarks[0].text)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        ("images/train/a.png", "labels/train/a.txt"),
        ("train/images/a.png", "train/labels/a.txt"),
        ("train/a.png", "train/a.txt"),
        ("train/photos/a.png", "txt/train/a.txt"),  # joined by the stem
    ],
)
def test_trees_of_images_and_labels(image, text, tmp_path):
    picture(tmp_path / image)
    label(tmp_path / text, POLYGON)
    label(tmp_path / "classes.txt", "ship", "tug")
    label(tmp_path / "README.txt", "about this set")
    found = yolo.read(tmp_path)
    assert [(i.path, i.split) for i in found.images] == [(tmp_path / image, "train")]
    assert len(found.objects(0)[0]) == 1
    assert found.line == "YOLO: 1 label file, 2 classes from classes.txt"
    assert yolo.looks_like(tmp_path) == text


def test_same_stem_in_two_splits(tmp_path):
    for split, line in (("train", POLYGON), ("val", "0" + POLYGON[1:])):
        picture(tmp_path / "images" / split / "a.png")
        label(tmp_path / "labels" / split / "a.txt", line)
    found = yolo.read(tmp_path)
    assert [(i.name, i.split) for i in found.images] == [("images/train/a", "train"), ("images/val/a", "val")]
    assert [found.objects(k)[0][0].class_id for k in (0, 1)] == [2, 1]


def test_images_without_labels_are_empty_and_labels_without_images_are_said(tmp_path):
    picture(tmp_path / "images/train/b.png")
    picture(tmp_path / "images/val/c.png")
    picture(tmp_path / "other/z.png")
    label(tmp_path / "labels/train/d.txt", POLYGON)
    label(tmp_path / "labels/train/b.txt")  # an empty file says the same as none
    found, objects, _ = read(tmp_path, POLYGON)
    assert len(objects) == 1
    assert [(i.name, i.split, i.path is None) for i in found.images] == [
        ("a", "train", False), ("b", "train", False), ("c", "val", False), ("d", "train", True),
    ]  # fmt: skip
    assert [found.objects(k) for k in (1, 2, 3)] == [([], [])] * 3
    assert [(r.code, r.image) for r in found.remarks] == [("image-not-on-disk", "d")]


def test_images_elsewhere(tmp_path):
    picture(tmp_path / "photos/train/a.png")
    label(tmp_path / "set/labels/train/a.txt", POLYGON)
    found = yolo.read(tmp_path / "set", images=tmp_path / "photos")
    assert found.images[0].path == tmp_path / "photos/train/a.png"


def test_data_yaml_says_where_the_splits_are(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / f"data/images/all/{name}.png")
        label(tmp_path / f"data/labels/all/{name}.txt", POLYGON)
    label(tmp_path / "data/part.txt", "./images/all/b.png")
    (tmp_path / "set.yaml").write_text("path: data\ntrain: [images/all]\nval: part.txt\nnames: [ship, tug]\n")
    found = yolo.read(tmp_path / "set.yaml")
    assert [(i.name, i.split) for i in found.images] == [("a", "train"), ("b", "val")]
    assert yolo.looks_like(tmp_path) == yolo.looks_like(tmp_path / "set.yaml") == "set.yaml"


def test_paths_of_exports_that_go_up_first(tmp_path):
    picture(tmp_path / "valid/images/a.png")
    label(tmp_path / "valid/labels/a.txt", POLYGON)
    (tmp_path / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['ship', 'tug']\n")
    assert [(i.name, i.split) for i in yolo.read(tmp_path).images] == [("a", "val")]


def test_a_path_that_leads_elsewhere(tmp_path):
    picture(tmp_path / "far/images/a.png")
    label(tmp_path / "far/labels/a.txt", POLYGON)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/data.yaml").write_text("path: ../far\ntrain: images\nnames: [ship, tug]\n")
    found = yolo.read(tmp_path / "set")
    assert [(i.name, i.split, i.path is not None) for i in found.images] == [("a", "train", True)]


def test_without_names_the_numbers_are_the_classes(tmp_path):
    picture(tmp_path / "images/a.png")
    label(tmp_path / "labels/a.txt", POLYGON, "4" + POLYGON[1:])
    found = yolo.read(tmp_path)
    assert found.classes.names == ("background", "class 1", "class 4")
    assert found.classes.ids == (0, 2, 5)
    assert "no data.yaml, no classes.txt" in found.line


def test_class_map_that_is_given(tmp_path):
    given = ClassMap((0, 9), ("background", "tug"))
    _, objects, remarks = read(tmp_path, POLYGON, "0" + POLYGON[1:], classes=given)
    assert [d.class_id for d in objects] == [9]
    assert [r.code for r in remarks] == ["unknown-class"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("names: [a\n", "is not readable YAML"),
        ("names: &a [*a]\n", "name 0 is a list of 1; expected a text"),
        ("7", "is 7; expected YAML with `names`"),
        ("names: 3\ntrain: x\n", "`names` is 3; expected a list of names"),
        ("names: {a: b}\ntrain: x\n", "a number of a class is the text 'a'"),
        ("names: [null]\ntrain: x\n", "name 0 is null"),
        ("{" * 400, "is not readable YAML"),
    ],
)
def test_damaged_data_yaml(content, said, tmp_path):
    picture(tmp_path / "images/a.png")
    label(tmp_path / "labels/a.txt", POLYGON)
    (tmp_path / "data.yaml").write_text(content)
    with pytest.raises(FormatError, match=rf"data\.yaml: {said}"):
        yolo.read(tmp_path / "data.yaml")


def test_damaged_images_and_files_cost_their_image_only(tmp_path):
    found, _, _ = read(tmp_path, POLYGON)
    (tmp_path / "images/train/a.png").write_bytes(b"")
    objects, remarks = found.objects(0)
    assert objects == []
    assert [r.code for r in remarks] == ["bad-object"]
    picture(tmp_path / "images/train/a.png")
    (tmp_path / "labels/train/a.txt").write_bytes(b"1 \xff\xff")
    assert "is not UTF-8 text" in yolo.read(tmp_path).objects(0)[1][0].text


def test_no_labels_at_all(tmp_path):
    picture(tmp_path / "images/a.png")
    assert yolo.looks_like(tmp_path) == ""
    assert yolo.looks_like(tmp_path / "none") == ""
    with pytest.raises(InputError, match="no YOLO label file here"):
        yolo.read(tmp_path)
