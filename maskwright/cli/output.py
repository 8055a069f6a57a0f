"""What the commands print on standard output, and the folder they write to; notes and progress are progress.py's.

Without a terminal (a log file, a pipe) tables keep their full width.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import typer


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
def folder_for(out: Path | None, default: Path, overwrite: bool = False) -> Iterator[Path]:
    """The folder that was asked for, or a fresh one of the default name that vanishes again if nothing was written into it.

    With overwrite the default name itself, whatever it holds.
    """
    from maskwright.io.write import fresh_folder

    if out is not None or overwrite:
        yield out or default
        return
    folder = fresh_folder(default)
    try:
        yield folder
    finally:
        with suppress(OSError):  # not empty: it stays
            folder.rmdir()
            folder.parent.rmdir()
