"""Overlaps of masks and boxes: counted by hand, equal to dense arrays and to pycocotools."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.metrics.objects import Objects, object_classes, overlaps, shared_px
from maskwright.ops.rle import Rle

CELLS = ClassMap((0, 1), ("background", "cell"), background=0)


def objects(*drawings: str, crowd: list[bool] | None = None) -> Objects:
    """One object a drawing, which may overlap."""
    masks = tuple(Rle.from_mask(np.array([[c == "1" for c in row] for row in drawing.split()])) for drawing in drawings)
    flags = None if crowd is None else np.array(crowd)
    return Objects.of(Instances(masks[0].hw, CELLS, np.ones(len(masks), np.int64), masks, crowd=flags))


def random_objects(rng: np.random.Generator, count: int) -> tuple[Objects, np.ndarray]:
    dense = rng.random((count, 13, 9)) < rng.random((count, 1, 1))
    masks = tuple(Rle.from_mask(mask) for mask in dense)
    return Objects.of(Instances((13, 9), CELLS, np.ones(count, np.int64), masks, crowd=rng.random(count) < 0.3)), dense


def test_overlap_by_hand() -> None:
    found = objects("11.. 11..", ".... ...1")
    truth = objects(".11. .11.", "1111 1111", ".... ....", crowd=[False, True, False])
    assert shared_px(found, truth).tolist() == [[2, 4, 0], [0, 1, 0]]
    # 2 shared of 4 + 4 - 2; the crowd holds all four and the one; an empty mask overlaps nothing
    assert overlaps(found, truth).tolist() == [[pytest.approx(2 / 6), 1, 0], [0, 1, 0]]
    # boxes are 2 x 2 and 1 x 1: (0, 0)-(2, 2) and (3, 1)-(4, 2) against (1, 0)-(3, 2) and (0, 0)-(4, 2)
    assert overlaps(found, truth, "box").tolist() == [[pytest.approx(2 / 6), 1, 0], [0, 1, 0]]


def test_boxes_are_their_own_where_they_are_given() -> None:
    mask = Rle.from_mask(np.ones((4, 4), bool))
    boxes = np.array([[0, 0, 3, 2.5]], np.float32)
    given = Objects.of(Instances((4, 4), CELLS, np.array([1]), (mask,), boxes_xyxy=boxes))
    assert given.boxes_xywh.tolist() == [[0, 0, 3, 2.5]]
    assert given.extent("box").tolist() == [7.5]
    assert given.extent("mask").tolist() == [16]


def test_shared_pixels_are_those_of_dense_masks() -> None:
    rng = np.random.default_rng(0)
    (found, a), (truth, b) = random_objects(rng, 12), random_objects(rng, 7)
    expected = (a.reshape(12, 1, -1) & b.reshape(1, 7, -1)).sum(-1)
    assert np.array_equal(shared_px(found, truth), expected)
    assert shared_px(found, truth.select(np.zeros(0, np.intp))).shape == (12, 0)
    assert shared_px(found.select(np.zeros(0, np.intp)), truth).shape == (0, 7)


@pytest.mark.parametrize("kind", ["mask", "box"])
def test_overlaps_are_bit_for_bit_those_of_pycocotools(kind: str) -> None:
    from pycocotools import mask as coco

    rng = np.random.default_rng(1)
    (found, _), (truth, _) = random_objects(rng, 30), random_objects(rng, 20)
    found.boxes_xywh[:] += rng.random((30, 4)).round(2)
    if kind == "mask":
        given = [[{"size": [13, 9], "counts": text} for text in side.texts] for side in (found, truth)]
    else:
        given = [side.boxes_xywh for side in (found, truth)]
    expected = coco.iou(*given, [int(c) for c in truth.crowd])
    assert np.array_equal(overlaps(found, truth, kind), expected)


def test_best_first_keeps_the_order_of_ties() -> None:
    masks = (Rle.from_mask(np.ones((2, 2), bool)),) * 4
    scores = np.array([0.2, 0.9, 0.2, 0.9], np.float32)
    found = Objects.of(Instances((2, 2), CELLS, np.ones(4, np.int64), masks, scores))
    assert found.best_first().tolist() == [1, 3, 0, 2]
    assert found.select(found.best_first()).scores.tolist() == pytest.approx([0.9, 0.9, 0.2, 0.2])


def test_classes_of_objects_leave_out_the_background() -> None:
    assert object_classes(CELLS) == ((1,), ("cell",))
    assert object_classes(ClassMap((4, 2), ("a", "b"), background=None)) == ((4, 2), ("a", "b"))
    with pytest.raises(InputError, match="holds only the background 'cell'"):
        object_classes(ClassMap((1,), ("cell",), background=1))
