"""Matching at IoU thresholds: counted by hand on drawn masks, with and without classes and scores, split, merged, crowds."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.metrics.greedy import EXTRA, UNCOUNTED
from maskwright.metrics.intervals import bootstrap
from maskwright.metrics.match_scores import MatchScores
from maskwright.metrics.matching import Matching
from maskwright.ops.rle import Rle

CELLS = ClassMap((0, 1, 2), ("background", "nucleus", "debris"), background=0)


def drawn(
    drawing: str, classes: dict[str, int] | None = None, scores: dict[str, float] | None = None, crowd: str = ""
) -> Instances:
    """Objects by their letters, in alphabetical order; nuclei if no class is said."""
    pixels = np.array([list(row) for row in drawing.split()])
    letters = sorted(set(pixels.ravel()) - {"."})
    masks = tuple(Rle.from_mask(pixels == letter) for letter in letters)
    ids = np.array([(classes or {}).get(letter, 1) for letter in letters], np.int64)
    given = None if scores is None else np.array([scores[letter] for letter in letters], np.float32)
    return Instances(pixels.shape, CELLS, ids, masks, given, crowd=np.array([letter in crowd for letter in letters], bool))


def matched(truth: Instances, found: Instances, **settings: object) -> MatchScores:
    matching = Matching(CELLS, **settings)  # type: ignore[arg-type]
    matching.update(truth, found)
    return matching.compute()


def test_rates_and_counts_by_hand() -> None:
    truth = drawn("aaaa..bb \n aaaa..bb \n cc...... \n cc......")
    found = drawn("aaa...bb \n aaa...bb \n .......e \n ......ee")
    # a: 6 of 8, IoU 0.75, a match at both thresholds; b: 1; c missed; e extra
    scores = matched(truth, found)
    for t in (0, 1):
        assert (scores.matched[t, 0], scores.missed[t, 0], scores.extra[t, 0]) == (2, 1, 1)
        assert scores.rates["precision"][t] == scores.rates["recall"][t] == scores.rates["f1"][t] == pytest.approx(2 / 3)
        assert scores.rates["mean_iou"][t] == pytest.approx((0.75 + 1) / 2)
    named = scores.to_dict()
    assert (named["f1_50"], named["matched_75"], named["extra_50"]) == (pytest.approx(2 / 3), 2, 1)
    assert (named["split"], named["merged"]) == (0, 0)
    # Data Science Bowl: 2 of 4 at the six thresholds up to 0.75, then 1 of 5 (1 matched, 2 missed, 2 extra) at four
    assert scores.dsb == pytest.approx((6 * 2 / 4 + 4 * 1 / 5) / 10)


def test_classes_matter_unless_they_are_told_not_to() -> None:
    truth, found = drawn("aa.bb"), drawn("aa.bb", classes={"b": 2})
    aware, agnostic = matched(truth, found), matched(truth, found, class_aware=False)
    assert aware.matched[0].tolist() == [1, 0]
    assert aware.missed[0].tolist() == [1, 0]  # b by its true class
    assert aware.extra[0].tolist() == [0, 1]  # and by its found one
    assert aware.per_class["f1"][0].tolist() == pytest.approx([2 / 3, 0])
    assert aware.rates["f1"][0] == pytest.approx(2 / 4)
    assert (agnostic.names, agnostic.matched[0].tolist()) == (("any class",), [2])
    assert "of any class" in agnostic.conventions[0]
    assert "of one class" in aware.conventions[0]


def test_split_and_merged_objects() -> None:
    truth = drawn("aaaaaaaaaa.bbbbb \n ...........ccccc")
    found = drawn("aaaaaadddd.bbbbb \n ...........bbbbb")
    # a is 10 pixels: 6 and 4 of them are found as two, IoU 0.6 and 0.4; b and c are found as one, IoU 0.5 each
    scores = matched(truth, found)
    assert (scores.split.tolist(), scores.merged.tolist()) == ([1, 0], [1, 0])
    assert (scores.matched[0, 0], scores.missed[0, 0], scores.extra[0, 0]) == (2, 1, 1)
    assert (scores.matched[1, 0], scores.missed[1, 0], scores.extra[1, 0]) == (0, 3, 3)


def test_a_small_overlap_links_nothing() -> None:
    truth, found = drawn("aaaaaaaaaabbbbbbbbbb"), drawn("aaaaaaaaaaabbbbbbbbb")
    # found a takes one pixel of b: IoU 1 / 20 = 0.05
    scores = matched(truth, found)
    assert (scores.split.sum(), scores.merged.sum()) == (0, 0)
    assert scores.matched.tolist() == [[2, 0], [2, 0]]


def test_better_scores_choose_first_and_low_ones_count_nowhere() -> None:
    truth = Instances((1, 10), CELLS, np.array([1]), (line(0, 10),))
    found = Instances(
        (1, 10), CELLS, np.array([1, 1, 1]), (line(0, 10), line(0, 8), line(5, 10)), np.array([0.4, 0.7, 0.9], np.float32)
    )
    low = Matching(CELLS, min_score=0.3).update(truth, found)
    # by falling score: the third takes the truth at 0.5 (IoU 5 of 10), the second at 0.75 (8 of 10)
    assert low.truth_of.tolist() == [[EXTRA, EXTRA, 0], [EXTRA, 0, EXTRA]]
    matching = Matching(CELLS)
    assert matching.update(truth, found).truth_of.tolist() == [[UNCOUNTED, EXTRA, 0], [UNCOUNTED, 0, EXTRA]]
    scores = matching.compute()
    assert (scores.below, scores.min_score) == (1, 0.5)
    assert "score below 0.5 count nowhere: 1 objects" in scores.conventions[1]
    without = Instances((1, 10), CELLS, np.array([1, 1, 1]), found.masks)
    # without scores the whole line, IoU 1, is matched first, and all count
    assert Matching(CELLS).update(truth, without).truth_of.tolist() == [[0, EXTRA, EXTRA], [0, EXTRA, EXTRA]]


def line(start: int, end: int) -> Rle:
    return Rle.from_crop(np.ones((1, end - start), bool), (start, 0), (1, 10))


def test_a_score_that_equals_the_limit_counts() -> None:
    truth = Instances((1, 10), CELLS, np.array([1]), (line(0, 10),))
    found = Instances((1, 10), CELLS, np.array([1]), (line(0, 10),), np.array([0.7], np.float32))  # 0.699999988
    assert matched(truth, found, min_score=0.7).matched[0, 0] == 1


@pytest.mark.parametrize("scores", [None, {"a": 0.9, "d": 0.8, "e": 0.7, "f": 0.6}])
def test_crowds_count_nowhere(scores: dict[str, float] | None) -> None:
    truth = drawn("aa.cccccc", crowd="c")
    found = drawn("aa.ddeef.", scores=None if scores is None else {k: v for k, v in scores.items() if k in "adef"})
    matching = Matching(CELLS)
    image = matching.update(truth, found)
    result = matching.compute()
    assert (result.matched[0, 0], result.missed[0, 0], result.extra[0, 0], result.crowds) == (1, 0, 0, 1)
    assert image.truth_of[0].tolist() == [0, UNCOUNTED, UNCOUNTED, UNCOUNTED]
    assert not image.missed.any()
    assert result.split.sum() == 0


def test_crowds_among_the_found_count_nowhere() -> None:
    scores = matched(drawn("aa.bb"), drawn("aa.bb", crowd="b"))
    assert (scores.matched[0, 0], scores.missed[0, 0], scores.extra[0, 0], scores.below) == (1, 1, 0, 0)


def test_an_image_says_what_became_of_each_object() -> None:
    truth = drawn("aaaa.bb.. \n cccc.bb..")
    found = drawn("xxxx....y \n xxxx.ww.y", scores={"w": 0.9, "x": 0.6, "y": 0.8})
    image = Matching(CELLS).update(truth, found)
    # w: 2 of the 4 pixels of b; x: a or c, 4 of 8 each, the later of equals; y: nothing
    assert image.truth_of.tolist() == [[1, 2, EXTRA], [EXTRA, EXTRA, EXTRA]]
    assert image.missed.tolist() == [[True, False, False], [True, True, True]]
    assert image.merged.tolist() == [False, True, False]
    assert image.split.tolist() == [False, False, False]


def test_nothing_to_count_is_nan() -> None:
    none = drawn("....")
    assert np.isnan(Matching(CELLS).compute().dsb)
    scores = matched(none, none)
    assert np.isnan(scores.rates["f1"]).all()
    assert np.isnan(scores.dsb)
    missed = matched(drawn("aa.."), none)
    assert (missed.rates["f1"][0], missed.rates["recall"][0], missed.dsb) == (0, 0, 0)
    assert np.isnan(missed.rates["precision"][0])
    extra = matched(none, drawn("aa.."))
    assert (extra.rates["f1"][0], extra.rates["precision"][0], extra.dsb) == (0, 0, 0)
    assert np.isnan(extra.rates["recall"][0])


def test_statistics_are_the_scores_of_resampled_images() -> None:
    pairs = [
        (drawn("aaaa.bb"), drawn("aaa..bb")),
        (drawn("aaaa.bb"), drawn("a.....b", classes={"b": 2})),
        (drawn("......."), drawn(".......")),
    ]
    matching = Matching(CELLS)
    for pair in pairs:
        matching.update(*pair)
    weights = np.array([[1, 1, 1], [2, 0, 1], [0, 0, 3]])
    drawn_scores = matching.statistics()(weights)
    for row, times in enumerate(weights):
        alone = Matching(CELLS)
        for pair, count in zip(pairs, times, strict=True):
            for _ in range(count):
                alone.update(*pair)
        for name, value in alone.compute().to_dict().items():
            if name in drawn_scores:
                assert drawn_scores[name][row] == pytest.approx(value, nan_ok=True), (name, times)
        assert drawn_scores["f1_50.nucleus"][row] == pytest.approx(alone.compute().per_class["f1"][0, 0], nan_ok=True)
    assert {"precision_50", "recall_75", "f1_50", "mean_iou_75", "f1_75.debris", "dsb"} <= set(drawn_scores)
    found = bootstrap(matching.statistics(), [None] * 3, resamples=50)
    assert found["f1_50"].value == matching.compute().to_dict()["f1_50"]


def test_more_thresholds_have_names_of_their_own() -> None:
    named = matched(drawn("aa"), drawn("aa"), thresholds=(0.3, 0.625)).to_dict()
    assert {"f1_30", "f1_62.5"} <= set(named)


def test_as_many_classes_as_a_tally_has_rows() -> None:
    four = ClassMap((1, 2, 3, 4), ("a", "b", "c", "d"), background=None)
    objects = Instances((1, 10), four, np.array([1, 4]), (line(0, 4), line(5, 9)))
    matching = Matching(four)
    matching.update(objects, objects)
    assert matching.compute().per_class["f1"][0].tolist() == pytest.approx([1, np.nan, np.nan, 1], nan_ok=True)
    assert matching.compute().rates["f1"].tolist() == [1, 1]


def test_wrong_thresholds_are_named() -> None:
    with pytest.raises(InputError, match=r"IoU thresholds are \(50.0,\); expected numbers above 0 and up to 1"):
        Matching(CELLS, (50.0,))
    with pytest.raises(InputError, match="found objects on 4x1 pixels, true ones on 2x1"):
        Matching(CELLS).update(drawn("aa"), drawn("aaaa"))
