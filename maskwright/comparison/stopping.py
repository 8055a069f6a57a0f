"""Ctrl-C and SIGTERM end a comparison in the same way at any time: one sentence, and all that is trained is kept."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from maskwright.errors import Interrupted


@contextmanager
def stoppable() -> Iterator[None]:
    """While open, SIGTERM interrupts as Ctrl-C does. A training inside has its own way of stopping between two steps.

    Raises:
        Interrupted: one of them came and nothing inside has said where.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    caught = True
    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread: signals are the caller's
        caught = False
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted; all that is trained is kept. Give the same command to go on.") from None
    finally:
        if caught:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
