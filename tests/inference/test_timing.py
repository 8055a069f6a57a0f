"""Timing a pass: it is run, it is not the first one, and it ends."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskwright.inference import timing


class Counted(nn.Conv2d):
    """Counts its passes."""

    passes = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Counted.passes += 1
        return super().forward(x)


@pytest.fixture(autouse=True)
def as_it_is(monkeypatch):
    """A lean copy is tried before it is timed, which is not what is counted here."""
    monkeypatch.setattr("maskwright.inference.lean.lean", lambda net, *_, **__: net)


def test_the_first_pass_does_not_count_and_the_time_is_kept(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock) * 0.5)
    Counted.passes = 0
    # Each pass reads the clock twice, half a second apart: two of them fill the second, and one pass comes first.
    assert timing.milliseconds(Counted(3, 2, 1), 3, (8, 9), torch.device("cpu"), "fp32", seconds=1.0) == 500
    assert Counted.passes == 3


def test_a_quick_net_is_run_no_more_than_it_needs(monkeypatch):
    monkeypatch.setattr(timing.time, "perf_counter", lambda: 0.0)
    Counted.passes = 0
    assert timing.milliseconds(Counted(3, 2, 1), 3, (8, 9), torch.device("cpu"), "bf16") == 0
    assert Counted.passes == timing.PASSES + 1
