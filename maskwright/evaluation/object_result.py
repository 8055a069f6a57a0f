"""The scores of found objects on a data set: COCO's AP of masks and boxes, matches, panoptic quality, counts; with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.evaluation.kept import Kept, interval_conventions, without_nan
from maskwright.metrics import Interval
from maskwright.metrics.coco_scores import CocoScores
from maskwright.metrics.match_scores import MatchScores
from maskwright.metrics.matching import ImageMatch
from maskwright.metrics.panoptic_scores import PanopticScores
from maskwright.sample import Sample

TITLES = {
    "ap": "mask AP",
    "ap50": "mask AP50",
    "ap75": "mask AP75",
    "ap_small": "mask AP, small objects",
    "ap_medium": "mask AP, medium objects",
    "ap_large": "mask AP, large objects",
    "ar": "mask AR",
    "box_ap": "box AP",
    "box_ap50": "box AP50",
    "box_ap75": "box AP75",
    "f1_50": "F1 at IoU 0.5",
    "precision_50": "precision at IoU 0.5",
    "recall_50": "recall at IoU 0.5",
    "f1_75": "F1 at IoU 0.75",
    "dsb": "score of the 2018 Data Science Bowl",
    "pq": "panoptic quality (PQ)",
    "sq": "segmentation quality (SQ)",
    "rq": "recognition quality (RQ)",
}
PANOPTIC = ("pq", "sq", "rq")


@dataclass(frozen=True)
class ObjectScore:
    """How the objects of one image were found, at IoU 0.5 and above the least score.

    Attributes:
        f1: 2 x matched / (true + found); nan where there is nothing in truth and answer
        true, found, missed, extra, split, merged: how many objects
    """

    name: str
    group: str | None
    f1: float
    true: int
    found: int
    missed: int
    extra: int
    split: int
    merged: int

    @classmethod
    def of(cls, sample: Sample, match: ImageMatch) -> ObjectScore:
        """From what became of the objects of an image at the first threshold."""
        found, missed = match.truth_of[0], int(match.missed[0].sum())
        matched, extra = int((found >= 0).sum()), int((found == -1).sum())
        total = 2 * matched + missed + extra
        f1 = 2 * matched / total if total else float("nan")
        counts = matched + missed, matched + extra, missed, extra, int(match.split.sum()), int(match.merged.sum())
        return cls(sample.name, sample.group, f1, *counts)

    @property
    def order(self) -> float:
        """What images are ranked by."""
        return self.f1

    @property
    def said(self) -> str:
        f1 = "" if np.isnan(self.f1) else f"F1 {self.f1:.3f}, "
        return f"{f1}{self.true} true, {self.found} found, {self.missed} missed, {self.extra} extra"

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True, eq=False)
class ObjectEvaluation(Kept):
    """How good found objects are on one split of a data set.

    Attributes:
        dataset, split, predictions: what was scored, and whose answers
        masks, boxes: COCO's scores; matches: at IoU 0.5 and 0.75; panoptic: each pixel in one object at most
        per_image: one an image, in the order of the data set
        intervals: score name -> value with its interval; names are the keys of TITLES, with .<class> for some
        notes: what is particular about this evaluation, one sentence each
        pictures: image name -> picture of truth and answer, for the worst and the best `kept` images
    """

    dataset: str
    split: str
    predictions: str
    classes: ClassMap
    masks: CocoScores
    boxes: CocoScores
    matches: MatchScores
    panoptic: PanopticScores
    per_image: tuple[ObjectScore, ...]
    intervals: Mapping[str, Interval]
    notes: tuple[str, ...] = ()
    pictures: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    kept: int = 0

    @property
    def selection(self) -> tuple[str, float]:
        """What the best model is chosen by; without a true object it is 0."""
        ap = self.masks.ap
        return "mask AP", 0.0 if np.isnan(ap) else ap

    def summary(self) -> dict[str, float]:
        """The few numbers that a training's log keeps."""
        return {"mask_ap": self.masks.ap, "mask_ap50": self.masks.ap50, "box_ap": self.boxes.ap, "f1_50": self._f1()}

    def _f1(self) -> float:
        return float(self.matches.rates["f1"][0])

    @property
    def conventions(self) -> tuple[str, ...]:
        """How the numbers were counted and what is particular about them, one sentence each, to be printed with them."""
        said = (*self.masks.conventions, *self.matches.conventions, *self.panoptic.conventions, self._on_top)
        return (*self.notes, *dict.fromkeys(said), *interval_conventions(self.intervals["ap"]))

    @property
    def _on_top(self) -> str:
        return (
            f"For panoptic quality a pixel belongs to one object: of found ones from the score {self.matches.min_score:g} on to "
            f"the best, of true ones (and of found ones without scores) to the smallest."
        )

    def rows(self) -> list[tuple[str, str, str]]:
        """The table for people, see result.COLUMNS: scores, then AP of each class where there are several, then counts."""
        several = len(self.masks.names) > 1
        titles = TITLES | {f"ap.{name}": f"mask AP of {name}" for name in self.masks.names if several}
        shown = [(title, self.intervals[name]) for name, title in titles.items() if name in self.intervals]
        scores = [(title, "-" if np.isnan(i.value) else f"{i.value:.4f}", i.bounds) for title, i in shown]
        return [*scores, *((title, f"{count}", "") for title, count in self.counts().items())]

    def counts(self) -> dict[str, int]:
        """Objects over all images, at IoU 0.5 and above the least score of the matches."""
        matched, missed, extra = (int(part[0].sum()) for part in (self.matches.matched, self.matches.missed, self.matches.extra))
        return {
            "true objects": matched + missed,
            "found objects": matched + extra,
            "missed": missed,
            "extra": extra,
            "split": int(self.matches.split.sum()),
            "merged": int(self.matches.merged.sum()),
        }

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures, as plain numbers, texts and lists; undefined scores are None."""
        found: dict[str, Any] = without_nan(
            {
                "dataset": self.dataset,
                "split": self.split,
                "predictions": self.predictions,
                "images": len(self.per_image),
                "scores": {name: self.intervals[name].value for name in TITLES if name in self.intervals},
                "coco": {"masks": self.masks.to_dict(), "boxes": self.boxes.to_dict(), "max_dets": list(self.masks.max_dets)},
                "matches": self.matches.to_dict() | self.counts(),
                "panoptic": {name: self.panoptic.to_dict()[name] for name in PANOPTIC},
                "classes": [
                    {"name": name, "true": int(self.masks.truths[k]), "found": int(self.masks.found[k])}
                    | {key: float(values[k]) for key, values in self.masks.per_class.items()}
                    | {key: float(getattr(self.panoptic, key)[k]) for key in PANOPTIC}
                    for k, name in enumerate(self.masks.names)
                ],
                "curves": {
                    f"{iou:.2f}": {name: self.masks.curve(iou)[k].tolist() for k, name in enumerate(self.masks.names)}
                    for iou in (0.5, 0.75)
                },
                "intervals": {name: interval.to_dict() for name, interval in self.intervals.items()},
                "conventions": list(self.conventions),
                "per_image": [score.to_dict() for score in self.per_image],
            }
        )
        return found
