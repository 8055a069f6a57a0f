"""What an artefact does to the objects that a model finds, measured on labelled images against eager fp32."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from maskwright.data.dataset import Dataset, Pair
from maskwright.evaluation.object_result import ObjectEvaluation
from maskwright.evaluation.objects import score_objects
from maskwright.exporting.artefacts import Answer
from maskwright.inference.objects import MIN_SCORE, decode_objects
from maskwright.inference.predictor import Predictor
from maskwright.instances import Instances
from maskwright.io.image import Image
from maskwright.metrics.intervals import RESAMPLES
from maskwright.models.outputs import Detections
from maskwright.transforms import Frame

MOST_MOVED = 0.002  # of AP
LEAST_MATCHED = 0.998  # share of the objects above MIN_SCORE that are found again
SAME_IOU = 0.9  # of the boxes of the same object
SHOWN = ("ap", "ap50", "ap75")


@dataclass(frozen=True)
class ObjectComparison:
    """Scores of both, and how many of eager fp32's objects the artefact finds again in the same class and place.

    Attributes:
        before_s, after_s: seconds an image, from its pixels to its objects
    """

    before: ObjectEvaluation
    after: ObjectEvaluation
    found: int
    again: int
    before_s: list[float]
    after_s: list[float]

    @property
    def matched(self) -> float:
        return self.again / self.found if self.found else 1.0

    def shortfalls(self, precision: str, tolerance_points: float) -> list[str]:
        """What is not as the tolerance wants it, one clause each."""
        lost = float(np.nan_to_num(self.before.masks.ap) - np.nan_to_num(self.after.masks.ap))
        if precision == "int8":
            fell = f"mask AP fell by {100 * lost:.2f} points ({tolerance_points} allowed)"
            return [fell] if 100 * lost > tolerance_points else []
        moved = abs(lost)
        said = [f"mask AP moved by {100 * moved:.2f} points ({100 * MOST_MOVED:.1f} allowed)"] if moved > MOST_MOVED else []
        if self.matched < LEAST_MATCHED:
            said.append(f"{self.again} of {self.found} objects are found again ({LEAST_MATCHED:.1%} needed)")
        return said

    def to_dict(self, _resamples: int, _seed: int) -> dict[str, Any]:
        return {
            "agreement": {"objects": self.matched, "counted": self.found, "least_score": MIN_SCORE, "least_box_iou": SAME_IOU},
            "scores": {name: self._sides(name) for name in SHOWN if name in self.before.intervals},
        }

    def _sides(self, name: str) -> dict[str, Any]:
        before, after = self.before.intervals[name], self.after.intervals[name]
        return {"before": before.to_dict(), "after": after.to_dict(), "difference": {"value": after.value - before.value}}


def compare_objects(
    exact: Predictor,
    answer: Answer,
    dataset: Dataset,
    pairs: Sequence[Pair],
    progress: Callable[[int, int], None] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ObjectComparison:
    """Both answers to each image, scored and matched."""
    answers: dict[str, tuple[Instances, Instances]] = {}
    before_s, after_s, warm = [], [], set()
    for done, pair in enumerate(pairs, start=1):
        image = dataset.read(pair).image
        if image.pixels.shape not in warm:
            answer(image.pixels[None])  # runtimes prepare themselves for each new size, once
            warm.add(image.pixels.shape)
        start = time.perf_counter()
        before = exact.all_objects(image)
        between = time.perf_counter()
        after = instances_of([torch.from_numpy(array.copy()) for array in answer(image.pixels[None])], image, exact)
        before_s.append(between - start)
        after_s.append(time.perf_counter() - between)
        answers[pair.name] = before, after
        if progress:
            progress(done, len(pairs))
    first, second = (
        score_objects(lambda sample, k=k: answers[sample.name][k], dataset, pairs, resamples=resamples, seed=seed)  # type: ignore[misc]
        for k in (0, 1)
    )
    counts = [_again(before, after) for before, after in answers.values()]
    return ObjectComparison(first, second, sum(n for n, _ in counts), sum(n for _, n in counts), before_s, after_s)


def instances_of(answer: Sequence[Tensor], image: Image, exact: Predictor) -> Instances:
    """What a graph says of an image, boxes, scores, class ids and masks of the boxes, as objects at its size."""
    boxes, scores, ids, masks = answer
    channels = torch.from_numpy(exact.classes.to_indices(ids.numpy()))
    found = Detections(boxes, scores, channels, masks[:, None])
    return decode_objects(found, Frame(image.hw, image.hw), exact.classes, name=image.name)


def _again(before: Instances, after: Instances) -> tuple[int, int]:
    """How many objects of `before` count, and how many of them are in `after`."""
    sure = np.flatnonzero(before.scores >= MIN_SCORE) if before.scores is not None else np.arange(0)
    if not len(sure) or not len(after) or before.boxes_xyxy is None or after.boxes_xyxy is None:
        return len(sure), 0
    near = box_iou(torch.from_numpy(before.boxes_xyxy[sure]), torch.from_numpy(after.boxes_xyxy)) >= SAME_IOU
    alike = torch.from_numpy(before.class_ids[sure][:, None] == after.class_ids[None])
    return len(sure), int((near & alike).any(dim=1).sum())
