"""Colours: the class map's palette, label maps in it, heat."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.classes import ClassMap
from maskwright.ops.colour import IGNORED_COLOUR, colour_labels, heat, palette_of

CLASSES = ClassMap((0, 3), ("ground", "road"), colours=((1, 2, 3), (200, 100, 50)))
WIDE = ClassMap((0, 300), ("ground", "road"), colours=((1, 2, 3), (200, 100, 50)))


@pytest.mark.parametrize(("classes", "size", "road"), [(CLASSES, 256, 3), (WIDE, 65536, 300)])
def test_palette(classes, size, road):
    palette = palette_of(classes)
    assert palette.shape == (size, 3)
    assert [palette[i].tolist() for i in (0, road, 255, 9)] == [[1, 2, 3], [200, 100, 50], list(IGNORED_COLOUR), [0, 0, 0]]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64"])
@pytest.mark.parametrize(("classes", "road"), [(CLASSES, 3), (WIDE, 300)])
def test_labels_in_colour(dtype, classes, road):
    if dtype == "uint8" and road > 255:
        dtype = "uint32"
    labels = np.array([[0, road, 255], [road, 0, 0]], dtype)
    picture = colour_labels(labels, classes)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, palette_of(classes)[labels])
    assert picture.flags.c_contiguous


def test_part_of_a_larger_label_map():
    labels = np.tile(np.array([0, 3], np.uint8), (4, 4))
    assert colour_labels(labels[:, ::2], CLASSES).reshape(-1, 3).tolist() == [[1, 2, 3]] * 16


def test_heat_goes_from_black_to_the_lightest():
    # 0 is black; half of the greatest value is step 127 of 255, just below the middle knot (227, 26, 28).
    found = heat(np.array([[0.0, 0.1, 0.2]]))
    assert found[0, 0].tolist() == [0, 0, 0]
    assert np.abs(found[0, 1].astype(int) - (227, 26, 28)).max() <= 2
    assert found[0, 2].tolist() == [255, 255, 204]
    assert not heat(np.zeros((2, 3))).any()
