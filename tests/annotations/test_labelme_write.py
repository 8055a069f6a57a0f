"""LabelMe out: polygons for what they hold, parts by group, a mask shape for holes."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
from PIL import Image

from maskwright.annotations.drawn import AnnotatedImage
from maskwright.annotations.labelme_write import document, write
from maskwright.classes import ClassMap
from maskwright.instances import Instances
from maskwright.ops.polygons import fill
from maskwright.ops.rle import Rle

CLASSES = ClassMap((0, 3, 90), ("background", "barge", "tanker"))


def one(mask: np.ndarray, rings: tuple = (), **given: object) -> Instances:
    return Instances((6, 8), CLASSES, np.array([90]), (Rle.from_mask(mask),), rings=(rings,) if rings else (), **given)


def test_a_square():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:6] = True
    top = document("a.jpg", one(mask, ids=np.array([5])))
    assert {k: v for k, v in top.items() if k != "shapes"} == {
        "version": "5.5.0",
        "flags": {},
        "imagePath": "a.jpg",
        "imageData": None,
        "imageHeight": 6,
        "imageWidth": 8,
    }
    assert top["shapes"] == [
        {
            "label": "tanker",
            "points": [[2.0, 1.0], [6.0, 1.0], [6.0, 4.0], [2.0, 4.0]],
            "group_id": 5,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }
    ]


def test_parts_share_a_group():
    mask = np.zeros((6, 8), bool)
    mask[0, 0] = mask[5, 7] = True
    shapes = document("a.jpg", one(mask))["shapes"]
    assert [(s["shape_type"], s["group_id"], s["points"][0]) for s in shapes] == [("polygon", 1, [0, 0]), ("polygon", 1, [7, 5])]


def test_a_hole_is_a_mask_from_its_first_to_its_last_pixel():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:6] = True
    mask[2, 3] = False
    (shape,) = document("a.jpg", one(mask))["shapes"]
    assert (shape["shape_type"], shape["points"]) == ("mask", [[2.0, 1.0], [5.0, 3.0]])
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"]))))
    assert picture.tolist() == [[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1]]


def test_drawn_vertices_stay_unless_a_ring_is_a_hole():
    outer = np.array([(1.2, 0.4), (7.0, 1.1), (5.5, 5.5), (1.3, 4.9)])
    apart = np.array([(0.0, 5.2), (1.0, 5.2), (1.0, 6.0), (0.0, 6.0)])
    hole = np.array([(3.0, 2.0), (5.0, 2.0), (4.0, 4.2)])
    both = document("a.jpg", one(fill([outer, apart], (6, 8)).to_mask(), (outer, apart)))["shapes"]
    assert [s["points"] for s in both] == [outer.tolist(), apart.tolist()]
    assert fill([hole], (6, 8)).area_px > 0
    (shape,) = document("a.jpg", one(fill([outer, hole], (6, 8)).to_mask(), (outer, hole)))["shapes"]
    assert shape["shape_type"] == "mask"


def test_files(tmp_path):
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "x.png")
    mask = np.ones((6, 8), bool)
    pairs = [
        (AnnotatedImage("a", tmp_path / "x.png", None), one(mask, scores=np.array([0.5], np.float32))),
        (AnnotatedImage("b", tmp_path / "x.png", None, "val"), one(mask, crowd=np.array([True]))),
    ]
    assert [(r.code, r.image) for r in write(tmp_path / "out", pairs)] == [("scores-lost", "a"), ("crowds-lost", "b")]
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*")) == [
        "a.json",
        "a.png",
        "val/b.json",
        "val/b.png",
    ]
    assert json.loads((tmp_path / "out/val/b.json").read_text())["shapes"] == []
