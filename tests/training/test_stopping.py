"""Signals to a training and all its processes at once, as timeout, SLURM and a terminal send them: exit code 130, one sentence."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskwright.data.dataset import Dataset
from maskwright.errors import Interrupted
from maskwright.training import run as room
from maskwright.training import train
from maskwright.training.stopping import interruptible, stop_signals

TINY = (
    "--set",
    "model_args={width: 4, depth: 2}",
    "--set",
    "batch=4",
    "--set",
    "precision=fp32",
    "--set",
    "validate_every=100000",
)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def stopped(number: int, after: str, *words: object) -> str:
    """Train in a process group of its own and send the signal to all of it half a second after something is said; all it says."""
    command = [sys.executable, "-m", "maskwright", "train", *map(str, words), "--workers", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment) as process:
        assert process.stderr is not None
        try:
            said = next((line for line in process.stderr if after in line), "")
            time.sleep(0.5)  # loader processes are at work
            os.killpg(process.pid, number)
            said += process.stderr.read()
        finally:
            process.kill()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "DataLoader" not in said
    return said


def test_a_signal_to_the_whole_group_ends_the_training_and_it_can_be_resumed(squares_folder: Path, tmp_path: Path) -> None:
    run, steps = tmp_path / "run", []
    words = (squares_folder, "--out", run)
    for number, more in ((signal.SIGTERM, ("--set", "steps=100000", *TINY)), (signal.SIGINT, ("--resume",))):
        said = stopped(number, "100000 steps", *words, *more)
        steps += re.findall(r"interrupted at step (\d+) of 100000; everything is saved\. Go on with: .* --resume", said)
    assert 0 < int(steps[0]) < int(steps[1])


def test_a_signal_to_the_whole_group_before_the_first_step(squares_folder: Path, tmp_path: Path) -> None:
    # Of 5 minutes 6 s go into measuring, with loader processes.
    said = stopped(signal.SIGTERM, "measuring a training step", squares_folder, "--out", tmp_path / "run", "--minutes", 5, *TINY)
    assert "interrupted before the first step; there is nothing to resume, run the same command again." in said


def test_a_signal_after_the_last_step_says_how_to_go_on(
    squares: Dataset, quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, settings = tmp_path / "run", {**quick, "steps": 2, "validate_every": 2}
    monkeypatch.setattr(room, "with_runtimes", lambda *_a, **_k: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(
        Interrupted, match=r"^interrupted; all up to the step that was saved last is kept\. Go on with: .*--resume$"
    ):
        train(squares, out=run, settings=settings, workers=0, show_progress=False, checked=True)
    monkeypatch.undo()
    assert train(squares, out=run, resume=True, workers=0, show_progress=False).steps == 2


def interrupted(folder: Path | None) -> None:
    with interruptible("x") as begun:
        begun.folder = folder
        signal.raise_signal(signal.SIGTERM)


def test_a_folder_without_a_state_has_to_go(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="there is nothing to resume, run the same command again"):
        interrupted(tmp_path)
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(Interrupted, match=f"nothing to resume, delete {tmp_path} and run the same command again"):
        interrupted(tmp_path)


def test_between_steps_the_first_signal_is_a_flag_and_the_second_ends_it() -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted), interruptible("x"), stop_signals() as asked:
        flags_then_ends(asked)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def flags_then_ends(asked: Callable[[], bool]) -> None:
    assert not asked()
    signal.raise_signal(signal.SIGTERM)
    assert asked()
    signal.raise_signal(signal.SIGINT)


FULL_DISK = """
import sys
from pathlib import Path
import maskwright
from maskwright.training.log import RunLog

write = RunLog.write

def write_to_full_disk(self, row):
    self.path = Path("/dev/full")
    write(self, row)

RunLog.write = write_to_full_disk
settings = {"model_args": {"width": 4, "depth": 2}, "batch": 4, "precision": "fp32", "steps": 100000}
maskwright.train(sys.argv[1], out=sys.argv[2], settings=settings, workers=2)
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
def test_a_script_that_does_not_catch_an_error_of_the_training_still_ends(squares_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(squares_folder), str(tmp_path / "run")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert re.search(
        r"InputError: /dev/full: the log cannot be written \(No space left on device\).*go on with --resume", ended.stderr
    )
