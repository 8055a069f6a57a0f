"""Panoptic quality: by hand on drawn maps, with void, crowds, things and stuff."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.metrics.intervals import bootstrap
from maskwright.metrics.panoptic import Panoptic, PanopticMap
from maskwright.metrics.panoptic_scores import PanopticScores
from maskwright.ops.rle import Rle

STREET = ClassMap((0, 1, 2, 3), ("background", "road", "sky", "car"), background=0)
CLASS_OF = {".": 0, "r": 1, "s": 2, "v": 255}  # and digits are cars, capital C a car that is not told apart


def panoptic_map(drawing: str) -> PanopticMap:
    pixels = np.array([list(row) for row in drawing.split()])
    labels = np.array([[CLASS_OF.get(c, 3) for c in row] for row in pixels])
    ids = np.array([[int(c) if c.isdigit() else 0 for c in row] for row in pixels])
    return PanopticMap(labels, ids)


def scored(truth: str, found: str) -> PanopticScores:
    panoptic = Panoptic(STREET, things=[3])
    panoptic.update(panoptic_map(truth), panoptic_map(found))
    return panoptic.compute()


def tally(scores: PanopticScores, name: str) -> list[float]:
    """Matched, missed, extra, sum of IoUs of a class."""
    column: NDArray[np.float64] = scores.tally[:, scores.names.index(name)]
    return column.tolist()


def test_by_hand() -> None:
    scores = scored(
        truth="ssssssssss rrrrrr1111 rrrrrr2222",
        found="ssssssssss rrrrrrr111 rrrrrr3333",
    )
    # sky 10 of 10; road 12 of 13; car 1: 3 of 4; car 2 is found as 3: 4 of 4
    assert tally(scores, "sky") == [1, 0, 0, 1]
    assert tally(scores, "road") == pytest.approx([1, 0, 0, 12 / 13])
    assert tally(scores, "car") == pytest.approx([2, 0, 0, 3 / 4 + 1])
    assert scores.pq.tolist() == pytest.approx([12 / 13, 1, 7 / 8])
    means = scores.to_dict()
    assert means["pq"] == pytest.approx((12 / 13 + 1 + 7 / 8) / 3)
    assert (means["pq_things"], means["pq_stuff"]) == (pytest.approx(7 / 8), pytest.approx((12 / 13 + 1) / 2))
    assert means["rq"] == 1


def test_missed_and_extra_segments_count_half() -> None:
    scores = scored(truth="11112222..", found="1111..3344")
    # car 1 is matched, car 2 missed, cars 3 (on 2) and 4 (on the background) are extra
    assert tally(scores, "car") == [1, 1, 2, 1]
    assert scores.pq[2] == pytest.approx(1 / (1 + 0.5 + 1))
    assert (scores.sq[2], scores.rq[2]) == (1, pytest.approx(1 / 2.5))
    assert scores.absent == ("road", "sky")


def test_half_is_no_match_and_classes_have_to_agree() -> None:
    assert tally(scored(truth="1111", found="11.."), "car") == [0, 1, 1, 0]  # IoU is 2 / 4, not above 0.5
    scores = scored(truth="ssss", found="rrrr")
    assert (tally(scores, "sky"), tally(scores, "road")) == ([0, 1, 0, 0], [0, 0, 1, 0])
    assert scores.to_dict()["sq"] == 0


def test_void_is_taken_out_of_what_was_found() -> None:
    # car 1 covers the 3 true pixels and 3 of void: IoU 3 / (3 + 6 - 3 - 3) = 1
    assert tally(scored(truth="111vvvs", found="111111s"), "car") == [1, 0, 0, 1]


def test_what_lies_mostly_on_void_counts_nowhere() -> None:
    assert tally(scored(truth="vvvsss", found="111ss1"), "car") == [0, 0, 0, 0]  # 3 of 4 pixels on void
    assert tally(scored(truth="vvvsss", found="111111"), "car") == [0, 0, 1, 0]  # half of it is not more than half


def test_crowds_are_neither_matched_nor_missed() -> None:
    scores = scored(truth="CCCC11s", found="223311s")
    assert tally(scores, "car") == [1, 0, 0, 1]  # cars 2 and 3 lie on the crowd
    assert tally(scored(truth="CCCCs", found="rrrrs"), "road") == [0, 0, 1, 0]  # of another class, so no excuse
    assert tally(scored(truth="CCvvsss", found="111111s"), "car") == [0, 0, 0, 0]  # crowd and void: 4 of 6 pixels
    assert tally(scored(truth="CCsssss", found="111111s"), "car") == [0, 0, 1, 0]
    assert np.isnan(scored(truth="CCCCs", found="....s").pq[2])  # a crowd is not missed


def test_found_things_without_an_object_are_no_segment() -> None:
    assert tally(scored(truth="11..", found="CC.."), "car") == [0, 1, 0, 0]


def test_ids_belong_to_their_class_and_stuff_has_none() -> None:
    classes = ClassMap((1, 2), ("cat", "dog"), background=None)
    labels = np.array([[1, 1, 2, 2]])
    panoptic = Panoptic(classes)
    panoptic.update(PanopticMap(labels, np.ones((1, 4), int)), PanopticMap(labels, np.array([[7, 7, 9, 9]])))
    assert panoptic.compute().pq.tolist() == [1, 1]
    stuff = Panoptic(classes, things=[])
    stuff.update(PanopticMap(labels, np.array([[1, 2, 3, 4]])), PanopticMap(labels, np.zeros((1, 4), int)))
    assert stuff.compute().pq.tolist() == [1, 1]
    assert np.isnan(stuff.compute().to_dict()["pq_things"])


def test_unknown_classes_are_void_in_an_answer_and_an_error_in_a_truth() -> None:
    truth = PanopticMap(np.array([[1, 1, 1, 1]]), np.zeros((1, 4), int))
    found = PanopticMap(np.array([[1, 1, 1, 99]]), np.zeros((1, 4), int))
    panoptic = Panoptic(STREET, [3])
    assert panoptic.update(truth, found)[:, 0].tolist() == [1, 0, 0, 0.75]
    with pytest.raises(InputError, match=r"the truth holds label ids \[99\] that are not in the class map"):
        panoptic.update(found, truth)
    with pytest.raises(InputError, match=r"panoptic maps have the shapes \[\(1, 4\), \(2, 2\)\]"):
        panoptic.update(truth, PanopticMap(np.ones((2, 2), int), np.zeros((2, 2), int)))
    with pytest.raises(InputError, match=r"ids of objects are int64 in 0\.\.70000; expected whole numbers in 0\.\.65535"):
        panoptic.update(truth, PanopticMap(truth.labels, np.array([[0, 70000, 0, 0]])))
    with pytest.raises(InputError, match=r"class ids \[0\] cannot be things; expected some of \[1, 2, 3\]"):
        Panoptic(STREET, things=[0, 3])
    assert len(panoptic) == 1


def blocks(rng: np.random.Generator, classes: int) -> PanopticMap:
    """Rectangles of random classes, each an object of its own, on stuff."""
    labels, ids = np.full((24, 30), 1), np.zeros((24, 30), int)
    for number in range(1, 12):
        y, x = rng.integers(0, (18, 24))
        h, w = rng.integers(3, 12, 2)
        labels[y : y + h, x : x + w] = rng.integers(1, classes + 1)
        ids[y : y + h, x : x + w] = number
    return PanopticMap(labels, ids)


def test_equal_to_torchmetrics() -> None:
    import torch
    from torchmetrics.detection import PanopticQuality

    classes = ClassMap((1, 2, 3, 4, 5), ("sea", "land", "tanker", "tug", "buoy"), background=None)
    oracle = PanopticQuality(things={3, 4, 5}, stuffs={1, 2}, allow_unknown_preds_category=True, return_per_class=True)
    panoptic = Panoptic(classes, things=[3, 4, 5])
    rng = np.random.default_rng(0)
    for _ in range(6):
        truth = blocks(rng, 5)
        found = PanopticMap(np.roll(truth.labels, 1, 1), np.roll(truth.ids, 1, 1))
        found.labels[:, :2] = 1
        found.ids[:, :2] = 0
        truth.labels[rng.random(truth.labels.shape) < 0.1] = 255  # void in the truth only: in an answer torchmetrics excuses it
        panoptic.update(truth, found)
        oracle.update(*(torch.from_numpy(np.stack([side.labels, side.ids], -1))[None] for side in (found, truth)))
    # torchmetrics orders the classes: things first, then stuff
    expected = oracle.compute().ravel().tolist()
    assert [panoptic.compute().pq[k] for k in (2, 3, 4, 0, 1)] == pytest.approx(expected)
    assert 0.1 < min(expected) < max(expected) < 1


def test_map_of_objects_on_stuff() -> None:
    masks = [np.zeros((2, 6), bool) for _ in range(4)]
    masks[0][:, :3] = True
    masks[1][0, 2:5] = True
    masks[2][1, 4:] = True
    masks[3][1, 3:] = True
    scores = np.array([0.6, 0.9, 0.8, 0.4], np.float32)
    crowd = np.array([False, False, True, False])
    objects = Instances((2, 6), STREET, np.array([3, 3, 3, 3]), tuple(map(Rle.from_mask, masks)), scores, crowd=crowd)
    stuff = np.ones((2, 6), np.uint8)
    found = PanopticMap.of(objects, stuff)
    # The second lies on top of the first, the crowd at the bottom, the fourth is too unsure.
    assert found.labels.tolist() == [[3, 3, 3, 3, 3, 1], [3, 3, 3, 1, 3, 3]]
    assert found.ids.tolist() == [[2, 2, 3, 3, 3, 0], [2, 2, 2, 0, 0, 0]]
    assert (stuff == 1).all()
    assert PanopticMap.of(objects).labels[0].tolist() == [3, 3, 3, 3, 3, 0]
    with pytest.raises(InputError, match=r"a map of stuff of shape \(3, 3\) below objects on \(2, 6\)"):
        PanopticMap.of(objects, np.ones((3, 3), int))


def test_statistics_are_the_scores_of_resampled_images() -> None:
    pairs = [("ss11", "ss11"), ("ss11", "s111"), ("rr..", "rr2.")]
    panoptic = Panoptic(STREET, [3])
    for truth, found in pairs:
        panoptic.update(panoptic_map(truth), panoptic_map(found))
    weights = np.array([[1, 1, 1], [0, 2, 1], [0, 0, 2]])
    drawn = panoptic.statistics()(weights)
    for row, times in enumerate(weights):
        alone = Panoptic(STREET, [3])
        for (truth, found), count in zip(pairs, times, strict=True):
            for _ in range(count):
                alone.update(panoptic_map(truth), panoptic_map(found))
        for name, value in alone.compute().to_dict().items():
            assert drawn[name][row] == pytest.approx(value, nan_ok=True), (name, times)
        assert drawn["pq.car"][row] == pytest.approx(alone.compute().pq[2], nan_ok=True)
    found = bootstrap(panoptic.statistics(), [None] * 3, resamples=50)
    assert found["pq"].value == panoptic.compute().to_dict()["pq"]


def test_conventions() -> None:
    said = "\n".join(scored("11s", "11s").conventions)
    assert "over all 1 images, then their means over the 2 classes" in said
    assert "Stuff, one segment an image: road, sky." in said
    assert "left out of the means: road." in said
    assert "All classes are things, none is stuff." in Panoptic(STREET).compute().conventions
    assert all(np.isnan(v) for v in Panoptic(STREET).compute().to_dict().values())
