"""What the page shows of an evaluation: headline, tiles, tables; one function for classes of pixels, one for objects."""

from __future__ import annotations

import math
from dataclasses import dataclass

from maskwright.classes import Colour
from maskwright.evaluation import AnyEvaluation, Evaluation, ObjectEvaluation
from maskwright.metrics import Interval
from maskwright.report.charts import Chart, histogram, precision_recall

TILES = {
    "worst_twentieth": "worst twentieth of the images",
    "mean_dice_no_background": "Dice over all pixels, without background",
    "mean_iou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
}
OBJECT_TILES = {
    "ap50": "mask AP50",
    "box_ap": "box AP",
    "f1_50": "F1 at IoU 0.5",
    "f1_75": "F1 at IoU 0.75",
    "pq": "panoptic quality",
}


@dataclass(frozen=True)
class ClassRow:
    """One line of the table of classes.

    Attributes:
        cells: texts after the name
        meter: what the bar at the end shows
    """

    name: str
    colour: Colour
    cells: tuple[str, ...]
    meter: Interval


@dataclass(frozen=True)
class Shown:
    """An evaluation in the words of the page.

    Attributes:
        title, headline: the one number; None where there is none, and `without` says why
        tiles: further numbers; rows: all of them
        columns: of the table of classes, the last names the bar
        ranked_by: what the worst and the best images are ordered by
        charts: how the images' scores are spread, and of objects the curves of precision and recall
    """

    title: str
    headline: Interval | None
    without: str
    tiles: tuple[tuple[str, Interval], ...]
    rows: tuple[tuple[str, str, str], ...]
    columns: tuple[str, ...]
    classes: tuple[ClassRow, ...]
    ranked_by: str
    charts: tuple[Chart, ...]


def shown(evaluation: AnyEvaluation) -> Shown:
    return _of_objects(evaluation) if isinstance(evaluation, ObjectEvaluation) else _of_classes(evaluation)


def _of_classes(evaluation: Evaluation) -> Shown:
    scores, classes = evaluation.scores, evaluation.scores.classes
    # Without a background nothing is left out, and nothing is said of it.
    plain = classes.background is None
    tiles = {n: t.removesuffix(", without background") if plain else t for n, t in TILES.items()}
    share = scores.matrix.sum(1) / max(scores.counted_px, 1)
    rows = []
    for k, name in enumerate(classes.names):
        iou, dice = evaluation.intervals[f"iou.{name}"], evaluation.intervals[f"dice.{name}"]
        cells = f"{100 * share[k]:.2f} %", _number(scores.accuracy[k]), _number(iou.value), _bounds(iou)
        rows.append(ClassRow(name, classes.colours[k], (*cells, _number(dice.value), _bounds(dice)), dice))
    spread = histogram([s.mean_dice for s in evaluation.per_image], "Dice")
    return Shown(
        title="Mean image Dice",
        headline=_known(evaluation.intervals["mean_image_dice"]),
        without="No image has a mean Dice: nothing was counted there.",
        tiles=_tiles(evaluation, tiles),
        rows=tuple(evaluation.rows()[: -2 * len(classes)]),
        columns=("of the truth", "accuracy", "IoU", "", "Dice", "", "Dice, 0 to 1"),
        classes=tuple(rows),
        ranked_by="Dice",
        charts=tuple(chart for chart in (spread,) if chart),
    )


def _of_objects(evaluation: ObjectEvaluation) -> Shown:
    masks, classes = evaluation.masks, evaluation.classes
    rows = []
    for k, name in enumerate(masks.names):
        ap, ap50 = evaluation.intervals[f"ap.{name}"], evaluation.intervals[f"ap50.{name}"]
        cells = f"{masks.truths[k]}", _number(ap50.value), _bounds(ap50), _number(ap.value), _bounds(ap)
        rows.append(ClassRow(name, classes.colours[classes.names.index(name)], cells, ap))
    curves = {name: masks.curve(0.5)[k].tolist() for k, name in enumerate(masks.names) if masks.truths[k]}
    charts = precision_recall(curves), histogram([s.f1 for s in evaluation.per_image], "F1")
    return Shown(
        title="Mask AP",
        headline=_known(evaluation.intervals["ap"]),
        without="No image has a true object: there is nothing to be found.",
        tiles=_tiles(evaluation, OBJECT_TILES),
        rows=tuple(row for row in evaluation.rows() if not row[0].startswith("mask AP of ")),
        columns=("true objects", "AP50", "", "AP", "", "AP, 0 to 1"),
        classes=tuple(rows),
        ranked_by="F1",
        charts=tuple(chart for chart in charts if chart),
    )


def _tiles(evaluation: AnyEvaluation, titles: dict[str, str]) -> tuple[tuple[str, Interval], ...]:
    found = ((title, evaluation.intervals[name]) for name, title in titles.items())
    return tuple((title, interval) for title, interval in found if not math.isnan(interval.value))


def _known(interval: Interval) -> Interval | None:
    return None if math.isnan(interval.value) else interval


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _bounds(interval: Interval) -> str:
    return interval.bounds if interval.low is not None else ""
