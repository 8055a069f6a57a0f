"""Run lengths against masks drawn by hand, and against pycocotools on random ones."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from maskwright.errors import FormatError
from maskwright.ops.rle import Rle


def drawn(text: str) -> np.ndarray:
    return np.array([[c == "1" for c in row.strip()] for row in text.split()])


def test_counts_go_down_the_columns():
    rle = Rle.from_mask(drawn("01 11 10"))  # columns 011 and 110: one run across the border of the columns
    assert rle.counts.tolist() == [1, 4, 1]
    assert rle.area_px == 4
    assert rle.box_xyxy == (0, 0, 2, 3)


def test_a_first_pixel_inside_begins_with_an_empty_run():
    assert Rle.from_mask(drawn("10")).counts.tolist() == [0, 1, 1]


def test_empty_and_full():
    empty, full = Rle.from_mask(np.zeros((2, 3))), Rle.from_mask(np.ones((2, 3)))
    assert empty.counts.tolist() == [6]
    assert full.counts.tolist() == [0, 6]
    assert empty.box_xyxy == (0, 0, 0, 0)
    assert full.box_xyxy == (0, 0, 3, 2)
    assert empty.area_px == 0
    assert not empty.to_mask().any()
    assert full.to_mask().all()


def test_box_within_one_column():
    assert Rle.from_mask(drawn("000 010 010 000")).box_xyxy == (1, 1, 2, 3)


def masks(seed: int):
    random = np.random.default_rng(seed)
    for share in (0, 0.05, 0.5, 0.95, 1):
        small = random.random(random.integers(1, 30, 2)) < share
        yield np.kron(small, np.ones((random.integers(1, 9), random.integers(1, 9)), bool))


@pytest.mark.parametrize("seed", range(20))
def test_as_pycocotools_writes_and_reads(seed):
    for mask in masks(seed):
        ours, theirs = Rle.from_mask(mask), coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert ours.to_text().encode() == theirs["counts"]
        assert Rle.from_text(theirs["counts"], mask.shape) == ours
        assert ours.area_px == coco.area(theirs)
        assert np.array_equal(ours.to_mask(), mask)
        x0, y0, x1, y1 = ours.box_xyxy
        assert [x0, y0, x1 - x0, y1 - y0] == coco.toBbox(theirs).tolist()


@pytest.mark.parametrize("seed", range(20))
def test_a_crop_lies_where_it_is_put_and_is_cut_at_the_border(seed):
    random = np.random.default_rng(seed)
    for mask in masks(seed):
        h, w = (int(n) for n in random.integers(1, 60, 2))
        x, y = (int(n) for n in random.integers(-20, 40, 2))
        room = np.zeros((h + 300, w + 300), bool)
        room[y + 20 : y + 20 + mask.shape[0], x + 20 : x + 20 + mask.shape[1]] = mask
        whole = room[20 : 20 + h, 20 : 20 + w]
        rle = Rle.from_crop(mask, (x, y), (h, w))
        assert np.array_equal(rle.to_mask(), whole)
        x0, x1 = sorted(int(n) for n in random.integers(0, w + 1, 2))
        y0, y1 = sorted(int(n) for n in random.integers(0, h + 1, 2))
        assert np.array_equal(rle.crop((x0, y0, x1, y1)), whole[y0:y1, x0:x1])


def test_large_counts_survive_the_text():
    rle = Rle((50_000, 50_000), np.array([7, 2**31, 2_500_000_000 - 2**31 - 7]))  # more than 31 bits
    assert Rle.from_text(rle.to_text(), rle.hw) == rle


def test_empty_runs_in_between_mean_nothing():
    assert Rle((1, 6), np.array([1, 2, 0, 1, 2])) == Rle((1, 6), np.array([1, 3, 2]))
    assert hash(Rle((1, 6), np.array([1, 2, 0, 1, 2]))) == hash(Rle((1, 6), np.array([1, 3, 2])))
    assert Rle((1, 6), np.array([1, 3, 2])) != Rle((6, 1), np.array([1, 3, 2]))


def test_a_wrong_sum_is_refused():
    with pytest.raises(FormatError, match=r"the runs cover 5 pixels, the image has 3x2 = 6"):
        Rle((2, 3), np.array([2, 3]))


def test_negative_counts_are_refused():
    with pytest.raises(FormatError, match="whole numbers from 0 on"):
        Rle((2, 3), np.array([-1, 7]))


@pytest.mark.parametrize("text", ["~", " ", "1a", "Oooooooooooooooo0", "é"])
def test_damaged_text_is_refused(text):
    with pytest.raises(FormatError, match=r"damaged or cut short|the runs cover|whole numbers"):
        Rle.from_text(text, (2, 3))
