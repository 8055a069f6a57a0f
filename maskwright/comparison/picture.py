"""One picture of a comparison: a row an image, a column a model, the image and its truth first, a legend below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from maskwright.classes import ClassMap
from maskwright.ops import draw
from maskwright.sample import Sample

SHEET_PX = 2400  # about as wide as the picture gets
SMALLEST_PANEL_PX, LARGEST_PANEL_PX = 200, 420
LEGEND_PX = 800
ALPHA = 0.7


@dataclass(frozen=True, eq=False)
class Column:
    """One model: its name, what is said below it, and its answers, (H, W) class ids, one a row."""

    title: str
    subtitle: str = ""
    found: Sequence[NDArray[Any]] = ()
    scores: Sequence[float] = ()


@dataclass(frozen=True, eq=False)
class Row:
    """One image and why it is shown."""

    why: str
    sample: Sample


def chosen(scores: NDArray[np.float64]) -> dict[str, int]:
    """Which images tell most: where the models differ most, the worst, the median and the best; no image twice.

    Shapes:
        scores: (models, images), higher is better; nan where nothing was counted
        returns: why -> number of the image; fewer entries where there are fewer images
    """
    mean, spread = scores.mean(0), scores.max(0) - scores.min(0)
    known = np.flatnonzero(~np.isnan(mean))
    by_mean = known[np.argsort(mean[known], kind="stable")]
    middle = np.abs(np.arange(len(by_mean)) - (len(by_mean) - 1) / 2)
    wishes = {
        "models differ most": known[np.argsort(-spread[known], kind="stable")] if len(scores) > 1 else known[:0],
        "worst": by_mean,
        "median": by_mean[np.argsort(middle, kind="stable")],
        "best": by_mean[::-1],
    }
    taken: dict[str, int] = {}
    for why, order in wishes.items():
        free = [int(k) for k in order if int(k) not in taken.values()]
        if free:
            taken[why] = free[0]
    return taken


def comparison_picture(rows: Sequence[Row], columns: Sequence[Column], panel_px: int | None = None) -> NDArray[np.uint8]:
    """Draw it; small images are enlarged in whole steps, large ones shrunk into square cells of panel_px.

    Shapes:
        rows: at least one; columns: one answer a row each, of the row's size
        returns: (h, w, 3) uint8
    """
    cell = panel_px or int(np.clip(SHEET_PX // (len(columns) + 2), SMALLEST_PANEL_PX, LARGEST_PANEL_PX))
    panels = [_panels(row.sample, [column.found[k] for column in columns], cell) for k, row in enumerate(rows)]
    width, gap = max(row[0].shape[1] for row in panels), max(8, cell // 24)
    width = max(width, cell // 2)
    size = max(13, cell // 19)
    line, head = round(size * 1.7), round(size * 5.4)
    heights = [line + row[0].shape[0] + gap for row in panels]
    sheet = Image.new("RGB", (gap + (len(columns) + 2) * (width + gap), head + sum(heights)), draw.PAPER)
    pen, small = ImageDraw.Draw(sheet), draw.font(round(size * 0.9))
    left = [gap + k * (width + gap) for k in range(len(columns) + 2)]
    for x, column in zip(left, (Column("image"), Column("truth"), *columns), strict=True):
        _write_head(pen, x, width, size, column)
    top = head
    for k, (row, drawn) in enumerate(zip(rows, panels, strict=True)):
        said = draw.shortened(f"{row.why}: {row.sample.name}", small, 2 * width)
        pen.text((left[0], top + line // 2), said, draw.GREY, small, anchor="lm")
        for x, column in zip(left[2:], columns, strict=True):
            score = column.scores[k]
            pen.text((x, top + line // 2), "" if np.isnan(score) else f"IoU {score:.3f}", draw.GREY, small, anchor="lm")
        for x, panel in zip(left, drawn, strict=True):
            sheet.paste(Image.fromarray(panel), (x, top + line))
        top += heights[k]
    return _with_legend(np.array(sheet), rows, columns)


def _write_head(pen: ImageDraw.ImageDraw, x: int, width: int, size: int, column: Column) -> None:
    """The model's name, the arguments that were given with it, and what is said of it: a line each, the last one lowest."""
    name, _, arguments = column.title.partition(":")
    lines = [(name, draw.INK, 1.15), (arguments, draw.GREY, 0.9), (column.subtitle, draw.INK, 0.9)]
    for k, (text, colour, share) in enumerate(lines):
        face = draw.font(round(size * share))
        pen.text((x, round(size * (1.2 + 1.5 * k))), draw.shortened(text, face, width), colour, face, anchor="lm")


def _panels(sample: Sample, found: Sequence[NDArray[Any]], cell: int) -> list[NDArray[np.uint8]]:
    """The image, the truth over it, and every answer over it, all of one size."""
    image = draw.fit(sample.image.to_uint8(), cell)
    truth = sample.labels if sample.labels is not None else np.full(sample.image.hw, sample.classes.ignore_id)
    labels = (_nearest(given, image.shape[:2]) for given in (truth, *found))
    return [image, *(draw.overlay(image, one, sample.classes, alpha=ALPHA) for one in labels)]


def _nearest(labels: NDArray[Any], hw: tuple[int, ...]) -> NDArray[Any]:
    """Labels at another size, each pixel that of the nearest."""
    rows, columns = ((np.arange(new) * 2 + 1) * old // (2 * new) for new, old in zip(hw, labels.shape, strict=True))
    taken: NDArray[Any] = labels[rows[:, None], columns]
    return taken


def _with_legend(sheet: NDArray[np.uint8], rows: Sequence[Row], columns: Sequence[Column]) -> NDArray[np.uint8]:
    """The sheet with the classes that occur in it; text of one size, however wide the sheet is."""
    classes: ClassMap = rows[0].sample.classes
    given = [row.sample.labels for row in rows if row.sample.labels is not None]
    there = sorted({int(i) for labels in (*given, *(f for column in columns for f in column.found)) for i in np.unique(labels)})
    width = min(sheet.shape[1], LEGEND_PX)
    strip = draw.legend(classes, there, width)
    return np.concatenate([sheet, np.pad(strip, [(0, 0), (0, sheet.shape[1] - width), (0, 0)], constant_values=255)])
