"""CUDA graphs without a GPU: torch.cuda is replaced by what notes when work is recorded and does it again when it is played."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from maskwright.errors import InputError
from maskwright.inference import recording
from maskwright.inference.predictor import Predictor
from maskwright.inference.recording import MOST_RECORDED, WARM_UP, recorded

CPU = torch.device("cpu")


class Graph:
    """Plays back by running the recorded function on the recorded inputs into the recorded outputs."""

    tape: tuple[Tensor, Tensor]

    def replay(self) -> None:
        given, out = self.tape
        out.copy_(2 * given)


@pytest.fixture
def machine(monkeypatch):
    """Of torch.cuda what is used, and a function that doubles, with what it was called with."""
    calls: list[Tensor] = []
    last: list[tuple[Tensor, Tensor]] = []

    def doubled(x: Tensor) -> tuple[Tensor, ...]:
        calls.append(x)
        last[:] = [(x, 2 * x)]
        return (last[0][1],)

    @contextmanager
    def graph(into: Graph):
        yield
        into.tape = last[0]

    stream = SimpleNamespace(wait_stream=lambda other: None)
    for name, stand_in in (
        ("Stream", lambda device: stream),
        ("current_stream", lambda device: stream),
        ("stream", lambda _: nullcontext()),
        ("CUDAGraph", Graph),
        ("graph", graph),
    ):
        monkeypatch.setattr(recording.torch.cuda, name, stand_in)
    return recorded(doubled, CPU), calls


def test_a_size_is_recorded_once(machine):
    play, calls = machine
    for k in range(4):
        x = torch.full((2, 3), float(k))
        assert play(x)[0].tolist() == (2 * x).tolist()
    assert len(calls) == WARM_UP + 1
    assert play(torch.ones(3, 2))[0].shape == (3, 2)
    assert play(torch.ones(2, 3, dtype=torch.int64))[0].dtype == torch.int64
    assert len(calls) == 3 * (WARM_UP + 1)


def test_an_answer_outlives_the_next_one_and_inputs_stay_their_own(machine):
    play, calls = machine
    x = torch.ones(2)
    first = play(x)[0]
    play(5 * x)
    assert first.tolist() == [2, 2]
    assert x.tolist() == [1, 1]
    assert all(seen is not x for seen in calls)


def test_the_size_unused_for_longest_is_forgotten(machine):
    play, calls = machine
    for n in range(1, MOST_RECORDED + 1):
        play(torch.ones(n))
    play(torch.ones(1))  # used again
    play(torch.ones(MOST_RECORDED + 1))  # 2 goes
    before = len(calls)
    play(torch.ones(1))
    assert len(calls) == before
    play(torch.ones(2))
    assert len(calls) == before + WARM_UP + 1


def test_without_a_gpu_the_wish_is_refused(run):
    with pytest.raises(InputError, match="the runtime 'cudagraphs' is for cuda, this is cpu; leave --runtime out"):
        Predictor.load(run, "cpu", runtime="cudagraphs")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_the_answers_are_those_of_eager(run):
    images = [torch.randint(0, 256, (40 + k, 60, 3), dtype=torch.uint8).numpy() for k in (0, 8, 0)]
    eager, played = (Predictor.load(run, "cuda", runtime=name, precision="fp32") for name in ("torch", "cudagraphs"))
    for one, other in zip(eager(images), played(images), strict=True):
        assert (one.labels == other.labels).mean() > 0.999
