"""What the commands print: results on standard output, notes and progress on standard error.

Without a terminal (a log file, a pipe) tables keep their full width and progress comes as plain lines.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import typer

Report = Callable[[int, int], None]  # done, total

# Seconds between two lines of progress where there is no terminal.
LINE_EVERY_S = 10.0


def say(text: str) -> None:
    """A note to the person at the keyboard, on standard error, so that standard output stays the result alone."""
    typer.echo(text, err=True)


def print_json(given: Any) -> None:
    """JSON on standard output; paths as text."""
    typer.echo(json.dumps(given, indent=2, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under their column names; the first column to the left, columns of numbers to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for k, name in enumerate(columns):
        numeric = all(row[k][:1].isdigit() or row[k] in ("", "-") for row in rows)
        table.add_column(name, justify="right" if numeric and rows else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # Text: a bracket in a file name is no markup
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)


@contextmanager
def folder_for(out: Path | None, default: Path) -> Iterator[Path]:
    """The folder that was asked for, or a fresh one of the default name that vanishes again if nothing was written into it."""
    from maskwright.io.write import fresh_folder

    if out is not None:
        yield out
        return
    folder = fresh_folder(default)
    try:
        yield folder
    finally:
        with suppress(OSError):  # not empty: it stays
            folder.rmdir()
            folder.parent.rmdir()


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """A bar with the time left on a terminal, a plain line now and then elsewhere; call what it gives with (done, total)."""
    if not sys.stderr.isatty():
        yield plain_lines(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


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
