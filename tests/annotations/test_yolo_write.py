"""YOLO labels out: one ring an object, holes and parts bridged, the same pixels when read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from maskwright.annotations.drawn import AnnotatedImage
from maskwright.annotations.yolo_write import data_yaml, text, write
from maskwright.classes import ClassMap
from maskwright.instances import Instances
from maskwright.ops.polygons import fill
from maskwright.ops.rle import Rle

CLASSES = ClassMap((0, 3, 90), ("background", "barge", "tanker"))


def objects(*masks: np.ndarray, class_id: int = 3, rings: tuple = ()) -> Instances:
    hw = masks[0].shape
    return Instances((hw[0], hw[1]), CLASSES, np.full(len(masks), class_id), tuple(map(Rle.from_mask, masks)), rings=rings)


def read_back(line: str, hw: tuple[int, int]) -> Rle:
    shares = np.array(line.split()[1:], np.float64).reshape(-1, 2)
    assert shares.min() >= 0
    assert shares.max() <= 1
    return fill([shares * hw[::-1]], hw)


def test_a_square():
    mask = np.zeros((4, 8), bool)
    mask[1:3, 2:6] = True
    assert text(objects(mask)) == "0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n"
    assert text(objects(mask, class_id=90)).startswith("1 ")  # numbered without the background


def test_drawn_vertices_stay():
    ring = np.array([(1.0, 0.0), (7.0, 1.0), (2.0, 3.0)])
    found = objects(fill([ring], (4, 8)).to_mask(), rings=((ring,),))
    assert text(found) == "0 0.125 0 0.875 0.25 0.25 0.75\n"


def test_vertices_outside_the_image_are_not_kept():
    ring = np.array([(-3.0, 0.0), (5.0, 0.0), (5.0, 4.0), (-3.0, 4.0)])
    found = objects(fill([ring], (4, 8)).to_mask(), rings=((ring,),))
    assert text(found) == "0 0 0 0.625 0 0.625 1 0 1\n"  # the part inside, along pixel edges


def test_a_vertex_beside_a_pixel_centre_gets_the_digits_it_needs():
    # On 3 pixels 0.5 is the share 1/6. With six decimals the left edge lands at 0.500001, past the centre of the first column.
    ring = np.array([(0.5, 0.0), (3.0, 0.0), (3.0, 3.0), (0.5, 3.0)])
    found = objects(fill([ring], (3, 3)).to_mask(), rings=((ring,),))
    assert found.masks[0].area_px == 9
    assert read_back(text(found), (3, 3)) == found.masks[0]


@pytest.mark.parametrize("seed", range(6))
def test_holes_and_parts_come_back(seed):
    mask = np.random.default_rng(seed).random((23, 17)) < (0.3, 0.5, 0.7)[seed % 3]
    assert read_back(text(objects(mask)), (23, 17)) == Rle.from_mask(mask)


def test_drawn_holes_are_bridged():
    outer = np.array([(1.25, 1.0), (9.0, 1.0), (9.0, 9.0), (1.0, 9.0)])
    hole = np.array([(3.0, 3.0), (6.0, 3.3), (5.0, 7.0)])
    mask = fill([outer, hole], (10, 12))
    line = text(objects(mask.to_mask(), rings=((outer, hole),)))
    assert read_back(line, (10, 12)) == mask
    assert "0.333" not in line.split()[1]
    assert f"{3.3 / 10:.6f}".rstrip("0") in line.split()  # a vertex that was drawn, off the pixel edges


def test_a_whole_folder(tmp_path):
    mask = np.zeros((4, 8), bool)
    mask[1:3, 2:6] = True
    source = tmp_path / "a.png"
    source.write_bytes(b"not looked into")
    entries = [AnnotatedImage(n, source, None, s, None, "x.png") for n, s in (("a", "train"), ("d/b.v2", "val"), ("c", "all"))]
    crowd = Instances((4, 8), CLASSES, np.array([3]), (Rle.from_mask(mask),), crowd=np.array([True]))
    remarks = write(tmp_path / "out", zip(entries, (objects(mask), objects(mask), crowd), strict=True))
    assert [(r.code, r.image) for r in remarks] == [("crowds-lost", "c")]
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*") if p.is_file()) == [
        "data.yaml",
        "images/c.png",
        "images/train/a.png",
        "images/val/d/b.v2.png",
        "labels/c.txt",
        "labels/train/a.txt",
        "labels/val/d/b.v2.txt",
    ]
    assert (tmp_path / "out/labels/c.txt").read_text() == ""
    assert yaml.safe_load((tmp_path / "out/data.yaml").read_text()) == {
        "path": ".",
        "train": "images/train",
        "val": "images/val",
        "nc": 2,
        "names": {0: "barge", 1: "tanker"},
    }


def test_a_set_without_splits_names_none():
    assert set(yaml.safe_load(data_yaml(CLASSES, {"all"}))) == {"path", "nc", "names"}


def test_no_images_no_files(tmp_path):
    assert write(tmp_path, []) == []
    assert list(Path(tmp_path).iterdir()) == []
