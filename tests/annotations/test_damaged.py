"""Damage of every kind in every polygon format: each value replaced, each file cut short; always an answer or an explanation."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskwright.annotations.formats import read_annotations
from maskwright.errors import InputError

FLAT = [1, 1, 4, 1, 4, 4, 1, 4]
PAIRS = [[1, 1], [4, 1], [4, 4], [1, 4]]
MASK = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
# One pixel of brush over 1 x 1: 4 values, words of 8 bits, lengths of 4 bits, one repeated block of 4 times 255.
BRUSH = [0, 0, 0, 4, 0b00111_001, 0b1_0011_001, 0b1_0011_1_00, 0b0011_1111, 0b1111_0000]

FILES: dict[str, tuple[str, Any]] = {
    "coco": ("set.json", {
        "images": [{"id": 1, "file_name": "a.png", "height": 6, "width": 8}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [FLAT], "bbox": [1, 1, 3, 3], "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 1, "segmentation": {"size": [6, 8], "counts": [8, 4, 36]}, "iscrowd": 1},
            {"id": 3, "image_id": 1, "category_id": 1, "segmentation": {"size": [6, 8], "counts": "2135Q1"}},
        ],
        "categories": [{"id": 1, "name": "ship"}],
    }),
    "via": ("set.json", {
        "_via_img_metadata": {"a.png-1": {
            "filename": "a.png", "size": -1, "width": 8, "height": 6,
            "regions": [
                {"shape_attributes": {"name": "polygon", "all_points_x": [1, 4, 4], "all_points_y": [1, 1, 4]}, "region_attributes": {"label": "a"}},
                {"shape_attributes": {"name": "ellipse", "cx": 4, "cy": 3, "rx": 2, "ry": 1, "theta": 1.5}, "region_attributes": {"label": {"a": True}}},
            ],
        }},
    }),
    "via3": ("set.json", {
        "project": {"vid_list": ["1"]}, "config": {}, "attribute": {"1": {"aname": "label", "options": {"0": "ship"}}},
        "file": {"1": {"fid": "1", "fname": "a.png", "type": 2, "src": ""}}, "view": {"1": {"fid_list": ["1"]}},
        "metadata": {"m": {"vid": "1", "z": [], "xy": [7, *FLAT], "av": {"1": "0"}}, "n": {"vid": "1", "xy": [9, 2, 3, 4, 1, 6, 3], "av": {}}},
    }),
    "labelme": ("a.json", {
        "version": "5", "flags": {}, "imagePath": "a.png", "imageData": None, "imageHeight": 6, "imageWidth": 8,
        "shapes": [
            {"label": "ship", "points": PAIRS, "group_id": 1, "shape_type": "polygon", "flags": {}},
            {"label": "ship", "points": PAIRS[:2], "group_id": 1, "shape_type": "circle", "flags": {}},
            {"label": "ship", "points": [[2, 2], [2, 2]], "group_id": None, "shape_type": "mask", "mask": MASK},
        ],
    }),
    "label_studio": ("set.json", [{
        "id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-a.png"},
        "annotations": [{"was_cancelled": False, "result": [
            {"id": "r", "type": "polygonlabels", "original_width": 8, "original_height": 6, "image_rotation": 0,
             "value": {"points": PAIRS, "polygonlabels": ["ship"]}},
            {"id": "s", "type": "rectanglelabels", "original_width": 8, "original_height": 6,
             "value": {"x": 10, "y": 10, "width": 20, "height": 30, "rotation": 15, "rectanglelabels": ["ship"]}},
            {"id": "t", "type": "brushlabels", "original_width": 1, "original_height": 1, "value": {"format": "rle", "rle": BRUSH, "brushlabels": ["ship"]}},
        ]}],
    }]),
}  # fmt: skip
CVAT = (
    '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><job><labels><label><name>ship</name>'
    '<color>#ff0000</color></label></labels></job></meta><image id="0" name="a.png" subset="train" width="8" height="6">'
    '<polygon label="ship" group_id="1" points="1,1;4,1;4,4"/><ellipse label="ship" group_id="1" cx="4" cy="3" rx="2" ry="1" rotation="9"/>'
    '<box label="ship" xtl="1" ytl="2" xbr="4" ybr="5" rotation="30"/><mask label="ship" rle="1,1,1,3" left="2" top="1" width="3" height="2"/>'
    "</image></annotations>"
)
YOLO = {
    "labels/a.txt": "0 0.1 0.1 0.9 0.1 0.5 0.9\n1 0.5 0.5 0.2 0.2\n",
    "data.yaml": "path: .\ntrain: images\nnames: [ship, tug]\n",
}
WRONG = (None, 7, -1.5, 1e300, "x", "", [], [1], {}, {"x": 1}, True)


def format_of(name: str) -> str:
    return name.rstrip("3")


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a JSON tree, the outermost included; of long lists to the first two only."""
    yield way
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ():
        yield from places(inner, (*way, key))


def replaced(value: Any, way: tuple[Any, ...], by: Any) -> Any:
    if not way:
        return by
    changed = copy.deepcopy(value)
    inner = changed
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = by
    return changed


def draw(root: Path) -> None:
    (root / "images").mkdir()
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(root / "images" / "a.png")


def outcome(root: Path, name: str) -> str:
    """Read all there is: "read", or the sentence of the error; any other error comes through."""
    try:
        found = read_annotations(root, format=format_of(name))
    except InputError as error:
        return str(error)
    sentences = [remark.text for remark in found.remarks]
    for k, image in enumerate(found.images):
        objects, remarks = found.objects(k)
        sentences += [remark.text for remark in remarks]
        for one in objects:
            assert one.class_id in found.classes.ids
            try:
                one.mask(image.hw or (6, 8))
            except InputError as error:
                sentences.append(str(error))
    assert all(sentence.endswith((".", "?")) and "\n" not in sentence for sentence in sentences), sentences
    return "read"


@pytest.mark.parametrize("name", FILES)
def test_any_value_may_be_wrong(name, tmp_path):
    draw(tmp_path)
    file, content = FILES[name]
    (tmp_path / file).write_text(json.dumps(content))
    assert outcome(tmp_path, name) == "read"
    for way in places(content):
        for wrong in WRONG:
            (tmp_path / file).write_text(json.dumps(replaced(content, way, wrong)))
            said = outcome(tmp_path / file, name)
            assert said == "read" or (said.endswith((".", "?")) and str(tmp_path) in said), (way, wrong, said)


@pytest.mark.parametrize("name", FILES)
def test_any_field_may_be_missing(name, tmp_path):
    draw(tmp_path)
    file, content = FILES[name]
    for way in places(content):
        if way:
            changed = copy.deepcopy(content)
            inner = changed
            for key in way[:-1]:
                inner = inner[key]
            del inner[way[-1]]
            (tmp_path / file).write_text(json.dumps(changed))
            outcome(tmp_path / file, name)


@pytest.mark.parametrize("name", [*FILES, "cvat"])
def test_any_file_may_be_cut_short(name, tmp_path):
    draw(tmp_path)
    file, text = ("set.xml", CVAT) if name == "cvat" else (FILES[name][0], json.dumps(FILES[name][1]))
    for length in range(0, len(text) - 1, 23):
        (tmp_path / file).write_text(text[:length])
        with pytest.raises(InputError, match=r"is not whole|the file is empty"):
            read_annotations(tmp_path / file, format=format_of(name))


def test_any_attribute_of_cvat_may_be_wrong(tmp_path):
    draw(tmp_path)
    (tmp_path / "set.xml").write_text(CVAT)
    assert outcome(tmp_path, "cvat") == "read"
    for match in re.finditer(r'="([^"]*)"|>([^<]+)<', CVAT[38:]):
        start, end = (38 + match.start(g) for g in (1, 2) if match[g] is not None), 38 + match.end() - 1
        for wrong in ("", "x", "7", "-1.5", "1e300", "nan", "1,2;3", "0"):
            (tmp_path / "set.xml").write_text(CVAT[: next(iter(start), end)] + wrong + CVAT[end:])
            outcome(tmp_path / "set.xml", "cvat")


@pytest.mark.parametrize("file", YOLO)
def test_any_word_of_yolo_may_be_wrong(file, tmp_path):
    draw(tmp_path)
    for name, text in YOLO.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert outcome(tmp_path, "yolo") == "read"
    for match in re.finditer(r"[^\s:,\[\]]+", YOLO[file]):
        for wrong in ("", "x", "-7", "1e300", "nan", "null", "{}", "[1]", '"', "\u2028", "../.."):
            (tmp_path / file).write_text(YOLO[file][: match.start()] + wrong + YOLO[file][match.end() :], encoding="utf-8")
            outcome(tmp_path, "yolo")
    for length in range(len(YOLO[file])):
        (tmp_path / file).write_text(YOLO[file][:length])
        outcome(tmp_path, "yolo")
