"""Ctrl-C and SIGTERM end a training in one sentence wherever they come, also where they come to all its processes at once.

Between two steps a flag is looked at, the state saved, and nothing is lost; before the first step and after the last one the work
at hand is dropped. Loader processes look away from both signals (data/loader.py): they end when the training does.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from maskwright.data.loader import STOPPING
from maskwright.errors import Interrupted


@dataclass
class Begun:
    """What an interruption has to know of a training.

    Attributes:
        data: what is trained on, for the command that goes on; None for arrays
        folder: the run folder, None until there is one
    """

    data: object
    folder: Path | None = None

    def way_on(self) -> str:
        """What is said where nobody has said more."""
        folder = self.folder
        if folder is not None and (folder / "state" / "last.safetensors").is_file():
            return f"interrupted; all up to the step that was saved last is kept. Go on with: {go_on(self.data, folder)}"
        again = "run the same command again."
        if folder is not None and folder.is_dir() and any(folder.iterdir()):
            again = f"delete {folder} and {again}"
        return f"interrupted before the first step; there is nothing to resume, {again}"


def go_on(data: object, folder: Path) -> str:
    """The command that goes on with a run."""
    return f"maskwright train {data or 'DATA'} --out {folder} --resume"


@contextmanager
def interruptible(data: object) -> Iterator[Begun]:
    """While open, Ctrl-C and SIGTERM end a training at once; stop_signals has them between steps.

    Raises:
        Interrupted: one of them came; the message says how to go on.
    """
    begun = Begun(data)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        with _handled_by(interrupt):
            yield begun
    except KeyboardInterrupt:
        raise Interrupted(begun.way_on()) from None


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """While open, the first Ctrl-C or SIGTERM only sets a flag; the second one ends the program at once."""
    caught: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    with _handled_by(note):
        yield lambda: bool(caught)


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """While open, the handler gets Ctrl-C and SIGTERM; outside the main thread signals are the caller's."""
    try:
        before = {number: signal.signal(number, handler) for number in STOPPING}
    except ValueError:
        before = {}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former or signal.SIG_DFL)
