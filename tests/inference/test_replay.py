"""Recorded passes: when one is made, kept, used and dropped; the recording itself needs a CUDA device."""

from __future__ import annotations

import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest
import torch

from maskwright.inference import backends, replay
from maskwright.inference.backends import forward_on
from maskwright.inference.replay import MOST_SIZES, Replay

CPU = torch.device("cpu")
SMALL, LARGE = torch.rand(1, 3, 8, 8), torch.rand(2, 3, 16, 8)


class Net:
    """Counts its passes, and may run out of memory."""

    def __init__(self) -> None:
        self.passes, self.full = 0, 0

    def __call__(self, image):
        self.passes += 1
        if self.full:
            self.full -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return image.sum(dim=1, keepdim=True)


class Played:
    """A recording that counts how often it is played."""

    made: ClassVar[list[Played]] = []
    off = 0.0
    trouble: Exception | None = None

    def __init__(self, answer, image, device, weights):
        if self.trouble:
            raise self.trouble
        self.answer, self.size, self.plays = answer, image.shape, 0
        self.made.append(self)

    def __call__(self, image):
        assert image.shape == self.size
        self.plays += 1
        return image.sum(dim=1, keepdim=True) + self.off


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(replay, "Recording", Played)
    monkeypatch.setattr(replay, "_failed", set())
    monkeypatch.setattr(Played, "made", [])
    seconds = {Net: 2.0, Played: 1.0}
    monkeypatch.setattr(Replay, "_seconds", lambda self, answer, image: seconds[type(answer)])
    return seconds


def test_a_size_is_recorded_when_it_comes_again(recorder):
    net = Net()
    forward = Replay(net, CPU, list)
    for image in (SMALL, LARGE, SMALL, SMALL, LARGE):
        assert torch.equal(forward(image), image.sum(dim=1, keepdim=True))
    assert [(made.size, made.plays) for made in Played.made] == [(SMALL.shape, 3), (LARGE.shape, 2)]  # one each to compare
    assert net.passes == 4


@pytest.mark.parametrize("why", ["it takes as long", "it answers otherwise", "it cannot be recorded"])
def test_what_does_not_pay_is_not_used(recorder, monkeypatch, why):
    if why == "it takes as long":
        recorder[Played] = 2.0
    elif why == "it answers otherwise":
        monkeypatch.setattr(Played, "off", 1e-6)
    else:
        monkeypatch.setattr(Played, "trouble", RuntimeError("operation not permitted when stream is capturing"))
    forward = Replay(Net(), CPU, list)
    for _ in range(4):
        assert torch.equal(forward(SMALL), SMALL.sum(dim=1, keepdim=True))
    assert sum(made.plays for made in Played.made) == (why != "it cannot be recorded")


def test_where_one_recording_failed_no_other_is_tried(recorder, monkeypatch):
    """torch may take the first for still under way."""
    first, second = Replay(Net(), CPU, list), Replay(Net(), CPU, list)
    with monkeypatch.context() as trouble:
        trouble.setattr(Played, "trouble", RuntimeError("operation not permitted when stream is capturing"))
        for _ in range(2):
            first(SMALL)
    for forward in (first, second):
        for _ in range(3):
            assert torch.equal(forward(LARGE), LARGE.sum(dim=1, keepdim=True))
    assert Played.made == []


def test_passes_are_recorded_one_at_a_time(recorder, monkeypatch):
    under_way: list[int] = []

    class Slow(Played):
        def __init__(self, *how):
            under_way.append(1)
            assert len(under_way) == 1
            time.sleep(0.05)
            super().__init__(*how)
            under_way.pop()

    monkeypatch.setattr(replay, "Recording", Slow)
    recorder[Slow] = 1.0
    forwards = [Replay(Net(), CPU, list) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            list(pool.map(lambda forward: forward(SMALL), forwards))
    assert len(Played.made) == 2


def test_no_more_sizes_than_memory_is_for(recorder):
    forward = Replay(Net(), CPU, list)
    for side in range(1, MOST_SIZES + 3):
        for _ in range(3):
            forward(torch.rand(1, 3, side, 4))
    assert len(Played.made) == MOST_SIZES


def test_recordings_make_room_where_memory_ends(recorder):
    net = Net()
    forward = Replay(net, CPU, list)
    for _ in range(2):
        forward(SMALL)
    net.full = 1
    assert torch.equal(forward(LARGE), LARGE.sum(dim=1, keepdim=True))
    played = Played.made[0].plays
    assert torch.equal(forward(SMALL), SMALL.sum(dim=1, keepdim=True))
    assert (len(Played.made), Played.made[0].plays) == (1, played)
    net.full = 2  # while it is recorded, and then
    with pytest.raises(torch.OutOfMemoryError):
        forward(LARGE)


def test_memory_that_ends_within_a_recording(recorder, monkeypatch):
    forward = Replay(Net(), CPU, list)
    for _ in range(2):
        forward(SMALL)

    def full(self, image):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Played, "__call__", full)
    assert torch.equal(forward(SMALL), SMALL.sum(dim=1, keepdim=True))


def test_what_a_failed_pass_computed_is_gone_before_the_next(recorder):
    class Activations:
        pass

    last: list[weakref.ref[Activations]] = []
    held: list[bool] = []

    class Holding(Net):
        def __call__(self, image):
            held.append(any(one() for one in last))
            computed = Activations()  # which the traceback of what is raised here holds
            last.append(weakref.ref(computed))
            return super().__call__(image)

    recorder[Holding] = 2.0
    net = Holding()
    forward = Replay(net, CPU, list)
    for _ in range(2):
        forward(SMALL)
    net.full = 1
    forward(LARGE)
    assert held == [False] * 4


def test_passes_that_drop_values_are_never_played(monkeypatch):
    played = []

    class Recorder:
        def __init__(self, answer, device, weights):
            self.answer = answer
            assert len(list(weights())) == 2

        def __call__(self, image):
            played.append(image.shape)
            return self.answer(image)

    monkeypatch.setattr(replay, "Replay", Recorder)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.Dropout2d(0.5))
    device = torch.device("cpu")
    monkeypatch.setattr(backends, "_records", lambda device: True)
    forward = forward_on(net, device, "fp32", many=True)
    forward(SMALL)
    net[1].train()
    forward(SMALL)
    assert played == [SMALL.shape]
    forward_on(net.eval(), device, "fp32")(SMALL)
    forward_on(net, device, "fp32", exact=True, many=True)(SMALL)
    assert played == [SMALL.shape]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_recording_answers_as_the_network():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 2, 1)).eval()
    device = torch.device("cuda")
    expected, forward = forward_on(net, device, "fp32"), forward_on(net, device, "fp32", many=True)
    for _ in range(4):
        image = torch.rand(2, 3, 64, 64)
        torch.testing.assert_close(forward(image), expected(image), rtol=1e-3, atol=1e-4)
    recording = replay.Recording(expected, image, device, list(net.parameters()))
    first = recording(image)
    kept = first.clone()
    assert not torch.equal(recording(torch.rand(2, 3, 64, 64)), first)
    assert torch.equal(first, kept)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_streams_that_take_turns_do_not_mix():
    device = torch.device("cuda")
    recording = replay.Recording(lambda image: image.cumsum(dim=3) + 1, torch.zeros(1, 3, 512, 512), device, [])
    streams = [torch.cuda.Stream() for _ in range(2)]
    images = [torch.full((1, 3, 512, 512), float(k), device=device) for k in range(32)]
    torch.cuda.synchronize()
    answers = []
    for k, image in enumerate(images):
        with torch.cuda.stream(streams[k % 2]):
            answers.append(recording(image))
    torch.cuda.synchronize()
    assert [float(answer[0, 0, 0, 0]) for answer in answers] == [k + 1.0 for k in range(32)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_recording_that_fails_leaves_its_stream():
    before = torch.cuda.current_stream()
    with pytest.raises(RuntimeError):
        replay.Recording(lambda image: image * image.sum().item(), SMALL, torch.device("cuda"), [])
    assert torch.cuda.current_stream() == before
