"""From listed images to a set: files found, names unique, problems said once and in the right place."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from maskwright.annotations.drawn import AnnotatedImage, Annotations, Drawn, Remark
from maskwright.annotations.image_files import ImageFiles
from maskwright.annotations.listing import Listed, assemble, image_files
from maskwright.classes import ClassMap
from maskwright.errors import InputError

CLASSES = ClassMap((0, 1), ("background", "a"))


def parse(rows: list[int], image: AnnotatedImage) -> tuple[list[Drawn], list[Remark]]:
    return [Drawn(1, id=row) for row in rows], []


def made(root: Path, *listed: Listed, files: ImageFiles | None = None, **options) -> Annotations:
    return assemble("coco", root, "a line", CLASSES, listed, files or ImageFiles(root), parse, **options)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def ids(found: Annotations) -> dict[str, list[int | None]]:
    return {image.name: [d.id for d in found.objects(k)[0]] for k, image in enumerate(found.images)}


def test_images_come_in_the_order_of_their_names_with_their_objects(tmp_path):
    touch(tmp_path, "b.png", "val/a.png")
    json = tmp_path / "all.json"
    found = made(tmp_path, Listed("b.png", json, (2, 3), rows=[1, 2]), Listed("a.png", json, rows=[3]))
    assert ids(found) == {"a": [3], "b": [1, 2]}
    assert [(image.hw, image.split) for image in found.images] == [(None, "val"), ((2, 3), "all")]
    assert found.remarks == ()


def test_an_image_listed_twice_keeps_all_objects(tmp_path):
    touch(tmp_path, "a.png")
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    found = made(
        tmp_path, Listed("a.png", one, rows=[1]), Listed("./a.png", one, (2, 3), rows=[2]), Listed("a.png", two, rows=[3])
    )
    assert ids(found) == {"a": [1, 2, 3]}
    assert found.images[0].hw == (2, 3)
    assert [(r.code, r.image) for r in found.remarks] == [("image-listed-twice", "a")] * 2
    assert "one.json and" in found.remarks[1].text
    assert "its objects are put together. Keep one entry." in found.remarks[0].text


def test_the_same_name_in_two_splits_is_two_images(tmp_path):
    touch(tmp_path, "train/a.png", "val/a.png")
    found = made(
        tmp_path,
        Listed("a.png", tmp_path / "t.json", split="train", rows=[1]),
        Listed("a.png", tmp_path / "v.json", split="val", rows=[2]),
    )
    assert ids(found) == {"train/a": [1], "val/a": [2]}
    assert found.remarks == ()


@pytest.mark.parametrize("file", ["ann.json", "a.json"])
def test_one_name_in_three_folders_of_one_file(file, tmp_path):
    names = ("x.png", "a/x.png", "b/x.png")
    touch(tmp_path, *(f"images/{name}" for name in names))
    found = made(tmp_path, *(Listed(name, tmp_path / file, rows=[k]) for k, name in enumerate(names)))
    assert found.remarks == ()
    assert [(found.images[k].path, [d.id for d in found.objects(k)[0]]) for k in range(3)] == [
        (tmp_path / "images/a/x.png", [1]),
        (tmp_path / "images/b/x.png", [2]),
        (tmp_path / "images/x.png", [0]),
    ]


def test_images_that_are_not_on_disk(tmp_path):
    touch(tmp_path, "a.png", "x/c.png", "y/c.png")
    json = tmp_path / "t.json"
    found = made(tmp_path, *(Listed(name, json, rows=[1]) for name in ("a.png", "b.png", "c.png")))
    assert [image.path is None for image in found.images] == [False, True, True]
    assert [(r.code, r.image) for r in found.remarks] == [("image-not-on-disk", "b"), ("image-not-on-disk", "c")]
    assert "the image 'b.png' is not on disk below" in found.remarks[0].text
    assert "the image 'c.png' can mean 2 files (x/c.png, y/c.png). Name its folder with --images." in found.remarks[1].text
    assert ids(found)["b"] == [1]  # its objects are there all the same


def test_where_no_image_is_there_one_remark_says_so(tmp_path):
    found = made(tmp_path, *(Listed(f"{k}.png", tmp_path / "t.json") for k in range(9)))
    assert [r.code for r in found.remarks] == ["image-not-on-disk"]
    assert "none of its 9 images (as '0.png') is on disk" in found.remarks[0].text


def test_missing_images_of_one_name_in_two_splits(tmp_path):
    json = tmp_path / "t.json"
    found = made(tmp_path, Listed("a.png", json, split="train"), Listed("a.png", json, split="val"), Listed("..", json))
    assert [image.name for image in found.images] == ["a", "unnamed", "val/a"]


def test_files_that_no_annotation_names(tmp_path):
    touch(tmp_path, "images/a.png", "images/b.png", "masks/a_mask.png")
    listed = Listed("images/a.png", tmp_path / "t.json")
    assert [(r.code, r.image) for r in made(tmp_path, listed).remarks] == [("image-not-annotated", "b")]
    assert made(tmp_path, listed, others_count=False).remarks == ()


def test_objects_can_cross_to_another_process(tmp_path):
    touch(tmp_path, "a.png")
    found = made(tmp_path, Listed("a.png", tmp_path / "t.json", rows=[5]))
    objects, _ = pickle.loads(pickle.dumps(found.objects))(0)
    assert objects[0].id == 5
    with pytest.raises(IndexError):
        found.objects(1)


def test_images_beside_the_folder_of_annotations(tmp_path):
    touch(tmp_path, "annotations/t.json", "images/a.png")
    assert image_files(tmp_path / "annotations/t.json", None).folder == tmp_path
    assert image_files(tmp_path / "annotations", None).folder == tmp_path
    assert image_files(tmp_path / "annotations", tmp_path / "images").folder == tmp_path / "images"
    touch(tmp_path, "annotations/a.png")
    assert image_files(tmp_path / "annotations/t.json", None).folder == tmp_path / "annotations"
    with pytest.raises(InputError, match="none: no such folder of images"):
        image_files(tmp_path, tmp_path / "none")
