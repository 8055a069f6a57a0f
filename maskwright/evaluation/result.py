"""Evaluation: the scores of some predictions on a data set, with intervals and every convention, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.io.write import write_json, write_png
from maskwright.metrics import ImageScore, Interval, SemanticScores, boundary_conventions, image_conventions
from maskwright.metrics.intervals import ONE_GROUP

FILE = "evaluation.json"
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
class Evaluation:
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
    def conventions(self) -> tuple[str, ...]:
        """How the numbers were counted and what is particular about them, one sentence each, to be printed with them."""
        counted = (*self.scores.conventions, *image_conventions(self.per_image, self.scores.classes))
        outlines = boundary_conventions(self.per_image, self.scores.classes)
        return (*self.notes, *counted, *outlines, *_interval_conventions(self.intervals["mean_iou"]))

    def worst(self, count: int = 10) -> tuple[ImageScore, ...]:
        """The images with the lowest mean Dice, worst first; images without a counted pixel are in neither list."""
        return self._ranked()[:count]

    def best(self, count: int = 10) -> tuple[ImageScore, ...]:
        """The images with the highest mean Dice, best first."""
        return self._ranked()[::-1][:count]

    def _ranked(self) -> tuple[ImageScore, ...]:
        return tuple(sorted((s for s in self.per_image if not np.isnan(s.mean_dice)), key=lambda s: (s.mean_dice, s.name)))

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
        found: dict[str, Any] = _without_nan(
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

    def save(self, path: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write evaluation.json, or any .json file that is named; into a folder also the pictures that were kept, as
        worst/01_<name>.png and best/01_<name>.png.

        Returns:
            the files written

        Raises:
            InputError: there is an evaluation already and overwrite is not set, or the disk refuses.
        """
        if not overwrite:
            check_free(path)
        file = file_at(path)
        written = [] if file == Path(path) else self._save_pictures(Path(path))
        # Last: where evaluation.json is, the pictures beside it are whole and its own.
        write_json(file, self.to_json())
        return [file, *written]

    def _save_pictures(self, folder: Path) -> list[Path]:
        written = []
        for title, ranked in (("worst", self.worst(self.kept)), ("best", self.best(self.kept))):
            for stale in (folder / title).glob("[0-9][0-9]_*.png"):
                stale.unlink()
            for rank, score in enumerate(ranked, start=1):
                written.append(folder / title / f"{rank:02d}_{score.name.replace('/', '_')}.png")
                write_png(written[-1], self.pictures[score.name])
        return written


def file_at(path: str | Path) -> Path:
    """The path itself if it names a .json file, else evaluation.json in that folder."""
    return Path(path) if Path(path).suffix == ".json" else Path(path) / FILE


def check_free(path: str | Path) -> None:
    """Refuse a place that holds an evaluation; asked before the work, not after it.

    Raises:
        InputError: the file is there.
    """
    if file_at(path).exists():
        raise InputError(f"{file_at(path)}: is already there; give --overwrite to replace it, or choose another place.")


def _interval_conventions(interval: Interval) -> Iterator[str]:
    if not interval.resamples:
        yield f"Intervals: {interval.note}."
        return
    units = f"{interval.units} {interval.unit}s"
    rough = f"; {interval.note}" if interval.note else ""
    yield f"Intervals: {interval.level:.0%}, percentile bootstrap over {units}, {interval.resamples} resamples{rough}."
    if interval.unit == "image" and ONE_GROUP not in interval.note:
        yield "Images were drawn singly: where several show one patient or scene, name the groups (--group) for honest intervals."


def _without_nan(given: Any) -> Any:
    """The same with None for NaN, which JSON cannot hold."""
    if isinstance(given, dict):
        return {key: _without_nan(value) for key, value in given.items()}
    if isinstance(given, list):
        return [_without_nan(value) for value in given]
    if isinstance(given, (float, np.floating)):
        return None if np.isnan(given) else float(given)
    return given
