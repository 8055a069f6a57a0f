"""What a person sees of a run: one progress bar with loss, validation score and time left; plain lines without a terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from maskwright.progress import duration, say

LINES_EVERY_S = 30.0  # without a terminal


class Reporter:
    """Shows lines and the bar of a run on stderr; silent with show=False.

    Use as a context manager around the training loop.
    """

    def __init__(self, total: int, done: int, *, show: bool) -> None:
        self.console = Console(stderr=True, quiet=not show, soft_wrap=True, highlight=False)
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  Dice {task.fields[score]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not (show and self.console.is_terminal),
        )
        self.task = self.bar.add_task("training", total=total, completed=done, loss=float("nan"), score="-")
        self.lines = show and not self.console.is_terminal
        self.total, self.first, self.start, self.last_line = total, done, time.monotonic(), time.monotonic()

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def say(self, line: str) -> None:
        self.console.print(line, markup=False)

    def step(self, done: int, loss: float) -> None:
        self.bar.update(self.task, completed=done, loss=loss)
        now = time.monotonic()
        if self.lines and now - self.last_line > LINES_EVERY_S:
            self.last_line = now
            left = (now - self.start) / max(1, done - self.first) * (self.total - done)
            say(f"step {done}/{self.total}  loss {loss:.4f}  {duration(left)} left")

    def validated(self, done: int, name: str, score: float, best: bool) -> None:
        self.bar.update(self.task, score=f"{score:.4f}")
        if self.lines:
            say(f"step {done}/{self.total}  validation {name} {score:.4f}{'  (best)' if best else ''}")
