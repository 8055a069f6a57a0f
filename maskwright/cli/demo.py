"""demo: the whole job on scenes that are drawn on the spot, with no download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskwright.cli import options as given
from maskwright.cli.options import value
from maskwright.cli.output import duration, print_table, progress, say

demos = typer.Typer(help="The whole job on scenes drawn on the spot.", no_args_is_help=True, rich_markup_mode=None)


@demos.callback()
def _demo() -> None:
    """Keeps `demo` a group of commands while it has one."""
