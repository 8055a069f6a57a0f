"""Instances check themselves, and become class maps and id maps by stated rules."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.ops.rle import Rle

CLASSES = ClassMap((0, 3, 7), ("background", "cell", "nucleus"))


def box(x0, y0, x1, y1, hw=(4, 6)):
    mask = np.zeros(hw, bool)
    mask[y0:y1, x0:x1] = True
    return Rle.from_mask(mask)


def two(**changes):
    given = {"hw": (4, 6), "classes": CLASSES, "class_ids": np.array([3, 7]), "masks": (box(0, 0, 4, 4), box(2, 1, 5, 3))}
    return Instances(**{**given, **changes})


def test_what_is_left_out_has_its_default():
    found = two()
    assert len(found) == 2
    assert found.all_ids.tolist() == [1, 2]
    assert not found.crowds.any()
    assert found.scores is None
    assert found.boxes.tolist() == [[0, 0, 4, 4], [2, 1, 5, 3]]
    assert found.areas_px.tolist() == [16, 6]
    assert found.names == ["cell", "nucleus"]


def test_stated_areas_stay_with_their_objects():
    found = two(stated_areas_px=np.array([900.0, np.nan]))
    assert found.select([1, 0]).stated_areas_px.tolist() == [pytest.approx(np.nan, nan_ok=True), 900.0]
    with pytest.raises(InputError, match="2 masks but 1 stated areas"):
        two(stated_areas_px=np.array([900.0]))


def test_none_at_all():
    none = Instances((4, 6), CLASSES, np.array([]), ())
    assert len(none) == 0
    assert none.boxes.shape == (0, 4)
    assert not none.to_labels().any()
    assert not none.to_ids().any()


def test_without_scores_the_smaller_is_on_top():
    labels = two().to_labels()
    assert (labels == 7).sum() == 6
    assert (labels == 3).sum() == 16 - 4


def test_with_scores_the_more_certain_is_on_top():
    labels = two(scores=np.array([0.9, 0.2], np.float32)).to_labels()
    assert (labels == 3).sum() == 16
    assert (labels == 7).sum() == 2


def test_crowds_count_nowhere_but_under_an_object():
    labels = two(crowd=np.array([False, True])).to_labels()
    assert (labels == 3).sum() == 16
    assert (labels == CLASSES.ignore_id).sum() == 2


def test_without_a_background_the_rest_is_ignored():
    plain = ClassMap((3, 7), ("cell", "nucleus"), background=None)
    assert (two(classes=plain).to_labels() == plain.ignore_id).sum() == 24 - 18


def test_id_map():
    ids = two(ids=np.array([500, 9])).to_ids()
    assert ids.dtype == np.uint16
    assert (ids == 500).sum() == 12
    assert (ids == 9).sum() == 6


def test_ids_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"ids up to 70000 do not fit in 16 bits"):
        two(ids=np.array([1, 70000])).to_ids()


def test_select_keeps_all_that_belongs_together():
    found = two(scores=np.array([0.9, 0.2], np.float32), ids=np.array([5, 6]), crowd=np.array([True, False]))
    second = found.select(np.array([False, True]))
    assert second.names == ["nucleus"]
    assert second.all_ids.tolist() == [6]
    assert second.masks == (found.masks[1],)
    assert found.select([1, 0]).all_ids.tolist() == [6, 5]
    assert len(found.select(np.zeros(2, bool))) == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"class_ids": np.array([3])}, "2 masks but 1 class ids"),
        ({"scores": np.array([0.5])}, "2 masks but 1 scores"),
        ({"class_ids": np.array([3, 4])}, r"class ids \[4\] are no classes of objects \(known: \[3, 7\]\)"),
        ({"class_ids": np.array([0, 3])}, r"class ids \[0\] are no classes of objects"),
        ({"masks": (box(0, 0, 1, 1), box(0, 0, 1, 1, (6, 4)))}, "a mask of 4x6 on an image of 6x4"),
        ({"ids": np.array([2, 2])}, "ids of objects are whole numbers from 1 on, each once"),
        ({"ids": np.array([0, 1])}, "ids of objects are whole numbers from 1 on"),
    ],
)
def test_it_checks_itself(changes, said):
    with pytest.raises(InputError, match=said):
        two(**changes)
