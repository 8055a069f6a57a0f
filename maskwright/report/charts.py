"""Curves and histograms: where the points of each drawing lie; the template draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# What a training's log may hold of a validation, and what it is called.
VALIDATED = {
    "mean_dice": "mean Dice",
    "mean_image_dice": "mean image Dice",
    "mean_iou": "mean IoU",
    "mask_ap": "mask AP",
    "mask_ap50": "mask AP50",
    "f1_50": "F1 at IoU 0.5",
}
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


def histogram(scores: Sequence[float], name: str) -> Chart | None:
    """How the images' scores are spread, from the lowest of them to 1; None without a defined one."""
    found = np.asarray([score for score in scores if math.isfinite(score)])
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
        f"{name} of each image",
        f"{found.size} images; lowest {found.min():.4f}, median {np.median(found):.4f}, highest {found.max():.4f}.",
        _named(x, [t for t in ticks(edges[0], 1) if edges[0] - 1e-9 <= t <= 1]),
        _named(y, y_ticks),
        bars=tuple(drawn),
        mark=(x(found.mean()), f"mean {found.mean():.4f}"),
    )


def precision_recall(curves_of: Mapping[str, Sequence[float]]) -> Chart | None:
    """Precision at each of 101 recalls from 0 to 1, a line a class."""
    points = {name: [(k / 100, value) for k, value in enumerate(values)] for name, values in curves_of.items()}
    return curves("Precision over recall, at IoU 0.5", points, low=0.0, at="recall")


def training_charts(log: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Loss, validation scores and learning rate over the steps; those of which the log holds a number."""
    loss, rate = _series(log, "loss"), _series(log, "lr")
    scored = [{**row["val"], "step": row["step"]} for row in log if row.get("val")]
    validated = {title: _series(scored, key) for key, title in VALIDATED.items()}
    name = next((n for n in ("mean Dice", "mask AP") if validated[n]), "")
    best = max(validated.get(name, ()), key=lambda point: point[1], default=None)
    charts = [
        curves("Loss", {"loss": loss}, f"{loss[0][1]:.4g} at first, {loss[-1][1]:.4g} at the end." if loss else ""),
        curves("Validation", validated, f"Best {name} {best[1]:.4f}, at step {best[0]:.0f}." if best else ""),
        curves("Learning rate", {"rate": rate}, f"Highest {max(r for _, r in rate):.3g}." if rate else "", low=0.0),
    ]
    return [chart for chart in charts if chart]


def curves(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    note: str = "",
    *,
    low: float | None = None,
    at: str = "step",
) -> Chart | None:
    """Draw each series of (`at`, value) as a line, down to `low` or to the lowest value; None where no series has a point."""
    there = {name: points for name, points in series.items() if points}
    if not there:
        return None
    steps, values = zip(*(p for points in there.values() for p in points), strict=True)
    x_ticks, y_ticks = ticks(min(steps), max(steps)), ticks(min(values) if low is None else low, max(values))
    x, y = _across(x_ticks[0], x_ticks[-1]), _up(y_ticks[0], y_ticks[-1])
    lines = (
        Line(name, tuple((x(step), y(value), f"{at} {step:g}: {name} {value:.4g}") for step, value in points))
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
