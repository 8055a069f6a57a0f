"""The scores: by hand on drawn labels, equal to scikit-learn and torchmetrics, and the printed conventions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, jaccard_score
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from maskwright.classes import ClassMap
from maskwright.metrics import Confusion, SemanticScores, rates, tally_of

FOUR = ClassMap((0, 1, 2, 3), ("ground", "road", "car", "boat"), background=0)


def scores_of(truth: list[int], found: list[int], classes: ClassMap = FOUR) -> SemanticScores:
    confusion = Confusion(classes)
    confusion.update(np.array([truth]), np.array([found]))
    return confusion.compute()


def test_every_score_by_hand() -> None:
    scores = scores_of(truth=[0, 0, 0, 0, 1, 1, 255, 1], found=[0, 0, 0, 1, 1, 1, 1, 2])
    # counted 7: ground 4 (3 hit), road 3 (2 hit, one more found in ground), car 0 (1 found), boat nowhere
    assert scores.pixel_accuracy == pytest.approx(5 / 7)
    assert scores.accuracy[:2].tolist() == pytest.approx([3 / 4, 2 / 3])
    assert np.isnan(scores.accuracy[2:]).all()
    assert scores.mean_pixel_accuracy == pytest.approx((3 / 4 + 2 / 3) / 2)  # car is not in the truth
    assert scores.mean_pixel_accuracy_no_background == pytest.approx(2 / 3)
    assert scores.iou[:3].tolist() == pytest.approx([3 / 4, 2 / 4, 0])  # ground 3 of 4 + 3 - 3, road 2 of 3 + 3 - 2
    assert np.isnan(scores.iou[3])
    assert scores.mean_iou == pytest.approx((3 / 4 + 2 / 4 + 0) / 3)  # boat is left out, car counts 0
    assert scores.mean_iou_no_background == pytest.approx((2 / 4 + 0) / 2)
    assert scores.fw_iou == pytest.approx(4 / 7 * 3 / 4 + 3 / 7 * 2 / 4)
    assert scores.dice[:3].tolist() == pytest.approx([6 / 7, 4 / 6, 0])
    assert scores.mean_dice == pytest.approx((6 / 7 + 4 / 6) / 3)
    assert scores.mean_dice_no_background == pytest.approx((4 / 6) / 2)
    assert (scores.counted_px, scores.ignored_px, scores.void_px) == (7, 1, 0)
    assert (scores.absent, scores.only_predicted) == (("boat",), ("car",))


def test_void_predictions_are_wrong_not_dropped() -> None:
    scores = scores_of(truth=[1, 1, 1, 1], found=[1, 255, 99, 1])
    assert scores.pixel_accuracy == 2 / 4
    assert scores.iou[1] == 2 / 4  # the truth's four pixels are all in the union
    assert scores.dice[1] == pytest.approx(2 * 2 / (4 + 2))
    assert scores.void_px == 2


def test_nothing_counted_is_nan_not_zero_and_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = scores_of(truth=[255, 255], found=[0, 1])
        assert all(np.isnan(v) for v in scores.to_dict().values())
        assert scores.absent == FOUR.names


def test_only_background_in_the_map_has_no_score_without_it() -> None:
    scores = scores_of([0], [0], ClassMap((0,), ("ground",), background=0))
    assert scores.mean_iou == 1
    assert np.isnan(scores.mean_iou_no_background)


def test_without_a_background_both_means_agree() -> None:
    scores = scores_of([0, 0, 1], [0, 1, 1], ClassMap((0, 1), ("a", "b"), background=None))
    assert scores.mean_iou == scores.mean_iou_no_background == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert "No class is the background: means with and without background are the same." in scores.conventions


def test_background_may_stand_anywhere() -> None:
    scores = scores_of([5, 9, 9], [5, 5, 9], ClassMap((5, 9), ("thing", "rest"), background=9))
    assert scores.mean_iou_no_background == 1 / 2  # thing: 1 of 2


def test_conventions_name_what_was_done() -> None:
    said = "\n".join(scores_of(truth=[0, 0, 255, 1], found=[0, 99, 1, 2]).conventions)
    assert "Ignored pixels (label 255 in the truth) count nowhere: 1 ignored, 3 counted." in said
    assert "void or no known id counts as wrong: 1 pixels." in said
    assert "left out of the means: boat." in said
    assert "Predicted but not in the truth, so IoU and Dice 0 and left out of the mean pixel accuracy: car." in said
    assert "Means without background leave out the class 'ground'." in said


def test_conventions_are_silent_about_what_did_not_happen() -> None:
    said = "\n".join(scores_of([0, 1, 2, 3], [0, 1, 2, 3]).conventions)
    assert "left out of the means" not in said
    assert "not in the truth" not in said


@settings(max_examples=30, deadline=None)
@given(classes=st.integers(2, 12), size=st.integers(1, 300), seed=st.integers(0, 2**31))
def test_equal_to_scikit_learn(classes: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, found = rng.integers(0, classes, (2, size))
    scores = scores_of(truth.tolist(), found.tolist(), ClassMap(tuple(range(classes)), tuple(map(str, range(classes)))))
    there = np.union1d(truth, found)
    assert scores.pixel_accuracy == accuracy_score(truth, found)
    iou, dice = (score(truth, found, labels=there, average=None, zero_division=0) for score in (jaccard_score, f1_score))
    assert scores.iou[there].tolist() == iou.tolist()
    assert scores.dice[there].tolist() == dice.tolist()
    assert np.isnan(np.delete(scores.iou, there)).all()
    assert scores.mean_iou == pytest.approx(iou.mean(), abs=1e-15)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of classes that are only predicted
        assert scores.mean_pixel_accuracy == pytest.approx(balanced_accuracy_score(truth, found), abs=1e-15)


@settings(max_examples=20, deadline=None)
@given(classes=st.integers(2, 12), seed=st.integers(0, 2**31))
def test_equal_to_torchmetrics(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.append(rng.choice([*range(classes), 255], 500), range(classes))  # each class is there
    found = rng.integers(0, classes, truth.size)
    scores = scores_of(truth.tolist(), found.tolist(), ClassMap(tuple(range(classes)), tuple(map(str, range(classes)))))
    pair = torch.from_numpy(found), torch.from_numpy(truth)
    iou = MulticlassJaccardIndex(classes, average="none", ignore_index=255)(*pair)
    accuracy = MulticlassAccuracy(classes, average="none", ignore_index=255)(*pair)
    assert scores.iou.astype(np.float32).tolist() == pytest.approx(iou.tolist(), abs=1e-7)
    assert scores.accuracy.astype(np.float32).tolist() == pytest.approx(accuracy.tolist(), abs=1e-7)


def test_a_stack_of_tallies_scores_like_each_alone() -> None:
    matrices = np.random.default_rng(2).integers(0, 50, (6, 4, 5))
    matrices[0] = 0
    matrices[1, :, 2] = matrices[1, 2, :] = 0
    together = rates(tally_of(matrices), FOUR)
    for k, matrix in enumerate(matrices):
        alone = SemanticScores.of(matrix, FOUR)
        for name, value in alone.to_dict().items():
            assert together[name][k] == pytest.approx(value, nan_ok=True), name
        assert together["iou"][k].tolist() == pytest.approx(alone.iou.tolist(), nan_ok=True)
