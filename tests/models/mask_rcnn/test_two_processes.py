"""Two processes with one image each have the five losses and the gradients of one process with both."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

SCRIPT = Path(__file__).with_name("two_processes.py")

spec = importlib.util.spec_from_file_location("two_processes_of_objects", SCRIPT)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


@pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="this PyTorch has no gloo")
def test_two_processes_are_one(tmp_path):
    started = [
        subprocess.Popen([sys.executable, SCRIPT, str(rank), tmp_path / "meeting", tmp_path / "answer"]) for rank in (0, 1)
    ]
    try:
        codes = [process.wait(timeout=120) for process in started]
    finally:
        for process in started:
            process.kill()
    assert codes == [0, 0]
    both = script.losses_and_gradient(script.net(), slice(0, 2))
    alone = script.losses_and_gradient(script.net(), slice(0, 1))
    # The case is worth its name only if the mean of both processes' own losses of boxes is wrong: no object, nothing to add.
    assert abs(both[3] - alone[3] / 2) > 1e-3 * both[3] > 0
    for rank in (0, 1):
        assert json.loads((tmp_path / f"answer.{rank}").read_text()) == pytest.approx(both, rel=1e-3, abs=1e-6)
