"""Bootstrap intervals: what is drawn, that they cover, and the cases without an interval."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.metrics import Interval, SemanticScores, bootstrap, intervals, paired_difference, score_statistics, tally_of

TWO = ClassMap((0, 1), ("background", "lung"), background=0)


def mean_of(values: NDArray[np.float64]) -> intervals.Statistics:
    return lambda weights: {"mean": weights @ values / weights.sum(1)}


def matrices(count: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, 100, (count, 2, 3))


def test_values_are_those_of_the_whole_data_set() -> None:
    stack = matrices(12)
    found = bootstrap(score_statistics(tally_of(stack), TWO), [None] * 12, resamples=20)
    whole = SemanticScores.of(stack.sum(0), TWO)
    for name, value in whole.to_dict().items():
        assert found[name].value == value, name
    assert found["iou.lung"].value == whole.iou[1]
    assert found["dice.background"].value == whole.dice[0]
    hit, truth, predicted = tally_of(stack)[:, :, 1].T
    dice = 2 * hit / (truth + predicted)
    assert found["mean_image_dice"].value == pytest.approx(dice.mean())
    assert found["worst_twentieth"].value == pytest.approx(dice.min())
    assert all(i.low is not None and i.low <= i.value <= i.high for i in found.values() if i.high is not None)


def test_same_as_scoring_each_resample_by_hand() -> None:
    stack = matrices(5)
    weights = np.array([[2, 0, 1, 1, 1], [0, 5, 0, 0, 0]])
    scores = score_statistics(tally_of(stack), TWO)(weights)
    for row, times in enumerate(weights):
        alone = SemanticScores.of(np.repeat(stack, times, axis=0).sum(0), TWO)
        assert scores["mean_iou"][row] == alone.mean_iou
        assert scores["fw_iou"][row] == pytest.approx(alone.fw_iou)


def test_the_width_is_that_of_theory() -> None:
    values = np.random.default_rng(3).normal(0.5, 0.1, 400)
    found = bootstrap(mean_of(values), [None] * 400, resamples=4000)["mean"]
    error = values.std() / np.sqrt(400)  # of a mean; 1.96 of it on either side holds 95 %
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.1 * error)


def test_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    inside = 0
    for seed in range(200):
        found = bootstrap(mean_of(rng.random(40)), [None] * 40, resamples=300, seed=seed)["mean"]
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 0.5 <= found.high
    assert 0.90 <= inside / 200 <= 0.99


def test_the_seed_decides_and_the_chunk_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = score_statistics(tally_of(matrices(30)), TWO)
    first, other = (bootstrap(statistics, [None] * 30, resamples=50, seed=s) for s in (0, 1))
    monkeypatch.setattr(intervals, "CHUNK_VALUES", 30 * 7)
    again = bootstrap(statistics, [None] * 30, resamples=50, seed=0)
    assert first == again
    assert first["mean_iou"] != other["mean_iou"]


def test_groups_are_drawn_whole() -> None:
    # Ten patients with ten like images each: as 100 images the interval is narrower by sqrt(10) than as ten patients.
    values = np.repeat(np.random.default_rng(5).random(10), 10)
    patients = [f"p{k // 10}" for k in range(100)]
    single = bootstrap(mean_of(values), [None] * 100)["mean"]
    grouped = bootstrap(mean_of(values), patients)["mean"]
    assert single.low is not None
    assert single.high is not None
    assert grouped.low is not None
    assert grouped.high is not None
    assert (grouped.high - grouped.low) / (single.high - single.low) == pytest.approx(np.sqrt(10), rel=0.2)
    assert (grouped.unit, grouped.units) == ("group", 10)
    assert (single.unit, single.units) == ("image", 100)


def test_images_without_a_group_stand_alone_beside_groups() -> None:
    found = bootstrap(mean_of(np.arange(4.0)), ["p", "p", None, None], resamples=10)["mean"]
    assert (found.unit, found.units) == ("group", 3)


def test_one_image_has_a_value_and_no_interval() -> None:
    found = bootstrap(score_statistics(tally_of(matrices(1)), TWO), [None])["mean_iou"]
    assert found.low is None
    assert found.high is None
    assert str(found) == f"{found.value:.4f} (no interval from one image)"


def test_images_of_a_single_group_are_drawn_singly_and_it_is_said() -> None:
    one, none = (bootstrap(mean_of(np.arange(12.0)), [group] * 12, resamples=50)["mean"] for group in ("p", None))
    assert (one.low, one.high, one.unit, one.units) == (none.low, none.high, "image", 12)
    assert one.note == "all are of one group, so it speaks for that group only"
    assert none.note == ""
    assert bootstrap(mean_of(np.ones(1)), ["p"])["mean"].note == "no interval from one group"


def test_few_images_are_called_rough() -> None:
    assert bootstrap(mean_of(np.arange(9.0)), [None] * 9)["mean"].note == "rough: only 9 images"
    assert bootstrap(mean_of(np.arange(10.0)), [None] * 10)["mean"].note == ""


def test_a_class_that_is_missing_in_resamples_is_said() -> None:
    stack = np.zeros((10, 2, 3), np.int64)
    stack[:, 0, 0] = 9
    stack[0, 1] = [1, 4, 0]  # lung is in the first image only
    found = bootstrap(score_statistics(tally_of(stack), TWO), [None] * 10, resamples=500)
    # (1 - 1/10) ** 10 = 0.35 of the resamples leave the first image out
    note = found["iou.lung"].note
    assert note.startswith("not defined in ")
    assert 120 < int(note.split()[3]) < 230
    assert found["mean_iou"].note == ""


def test_undefined_scores_have_no_interval_and_are_null_in_json() -> None:
    stack = np.zeros((3, 2, 3), np.int64)
    stack[:, 0, 0] = 5
    found = bootstrap(score_statistics(tally_of(stack), TWO), [None] * 3)["iou.lung"]
    assert np.isnan(found.value)
    assert str(found) == "- (not defined here)"
    assert found.low is None


def test_no_resamples_gives_values_alone() -> None:
    found = bootstrap(mean_of(np.arange(5.0)), [None] * 5, resamples=0)["mean"]
    assert (found.value, found.low, found.note) == (2.0, None, "no interval was asked for")


def test_paired_difference_is_narrower_than_two_intervals() -> None:
    rng = np.random.default_rng(6)
    hard = rng.random(50)  # hard images are hard for both models; the second is better by 0.02
    first, second = hard, hard + 0.02 + rng.normal(0, 0.01, 50)
    found = paired_difference(mean_of(first), mean_of(second), [None] * 50)["mean"]
    assert found.value == pytest.approx(float((second - first).mean()))
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.value < found.high < 0.03
    apart = bootstrap(mean_of(first), [None] * 50)["mean"]
    assert apart.low is not None
    assert apart.high is not None
    assert found.high - found.low < (apart.high - apart.low) / 10


def test_difference_of_a_model_to_itself_is_zero() -> None:
    statistics = score_statistics(tally_of(matrices(8)), TWO)
    for name, found in paired_difference(statistics, statistics, [None] * 8, resamples=50).items():
        assert (found.value, found.low, found.high) == (0, 0, 0), name


def test_wrong_settings_are_named() -> None:
    with pytest.raises(InputError, match=r"at least one image.*got 0 images"):
        bootstrap(mean_of(np.ones(1)), [])
    with pytest.raises(InputError, match="resamples -1"):
        bootstrap(mean_of(np.ones(2)), [None, None], resamples=-1)
    with pytest.raises(InputError, match=r"level 1\.5"):
        bootstrap(mean_of(np.ones(2)), [None, None], level=1.5)


def test_interval_in_words_and_json() -> None:
    interval = Interval(0.9621, 0.9512, 0.9704, "image", 70, 1000)
    assert str(interval) == "0.9621 [0.9512, 0.9704]"
    assert json.loads(json.dumps(interval.to_dict()))["units"] == 70
