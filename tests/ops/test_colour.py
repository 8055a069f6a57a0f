"""Colours: the class map's palette, label maps in it, and text that can be read on a colour."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.classes import ClassMap
from maskwright.ops.colour import BLACK, IGNORED_COLOUR, WHITE, colour_labels, luminance, palette_of, text_colour

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


@pytest.mark.parametrize(
    ("colour", "expected"),
    [(BLACK, 0), (WHITE, 1), ((255, 0, 0), 0.2126), ((0, 255, 0), 0.7152), ((10, 0, 0), 0.2126 * 10 / 255 / 12.92)],
)
def test_luminance(colour, expected):
    assert luminance(colour) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ground", "text"), [(WHITE, BLACK), (BLACK, WHITE), ((255, 212, 40), BLACK), ((150, 22, 62), WHITE), ((0, 0, 255), WHITE)]
)
def test_text_stands_out(ground, text):
    assert text_colour(ground) == text
    # WCAG contrast of the chosen against the ground is at least 4.5 whichever ground, as max of both is.
    light, dark = sorted((luminance(ground), luminance(text)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
