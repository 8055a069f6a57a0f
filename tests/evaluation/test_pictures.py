"""The pictures of truth and prediction: kinds of errors, ignored and unknown pixels, any size."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.classes import ClassMap
from maskwright.evaluation.pictures import ADDED, CONFUSED, ERRORS, MISSED, compare, error_kinds
from maskwright.io.image import Image
from maskwright.sample import Sample

THREE = ClassMap((0, 1, 2), ("background", "lung", "heart"), background=0)


def test_kinds_of_errors() -> None:
    truth = np.array([[0, 0, 1, 1, 1, 255, 1]])
    found = np.array([[0, 1, 1, 0, 2, 1, 255]])
    assert error_kinds(truth, found, THREE).tolist() == [[0, ADDED, 0, MISSED, CONFUSED, 0, MISSED]]


def test_without_a_background_every_error_is_a_confusion() -> None:
    classes = ClassMap((0, 1), ("sky", "road"), background=None)
    assert error_kinds(np.array([[0, 1]]), np.array([[1, 0]]), classes).tolist() == [[CONFUSED, CONFUSED]]


@pytest.mark.parametrize("hw", [(1, 1), (16, 16), (40, 700), (700, 40), (3, 1000), (1000, 3), (600, 500)])
def test_any_size(hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    sample = Sample(Image.from_array(rng.integers(0, 4096, hw).astype(np.uint16)), rng.choice([0, 1, 2, 255], hw), THREE, "x")
    picture = compare(sample, sample.labels, rng.choice([0, 1, 2, 255, 77], hw), "x: Dice 0.5")  # 77 is no known id
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert max(picture.shape) < 2200


def test_errors_are_seen_in_their_colour() -> None:
    truth = np.zeros((100, 100), np.uint8)
    truth[:50] = 1
    found = np.zeros_like(truth)
    sample = Sample(Image.from_array(np.full((100, 100, 3), 128, np.uint8)), truth, THREE, "x")
    wrong, right = compare(sample, truth, found, "x"), compare(sample, truth, truth, "x")
    missed = ERRORS[MISSED][1]
    # Half of a panel of 400 x 400 px: 100 px enlarged four times; the legend's swatch adds a little.
    assert 80_000 <= (wrong == missed).all(axis=2).sum() < 82_000
    assert (right == missed).all(axis=2).sum() == 0
