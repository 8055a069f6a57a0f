"""Boundary F1: outlines drawn by hand, its conventions, and the same numbers as by distance transforms."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.metrics import Boundary, ImageScore, boundary_conventions, boundary_f1, count_pairs, outline_tally, tally_of

TWO = ClassMap((0, 1), ("ground", "thing"), background=None)
SEVEN = ClassMap((4, 7), ("ground", "thing"), background=4, ignore_id=9, ignore_values=(9,))
# On the drawings below, 8 x 8 px, the diagonal is 11.3 px: a tolerance of one and a half pixels, and one of exactly nothing.
NEAR, EXACT = 1.5 / np.hypot(8, 8), 0.5 / np.hypot(8, 8)


def mask(drawing: str) -> NDArray[np.uint8]:
    return np.array([[int(c) for c in row] for row in drawing.split()], np.uint8)


SQUARE = mask("""
    00000000
    00000000
    00111100
    00111100
    00111100
    00111100
    00000000
    00000000
""")


def test_the_outline_by_hand() -> None:
    tally = outline_tally(SQUARE, SQUARE, TWO, EXACT)
    # The square of 4 x 4: 12 pixels around its 2 x 2 inside. The ground: the 4 x 4 pixels that touch its sides, without corners.
    assert tally.tolist() == [[16, 12], [16, 12], [16, 12], [16, 12]]
    assert boundary_f1(tally).tolist() == [1, 1]


def test_a_square_one_pixel_aside() -> None:
    found = np.roll(SQUARE, 1, axis=1)
    true, hit, outline, right = outline_tally(SQUARE, found, TWO, EXACT)[:, 1]
    # Columns 2..5 and 3..6: of the upper and the lower side 3 pixels each are common; the left side of the found square lies
    # in column 3, where the true one has only those of the upper and the lower side, and so the right.
    assert (true, hit, outline, right) == (12, 6, 12, 6)
    assert boundary_f1(outline_tally(SQUARE, found, TWO, EXACT))[1] == pytest.approx(0.5)
    assert boundary_f1(outline_tally(SQUARE, found, TWO, NEAR))[1] == 1  # every pixel is 1 px away


def test_precision_and_recall_are_not_alike() -> None:
    more = SQUARE.copy()
    more[0, 0] = 1  # a speck: 1 pixel of outline that nothing is near, hypot(2, 2) = 2.8 px from the square
    true, hit, outline, right = outline_tally(SQUARE, more, TWO, NEAR)[:, 1]
    assert (true, hit, outline, right) == (12, 12, 13, 12)
    assert boundary_f1(outline_tally(SQUARE, more, TWO, NEAR))[1] == pytest.approx(2 * (12 / 13) / (12 / 13 + 1))


def test_a_distance_counts_when_it_is_smaller_than_the_tolerance() -> None:
    far = np.roll(SQUARE, 2, axis=1)
    # The left side moves by exactly 2 px; the nearest true outline to its middle is the right side or the left, 1 or 2 px away.
    exactly = outline_tally(SQUARE, far, TWO, 2 / np.hypot(8, 8))[:, 1]
    a_little_more = outline_tally(SQUARE, far, TWO, 2.01 / np.hypot(8, 8))[:, 1]
    assert exactly[1] < exactly[0]
    assert a_little_more[1] == a_little_more[0] == 12


def test_the_border_of_the_image_is_no_outline() -> None:
    half = np.zeros((6, 8), np.uint8)
    half[:, 5:] = 1
    assert outline_tally(half, half, TWO, EXACT)[0].tolist() == [6, 6]  # a column on either side of the edge


def test_absent_classes_and_full_images() -> None:
    empty, full = np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8)
    assert np.isnan(boundary_f1(outline_tally(empty, empty, TWO))).all()  # no outline at all
    assert np.isnan(boundary_f1(outline_tally(empty, full, TWO))).all()  # all wrong, and yet no outline: mean IoU says it
    assert boundary_f1(outline_tally(SQUARE, empty, TWO)).tolist() == [0, 0]
    assert boundary_f1(outline_tally(empty, SQUARE, TWO)).tolist() == [0, 0]


def test_ignored_pixels_hide_outlines_in_both() -> None:
    truth = np.where(SQUARE == 1, 7, 4)
    truth[:, 4:] = 9
    answer = np.where(SQUARE == 1, 7, 4)
    wild = answer.copy()
    wild[:, 4:] = [[4, 7, 4, 7]] * 8  # whatever is said where nothing is known
    tally = outline_tally(truth, answer, SEVEN, EXACT)
    # Left are the columns 2 and 3 of the square: the left side of 4 and two more pixels above and below; none next to column 4.
    assert tally[:, 1].tolist() == [6, 6, 6, 6]
    assert np.array_equal(tally, outline_tally(truth, wild, SEVEN, EXACT))


def test_void_predictions_end_a_class_and_have_no_outline() -> None:
    found = np.where(SQUARE == 1, 255, 0)
    tally = outline_tally(SQUARE, found, TWO, EXACT)
    assert tally[2].tolist() == [16, 0]
    assert boundary_f1(tally).tolist() == [1, 0]


def by_distance(truth: NDArray[np.uint8], found: NDArray[np.uint8], classes: ClassMap, tolerance: float) -> NDArray[np.int64]:
    """The definition, class by class: masks, their inner outlines, Euclidean distances."""
    reach, counted = tolerance * np.hypot(*truth.shape), truth != classes.ignore_id
    rows = np.zeros((4, len(classes)), np.int64)
    for k, class_id in enumerate(classes.ids):
        lines = []
        for labels in (truth, found):
            inside = (labels == class_id) & counted
            outside = (labels != class_id) & counted
            lines.append(inside & ndimage.binary_dilation(outside))
        for n, (line, other) in enumerate((lines, lines[::-1])):
            away = ndimage.distance_transform_edt(~other) if other.any() else np.full(truth.shape, np.inf)
            rows[2 * n, k], rows[2 * n + 1, k] = line.sum(), (line & (away < reach)).sum()
    return rows


@pytest.mark.parametrize(("classes", "hw"), [(3, (40, 61)), (11, (97, 64)), (40, (50, 70)), (130, (64, 90))])
@pytest.mark.parametrize("tolerance", [0.0, 0.0075, 0.03, 0.1])
def test_equal_to_distance_transforms(classes: int, hw: tuple[int, int], tolerance: float) -> None:
    rng = np.random.default_rng(classes)
    truth, found = (
        rng.integers(0, classes, (hw[0] // 4 + 1, hw[1] // 4 + 1)).repeat(4, 0).repeat(4, 1)[: hw[0], : hw[1]] for _ in range(2)
    )
    found = np.where(rng.random(hw) < 0.8, np.roll(truth, (1, 2), (0, 1)), found)
    truth = np.where(ndimage.gaussian_filter(rng.normal(size=hw), 3) > 0.08, 255, truth).astype(np.uint8)
    names = ClassMap(tuple(range(classes)), tuple(map(str, range(classes))), background=None)
    expected = by_distance(truth, found.astype(np.uint8), names, tolerance)
    assert np.array_equal(outline_tally(truth, found.astype(np.uint8), names, tolerance), expected)


def test_a_tolerance_wider_than_the_image() -> None:
    thin = np.array([[0, 1, 1, 0, 0]], np.uint8)
    assert boundary_f1(outline_tally(thin, thin[:, ::-1], TWO, 3.0)).tolist() == [1, 1]
    assert outline_tally(np.zeros((1, 1), np.uint8), np.ones((1, 1), np.uint8), TWO, 3.0).sum() == 0


def test_a_data_set_is_the_mean_of_its_images() -> None:
    counted = Boundary(TWO, tolerance=EXACT)
    empty = np.zeros((8, 8), np.uint8)
    for truth, found in ((SQUARE, SQUARE), (SQUARE, empty), (empty, empty)):
        counted.update(truth, found)
    scores = counted.compute()
    assert scores.mean == 0.5  # 1 and 0; the image without an outline is left out
    assert scores.images == 2
    assert scores.per_class.tolist() == [0.5, 0.5]
    assert np.isnan(scores.per_image[2]).all()
    nothing = Boundary(TWO).compute()
    assert np.isnan(nothing.mean)
    assert nothing.images == 0


def test_the_background_is_left_out_of_the_mean() -> None:
    speck = np.where(SQUARE == 1, 7, 4)
    moved = np.roll(speck, 1, axis=1)
    counted = Boundary(SEVEN, tolerance=EXACT)
    each = counted.update(speck, moved)
    assert each[0] != each[1]
    assert counted.compute().mean == each[1]


def test_conventions_say_how_it_was_counted() -> None:
    def score(truth: NDArray[np.uint8], found: NDArray[np.uint8], outlines: bool = True) -> ImageScore:
        f1 = boundary_f1(outline_tally(truth, found, TWO)) if outlines else None
        return ImageScore.of("a", None, tally_of(count_pairs(truth, found, TWO)[0]), TWO, f1)

    empty = np.zeros((8, 8), np.uint8)
    said = " ".join(boundary_conventions([score(SQUARE, SQUARE), score(SQUARE, empty), score(empty, empty)], TWO))
    assert "over the classes that have an outline in truth or prediction, then over the 2 images" in said
    assert "closer than 0.75% of the diagonal" in said
    assert "(2 cases)" in said
    assert boundary_conventions([score(SQUARE, SQUARE, outlines=False)], TWO) == ()


def test_shapes_must_agree() -> None:
    with pytest.raises(InputError, match=r"the prediction has the shape \(4, 8\) and the truth \(8, 8\); expected one \(H, W\)"):
        outline_tally(SQUARE, SQUARE[:4], TWO)


def test_a_street_scene_takes_milliseconds() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 11, (36, 48)).astype(np.uint8).repeat(10, 0).repeat(10, 1)
    names = ClassMap.known("camvid")
    best = float("inf")
    for _ in range(7):
        start = time.process_time()
        outline_tally(truth, np.roll(truth, 3, axis=1), names)
        best = min(best, time.process_time() - start)
    assert best < 0.12  # 5 ms alone; a distance transform a class would take 300
