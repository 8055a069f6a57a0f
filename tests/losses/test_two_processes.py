"""Two processes with half a batch each have the loss and the gradient of one process with the whole."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from maskwright.processes import summed_over_processes

SCRIPT = Path(__file__).with_name("two_processes.py")


spec = importlib.util.spec_from_file_location("two_processes", SCRIPT)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What both processes found, by rank."""
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("this PyTorch has no gloo")
    folder = tmp_path_factory.mktemp("two")
    started = [
        subprocess.Popen(
            [sys.executable, SCRIPT, str(rank), folder / "meeting", folder / "answer"], stderr=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    try:
        errors = [process.communicate(timeout=90)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], "\n".join(errors)
    return [json.loads((folder / f"answer.{rank}").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", script.TERMS)
def test_two_processes_are_one(found, name):
    alone = script.losses_and_gradients(script.net(), *script.batch())[name]
    assert max(map(abs, alone[1:])) > 1e-3
    for rank in (0, 1):
        assert found[rank][name] == pytest.approx(alone, rel=1e-9, abs=1e-12)


def test_the_mean_of_both_halves_would_be_another_loss():
    # The case is worth its name only if averaging the processes' own losses is wrong.
    images, target = script.batch()
    whole = script.losses_and_gradients(script.net(), images, target)
    halves = [script.losses_and_gradients(script.net(), images[h], target[h]) for h in (slice(0, 2), slice(2, 4))]
    for name in whole:
        assert abs(whole[name][0] - (halves[0][name][0] + halves[1][name][0]) / 2) > 1e-3


def test_one_process_sums_nothing():
    sums = torch.ones(3, requires_grad=True)
    assert summed_over_processes(sums) is sums
