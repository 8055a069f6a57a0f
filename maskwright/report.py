"""The report of a run: one HTML file that needs nothing else, for reading, mailing and keeping.

Numbers come from the evaluation, curves from log.jsonl, class balance and findings from the mask doctor; nothing is measured
anew. This module decides what is said and where the points of the drawings lie; report.html.jinja says and draws it.
What is not there (a log, a check, pictures, an interval) is left out with its section.
"""

from __future__ import annotations

import base64
import io
import math
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import PIL.Image
import torch
import yaml
from numpy.typing import NDArray

from maskwright import __version__
from maskwright.data.findings import KINDS, CheckReport, Finding
from maskwright.evaluation import COLUMNS, Evaluation
from maskwright.io.write import write_text
from maskwright.metrics import ImageScore, Interval
from maskwright.training.log import read_log

PICTURES_BYTES = 4_000_000  # of all pictures as text: leaves room for the rest in 5 MB
SHOWN_PICTURES = 8  # of the worst, and of the best
SHOWN_FINDINGS = 20  # of one kind
# (share of the width, JPEG quality), from the best to what always fits.
SQUEEZES = ((1.0, 88), (1.0, 75), (0.75, 75), (0.5, 72), (0.35, 60), (0.2, 50))
WIDE = 1.5  # pictures wider than this, relative to their height, get a row of their own
TILES = {
    "worst_twentieth": "worst twentieth of the images",
    "mean_dice_no_background": "Dice over all pixels, without background",
    "mean_iou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
}
VALIDATED = {"mean_dice": "mean Dice", "mean_image_dice": "mean image Dice", "mean_iou": "mean IoU"}

CHART_W, CHART_H, LEFT, RIGHT, TOP, BOTTOM = 400, 220, 50, 12, 12, 26  # px of the drawing, as wide as a phone shows it


@dataclass(frozen=True)
class Line:
    """One curve: its name and its points as (x px, y px, what is said of it)."""

    name: str
    points: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram, in px, and what is said of it."""

    x: float
    y: float
    width: float
    height: float
    says: str


@dataclass(frozen=True)
class Chart:
    """A drawing ready for the template: every position in px of a CHART_W x CHART_H field.

    Attributes:
        title: above it; note: below it, one sentence
        x_ticks, y_ticks: (px, text)
        mark: (x px, text) of a line across, or None
    """

    title: str
    note: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...] = ()
    bars: tuple[Bar, ...] = ()
    mark: tuple[float, str] | None = None


@dataclass(frozen=True)
class Picture:
    score: ImageScore
    uri: str
    width: int
    height: int

    @property
    def wide(self) -> bool:
        return self.width > WIDE * self.height


@dataclass(frozen=True)
class Setting:
    key: str
    value: str
    reason: str


def write_report(
    path: str | Path,
    *,
    title: str,
    evaluation: Evaluation,
    recipe_yaml: str = "",
    log: Sequence[Mapping[str, Any]] = (),
    check: CheckReport | None = None,
    facts: Mapping[str, str] = {},
) -> Path:
    """Write one self-contained HTML file, below 5 MB, that opens without a network in any browser.

    Args:
        title: what was trained or scored
        evaluation: the scores; its pictures, where it kept any, are shown with the worst and the best images
        recipe_yaml: text of a recipe, `key: value  # reason` lines
        log: rows of log.jsonl, see training.log
        check: what the mask doctor said about the data
        facts: hardware, versions, times: whatever stands at the end, in the order given

    Returns:
        the path written

    Raises:
        InputError: the file cannot be written.
    """
    scores = [*evaluation.worst(SHOWN_PICTURES), *evaluation.best(SHOWN_PICTURES)]
    pictures = _embedded(evaluation, list(dict.fromkeys(s.name for s in scores)))
    worst = [pictures[s.name] for s in evaluation.worst(SHOWN_PICTURES) if s.name in pictures]
    shown = {p.score.name for p in worst}
    best = [pictures[s.name] for s in evaluation.best(SHOWN_PICTURES) if s.name in pictures and s.name not in shown]
    classes = len(evaluation.scores.classes)
    text = _template().render(
        title=title,
        version=__version__,
        evaluation=evaluation,
        headline=None if math.isnan(evaluation.mean_image_dice) else evaluation.intervals["mean_image_dice"],
        tiles=_tiles(evaluation),
        columns=COLUMNS,
        rows=evaluation.rows()[: -2 * classes],
        per_class=_per_class(evaluation),
        histogram=histogram([s.mean_dice for s in evaluation.per_image]),
        charts=training_charts(log),
        worst=worst,
        best=best,
        settings=settings(recipe_yaml),
        check=check,
        balance=_balance(check) if check else [],
        kinds=list(_kinds(check.findings)) if check else [],
        facts=facts,
        width=CHART_W,
        height=CHART_H,
        field=(LEFT, TOP, CHART_W - RIGHT, CHART_H - BOTTOM),
    )
    write_text(path, text)
    return Path(path)


def report_run(path: str | Path, title: str, evaluation: Evaluation, run: Path, check: CheckReport | None = None) -> Path:
    """Write the report of a run folder: its recipe and its log, the scores, and what this was computed on; see write_report."""
    recipe = run / "recipe.yaml"
    return write_report(
        path,
        title=title,
        evaluation=evaluation,
        recipe_yaml=recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
        log=read_log(run),
        check=check,
        facts=_facts(evaluation),
    )


def _facts(evaluation: Evaluation) -> dict[str, str]:
    """What a number needs beside it: what it was computed with, where and when."""
    return {
        "predictions": evaluation.predictions,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": f"maskwright {__version__}, Python {platform.python_version()}, torch {torch.__version__}",
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def _template() -> jinja2.Template:
    room = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    room.filters |= {"rgb": lambda colour: "rgb({}, {}, {})".format(*colour), "known": lambda value: not math.isnan(value)}
    return room.from_string(files("maskwright").joinpath("report.html.jinja").read_text(encoding="utf-8"))


# Scores


def _tiles(evaluation: Evaluation) -> list[tuple[str, Interval]]:
    """The numbers beside the headline; without a background nothing is left out, and nothing is said of it."""
    plain = evaluation.scores.classes.background is None
    names = {n: t.removesuffix(", without background") if plain else t for n, t in TILES.items()}
    return [(t, evaluation.intervals[n]) for n, t in names.items() if not math.isnan(evaluation.intervals[n].value)]


def _per_class(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row a class: name, colour, share of the truth's pixels, accuracy, and IoU and Dice with their intervals."""
    scores, classes = evaluation.scores, evaluation.scores.classes
    share = scores.matrix.sum(1) / max(scores.counted_px, 1)
    return [
        {
            "name": name,
            "colour": classes.colours[k],
            "share": float(share[k]),
            "accuracy": float(scores.accuracy[k]),
            "iou": evaluation.intervals[f"iou.{name}"],
            "dice": evaluation.intervals[f"dice.{name}"],
        }
        for k, name in enumerate(classes.names)
    ]


def histogram(dice: Sequence[float]) -> Chart | None:
    """How the images' Dice are spread, from the lowest of them to 1; None without a defined one."""
    found = np.asarray([d for d in dice if math.isfinite(d)])
    if not found.size:
        return None
    width = next(w for w in (0.002, 0.005, 0.01, 0.02, 0.05) if (1 - found.min()) / w <= 24 or w == 0.05)
    first = min(math.floor(found.min() / width + 1e-9), round(1 / width) - 4)  # at least four bins, where all are perfect
    edges = np.arange(first, round(1 / width) + 1) * width
    # A value on an edge belongs to the bin above it, whatever the rounding; 1 to the last.
    counts = np.bincount(np.clip(((found - edges[0]) / width + 1e-9).astype(int), 0, len(edges) - 2), minlength=len(edges) - 1)
    y_ticks = [t for t in ticks(0, int(counts.max())) if t == int(t)]
    x, y = _across(edges[0], 1), _up(0, max(y_ticks[-1], counts.max()))
    drawn = (
        Bar(x(low) + 0.5, y(n), max(x(high) - x(low) - 1, 1), y(0) - y(n), f"{low:.3g} to {high:.3g}: {n} of {found.size}")
        for low, high, n in zip(edges, edges[1:], counts.tolist(), strict=False)
        if n
    )
    return Chart(
        "Dice of each image",
        f"{found.size} images; lowest {found.min():.4f}, median {np.median(found):.4f}, highest {found.max():.4f}.",
        _named(x, [t for t in ticks(edges[0], 1) if edges[0] - 1e-9 <= t <= 1]),
        _named(y, y_ticks),
        bars=tuple(drawn),
        mark=(x(found.mean()), f"mean {found.mean():.4f}"),
    )


# Curves


def training_charts(log: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Loss, validation scores and learning rate over the steps; those of which the log holds a number."""
    loss, rate = _series(log, "loss"), _series(log, "lr")
    scored = [{**row["val"], "step": row["step"]} for row in log if row.get("val")]
    validated = {title: _series(scored, key) for key, title in VALIDATED.items()}
    best = max(validated["mean Dice"], key=lambda point: point[1], default=None)
    charts = [
        curves("Loss", {"loss": loss}, f"{loss[0][1]:.4g} at first, {loss[-1][1]:.4g} at the end." if loss else ""),
        curves("Validation", validated, f"Best mean Dice {best[1]:.4f}, at step {best[0]:.0f}." if best else ""),
        curves("Learning rate", {"rate": rate}, f"Highest {max(r for _, r in rate):.3g}." if rate else "", low=0.0),
    ]
    return [chart for chart in charts if chart]


def curves(
    title: str, series: Mapping[str, Sequence[tuple[float, float]]], note: str = "", *, low: float | None = None
) -> Chart | None:
    """Draw each series of (step, value) as a line, down to `low` or to the lowest value; None where no series has a point."""
    there = {name: points for name, points in series.items() if points}
    if not there:
        return None
    steps, values = zip(*(p for points in there.values() for p in points), strict=True)
    x_ticks, y_ticks = ticks(min(steps), max(steps)), ticks(min(values) if low is None else low, max(values))
    x, y = _across(x_ticks[0], x_ticks[-1]), _up(y_ticks[0], y_ticks[-1])
    lines = (
        Line(name, tuple((x(step), y(value), f"step {step:g}: {name} {value:.4g}") for step, value in points))
        for name, points in there.items()
    )
    return Chart(title, note, _named(x, x_ticks), _named(y, y_ticks), tuple(lines))


def _named(scale: _Scale, at: Sequence[float]) -> tuple[tuple[float, str], ...]:
    return tuple((scale(value), f"{value:g}") for value in at)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers, about so many, from at most low to at least high; never fewer than two."""
    if high <= low:
        low, high = low - abs(low) / 10 - 1e-3, high + abs(high) / 10 + 1e-3
    rough = (high - low) / about
    unit = 10 ** math.floor(math.log10(rough))
    step = next(s * unit for s in (1, 2, 2.5, 5, 10) if s * unit >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """(step, value) of the rows that hold a finite number under the key."""
    return [(float(r["step"]), float(r[key])) for r in rows if isinstance(r.get(key), (int, float)) and math.isfinite(r[key])]


class _Scale:
    """Values from low to high onto px from start to stop."""

    def __init__(self, low: float, high: float, start: float, stop: float) -> None:
        self.low, self.per_px, self.start = low, (high - low) / (stop - start), start

    def __call__(self, value: float) -> float:
        return round(float(self.start + (value - self.low) / self.per_px), 2)


def _across(low: float, high: float) -> _Scale:
    return _Scale(low, high, LEFT, CHART_W - RIGHT)


def _up(low: float, high: float) -> _Scale:
    return _Scale(low, high, CHART_H - BOTTOM, TOP)


# Pictures


def _embedded(evaluation: Evaluation, names: Sequence[str]) -> dict[str, Picture]:
    """The kept pictures of these images as data URIs that together stay below PICTURES_BYTES."""
    kept = [name for name in names if name in evaluation.pictures]
    scores = {score.name: score for score in evaluation.per_image}
    return {name: _picture(scores[name], evaluation.pictures[name], PICTURES_BYTES // len(kept)) for name in kept}


def _picture(score: ImageScore, pixels: NDArray[np.uint8], room_bytes: int) -> Picture:
    height, width = pixels.shape[:2]
    for share, quality in SQUEEZES:
        uri = _jpeg_uri(pixels, share, quality)
        if len(uri) <= room_bytes:
            break
    return Picture(score, uri, width, height)


def _jpeg_uri(pixels: NDArray[np.uint8], share: float, quality: int) -> str:
    picture, buffer = PIL.Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    if share < 1:
        picture = picture.resize((max(round(picture.width * share), 1), max(round(picture.height * share), 1)))
    # Full colour resolution: class contours are thin and strongly coloured.
    picture.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


# Recipe and data


def settings(recipe_yaml: str) -> list[Setting]:
    """The lines of a recipe: key, value, reason; lines below a key that are set in belong to its value."""
    found: list[Setting] = []
    for line in recipe_yaml.splitlines():
        if not line.strip() or line.lstrip().startswith(("#", "---")):
            continue
        text, reason = _without_comment(line)
        if text[0].isspace() or text.startswith("-") or ":" not in text:
            last = found.pop() if found else Setting("", "", "")
            joined = (" ".join(filter(None, two)) for two in ((last.value, text.strip()), (last.reason, reason)))
            found.append(Setting(last.key, *joined))
        else:
            key, _, value = text.partition(":")
            found.append(Setting(key.strip(), value.strip(), reason))
    return found


def _without_comment(line: str) -> tuple[str, str]:
    """What stands before and behind the comment mark; a # within quotes is none, which YAML itself is asked."""
    for mark in re.finditer(r"\s#", line):
        try:
            yaml.safe_load(line[: mark.start()])
        except yaml.YAMLError:
            continue
        return line[: mark.start()].rstrip(), line[mark.end() :].strip()
    return line.rstrip(), ""


def _balance(check: CheckReport) -> list[dict[str, Any]]:
    """One row a class, and one for ignored pixels where there are any: name, colour, share of all pixels, images."""
    colours = dict(zip(check.classes.names, check.classes.colours, strict=True)) if check.classes else {}
    total = max(sum(check.class_pixels.values()) + check.ignored_px, 1)
    rows = [
        {"name": name, "colour": colours.get(name), "share": px / total, "images": check.class_images.get(name)}
        for name, px in check.class_pixels.items()
    ]
    ignored = {"name": "(ignored)", "colour": None, "share": check.ignored_px / total, "images": None}
    return [*rows, ignored] if check.ignored_px else rows


def _kinds(findings: Sequence[Finding]) -> Iterator[dict[str, Any]]:
    """Findings of one kind together, in the order of the check: one is told whole, several by their number and the way out."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for f in findings:
        groups.setdefault((f.severity, f.code), []).append(f)
    for (severity, code), same in groups.items():
        one = len(same) == 1
        says = same[0].message if one else f"{len(same)} {KINDS[code].several}. {KINDS[code].way_out}"
        each = [] if one else [f.message for f in same[:SHOWN_FINDINGS]]
        yield {"severity": severity, "code": code, "says": says, "each": each, "more": 0 if one else len(same) - len(each)}
