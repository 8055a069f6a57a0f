"""From the names and numbers of a file to a class map."""

from __future__ import annotations

import pytest

from maskwright.annotations.class_names import by_name, by_number, unknown_class
from maskwright.classes import ClassMap
from maskwright.errors import InputError

GIVEN = ClassMap((0, 7), ("background", "ship"))


def test_names_in_sorted_order_behind_the_background():
    classes, ids = by_name({"tug", "ship", "_background_"}, None, colours={"ship": (1, 2, 3), "tug": (4, 5, 6)})
    assert (classes.ids, classes.names, classes.background) == ((0, 1, 2), ("background", "ship", "tug"), 0)
    assert classes.colours == ((0, 0, 0), (1, 2, 3), (4, 5, 6))
    assert ids == {"ship": 1, "tug": 2}


def test_colours_that_cannot_be_told_apart_are_not_taken():
    classes, _ = by_name({"a", "b"}, None, colours={"a": (9, 9, 9), "b": (9, 9, 9)})
    assert len(set(classes.colours)) == 3


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        ({1: "a", 90: "b"}, {1: 1, 90: 90}),  # kept, with the gap
        ({0: "a", 5: "b"}, {0: 1, 5: 6}),  # 0 is the background's: all one more
        ({0: "background", 5: "b"}, {5: 5}),  # 0 is the background itself
        ({3: "a", 255: "b"}, {3: 1, 255: 2}),  # 255 marks ignored pixels: counted anew
        ({-1: "a", 4: "b"}, {-1: 1, 4: 2}),
        ({1: "a", 2: "a", 3: "b"}, {1: 1, 2: 1, 3: 3}),  # two numbers of one name are one class
        ({}, {}),
    ],
)
def test_numbers_are_kept_where_they_can_be(names, ids):
    assert by_number(names, None)[1] == ids


def test_a_class_map_that_is_given_is_taken():
    assert by_name({"tug", "ship"}, GIVEN) == (GIVEN, {"ship": 7})
    assert by_number({1: "ship", 2: "tug"}, GIVEN) == (GIVEN, {1: 7})


def test_too_many_classes_are_refused_with_the_file():
    with pytest.raises(InputError, match=r"a\.json: 301 classes; at most 255"):
        by_name(map(str, range(300)), None, source="a.json")


def test_unknown_class_shows_near_ones():
    refused = unknown_class("shipp", GIVEN, "a.json: region 1")
    assert refused.code == "unknown-class"
    assert str(refused) == "a.json: region 1: class 'shipp' is not in the class map (near ones: ship). Add it there."
    assert "no kind of object" in str(unknown_class("background", GIVEN, "x"))
    assert "holds no kinds" in str(unknown_class("a", ClassMap((0,), ("background",)), "x"))
