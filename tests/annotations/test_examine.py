"""What the mask doctor says about the shapes of objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskwright.annotations.drawn import COCO, AnnotatedImage, Annotations, Drawn
from maskwright.annotations.examine import examine
from maskwright.annotations.formats import read_annotations
from maskwright.classes import ClassMap
from maskwright.ops.rle import Rle

CLASSES = ClassMap((0, 3, 4), ("background", "barge", "tanker"))
SQUARE = np.array([(10.0, 10.0), (110.0, 10.0), (110.0, 90.0), (10.0, 90.0)])
INNER = np.array([(30.0, 30.0), (50.0, 30.0), (50.0, 50.0), (30.0, 50.0)])
HW = (100, 120)


def examined(*drawn: Drawn) -> list[tuple[str, str]]:
    image = AnnotatedImage("a", None, HW, "all", Path("set.json"), "a.jpg")
    annotations = Annotations("coco", Path("set.json"), "", CLASSES, (image,), lambda k: (list(drawn), []))
    found, remarks = examine(annotations, 0, HW)
    assert len(found) <= len(drawn)
    assert all(r.image == "a" and r.path == Path("set.json") for r in remarks)
    return [(r.code, r.text) for r in remarks]


def test_sound_objects_need_no_word():
    assert examined(Drawn(3, (SQUARE,), box_xyxy=(10, 10, 110, 90)), Drawn(4, (SQUARE,)), Drawn(3, (SQUARE, INNER))) == []


def test_a_bow_tie():
    tie = SQUARE[[0, 2, 1, 3]]
    # The diagonals of the square from (10, 10) to (110, 90) cross in its middle.
    assert examined(Drawn(3, (tie,), where="annotation 5")) == [
        ("self-crossing", "set.json: annotation 5, image a: the object crosses itself at (60.0, 50.0); draw it again there.")
    ]


@pytest.mark.parametrize(("beyond", "said"), [(0.9, []), (1.5, ["out-of-image"])])
def test_a_pixel_beyond_the_image_is_no_mistake(beyond, said):
    ring = SQUARE.copy()
    ring[:, 0] += 10 + beyond  # its right edge stands at 120 + beyond
    assert [code for code, _ in examined(Drawn(3, (ring,)))] == said


def test_how_much_lies_outside():
    # 100 wide, from 70 to 170: 50 of 100 columns are beyond 120.
    ((code, text),) = examined(Drawn(3, (SQUARE + np.array([60, 0]),)))
    assert code == "out-of-image"
    assert "reaches 50.0 px beyond the image of 120x100 (50% of its area)" in text


@pytest.mark.parametrize(
    ("box", "fits"),
    [
        ((10, 10, 110, 90), True),
        ((5.1, 10, 110, 90), True),  # 4.9 px on a longer side of 100: within 5 %
        ((4.9, 10, 110, 90), False),  # 5.1 px
        ((10, 10, 110, 94.9), True),  # the longer side counts for both
        ((10, 10, 110, 95.1), False),
        ((10, 10, 210, 170), False),  # twice as large
        ((10, 10, 100, 80), False),  # x, y, width and height taken for corners
        ((float("nan"), 10, 110, 90), False),
    ],
)
def test_boxes(box, fits):
    assert [code for code, _ in examined(Drawn(3, (SQUARE,), box_xyxy=box))] == ([] if fits else ["box-mismatch"])


def test_a_small_objects_box_may_be_two_pixels_off():
    small = Rle.from_crop(np.ones((4, 4)), (20, 20), HW)
    assert examined(Drawn(3, rle=small, box_xyxy=(18.1, 20, 24, 24))) == []
    assert len(examined(Drawn(3, rle=small, box_xyxy=(17.9, 20, 24, 24)))) == 1


def test_the_thin_end_of_a_polygon_counts_for_its_box():
    # A needle of 100 px: towards (110, 12) it covers no pixel's centre, so the mask ends far before it.
    needle = np.array([(10.0, 10.0), (110.0, 12.1), (10.0, 12.0)])
    assert examined(Drawn(3, (needle,), box_xyxy=(10, 10, 110, 12.1))) == []
    assert [code for code, _ in examined(Drawn(3, (needle,), box_xyxy=(10, 10, 118, 12.1)))] == ["box-mismatch"]


def test_a_box_is_compared_within_the_image():
    ring = SQUARE + np.array([60, 0])
    assert [code for code, _ in examined(Drawn(3, (ring,), box_xyxy=(70, 10, 170, 90)))] == ["out-of-image"]


def test_twins():
    one, other = Drawn(3, (SQUARE,), where="line 1"), Drawn(3, (SQUARE[::-1],), where="line 2")
    assert examined(one, Drawn(4, (SQUARE,)), other) == [
        (
            "duplicate-object",
            "set.json: line 2, image a: the object has the very class and mask of line 1; delete one of the two.",
        )
    ]


def test_a_hole_that_cocos_rule_fills():
    codes = [code for code, _ in examined(Drawn(3, (INNER, SQUARE), rule=COCO))]
    assert codes == ["holes-lost"]
    beside = INNER * 0.2  # from (6, 6) to (10, 10): touches the large square in a corner
    assert examined(Drawn(3, (beside, SQUARE), rule=COCO)) == []


def test_an_object_without_area_is_said_once():
    line = np.array([(10.0, 10.2), (50.0, 10.2), (90.0, 10.2)])
    assert [code for code, _ in examined(Drawn(3, (line,), box_xyxy=(10, 10, 90, 10)))] == ["zero-area"]


def test_cocos_own_boxes_fit_and_moved_ones_do_not(shared_data):
    own = read_annotations(shared_data("coco-tiny"))
    found = [r.code for k, image in enumerate(own.images) for r in examine(own, k, image.hw)[1]]
    assert "box-mismatch" not in found

    def moved(k):
        drawn, remarks = own.objects(k)
        return [replace(d, box_xyxy=tuple(v + 40 for v in d.box_xyxy)) for d in drawn], remarks

    # 40 px are more than 5 % of anything in images of 640 px.
    few = range(0, len(own.images), 20)
    codes = [r.code for k in few for r in examine(replace(own, objects=moved), k, own.images[k].hw)[1]]
    drawn = [one for k in few for one in own.objects(k)[0]]
    assert codes.count("box-mismatch") >= 0.9 * len(drawn) > 5  # boxes on the right border end there, moved or not
