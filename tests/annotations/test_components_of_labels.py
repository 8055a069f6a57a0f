"""Class masks to objects."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.annotations.components import objects_of_labels
from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.io.masks import read_labels

CLASSES = ClassMap((0, 1, 5), ("background", "ship", "quay"))
LABELS = np.array([[5, 0, 1, 255], [0, 1, 255, 1], [0, 0, 0, 1]], np.uint8)


@pytest.mark.parametrize(("connectivity", "areas"), [(8, [4, 1]), (4, [1, 1, 2, 1])])
def test_each_part_of_a_class_is_an_object(connectivity, areas):
    found = objects_of_labels(LABELS, CLASSES, connectivity=connectivity, name="harbour")
    assert found.areas_px.tolist() == areas
    assert found.names == ["ship"] * (len(areas) - 1) + ["quay"]
    assert (found.hw, found.name, found.all_ids.tolist()) == ((3, 4), "harbour", list(range(1, len(areas) + 1)))


def test_background_and_ignored_pixels_stay_nowhere():
    found = objects_of_labels(LABELS, CLASSES)
    assert (found.to_labels() == np.where(LABELS == 255, 0, LABELS)).all()


def test_two_classes_that_touch_are_two_objects():
    assert objects_of_labels(np.array([[1, 5]]), CLASSES).class_ids.tolist() == [1, 5]


def test_small_parts_may_be_left_out():
    assert objects_of_labels(LABELS, CLASSES, connectivity=4, min_px=2).areas_px.tolist() == [2]


def test_no_object():
    found = objects_of_labels(np.zeros((2, 2), np.uint8), CLASSES)
    assert (len(found), found.boxes.shape) == (0, (0, 4))


def test_what_cannot_be_labels_is_refused():
    with pytest.raises(InputError, match=r"image: label ids \[7\] are not in the class map \(known: \[0, 1, 5\]\)"):
        objects_of_labels(np.array([[7]]), CLASSES)
    with pytest.raises(InputError, match=r"labels of shape \(2, 2, 1\)"):
        objects_of_labels(np.zeros((2, 2, 1), int), CLASSES)
    with pytest.raises(InputError, match=r"connectivity 6; expected 4 .* or 8"):
        objects_of_labels(LABELS, CLASSES, connectivity=6)


def test_real_ships(shared_data):
    ships = ClassMap((0, 1), ("background", "ship"), values=(((0, 0, 0),), ((0, 255, 0),)))
    paths = sorted(shared_data("ships-sar-hrsid").rglob("masks/*.png"))
    for path in paths[:3]:
        labels = read_labels(path, ships).labels
        found = objects_of_labels(labels, ships, name=path.stem)
        assert len(found) > 0
        assert (found.to_labels() == labels).all()
