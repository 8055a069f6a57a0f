"""Evaluation: the scores of some predictions on a data set, with intervals and every convention, for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.evaluation.kept import Kept, interval_conventions, without_nan
from maskwright.metrics import ImageScore, Interval, SemanticScores, boundary_conventions, image_conventions

COLUMNS = ("score", "value", "95 % interval")
TITLES = {
    "pixel_accuracy": "pixel accuracy",
    "mean_pixel_accuracy": "mean pixel accuracy",
    "mean_pixel_accuracy_no_background": "mean pixel accuracy without background",
    "mean_iou": "mean IoU",
    "mean_iou_no_background": "mean IoU without background",
    "fw_iou": "frequency-weighted IoU",
    "boundary_f1": "mean boundary F1",
    "mean_dice": "mean Dice",
    "mean_dice_no_background": "mean Dice without background",
    "mean_image_dice": "mean image Dice",
    "mean_image_iou": "mean image IoU",
    "worst_twentieth": "worst twentieth of the images, Dice",
}


@dataclass(frozen=True, eq=False)
class Evaluation(Kept):
    """How good predictions are on one split of a data set.

    Attributes:
        dataset, split: what was scored
        predictions: whose: the run and its runtime, or the folder
        scores: of the one confusion matrix over all images
        per_image: one an image, in the order of the data set
        intervals: score name -> value with its interval; names are those of metrics.score_statistics
        notes: what is particular about this evaluation, one sentence each
        pictures: image name -> picture of truth and prediction, (h, w, 3) uint8, for the worst and the best `kept` images
    """

    dataset: str
    split: str
    predictions: str
    scores: SemanticScores
    per_image: tuple[ImageScore, ...]
    intervals: Mapping[str, Interval]
    notes: tuple[str, ...] = ()
    pictures: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    kept: int = 0

    @property
    def mean_image_dice(self) -> float:
        """Mean over images of the mean Dice over the classes but the background; nan where nothing was counted."""
        return self.intervals["mean_image_dice"].value

    @property
    def worst_twentieth(self) -> float:
        """Mean image Dice of the worst twentieth of the images."""
        return self.intervals["worst_twentieth"].value

    @property
    def selection(self) -> tuple[str, float]:
        """What the best model is chosen by: mean Dice over the data set, without background where there are other classes."""
        value = float(self.scores.mean_dice_no_background)
        return "Dice", float(self.scores.mean_dice) if np.isnan(value) else value

    def summary(self) -> dict[str, float]:
        """The few numbers that a training's log keeps."""
        return {
            "mean_dice": self.selection[1],
            "mean_iou": float(self.scores.mean_iou),
            "mean_image_dice": self.mean_image_dice,
        }

    @property
    def conventions(self) -> tuple[str, ...]:
        """How the numbers were counted and what is particular about them, one sentence each, to be printed with them."""
        counted = (*self.scores.conventions, *image_conventions(self.per_image, self.scores.classes))
        outlines = boundary_conventions(self.per_image, self.scores.classes)
        return (*self.notes, *counted, *outlines, *interval_conventions(self.intervals["mean_iou"]))

    def rows(self) -> list[tuple[str, str, str]]:
        """The table for people, see COLUMNS: data-set scores, per-image scores, then IoU and Dice of each class."""
        classes = self.scores.classes
        titles = {k: t for k, t in TITLES.items() if classes.background is not None or not k.endswith("_no_background")}
        for kind, title in (("iou", "IoU"), ("dice", "Dice")):
            titles |= {f"{kind}.{name}": f"{title} of {name}" for name in classes.names}
        found = ((title, self.intervals[name]) for name, title in titles.items())
        return [(title, "-" if np.isnan(i.value) else f"{i.value:.4f}", i.bounds) for title, i in found]

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures, as plain numbers, texts and lists; undefined scores are None."""
        scores, classes = self.scores, self.scores.classes
        per_class = [
            {
                "id": i,
                "name": name,
                "accuracy": accuracy,
                "iou": iou,
                "dice": dice,
                "boundary_f1": self.intervals[f"boundary_f1.{name}"].value,
            }
            for i, name, accuracy, iou, dice in zip(
                classes.ids, classes.names, scores.accuracy, scores.iou, scores.dice, strict=True
            )
        ]
        found: dict[str, Any] = without_nan(
            {
                "dataset": self.dataset,
                "split": self.split,
                "predictions": self.predictions,
                "images": len(self.per_image),
                "scores": {name: self.intervals[name].value for name in TITLES},
                "classes": per_class,
                "intervals": {name: interval.to_dict() for name, interval in self.intervals.items()},
                "counted_px": scores.counted_px,
                "ignored_px": scores.ignored_px,
                "absent": list(scores.absent),
                "only_predicted": list(scores.only_predicted),
                "matrix": {"rows": "truth", "columns": [*classes.names, "void or unknown"], "pixels": scores.matrix.tolist()},
                "conventions": list(self.conventions),
                "per_image": [score.to_dict() for score in self.per_image],
            }
        )
        return found
