"""Which format a folder holds, and what is said when none or several fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.annotations.formats import FORMATS, detect, read_annotations
from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError

SQUARE = [1, 1, 4, 1, 4, 4, 1, 4]
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "height": 6, "width": 8}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [SQUARE]}],
    "categories": [{"id": 1, "name": "ship"}],
}
VIA = {"a.png-1": {"filename": "a.png", "size": -1, "regions": [], "file_attributes": {}}}
LABELME = {"version": "5", "shapes": [], "imagePath": "a.png", "imageHeight": 6, "imageWidth": 8}
LABEL_STUDIO = [{"annotations": [{"result": []}], "data": {"image": "a.png"}}]
FILES = {
    "coco": ("instances.json", json.dumps(COCO)),
    "via": ("via.json", json.dumps(VIA)),
    "labelme": ("a.json", json.dumps(LABELME)),
    "label_studio": ("export.json", json.dumps(LABEL_STUDIO)),
    "cvat": ("annotations.xml", '<annotations><version>1.1</version><image name="a.png" width="8" height="6"/></annotations>'),
    "yolo": ("a.txt", "0 0 0 1 0 1 1\n"),
}


def write(root: Path, *names: str) -> None:
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(root / "a.png")
    for name in names:
        (root / FILES[name][0]).write_text(FILES[name][1])


@pytest.mark.parametrize("name", FILES)
def test_each_format_is_told_from_the_others(name, tmp_path):
    write(tmp_path, name)
    file = FILES[name][0]
    assert detect(tmp_path) == [(name, file)]
    assert detect(tmp_path / file) == [(name, file)]
    found = read_annotations(tmp_path)
    assert found.format == name
    assert found.root == tmp_path
    assert [(i.name, i.path) for i in found.images] == [("a", tmp_path / "a.png")]
    assert file in found.line or name in ("labelme", "yolo")


def test_several_formats_are_named_with_their_evidence(tmp_path):
    write(tmp_path, "coco", "cvat")
    said = r"fits several formats: coco \(instances\.json\), cvat \(annotations\.xml\); say which one is meant, as --from coco"
    with pytest.raises(InputError, match=said):
        read_annotations(tmp_path)
    assert read_annotations(tmp_path, format="cvat").format == "cvat"


def test_nothing_that_is_known(tmp_path):
    write(tmp_path)
    with pytest.raises(
        FormatError, match=r"no annotations here that I know; say what they are with --from FORMAT: coco \(annotations"
    ):
        read_annotations(tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": "labelm"}, "no annotation format named 'labelm'; did you mean labelme"),
        ({"images": Path("none")}, "no such folder of"),
    ],
)
def test_options_that_mean_nothing(options, said, tmp_path):
    write(tmp_path, "coco")
    with pytest.raises(InputError, match=said):
        read_annotations(tmp_path, **options)


def test_no_such_place(tmp_path):
    with pytest.raises(InputError, match="none: no such file or folder"):
        read_annotations(tmp_path / "none")


def test_a_wrong_format_is_said_by_its_reader(tmp_path):
    write(tmp_path, "coco")
    for name in FILES:
        if name != "coco":
            with pytest.raises(InputError):
                read_annotations(tmp_path, format=name)


def test_classes_and_images_are_handed_on(tmp_path):
    write(tmp_path, "coco")
    (tmp_path / "other").mkdir()
    given = ClassMap((0, 5), ("background", "ship"))
    found = read_annotations(tmp_path, images=tmp_path / "other", classes=given)
    assert found.images[0].path is None
    assert found.objects(0)[0][0].class_id == 5


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_keeps_the_contract(name, tmp_path):
    module = FORMATS[name].load()
    assert module.looks_like(tmp_path) == ""
    with pytest.raises(InputError):
        module.read(tmp_path)
