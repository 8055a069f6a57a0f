"""Two gloo processes under torchrun's environment train as one: the same losses, the same weights on both sides."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from maskwright.training import train
from maskwright.training.log import read_log

SCRIPT = """
import os, sys, torch
torch.set_num_threads(1)
from maskwright.training import train
train(sys.argv[1], out=sys.argv[2], recipe=sys.argv[3], workers=0, show_progress=False)
os._exit(0)  # torch with DDP and gloo sometimes aborts while the interpreter shuts down
"""


def test_two_processes_give_the_losses_of_one(squares_folder: Path, quick_file: Path, tmp_path: Path) -> None:
    settings = yaml.safe_load(quick_file.read_text())
    # Without batch norm: on CPUs each process would normalise by its own half of the batch.
    settings |= {"steps": 8, "validate_every": 4, "model_args": {"width": 8, "depth": 2, "norm": "none"}, "learning_rate": 1e-3}
    quick_file.write_text(yaml.safe_dump(settings))
    one = train(squares_folder, out=tmp_path / "one", recipe=quick_file, workers=0, show_progress=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(squares_folder), str(tmp_path / "two"), str(quick_file)],
            env={**base, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in (0, 1)
    ]
    assert [p.wait(timeout=120) for p in pair] == [0, 0]
    losses = [[r["loss"] for r in read_log(folder)] for folder in (one.folder, tmp_path / "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    a, b = (load_file(f / "model.safetensors") for f in (one.folder, tmp_path / "two"))
    assert all(torch.allclose(a[k].float(), b[k].float(), atol=2e-4) for k in a)
