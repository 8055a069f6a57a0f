"""Per-image scores: the empty cases, the mean over images, the worst twentieth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskwright.classes import ClassMap
from maskwright.metrics import ImageScore, count_pairs, image_conventions, tally_of, worst_mean

LUNG = ClassMap((0, 1), ("background", "lung"), background=0)
TWO = ClassMap((0, 1, 2), ("background", "lung", "heart"), background=0)


def image(truth: list[int], found: list[int], classes: ClassMap = LUNG, name: str = "a") -> ImageScore:
    return ImageScore.of(name, None, tally_of(count_pairs(np.array(truth), np.array(found), classes)[0]), classes)


def test_dice_and_iou_of_one_image() -> None:
    score = image([0, 0, 1, 1], [0, 1, 1, 1])
    assert score.dice.tolist() == pytest.approx([2 / 3, 4 / 5])  # lung: 2 shared, 2 + 3 in all
    assert score.iou.tolist() == pytest.approx([1 / 2, 2 / 3])
    assert score.mean_dice == pytest.approx(4 / 5)  # the background is not in the mean
    assert score.mean_iou == pytest.approx(2 / 3)


def test_both_empty_is_1_one_empty_is_0() -> None:
    assert image([0, 0], [0, 0]).dice[1] == 1
    assert image([0, 0], [0, 1]).dice[1] == 0
    assert image([0, 1], [0, 0]).dice[1] == 0
    assert image([0, 0], [0, 0]).iou[1] == 1
    assert image([0, 1, 1], [0, 1, 1], TWO).mean_dice == 1  # heart is in neither


def test_ignored_pixels_do_not_make_a_class_present() -> None:
    assert image([0, 255], [0, 1]).dice[1] == 1  # lung is found only where nothing counts


def test_an_image_that_is_ignored_altogether_has_no_score() -> None:
    score = image([255, 255], [0, 1])
    assert np.isnan(score.mean_dice)
    assert np.isnan(score.dice).all()


def test_conventions_count_the_empty_cases() -> None:
    scores = [
        image([0, 0], [0, 0], TWO),  # neither, neither
        image([1, 0], [1, 2], TWO),  # lung in both, heart in one
        image([255, 255], [0, 1], TWO, name="blank"),
    ]
    said = "\n".join(image_conventions(scores, TWO))
    assert "mean over the 2 images and over the classes but 'background'" in said
    assert "scores 1 there (2 of 4 cases), empty in one of them 0 (1 cases)" in said
    assert "mean of the 1 lowest image Dice" in said
    assert "left out of the per-image scores: blank." in said


def test_conventions_of_no_image() -> None:
    assert "over the 0 images" in image_conventions([], LUNG)[0]


def test_worst_twentieth_by_hand() -> None:
    scores = np.linspace(1.0, 0.0, 41)  # 41 images: the lowest 3 are 0, 0.025, 0.05
    assert worst_mean(scores) == pytest.approx(0.025)
    assert worst_mean(np.array([0.7, 0.9])) == 0.7
    assert np.isnan(worst_mean(np.array([])))
    assert worst_mean(np.arange(1.0, 141.0)) == 4.0  # 140 / 20 is 7, though 0.05 * 140 is above 7 in floating point


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30)), min_size=1, max_size=50))
def test_weights_are_the_same_as_writing_the_image_so_often(pairs: list[tuple[float, int]]) -> None:
    scores, times = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    written = worst_mean(np.repeat(scores, times))
    assert worst_mean(scores, times[None])[0] == pytest.approx(float(written), nan_ok=True, abs=1e-12)
