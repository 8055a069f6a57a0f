"""Whether a way to run a model answers as eager fp32 does: over pixels, and class by class against the truth.

A class is judged by its IoU where the probes hold enough of it that the bound is ten pixels wide; the rounding of a single pixel
says nothing of a class with a few hundred. Rarer classes still count in the share of changed pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np

from maskwright.classes import ClassMap
from maskwright.metrics.confusion import Confusion

MOST_CHANGED = 0.002  # share of the pixels that may get another class
MOST_MOVED = 0.2  # points by which the IoU of a class may move
LEAST_PX = 5000  # of truth that a class must have to be judged by its IoU


@dataclass(frozen=True)
class Agreement:
    """How one way did; to_dict() is what manifests and caches keep.

    Attributes:
        way: "openvino bf16"
        ms: milliseconds an image, from stored pixels to class ids, median; one image at a time
        start_s: seconds until the first answer, with what was converted at hand
        changed: share of pixels with another class than eager fp32 gives
        moved: by how many points the IoU of each class against the truth moves, of those with LEAST_PX of truth or more
        refused: why it is not used, in one sentence; "" where it agrees
    """

    way: str
    ms: float
    start_s: float
    changed: float
    moved: dict[str, float]
    refused: str = ""

    @property
    def agrees(self) -> bool:
        return not self.refused

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        return cls(**{f.name: given[f.name] for f in fields(cls)})


class Comparison:
    """Counts how a way's labels differ from eager fp32's, image by image.

    Shapes:
        truth, reference, found: (H, W) class ids each
    """

    def __init__(self, classes: ClassMap) -> None:
        self._of_truth = Confusion(classes), Confusion(classes)
        self.changed_px = self.all_px = 0

    def update(self, truth: Any, reference: Any, found: Any) -> None:
        self.changed_px += int(np.count_nonzero(reference != found))
        self.all_px += int(reference.size)
        for confusion, labels in zip(self._of_truth, (reference, found), strict=True):
            confusion.update(truth, labels)

    @property
    def changed(self) -> float:
        return self.changed_px / max(1, self.all_px)

    def moved(self) -> dict[str, float]:
        """Points by which the IoU of each class moves, of those that the truth holds enough of."""
        before, after = (confusion.compute() for confusion in self._of_truth)
        there = self._of_truth[0].matrix.sum(axis=1) >= LEAST_PX
        names = before.classes.names
        return {names[k]: 100 * float(after.iou[k] - before.iou[k]) for k in np.flatnonzero(there)}

    def objection(self) -> str:
        """Why the way must not be used; "" where it may."""
        if self.changed > MOST_CHANGED:
            return f"{self.changed:.2%} of the pixels change class, at most {MOST_CHANGED:.1%} may"
        far = {name: points for name, points in self.moved().items() if abs(points) > MOST_MOVED}
        if far:
            worst = max(far, key=lambda name: abs(far[name]))
            return f"the IoU of {worst} moves by {far[worst]:+.2f} points, at most {MOST_MOVED} may be"
        return ""


def refusals(found: Iterable[Agreement]) -> list[str]:
    """A line for each way that does not agree."""
    return [f"{one.way} is not used: {one.refused}." for one in found if one.refused]
