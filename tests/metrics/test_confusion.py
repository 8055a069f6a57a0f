"""The counts themselves: by hand, and equal to scikit-learn and torchmetrics on labels nobody thought of."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix
from torchmetrics.classification import MulticlassConfusionMatrix

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.metrics import Confusion, count_pairs
from maskwright.metrics import confusion as kernel

THREE = ClassMap((0, 1, 2), ("sky", "road", "car"))


def labels(drawing: str, dtype: type = np.uint8) -> NDArray[np.generic]:
    return np.array([[255 if c == "." else int(c) for c in row.strip()] for row in drawing.split("\n")], dtype)


def test_rows_are_truth_and_the_last_column_is_void() -> None:
    truth = labels("""0011
                      22..""")
    found = labels("""01.1
                      2921""")
    confusion = Confusion(THREE)
    confusion.update(truth, found)
    # sky: one right, one taken for road. road: one void, one right. car: one right, one found as 9, no known id. Two ignored.
    assert confusion.matrix.tolist() == [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 1]]
    assert confusion.ignored_px == 2


def test_ids_need_not_count_from_zero() -> None:
    sparse = ClassMap((7, 200, 3), ("a", "b", "c"))
    matrix, ignored = count_pairs(np.array([[7, 7, 200, 3, 255]]), np.array([[7, 3, 0, 200, 3]]), sparse)
    assert matrix.tolist() == [[1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    assert ignored == 1


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64, np.uint64])
def test_ids_above_a_byte(dtype: type) -> None:
    wide = ClassMap((0, 300, 65534), ("a", "b", "c"))
    truth = np.array([0, 300, 65534, 255, 300, 0], dtype)
    found = np.array([0, 65534, 65534, 300, 299, 65535], dtype)
    matrix, ignored = count_pairs(truth, found, wide)
    assert matrix.tolist() == [[1, 0, 0, 1], [0, 0, 1, 1], [0, 0, 1, 0]]
    assert ignored == 1


@pytest.mark.parametrize("stray", [-1, -256, 65535, 65536, 2**40])
def test_a_prediction_out_of_range_is_void_and_never_another_class(stray: int) -> None:
    matrix, _ = count_pairs(np.array([0, 1]), np.array([stray, 1]), THREE)
    assert matrix.tolist() == [[0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_negative_int8_is_void() -> None:
    matrix, _ = count_pairs(np.array([0, 1], np.int8), np.array([-1, -128], np.int8), THREE)
    assert matrix.tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_another_ignore_id_leaves_255_a_class() -> None:
    classes = ClassMap((1, 255), ("a", "b"), ignore_id=0)
    matrix, ignored = count_pairs(np.array([0, 1, 255, 255]), np.array([1, 255, 255, 0]), classes)
    assert matrix.tolist() == [[0, 1, 0], [0, 1, 1]]
    assert ignored == 1


def test_labels_out_of_range_are_not_ignored_even_where_65535_is() -> None:
    classes = ClassMap((0, 1), ("a", "b"), ignore_id=65535)
    matrix, ignored = count_pairs(np.array([0, 1, 65535]), np.array([65536, 65535, 0]), classes)
    assert (matrix.tolist(), ignored) == ([[0, 0, 1], [0, 0, 1]], 1)
    with pytest.raises(InputError, match=r"label ids \[-1, 70000\]"):
        count_pairs(np.array([0, 70000, -1]), np.array([0, 0, 0]), classes)


@pytest.mark.parametrize("count", [254, 255])
def test_as_many_classes_as_there_can_be(count: int) -> None:
    ids = [i for i in range(100, 101 + count) if i != 255]
    many = ClassMap(tuple(ids), tuple(map(str, ids)))
    truth = np.arange(100, 101 + count)
    found = np.roll(truth, 1)  # each id is taken for the one below; 255 is ignored, and void where the truth is 256
    matrix, ignored = count_pairs(truth, found, many)
    expected = np.zeros((count, count + 1), int)
    expected[np.arange(count), np.arange(count) - 1] = 1
    expected[0] = np.eye(1, count + 1, count - 1)
    expected[155] = np.eye(1, count + 1, count)  # id 256
    assert matrix.tolist() == expected.tolist()
    assert ignored == 1


@settings(max_examples=40, deadline=None)
@given(data=st.data(), classes=st.integers(1, 30), offset=st.sampled_from([0, 1, 100, 3000]), seed=st.integers(0, 2**31))
def test_equal_to_scikit_learn(data: st.DataObject, classes: int, offset: int, seed: int) -> None:
    hw = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(np.setdiff1d(np.arange(2 * classes + 2) + offset, [255]), classes, replace=False))
    truth = rng.choice(np.append(ids, 255), hw)
    found = rng.choice(np.append(ids, [255, 65535]), hw)
    matrix, ignored = count_pairs(truth, found, ClassMap(tuple(map(int, ids)), tuple(map(str, ids))))
    counted = truth != 255
    known = np.where(np.isin(found, ids), found, -1)[counted]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns where no truth is among the labels
        if counted.any():
            expected = confusion_matrix(truth[counted], known, labels=[*ids, -1])
            assert matrix.tolist() == expected[:-1].tolist()
    assert ignored == int((~counted).sum())
    assert matrix.sum() == int(counted.sum())


@settings(max_examples=25, deadline=None)
@given(classes=st.integers(2, 21), seed=st.integers(0, 2**31), dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.int64]))
def test_equal_to_torchmetrics(classes: int, seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    confusion = Confusion(ClassMap(tuple(range(classes)), tuple(map(str, range(classes)))))
    oracle = MulticlassConfusionMatrix(classes, ignore_index=255)
    for _ in range(3):
        shape = (2, *rng.integers(1, 50, 2))
        truth = rng.choice([*range(classes), 255], shape).astype(dtype)
        found = rng.integers(0, classes, shape).astype(dtype)
        confusion.update(truth, found)
        oracle.update(torch.from_numpy(found.astype(np.int64)), torch.from_numpy(truth.astype(np.int64)))
    assert confusion.matrix[:, :-1].tolist() == oracle.compute().tolist()
    assert confusion.matrix[:, -1].sum() == 0


@pytest.mark.parametrize("count", [1, 20, 200])
def test_many_blocks_with_a_ragged_end(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, count, (2, 1003))
    classes = ClassMap(tuple(range(count)), tuple(map(str, range(count))))
    whole, _ = count_pairs(truth, found, classes)
    monkeypatch.setattr(kernel, "BLOCK_PX", 64)
    parts, _ = count_pairs(truth, found, classes)
    plain = np.bincount(truth * (count + 1) + found, minlength=count * (count + 1)).reshape(count, count + 1)
    assert whole.tolist() == parts.tolist() == plain.tolist()


def test_strided_read_only_and_boolean_arrays() -> None:
    truth = np.array([[1, 0], [1, 1], [0, 0]], np.uint8)
    truth.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matrix, _ = count_pairs(truth.T, np.array([[1, 0, 0], [1, 1, 0]], bool), THREE)
    # pairs, column by column of truth: (1,1) (1,0) (0,0) (0,1) (1,1) (0,0)
    assert matrix[:2, :2].tolist() == [[2, 1], [1, 2]]


def test_merge_is_the_same_as_one_stream() -> None:
    rng = np.random.default_rng(1)
    first, second, both = Confusion(THREE), Confusion(THREE), Confusion(THREE)
    for part in (first, second):
        truth, found = rng.choice([0, 1, 2, 255], (2, 8, 9))
        part.update(truth, found)
        both.update(truth, found)
    first.merge(second)
    assert first.matrix.tolist() == both.matrix.tolist()
    assert first.ignored_px == both.ignored_px > 0


def test_empty_arrays_count_nothing() -> None:
    confusion = Confusion(THREE)
    confusion.update(np.zeros((0, 5), int), np.zeros((0, 5), int))
    assert confusion.matrix.sum() == 0


def test_more_pixels_than_32_bits_hold() -> None:
    confusion = Confusion(THREE)
    confusion.matrix[1, 1] = 2**40
    confusion.update(np.array([1]), np.array([1]))
    assert confusion.matrix[1, 1] == 2**40 + 1
    assert confusion.compute().counted_px == 2**40 + 1


def test_inputs_are_left_as_they_were() -> None:
    truth, found = labels("01.", np.int64), labels("2..", np.int64)
    before = truth.copy(), found.copy()
    count_pairs(truth, found, THREE)
    assert (truth == before[0]).all()
    assert (found == before[1]).all()


def test_wrong_inputs_are_named_and_nothing_is_added() -> None:
    confusion = Confusion(THREE)
    with pytest.raises(InputError, match=r"prediction has the shape \(2, 3\) and the truth \(3, 2\).*truth's own size"):
        confusion.update(np.zeros((3, 2), int), np.zeros((2, 3), int))
    with pytest.raises(InputError, match=r"labels are float64; expected integer class ids .*argmax"):
        confusion.update(np.zeros((3, 2), int), np.zeros((3, 2)))
    with pytest.raises(InputError, match=r"truth holds label ids \[7, 9\] .*\(known: \(0, 1, 2\), ignore: 255\)"):
        confusion.update(np.array([[0, 9, 7, 255]]), np.array([[0, 1, 1, 1]]))
    with pytest.raises(InputError, match=r"classes \(0, 1, 2\) and \(0, 1\) cannot be added"):
        confusion.merge(Confusion(ClassMap((0, 1), ("a", "b"))))
    assert confusion.matrix.sum() == 0
    assert confusion.ignored_px == 0
