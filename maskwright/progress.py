"""Progress with the time left, for everything that takes long: a bar on a terminal, plain lines elsewhere, on standard error.

A room reports by calling report(done, total); who shows it, and how, is decided here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

Report = Callable[[int, int], None]  # done, total
Stages = Callable[[str, int, int], None]  # what is being done, done, total

# Seconds between two lines of progress where there is no terminal.
LINE_EVERY_S = 10.0


def say(text: str) -> None:
    """A note to the person at the keyboard, on standard error, so that standard output stays the result alone."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def progress(title: str, *, show: bool = True) -> Iterator[Report]:
    """A bar with the time left on a terminal, a plain line now and then elsewhere, nothing with show=False."""
    if not show:
        yield _silent
        return
    if not sys.stderr.isatty():
        yield plain_lines(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def stages(*, show: bool = True) -> Iterator[Stages]:
    """Progress of work whose parts take each its own time: report(title, done, total).

    A new title, or less done than before, starts a new bar and a new estimate; without a terminal a line names the stage.
    """
    with ExitStack() as shown:
        current: tuple[str, int] = ("", 0)
        step: Report = _silent

        def report(title: str, done: int, total: int) -> None:
            nonlocal current, step
            if title != current[0] or done < current[1]:
                shown.close()
                if show and not sys.stderr.isatty():
                    say(title)
                step = shown.enter_context(progress(title, show=show))
            current = title, done
            step(done, total)

        yield report


def of_stage(report: Stages | None, title: str) -> Report:
    """One stage's own progress."""
    return partial(report, title) if report else _silent


def _silent(_done: int, _total: int) -> None:
    """Progress for nobody."""


def plain_lines(title: str, clock: Callable[[], float] = time.monotonic, every_s: float = LINE_EVERY_S) -> Report:
    """Progress as lines `title: 20 of 200, 18 s left`, no more than one in every_s seconds."""
    start = last = clock()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = clock()
        if done and now - last >= every_s:
            last = now
            say(f"{title}: {done} of {total}, {duration((now - start) / done * (total - done))} left")

    return report


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 5 min`: two units at most."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
