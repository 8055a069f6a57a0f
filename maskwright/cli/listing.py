"""models: what there is to train and to use, in numbers; also as the page docs/models.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from maskwright.cli import options as given
from maskwright.cli.options import argument, flag
from maskwright.cli.output import print_json, print_table
from maskwright.progress import progress

if TYPE_CHECKING:
    from maskwright.models.describe import Description

COLUMNS = ("model", "task", "paper", "parameters", "multiply-adds", "receptive field", "starts from")
PUBLISHED_COLUMNS = ("name", "model", "weights", "classes", "trained on", "licence")
PRECISIONS = ("fp32", "bf16")
Times = dict[str, dict[str, float]]  # milliseconds by model and number type


def models(
    names: Annotated[list[str] | None, argument("[NAME...]", "Only these networks; default: all.")] = None,
    timed: Annotated[bool, flag("--time", "Also measure milliseconds an image on this machine, fp32 and bf16.")] = False,
    as_page: Annotated[bool, flag("--page", "Print docs/models.md.")] = False,
    device: given.Device = "auto",
    as_json: given.Json = False,
) -> None:
    """List the networks that `train --model` knows, and the published models that `predict` knows."""
    from maskwright.models import MODELS
    from maskwright.models.describe import describe

    wanted = names or list(MODELS)
    with progress("looking at the networks") as step:
        found = []
        for name in wanted:
            found.append(describe(name))
            step(len(found), len(wanted))
    times = _times(found, device) if timed else {}
    if as_json:
        rows = {d.name: {**asdict(d), "milliseconds": times.get(d.name)} for d in found}
        print_json({"models": rows, "published": {row["name"]: row for row in _published()}})
    elif as_page:
        typer.echo(page(found, times), nl=False)
    else:
        print_table(*table(found, times))
        print_table(PUBLISHED_COLUMNS, [tuple(row.values()) for row in _published()])
        typer.echo("\n".join(f"- {line}" for line in conventions()))


def table(found: Sequence[Description], times: Times) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows of the networks; the milliseconds stand last, so that a page without them has the same beginning."""
    more = tuple(f"ms {precision}" for precision in PRECISIONS) if times else ()
    rows = []
    for d in found:
        weights = "; ".join(f"{form} ({licence})" for form, licence in d.weights)
        sees = "whole image" if d.receptive_field is None else f"{d.receptive_field} px"
        costs = f"{d.parameters / 1e6:.2f} M", f"{d.multiply_adds / 1e9:.1f} G"
        fixed = (d.name, d.task, f"arXiv:{d.paper}", *costs, sees, weights or "-")
        rows.append((*fixed, *(f"{times[d.name][p]:.0f}" for p in PRECISIONS if times)))
    return (*COLUMNS, *more), rows


def conventions() -> list[str]:
    """What the numbers mean, in one sentence each."""
    from maskwright.models.describe import CHANNELS, CLASSES, HW

    size = f"{HW[1]}x{HW[0]}"
    return [
        f"Default arguments, {CHANNELS} channels, {CLASSES} classes; multiply-adds and milliseconds are for one image of {size}.",
        "receptive field: side of the square of pixels on which the logit of the middle pixel can depend.",
        "starts from: what --weights takes, with its licence; NAME is any that fits, and a file always does.",
        "Networks of objects: with as many boxes as they may look at; the receptive field is that of the finest map.",
    ]


def page(found: Sequence[Description], times: Times) -> str:
    """docs/models.md."""
    heading = "# Models\n\nWritten by `maskwright models --page`; `--time` adds the milliseconds of the machine at hand.\n"
    what = "\n".join(f"- **{d.name}**: {d.summary}." for d in found)
    timed = [f"Milliseconds: {_machine()}."] if times else []
    notes = "\n".join(f"- {line}" for line in [*conventions(), *timed])
    published = _markdown(PUBLISHED_COLUMNS, [tuple(row.values()) for row in _published()])
    use = "`maskwright predict NAME IMAGES` and `maskwright.load(NAME)` use these as they are:"
    return f"{heading}\n{_markdown(*table(found, times))}\n\n{notes}\n\n{what}\n\n## Published\n\n{use}\n\n{published}\n"


def _published() -> list[dict[str, str]]:
    from maskwright.models.weight_sources import licence_of
    from maskwright.published import PUBLISHED

    return [
        dict(zip(PUBLISHED_COLUMNS, (name, e.model, e.weights, e.classes, e.trained_on, licence_of(e.weights)), strict=True))
        for name, e in PUBLISHED.items()
    ]


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _machine() -> str:
    """What the milliseconds were measured on."""
    import platform

    import torch

    kind = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return f"{kind}, {torch.get_num_threads()} threads, torch {torch.__version__.split('+')[0]}"


def _times(found: Sequence[Description], device: str) -> Times:
    from maskwright.inference.backends import choose_device
    from maskwright.inference.timing import milliseconds
    from maskwright.models import build
    from maskwright.models.describe import CHANNELS, CLASSES, HW, fixed_part

    target = choose_device(device)
    times: Times = {}
    with progress("timing") as step:
        for d in found:
            net = fixed_part(build(d.name, channels=CHANNELS, classes=CLASSES), d.task)
            times[d.name] = {p: milliseconds(net, CHANNELS, HW, target, p) for p in PRECISIONS}
            step(len(times), len(found))
    return times
