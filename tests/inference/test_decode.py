"""Decoding: ids at the image's own size, the same in blocks, in bands and at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.inference import decode as room
from maskwright.inference.decode import decode, full_size_blocks
from maskwright.transforms import Frame

CLASSES = ClassMap((0, 3, 7), ("background", "lung", "heart"))
SIZES = [
    ((7, 5), (7, 5)),
    ((40, 33), (9, 11)),
    ((9, 11), (40, 33)),
    ((1, 50), (1, 7)),
    ((64, 1), (8, 1)),
    ((30, 20), (1, 1)),
    ((1, 1), (5, 4)),
]


def drawn(work_hw: tuple[int, int], classes: int = 3) -> torch.Tensor:
    return torch.randn(1, classes, *work_hw, generator=torch.Generator().manual_seed(sum(work_hw)))


def test_the_highest_logit_gives_the_id_and_the_lower_channel_wins_a_tie():
    logits = torch.tensor([[[2.0, 1.0, 0.0, 5.0]], [[1.0, 3.0, 0.0, 5.0]], [[0.0, 2.0, 1.0, 4.0]]])[None]  # (1, 3, 1, 4)
    found = decode([logits], Frame((1, 4), (1, 4)), CLASSES)
    assert found.labels.tolist() == [[0, 3, 7, 0]]
    assert found.labels.dtype == np.uint8
    assert found.confidence is None
    assert found.probs is None


def test_ids_above_255_are_kept():
    classes = ClassMap((0, 300), ("background", "road"))
    found = decode([torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)], Frame((1, 1), (1, 1)), classes)
    assert found.labels.tolist() == [[300]]
    assert found.labels.dtype == np.uint16


def test_probabilities_and_confidence_by_hand():
    logits = torch.tensor([0.0, np.log(2.0), np.log(5.0)]).view(1, 3, 1, 1)  # odds 1 : 2 : 5
    found = decode([logits], Frame((1, 1), (1, 1)), CLASSES, confidence=True, probs=True)
    assert found.probs[:, 0, 0].tolist() == pytest.approx([1 / 8, 2 / 8, 5 / 8])
    assert float(found.confidence[0, 0]) == pytest.approx(5 / 8)
    assert found.labels.tolist() == [[7]]


@pytest.mark.parametrize(("hw", "work_hw"), SIZES)
def test_full_size_logits_are_those_of_the_frame(hw, work_hw):
    logits, frame = drawn(work_hw), Frame(hw, work_hw)
    whole = torch.from_numpy(np.concatenate([block for _, block in full_size_blocks([logits], frame)], 1))
    assert whole.shape == (3, *hw)
    torch.testing.assert_close(whole[None], frame.restore(logits), rtol=1e-5, atol=1e-5)
    if hw == work_hw:
        assert torch.equal(whole[None], logits)


@pytest.mark.parametrize(("hw", "work_hw"), SIZES)
@pytest.mark.parametrize("cuts", [(1,), (2, 3), (1, 1, 1, 1, 2)])
@pytest.mark.parametrize("values", [1, 200, 1 << 20])
def test_blocks_and_bands_change_nothing(hw, work_hw, cuts, values, monkeypatch):
    logits, frame = drawn(work_hw), Frame(hw, work_hw)
    whole = decode([logits], frame, CLASSES, probs=True)
    monkeypatch.setattr(room, "BLOCK_VALUES", values)
    bands = [band for band in logits.tensor_split(np.cumsum(cuts).tolist(), dim=2) if band.shape[2]]
    pieces = decode(iter(bands), frame, CLASSES, probs=True)
    assert np.array_equal(pieces.labels, whole.labels)
    assert np.array_equal(pieces.probs, whole.probs)


def test_the_full_size_logits_of_a_large_image_never_stand_in_memory():
    frame = Frame((4000, 3000), (40, 30))
    blocks = [block.size for _, block in full_size_blocks([drawn((40, 30))], frame)]
    assert sum(blocks) == 3 * 4000 * 3000
    assert max(blocks) <= room.BLOCK_VALUES


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_answer_that_is_no_number_is_refused(value):
    logits = drawn((4, 4))
    logits[0, 1, 2, 3] = value
    with pytest.raises(InputError, match="numbers that are not finite; look for nan"):
        decode([logits], Frame((4, 4), (4, 4)), CLASSES)
