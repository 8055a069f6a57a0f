"""Agreement: counted over pixels and class by class against the truth, with a sentence for what falls short."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.classes import ClassMap
from maskwright.inference.agreement import Agreement, Comparison, refusals

CLASSES = ClassMap((0, 3, 9), ("background", "lung", "heart"))


def comparison(truth, reference, found):
    counted = Comparison(CLASSES)
    counted.update(*(np.asarray([row]) for row in (truth, reference, found)))
    return counted


def test_the_same_labels_agree():
    labels = np.repeat([0, 3, 9], [6000, 5000, 4999])
    same = comparison(labels, labels, labels)
    assert (same.changed, same.moved(), same.objection()) == (
        0.0,
        {"background": 0.0, "lung": 0.0},
        "",
    )  # of heart there is too little


def test_too_many_changed_pixels():
    n = 10_000
    reference = np.zeros(n, int)
    found = reference.copy()
    found[:30] = 3  # 0.3 %
    counted = comparison(np.full(n, 255), reference, found)
    assert counted.changed == pytest.approx(0.003)
    assert counted.objection() == "0.30% of the pixels change class, at most 0.2% may"
    assert counted.moved() == {}  # nothing is known of the truth


def test_a_small_class_that_moves():
    # 100,000 pixels of background and 8,000 of lung: 20 lost are 0.02 % of all, but a quarter of a point of the lung's IoU.
    truth = np.repeat([0, 3], [100_000, 8000])
    found = truth.copy()
    found[-20:] = 0
    counted = comparison(truth, truth, found)
    assert counted.moved()["lung"] == pytest.approx(-0.25)  # 7980 / 8000
    assert counted.objection() == "the IoU of lung moves by -0.25 points, at most 0.2 may be"


def test_moves_are_taken_over_all_images():
    counted = Comparison(CLASSES)
    truth = np.repeat([0, 3], [2000, 2000])
    for lost in (0, 4, 0, 0):
        found = truth.copy()
        found[2000 : 2000 + lost] = 0
        counted.update(truth, truth, found)
    assert counted.moved()["lung"] == pytest.approx(-0.05)  # 7996 / 8000
    assert counted.objection() == ""


def test_kept_and_read_back():
    one = Agreement("torch bf16", 12.5, 0.5, 0.001, {"lung": -0.1}, "no")
    assert Agreement.from_dict(one.to_dict()) == one
    assert (one.agrees, refusals([one])) == (False, ["torch bf16 is not used: no."])
