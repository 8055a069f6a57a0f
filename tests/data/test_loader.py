"""The stream of training batches: complete, seeded by place, the same for any number of workers and processes."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
import torch

from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset
from maskwright.data.loader import PreparedPairs, StepBatches, training_batches
from maskwright.errors import InputError
from maskwright.transforms import Preprocess
from maskwright.transforms.augmentation import Augmentation, augmenter

TWO = ClassMap((0, 1), ("background", "square"))


@pytest.fixture
def prepared() -> PreparedPairs:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (20, 24), np.uint8) for _ in range(5)]
    masks = [(i > 127).astype(np.uint8) for i in images]
    data = Dataset.in_memory(images, masks, classes=TWO)
    return PreparedPairs(data, data.pairs, Preprocess(1), memory_bytes=1 << 20)


def test_each_epoch_holds_each_image_once_in_a_new_order():
    places = list(chain(*StepBatches(6, seed=3, steps=range(6), batch=4)))  # 24 places: four epochs of 6
    assert [p.number for p in places] == list(range(24))
    epochs = [[p.image for p in places[i : i + 6]] for i in range(0, 24, 6)]
    assert all(sorted(e) == list(range(6)) for e in epochs)
    assert len({tuple(e) for e in epochs}) > 1


def test_two_processes_see_together_what_one_sees():
    whole = list(StepBatches(7, 0, range(2, 5), batch=4))
    shares = [list(StepBatches(7, 0, range(2, 5), batch=4, rank=r, processes=2)) for r in (0, 1)]
    assert [a + b for a, b in zip(*shares, strict=True)] == whole
    with pytest.raises(InputError, match=r"batch 4 does not divide among 3 processes; use --set batch=3"):
        StepBatches(7, 0, range(1), batch=4, rank=0, processes=3)


def batches(prepared, first, stop, workers):
    augment = augmenter((16, 16), Augmentation(flip_horizontal=0.5))
    return list(training_batches(prepared, augment, batch=2, first_step=first, stop_step=stop, seed=1, workers=workers))


def test_a_stream_entered_late_and_by_workers_is_the_same_to_the_bit(prepared):
    before = torch.get_rng_state()
    whole, late = batches(prepared, 0, 5, 0), batches(prepared, 3, 5, 2)
    assert torch.equal(torch.get_rng_state(), before)  # dropout's generator is not touched
    assert whole[0][0].shape == (2, 1, 16, 16)
    assert whole[0][1].dtype == torch.uint8
    for (x, y), (x_late, y_late) in zip(whole[3:], late, strict=True):
        assert torch.equal(x, x_late)
        assert torch.equal(y, y_late)
    assert not torch.equal(whole[3][0], whole[4][0])


def test_images_that_do_not_fit_into_memory_are_read_at_use(prepared):
    small = PreparedPairs(prepared.dataset, prepared.pairs, Preprocess(1), memory_bytes=100)
    assert small.kept is None
    assert prepared.kept is not None
    assert all(torch.equal(a, b) for a, b in zip(small[3], prepared[3], strict=True))


def test_class_counts_by_hand():
    masks = [np.array([[0, 0, 1]], np.uint8), np.array([[0, 0, 255]], np.uint8)]
    data = Dataset.in_memory([np.zeros((1, 3), np.uint8)] * 2, masks, classes=TWO)
    pixels, around = PreparedPairs(data, data.pairs, Preprocess(1), memory_bytes=1 << 20).class_counts(2)
    assert pixels == [4, 1]
    assert around == [5, 3]  # class 1 is in the first image only, which counts 3 px
