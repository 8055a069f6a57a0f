"""demo: the whole job on scenes that are drawn on the spot, with no download."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskwright.cli import options as given
from maskwright.cli.options import value
from maskwright.cli.output import folder_for, print_table
from maskwright.progress import duration, progress

if TYPE_CHECKING:
    from maskwright.data.check import CheckReport
    from maskwright.evaluation import AnyEvaluation, Evaluation, ObjectEvaluation
    from maskwright.training import Run

demos = typer.Typer(help="The whole job on scenes drawn on the spot.", no_args_is_help=True, rich_markup_mode=None)


@dataclass(frozen=True)
class Demo:
    """What differs between the demos: a row of DEMOS."""

    module: str  # its make(out, count, seed, ..., progress) writes the scenes
    scenes: str
    title: str
    headline: Callable[[Any], str]
    network: str = "a U-Net from scratch"
    settings: Mapping[str, Any] | None = None  # of the recipe, where the planner's are not meant for drawn scenes


def _lungs_found(scores: Evaluation) -> str:
    return f"mean Dice of the lungs {scores.mean_image_dice:.4f}"


def _streets_found(scores: Evaluation) -> str:
    iou = dict(zip(scores.scores.classes.names, scores.scores.iou, strict=True))
    return f"mean IoU {scores.scores.mean_iou:.4f} (road {iou['Road']:.4f}, sky {iou['Sky']:.4f})"


def _tankers_found(scores: ObjectEvaluation) -> str:
    return f"mask AP50 {scores.masks.ap50:.4f}, AP {scores.masks.ap:.4f}"


# Drawn ships differ enough by themselves; what blurs their decks hides their kind, which is learnt last.
SHIPS_VARIED = {
    "flip_horizontal": 0.5, "flip_vertical": 0.5, "turn": 0.75, "scale": 0.15, "rotation_deg": 10, "stretch": 0.05, "elastic": 0,
    "exposure": 0.3, "saturation": 0.2, "tint": 0.05, "noise": 0.03, "blur": 0, "hide": 0,
}  # fmt: skip

DEMOS = {
    "lungs": Demo(
        "maskwright.demo.lungs", "chest scenes with the lung fields as labels", "Lungs in drawn chest X-rays", _lungs_found
    ),
    "streets": Demo(
        "maskwright.demo.streets",
        "streets as a car's camera sees them, labelled in CamVid's 11 classes",
        "Drawn streets",
        _streets_found,
    ),
    "tankers": Demo(
        "maskwright.demo.tankers",
        "seas as a satellite sees them, each ship with its own mask",
        "Ships in drawn satellite scenes",
        _tankers_found,
        "a small Mask R-CNN whose encoder knows ImageNet",
        {"augment": SHIPS_VARIED, "weights": "pip:efficientnet_lite0", "encoder_rate": 0.5, "frozen_stages": 2},
    ),
}

Out = Annotated[Path | None, value("DIR", "Folder for everything; default demo/<name>. Never overwritten.")]
Minutes = Annotated[float, value("M", "Time for the training.")]
Count = Annotated[int, value("N", "How many scenes are drawn.")]


@demos.command()
def lungs(
    out: Out = None,
    minutes: Minutes = 4.0,
    count: Count = 200,
    seed: given.Seed = 0,
    bits: Annotated[int, value("B", "Bits a pixel: 8 or 16.")] = 8,
    device: given.Device = "auto",
) -> None:
    """Draw chest scenes, check, train a U-Net, score the held-out test split, predict, report."""
    _whole_job("lungs", out, minutes, count, seed, device, bits=bits)


@demos.command()
def streets(
    out: Out = None,
    minutes: Minutes = 8.0,
    count: Count = 400,
    seed: given.Seed = 0,
    device: given.Device = "auto",
) -> None:
    """Draw driving scenes in 11 classes, check, train a U-Net, score the held-out test split, predict, report."""
    _whole_job("streets", out, minutes, count, seed, device)


@demos.command()
def tankers(
    out: Out = None,
    minutes: Minutes = 8.5,
    count: Count = 700,
    seed: given.Seed = 0,
    device: given.Device = "auto",
) -> None:
    """Draw seas with tankers and other ships, check, train a Mask R-CNN, score the held-out test split, predict, count."""
    _whole_job("tankers", out, minutes, count, seed, device)


def _whole_job(name: str, out: Path | None, minutes: float, count: int, seed: int, device: str, **drawing: int) -> None:
    """What every demo does; drawing: settings of its scenes alone."""
    from maskwright.report import report_run

    start, demo = time.monotonic(), DEMOS[name]
    with folder_for(None, out or Path("demo") / name) as folder:
        data = _draw(demo, folder / "data", count, seed, drawing)
        found = _check(data, folder / "check")
        run = _train(demo, data, folder / "run", minutes, seed, device, found)
        scores = _evaluate(run, data, folder / "evaluation", device)
        _predict(run, data, folder / "masks", device)
        report = report_run(folder / "report.html", demo.title, scores, run.folder, found)
    typer.echo(
        f"Done in {duration(time.monotonic() - start)}: {demo.headline(scores)} "
        f"on {len(scores.per_image)} scenes that training has not seen."
    )
    for path, what in (
        (report, "scores, curves, worst and best images: open it in a browser"),
        (folder / "masks", "masks of the test images, and overlays to look at"),
        (folder / "evaluation", "every number as JSON, pictures of the worst and the best images"),
        (run.folder, "the run: weights, and recipe.yaml with the reason of each setting"),
        (folder / "check", "what the mask doctor saw: contact_sheet.png"),
        (data, "the scenes"),
    ):
        typer.echo(f"  {path}: {what}")
    typer.echo(f"Now your own images: maskwright predict {run.folder} IMAGES, or maskwright train YOUR_DATA.")


def _draw(demo: Demo, out: Path, count: int, seed: int, drawing: Mapping[str, int]) -> Path:
    settings = "".join(f", {amount} {what}" for what, amount in drawing.items())
    typer.echo(f"1. Drawing {count} {demo.scenes} (seed {seed}{settings}).")
    with progress("drawing") as step:
        made: Path = import_module(demo.module).make(out, count=count, seed=seed, progress=step, **drawing)
    return made


def _check(data: Path, out: Path) -> CheckReport:
    from maskwright.data.check import check

    typer.echo("2. Checking them as any data are checked.")
    with progress("checking") as step:
        found = check(data, out=out, progress=step)
    typer.echo("\n".join(f"   {line}" for line in found.lines()))
    return found


def _train(demo: Demo, data: Path, out: Path, minutes: float, seed: int, device: str, found: CheckReport) -> Run:
    from maskwright.training import train

    typer.echo(f"3. Training {demo.network}, {minutes:g} minutes in all.")
    run = train(data, out=out, minutes=minutes, seed=seed, device=device, checked=found.ok, settings=demo.settings)
    typer.echo(f"   Validation {run.score_name} {run.score:.4f} after {run.steps} steps.")
    return run


def _evaluate(run: Run, data: Path, out: Path, device: str) -> AnyEvaluation:
    from maskwright.evaluation import COLUMNS, evaluate

    typer.echo("4. Scoring the test split, which training has not seen.")
    with progress("scoring") as step:
        scores = evaluate(run.folder, data, split="test", out=out, device=device, progress=step)
    print_table(COLUMNS, scores.rows())
    typer.echo("\n".join(f"   - {line}" for line in scores.conventions))
    return scores


def _predict(run: Run, data: Path, out: Path, device: str) -> None:
    from maskwright.inference.files import COUNTS_FILE, predict_files
    from maskwright.inference.predictor import Predictor

    typer.echo("5. Predicting the test images: a mask and an overlay each.")
    predictor = Predictor.load(run.folder, device)
    images = data / "test" / "images" if (data / "test" / "images").is_dir() else data / "test"
    with progress("predicting") as step:
        report = predict_files(predictor, images, out, overlay=True, progress=step)
    if predictor.finds_objects:
        total = ", ".join(f"{number} of class {name}" for name, number in report.total().items())
        typer.echo(f"   Found in all: {total}; {out / COUNTS_FILE} has the counts of each scene.")
