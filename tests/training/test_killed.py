"""SIGKILL in the middle of an epoch, with loader workers: the resumed run ends with the bits of one that never stopped."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from maskwright.training import train

SCRIPT = """
import sys, torch
from maskwright.training import train, watch
torch.set_num_threads(1)
watch.STATE_EVERY_S = 0.0  # a state after every step
train(sys.argv[1], out=sys.argv[2], recipe=sys.argv[3], workers=2, show_progress=False)
"""


def test_killed_at_a_random_step_and_resumed(squares_folder: Path, quick_file: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    whole = train(squares_folder, out=tmp_path / "whole", recipe=quick_file, workers=0, show_progress=False)
    run, kill_at = tmp_path / "killed", random.Random().randrange(2, 20)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(squares_folder), str(run), str(quick_file)], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    steps_seen, last, state = 0, None, run / "state" / "last.safetensors"
    try:
        while steps_seen < kill_at and process.poll() is None:
            stamp = state.stat().st_mtime_ns if state.exists() else None
            steps_seen, last = steps_seen + (stamp != last), stamp
            time.sleep(0.001)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"
    resumed = train(squares_folder, out=run, resume=True, workers=2, show_progress=False)
    assert resumed.steps == whole.steps
    for file in ("model.safetensors", "state/last.safetensors"):
        a, b = load_file(whole.folder / file), load_file(run / file)
        assert all(torch.equal(a[k], b[k]) for k in a), f"killed after about {kill_at} states"
