"""Class weights from pixel counts that can be checked in the head."""

from __future__ import annotations

import pytest

from maskwright.errors import InputError
from maskwright.losses import class_weights


def test_none_weighs_all_alike():
    assert class_weights([900, 100]).tolist() == [1, 1]


def test_inverse_gives_each_class_the_same_part():
    # 1200 px, three classes: each should have 400 px worth.
    weights = class_weights([800, 300, 100], kind="inverse")
    assert weights.tolist() == pytest.approx([400 / 800, 400 / 300, 400 / 100])
    assert (weights.double() * 800).tolist()[0] == pytest.approx(400)


def test_median_frequency():
    # Frequencies 800/1200, 300/600, 100/400 = 2/3, 1/2, 1/4: median 1/2.
    assert class_weights([800, 300, 100], [1200, 600, 400], kind="median").tolist() == pytest.approx([0.75, 1.0, 2.0])


def test_median_of_two_is_the_mean_of_both():
    # 0.9 and 0.1: median 0.5.
    assert class_weights([90, 10], [100, 100], kind="median").tolist() == pytest.approx([5 / 9, 5.0])


@pytest.mark.parametrize("kind", ["inverse", "median"])
def test_absent_class_weighs_one_and_changes_no_other(kind):
    with_absent = class_weights([800, 0, 300, 100], [1200, 0, 600, 400], kind=kind).tolist()
    without = class_weights([800, 300, 100], [1200, 600, 400], kind=kind).tolist()
    assert with_absent == pytest.approx([without[0], 1.0, *without[1:]])
    assert class_weights([0, 0], [0, 0], kind=kind).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pixels": [1, 2], "kind": "inverted"}, "'inverted' are not known; expected one of none, inverse, median"),
        ({"pixels": [1, 2], "kind": "median"}, "'median' need image_pixels"),
        ({"pixels": [1, -2], "kind": "inverse"}, r"pixel counts \[1, -2\] cannot be"),
        ({"pixels": [], "kind": "none"}, r"pixel counts \[\] cannot be"),
        ({"pixels": [5, 5], "image_pixels": [4, 10], "kind": "median"}, "images hold all pixels of their classes"),
        ({"pixels": [5, 5], "image_pixels": [10], "kind": "median"}, "images hold all pixels of their classes"),
    ],
)
def test_impossible_counts_are_named(given, message):
    with pytest.raises(InputError, match=message):
        class_weights(**given)
