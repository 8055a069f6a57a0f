"""The command `maskwright`: parse, call, print; no logic lives here.

Results go to standard output, notes and progress to standard error; group.py says what the exit codes mean.
"""

from __future__ import annotations

from typing import Annotated

import typer

from maskwright import __version__
from maskwright.cli import commands
from maskwright.cli.demo import demos
from maskwright.cli.export import export
from maskwright.cli.group import Commands
from maskwright.cli.listing import models

app = typer.Typer(
    cls=Commands,
    help="Image segmentation you can sign: labelled images in; a model, an honest number and fast masks out.",
    epilog="Exit codes: 0 done, 1 done but some inputs failed, 2 wrong use or bad input, 130 interrupted and resumable.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich's help takes longer to import than all the rest
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(demos, name="demo")
for command in (
    commands.check, commands.train, commands.evaluate, commands.compare, commands.predict, commands.optimise,
    commands.convert, export, models,
):  # fmt: skip
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"maskwright {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Options that stand before the command."""


def main() -> None:
    """The console script; `python -m maskwright` is the same."""
    app(prog_name="maskwright")
