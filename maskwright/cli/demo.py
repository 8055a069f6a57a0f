"""demo: the whole job on scenes that are drawn on the spot, with no download."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from maskwright.cli import options as given
from maskwright.cli.options import value
from maskwright.cli.output import folder_for, print_table
from maskwright.progress import duration, progress

demos = typer.Typer(help="The whole job on scenes drawn on the spot.", no_args_is_help=True, rich_markup_mode=None)


@demos.callback()
def _demo() -> None:
    """The whole job on scenes drawn on the spot."""  # a callback keeps `demo` a group while it has one command


@demos.command()
def lungs(
    out: Annotated[Path | None, value("DIR", "Folder for everything; default demo/lungs, never overwritten.")] = None,
    minutes: Annotated[float, value("M", "Time for the training.")] = 5.0,
    count: Annotated[int, value("N", "How many scenes are drawn.")] = 200,
    seed: given.Seed = 0,
    bits: Annotated[int, value("B", "Bits a pixel: 8 or 16.")] = 8,
) -> None:
    """Draw chest scenes, check, train a U-Net, score the held-out test split, predict, report."""
    from maskwright.data.check import check
    from maskwright.demo import lungs as scenes
    from maskwright.evaluation import COLUMNS, evaluate
    from maskwright.inference.files import predict_files
    from maskwright.inference.predictor import Predictor
    from maskwright.report import write_report
    from maskwright.training import train

    start = time.monotonic()
    with folder_for(out, Path("demo") / "lungs") as folder:
        typer.echo(f"1. Drawing {count} chest scenes with the lung fields as labels (seed {seed}, {bits} bit).")
        data = scenes.make(folder / "data", count=count, seed=seed, bits=bits)
        typer.echo("2. Checking them as any data are checked.")
        with progress("checking") as step:
            found = check(data, out=folder / "check", progress=step)
        typer.echo("\n".join(f"   {line}" for line in found.lines()))
        typer.echo(f"3. Training for {minutes:g} minutes.")
        run = train(data, out=folder / "run", minutes=minutes, seed=seed, checked=True)
        typer.echo(f"   validation Dice {run.score:.4f} after {run.steps} steps.")
        typer.echo("4. Scoring the test split, which training has not seen.")
        with progress("scoring") as step:
            scores = evaluate(run.folder, data, split="test", out=run.folder, progress=step)
        print_table(COLUMNS, scores.rows())
        typer.echo("5. Predicting the test images.")
        predictor = Predictor.load(run.folder)
        with progress("predicting") as step:
            predict_files(predictor, data / "test" / "images", folder / "masks", overlay=True, progress=step)
        typer.echo("6. Writing the report.")
        write_report(run.folder / "report.html")
    typer.echo(f"Done in {duration(time.monotonic() - start)}.")
