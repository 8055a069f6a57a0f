"""Panoptic quality: how well things and stuff are told apart and outlined, every pixel in one segment at most.

Source: Kirillov, He, Girshick, Rother, Dollár 2019, "Panoptic Segmentation", arXiv:1801.00868, section 4. A true and a found
segment of one class match where their IoU is above 0.5, which makes matches unique. With TP matches, FP found and FN true
segments left over: SQ = sum of the matched IoUs / TP, RQ = TP / (TP + FP / 2 + FN / 2), PQ = SQ x RQ, each by class, then the
mean over classes. Void: pixels without truth are taken out of what was found before the IoU, and a found segment that is left
over counts nowhere where more than half of it lies on void or on crowds of its class; crowds are neither matched nor missed.
Differs: the background of the class map is "none of the others": found segments on it are wrong, but it is no segment itself.
All crowds of a class in an image count, where the authors' code keeps one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import IGNORE_ID, ClassMap
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.metrics.intervals import Statistics, Weights
from maskwright.metrics.objects import MIN_SCORE, object_classes
from maskwright.metrics.panoptic_scores import PanopticScores, panoptic_rates

LIMIT = 0.5  # of IoU for a match, and of the share on void for a segment that counts nowhere: to be exceeded
MOST_IDS = 65535


@dataclass(frozen=True, eq=False)
class PanopticMap:
    """The segments of one image: a pixel has a class, and an object where its class is a thing.

    Shapes:
        labels: (H, W) class ids; ignore_id is void
        ids: (H, W) whole numbers in 0..65535, one an object of its class; 0 for stuff, and on a thing for a crowd (in a truth) or
            for void (in an answer)
    """

    labels: NDArray[Any]
    ids: NDArray[Any]

    @classmethod
    def of(cls, objects: Instances, labels: NDArray[Any] | None = None, min_score: float = MIN_SCORE) -> PanopticMap:
        """Objects laid on a map of stuff, the best score on top (see Instances.drawing_order).

        Args:
            labels: (H, W) class ids below the objects; default: background, or void where the class map has none
            min_score: found objects with a lower score are left out

        Raises:
            InputError: the map is of another size.
        """
        classes = objects.classes
        empty = classes.ignore_id if classes.background is None else classes.background
        canvas = np.full(objects.hw, empty, classes.dtype) if labels is None else np.asarray(labels).astype(np.int64)
        if canvas.shape != tuple(objects.hw):
            raise InputError(f"{objects.name}: a map of stuff of shape {canvas.shape} below objects on {tuple(objects.hw)}.")
        kept = objects if objects.scores is None else objects.select(objects.scores >= np.float32(min_score))
        ids = np.zeros(objects.hw, np.int32)
        for number, k in enumerate(kept.drawing_order().tolist(), start=1):
            x0, y0, x1, y1 = box = kept.masks[k].box_xyxy
            mask = kept.masks[k].crop(box)
            canvas[y0:y1, x0:x1][mask] = kept.class_ids[k]
            ids[y0:y1, x0:x1][mask] = 0 if kept.crowds[k] else number
        return cls(canvas, ids)


class Panoptic:
    """Counts matched segments of one image after the other; compute() at any time.

    Args:
        things: ids of the classes whose objects are told apart; others are stuff, one segment an image. Default: all but the
            background

    Raises:
        InputError: a thing that is not in the class map, or a class map without a class of objects.
    """

    def __init__(self, classes: ClassMap, things: Sequence[int] | None = None) -> None:
        self.classes = classes
        self.class_ids, self.names = object_classes(classes)
        unknown = sorted(set(things or ()) - set(self.class_ids))
        if unknown:
            raise InputError(f"class ids {unknown} cannot be things; expected some of {list(self.class_ids)}.")
        self.things = np.array([things is None or i in things for i in self.class_ids])
        self._tallies: list[NDArray[np.float64]] = []  # (4, K) an image

    def __len__(self) -> int:
        return len(self._tallies)

    def update(self, truth: PanopticMap, found: PanopticMap) -> NDArray[np.float64]:
        """Add an image, and give back its tally, (4, K): matched, missed, extra segments and the sum of the matched IoUs.

        Raises:
            InputError: shapes differ, ids are out of range, or the truth holds a class that is not in the class map.
        """
        _check(truth, found)
        # Where both are background there is no segment: most pixels of most images need no look (without a background, all do).
        covered = (truth.labels != self.classes.background) | (found.labels != self.classes.background)
        labels = truth.labels[covered]
        _check_known(labels, self.classes)
        true = self._segments(labels, truth.ids[covered])
        answer = self._segments(found.labels[covered], found.ids[covered])
        shared = np.bincount(true.index * len(answer.row) + answer.index, minlength=len(true.row) * len(answer.row))
        tally = _tally(shared.reshape(len(true.row), len(answer.row)).astype(np.float64), true, answer, len(self.names))
        self._tallies.append(tally)
        return tally

    def compute(self) -> PanopticScores:
        return PanopticScores(self.names, self.things, len(self), self._stacked().sum(0))

    def statistics(self) -> Statistics:
        """Panoptic quality as a function of how often each image counts, in the order of updates, for intervals.bootstrap.

        Names: pq, sq, rq, the same with _things and _stuff, and pq.<class>.
        """
        stacked = self._stacked()

        def compute(weights: Weights) -> dict[str, NDArray[np.float64]]:
            rates = panoptic_rates(np.tensordot(weights.astype(np.float64), stacked, 1), self.things)
            per_class = rates.pop("pq_per_class")
            means = {name: values for name, values in rates.items() if not name.endswith("_per_class")}
            return means | {f"pq.{name}": per_class[:, k] for k, name in enumerate(self.names)}

        return compute

    def _stacked(self) -> NDArray[np.float64]:
        return np.array(self._tallies, np.float64).reshape(len(self), 4, len(self.names))

    def _segments(self, labels: NDArray[Any], ids: NDArray[Any]) -> _Segments:
        """Every segment of a map's pixels (P,), numbered; pixels that belong to none are segments of no class."""
        count = len(self.names)
        row_of = np.full(IGNORE_ID + 1, count, np.int64)  # by channel number; count: void
        # The background stands behind the void: it has pixels, but is no segment.
        row_of[: len(self.classes)] = [self.class_ids.index(i) if i in self.class_ids else count + 1 for i in self.classes.ids]
        row = row_of[self.classes.to_indices(labels)]
        thing = np.append(self.things, [False, False])[row]
        ids = np.where(thing, ids.astype(np.int64), 0)
        span = int(ids.max(initial=0)) + 1
        code = row * span + ids
        area = np.bincount(code, minlength=1)
        present = np.flatnonzero(area)
        number = np.cumsum(area > 0) - 1
        rows = present // span
        crowd = np.append(self.things, [False, False])[rows] & (present % span == 0)
        return _Segments(number[code], rows, area[present].astype(np.float64), crowd)


@dataclass(frozen=True, eq=False)
class _Segments:
    """The S segments of one map.

    Shapes:
        index: (P,) which segment a pixel belongs to
        row: (S,) position of its class; K for void, K + 1 for the background
        area_px: (S,)
        crowd: (S,) bool, pixels of things that are not told apart
    """

    index: NDArray[np.int64]
    row: NDArray[np.int64]
    area_px: NDArray[np.float64]
    crowd: NDArray[np.bool_]


def _tally(shared: NDArray[np.float64], true: _Segments, found: _Segments, classes: int) -> NDArray[np.float64]:
    """(4, K) matched, missed, extra segments and the sum of the matched IoUs; shared: (true segments, found segments) pixels."""
    real = [(side.row < classes) & ~side.crowd for side in (true, found)]
    on_void = shared[true.row == classes].sum(0)
    same = true.row[:, None] == found.row
    pairs = same & real[0][:, None] & real[1]
    union = true.area_px[:, None] + found.area_px - shared - on_void
    iou = np.where(pairs, shared, 0.0) / np.maximum(union, 1.0)
    match = iou > LIMIT
    on_crowd = np.where(same & true.crowd[:, None], shared, 0.0).sum(0)
    uncounted = on_void + on_crowd > LIMIT * found.area_px
    matched = np.nonzero(match)[0]
    missed = np.flatnonzero(real[0] & ~match.any(1))
    extra = np.flatnonzero(real[1] & ~match.any(0) & ~uncounted)
    rows = [np.bincount(r, minlength=classes) for r in (true.row[matched], true.row[missed], found.row[extra])]
    return np.stack([*rows, np.bincount(true.row[matched], weights=iou[match], minlength=classes)]).astype(np.float64)


def _check(truth: PanopticMap, found: PanopticMap) -> None:
    shapes = {side.shape for side in (truth.labels, truth.ids, found.labels, found.ids)}
    if len(shapes) > 1 or truth.labels.ndim != 2:
        raise InputError(f"panoptic maps have the shapes {sorted(shapes)}; labels and ids of truth and answer need one (H, W).")
    for ids in (truth.ids, found.ids):
        if ids.size and (ids.dtype.kind not in "iub" or ids.min() < 0 or ids.max() > MOST_IDS):
            raise InputError(
                f"ids of objects are {ids.dtype} in {ids.min()}..{ids.max()}; expected whole numbers in 0..{MOST_IDS}."
            )


def _check_known(labels: NDArray[Any], classes: ClassMap) -> None:
    unknown = np.setdiff1d(labels, [*classes.ids, classes.ignore_id])
    if unknown.size:
        raise InputError(
            f"the truth holds label ids {unknown[:10].tolist()} that are not in the class map (known: {classes.ids}, ignore: "
            f"{classes.ignore_id}). Add them to the class map, or set these pixels to {classes.ignore_id}."
        )
