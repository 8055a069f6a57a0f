"""Which found object takes which true one: the order, ties, crowds, what counts nowhere; values of the tables are overlaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maskwright.metrics.greedy import EXTRA, UNCOUNTED, by_overlap, by_score

HALF = np.array([0.5])


def taken(overlap: list[list[float]], uncounted: list[bool] | None = None, crowd: list[bool] | None = None) -> list[int]:
    table = np.array(overlap)
    flags = [np.zeros(table.shape[1], bool) if f is None else np.array(f) for f in (uncounted, crowd)]
    found: NDArray[np.int64] = by_score(table, HALF, flags[0][None], flags[1])[0, 0]
    return found.tolist()


def test_each_takes_what_it_overlaps_most_and_is_left() -> None:
    assert taken([[0.6, 0.9], [0.5, 0.8]]) == [1, 0]  # the first takes the better; the second has to take what is left
    assert taken([[0.6, 0.9], [0.4, 0.8]]) == [1, EXTRA]


def test_an_overlap_that_equals_the_threshold_reaches_it_and_the_later_of_equals_is_taken() -> None:
    assert taken([[0.5, 0.49]]) == [0]
    assert taken([[0.7, 0.7, 0.6]]) == [1]


def test_what_counts_nowhere_is_taken_only_for_want_of_anything_else() -> None:
    assert taken([[0.6, 0.9]], uncounted=[False, True]) == [0]
    assert taken([[0.4, 0.9], [0.4, 0.8]], uncounted=[False, True]) == [1, EXTRA]  # once only, since it is no crowd


def test_a_crowd_takes_any_number() -> None:
    assert taken([[0.9, 0.6], [0.8, 0.1], [0.7, 0.0]], uncounted=[True, False], crowd=[True, False]) == [1, 0, 0]


def test_thresholds_and_choices_do_not_disturb_each_other() -> None:
    overlap = np.array([[0.6, 0.7], [0.9, 0.0]])
    uncounted = np.array([[False, False], [False, True]])
    found = by_score(overlap, np.array([0.5, 0.65, 0.95]), uncounted, np.zeros(2, bool))
    assert found[0].tolist() == [[1, 0], [1, 0], [EXTRA, EXTRA]]
    # The second true object counts nowhere: at 0.5 the first found one takes the first true one, at 0.65 it cannot.
    assert found[1].tolist() == [[0, EXTRA], [1, 0], [EXTRA, EXTRA]]


def test_nothing_found_or_nothing_true() -> None:
    none = np.zeros(0, bool)
    assert by_score(np.zeros((2, 0)), HALF, none[None], none).tolist() == [[[EXTRA, EXTRA]]]
    assert by_score(np.zeros((0, 2)), HALF, np.zeros((1, 2), bool), np.zeros(2, bool)).shape == (1, 1, 0)
    assert by_overlap(np.zeros((2, 0)), HALF, none).tolist() == [[EXTRA, EXTRA]]
    assert by_overlap(np.zeros((0, 2)), HALF, np.zeros(2, bool)).shape == (1, 0)


def test_without_scores_the_best_pair_is_matched_first() -> None:
    overlap = np.array([[0.6, 0.7], [0.1, 0.9]])
    found = by_overlap(overlap, np.array([0.5, 0.65, 0.8]), np.zeros(2, bool))
    # 0.9 first, so the first found object has to take the first true one with 0.6
    assert found.tolist() == [[0, 1], [EXTRA, 1], [EXTRA, 1]]


def test_without_scores_what_lies_in_a_crowd_counts_nowhere() -> None:
    overlap = np.array([[0.6, 0.9], [0.0, 0.7], [0.3, 0.4]])
    found = by_overlap(overlap, np.array([0.5, 0.65]), np.array([False, True]))
    assert found.tolist() == [[0, UNCOUNTED, EXTRA], [UNCOUNTED, UNCOUNTED, EXTRA]]
