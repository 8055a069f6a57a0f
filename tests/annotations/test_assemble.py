"""From drawn objects to Instances: masks by their rules, ids, boxes, and what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskwright.annotations.assemble import instances_of
from maskwright.annotations.drawn import COCO, AnnotatedImage, Annotations, Drawn, Remark
from maskwright.classes import ClassMap
from maskwright.ops.polygons import fill, fill_coco
from maskwright.ops.rle import Rle

CLASSES = ClassMap((0, 3), ("background", "barge"))
SQUARE = np.array([(1.0, 1.0), (5.0, 1.0), (5.0, 4.0), (1.0, 4.0)])
HALFWAY = np.array([(1.5, 1.5), (5.5, 1.5), (5.5, 3.5), (1.5, 3.5)])  # edges through pixel centres: the rules differ
HW = (6, 8)


def a_set(*drawn: Drawn, hw: tuple[int, int] | None = HW, said: tuple[Remark, ...] = ()) -> Annotations:
    image = AnnotatedImage("a", None, hw, "all", Path("set.json"), "a.jpg")
    return Annotations("coco", Path("set.json"), "", CLASSES, (image,), lambda k: (list(drawn), list(said)))


def test_masks_follow_the_rule_of_their_file():
    runs = Rle.from_mask(np.eye(6, 8))
    rings = Drawn(3, (HALFWAY,)), Drawn(3, (HALFWAY,), rule=COCO), Drawn(3, rle=runs)
    found, remarks = instances_of(a_set(*rings), 0, HW)
    assert found.masks == (fill([HALFWAY], HW), fill_coco([HALFWAY], HW), runs)
    assert found.masks[0] != found.masks[1]
    assert [len(r) for r in found.rings] == [1, 1, 0]
    assert (found.name, found.hw, remarks) == ("a", HW, [])


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        ((7, 4), [7, 4]),
        ((7, 7), [1, 2]),
        ((7, None), [1, 2]),
        ((0, 1), [1, 2]),
        ((-3, 1), [1, 2]),
        ((900100581904, 1), [900100581904, 1]),
        ((2**63, 1), [1, 2]),
    ],
)
def test_ids_are_the_files_where_each_object_has_its_own(stated, kept):
    found, _ = instances_of(a_set(*(Drawn(3, (SQUARE,), id=i) for i in stated)), 0, HW)
    assert found.all_ids.tolist() == kept


@pytest.mark.parametrize(
    ("stated", "box"),
    [
        ((0.5, 0.5, 6, 4.5), [0.5, 0.5, 6, 4.5]),
        (None, [1, 1, 5, 4]),
        ((2, 2, 2, 5), [1, 1, 5, 4]),
        ((float("nan"), 0, 5, 5), [1, 1, 5, 4]),
    ],
)
def test_boxes_are_the_files_where_they_have_an_extent(stated, box):
    found, _ = instances_of(a_set(Drawn(3, (SQUARE,), box_xyxy=stated, crowd=True)), 0, HW)
    assert found.boxes.tolist() == [box]
    assert found.crowds.tolist() == [True]


def test_objects_without_a_pixel_are_left_out_and_said():
    outside = Drawn(3, (SQUARE + 20,), where="annotation 17")
    found, remarks = instances_of(a_set(Drawn(3, (SQUARE,)), outside, said=(Remark("two-points", "before"),)), 0, HW)
    assert len(found) == 1
    assert [(r.code, r.text) for r in remarks] == [
        ("two-points", "before"),
        ("zero-area", "set.json: annotation 17, image a: the object covers no pixel of the image; it is left out."),
    ]


def test_a_wrong_size_is_said_and_pixels_of_it_are_left_out():
    small = Drawn(3, rle=Rle.from_mask(np.ones((3, 4))), where="line 2")
    found, remarks = instances_of(a_set(Drawn(3, (SQUARE,)), small, hw=(3, 4)), 0, HW)
    assert [m.area_px for m in found.masks] == [12]  # polygons are filled on the image as it is
    assert [(r.code, r.text) for r in remarks] == [
        ("wrong-size", "set.json: says that a is 4x3, the image is 8x6; were the images resized after drawing?"),
        ("wrong-size", "set.json: line 2, image a: the object is a mask of 4x3, the image is 8x6; it is left out."),
    ]


@pytest.mark.parametrize("rule", ["even-odd", COCO])
def test_a_vertex_beyond_all_images(rule):
    far = np.array([(1.0, 1.0), (5.0, 1.0), (1e300, 4.0)])
    found, remarks = instances_of(a_set(Drawn(3, (far,), rule=rule), Drawn(3, (SQUARE,))), 0, HW)
    assert len(found) == 1
    assert [r.code for r in remarks] == ["out-of-image"]
    assert "a vertex more than 1048576 px away" in remarks[0].text


def test_an_image_without_objects():
    found, remarks = instances_of(a_set(), 0, HW)
    assert (len(found), found.boxes.shape, remarks) == (0, (0, 4), [])
