"""comparison.html: the table, the intervals, each class and the picture in one file that needs nothing else."""

from __future__ import annotations

import base64
import io
import math
import platform
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import PIL.Image
import torch

from maskwright import __version__
from maskwright.comparison.result import MAIN, Comparison, verdicts
from maskwright.data.wording import counted
from maskwright.io.write import write_text

PICTURE_BYTES = 4_000_000  # of the picture as text: leaves room for the rest in 5 MB
QUALITIES = (88, 75, 60, 40)


def write_page(path: Path, comparison: Comparison) -> Path:
    """Write one self-contained HTML file that opens without a network in any browser.

    Raises:
        InputError: the file cannot be written.
    """
    room = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    room.filters |= {"rgb": lambda colour: "rgb({}, {}, {})".format(*colour)}
    template = room.from_string(files("maskwright.comparison").joinpath("page.html.jinja").read_text(encoding="utf-8"))
    text = template.render(
        comparison=comparison,
        title=f"{counted(len(comparison.entrants), 'model')} on {comparison.dataset}",
        meters=_meters(comparison),
        verdicts=list(verdicts(comparison)),
        per_class=_per_class(comparison),
        picture=_jpeg_uri(comparison),
        facts=_facts(),
        version=__version__,
    )
    write_text(path, text)
    return path


def _meters(comparison: Comparison) -> list[dict[str, Any]]:
    """Each scored model's mean IoU with its interval, in percent of the width of a bar."""
    found: list[dict[str, Any]] = []
    for one in comparison.scored:
        if one.evaluation is None or math.isnan(one.score()):
            continue
        i = one.evaluation.intervals[MAIN]
        low, high = (None if v is None else round(100 * v, 2) for v in (i.low, i.high))
        found.append({"name": one.name, "value": round(100 * i.value, 2), "low": low, "high": high, "says": str(i)})
    return found


def _per_class(comparison: Comparison) -> list[dict[str, Any]]:
    """One row a class: name, colour, and the IoU of each scored model; the highest is marked."""
    scored = [one.evaluation for one in comparison.scored if one.evaluation]
    rows: list[dict[str, Any]] = []
    for k, name in enumerate(scored[0].scores.classes.names if scored else ()):
        iou = [float(e.scores.iou[k]) for e in scored]
        best = max((v for v in iou if not math.isnan(v)), default=math.nan)
        cells = [("-" if math.isnan(v) else f"{v:.4f}", v == best) for v in iou]
        rows.append({"name": name, "colour": scored[0].scores.classes.colours[k], "cells": cells})
    return rows


def _jpeg_uri(comparison: Comparison) -> str:
    """The picture as a data URI of at most PICTURE_BYTES; "" without one."""
    if comparison.picture is None:
        return ""
    uri = ""
    for quality in QUALITIES:
        buffer = io.BytesIO()
        # Full colour resolution: class contours are thin and strongly coloured.
        PIL.Image.fromarray(comparison.picture).save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
        uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
        if len(uri) <= PICTURE_BYTES:
            break
    return uri


def _facts() -> str:
    """What a number needs beside it: what it was computed with, and when."""
    return (
        f"maskwright {__version__}, Python {platform.python_version()}, torch {torch.__version__}, {platform.system()} "
        f"{platform.machine()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    )
