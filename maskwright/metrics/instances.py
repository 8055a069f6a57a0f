"""COCO's mask and box AP of any number of images, by faster-coco-eval; equal to the COCO API's numbers to the last digit.

Objects are kept as text of runs, boxes and numbers, a few hundred bytes each, until compute() hands them over; no mask becomes a
dense array. Intervals and scores of groups come from ranked.py, which holds the same numbers in another form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.metrics.coco_scores import CocoScores
from maskwright.metrics.intervals import Statistics
from maskwright.metrics.objects import KINDS, MASK, Objects, check_pair, object_classes
from maskwright.metrics.ranked import IOUS, RECALLS, SIZES_PX, Ranked, ap_statistics, rank

MAX_DETS = (1, 10, 100)
BATCH_OBJECTS = 100_000  # about 4 kB each while they are compared
COCO_NAMES = {"mask": "segm", "box": "bbox"}


class AveragePrecision:
    """Collects true and found objects, image after image; compute() at any time.

    Args:
        max_dets: rising limits of how many objects of a class count in an image: AP is taken at the last, AR at each. Images
            that may hold more than 100 objects of a class need a higher last limit, as (1, 10, 300)

    Raises:
        InputError: the limits do not rise from 1 or more, or the class map has no class of objects.

    Example:
        precision = AveragePrecision(classes)
        for truth, found in pairs: precision.update(truth, found)
        print(precision.compute().ap, precision.compute("box").ap)
    """

    def __init__(self, classes: ClassMap, max_dets: Sequence[int] = MAX_DETS) -> None:
        if not max_dets or list(max_dets) != sorted(set(max_dets)) or max_dets[0] < 1:
            raise InputError(f"max_dets is {tuple(max_dets)}; expected rising whole numbers from 1 on, as {MAX_DETS}.")
        self.classes, self.max_dets = classes, tuple(int(m) for m in max_dets)
        self.class_ids, self.names = object_classes(classes)
        self._records: list[tuple[Objects, Objects]] = []

    def __len__(self) -> int:
        return len(self._records)

    def update(self, truth: Instances, found: Instances, *, areas: NDArray[np.float64] | Sequence[float] | None = None) -> None:
        """Add an image. Crowd flags of found objects mean nothing here: COCO ranks all that was found.

        Args:
            areas: of the true objects in pixels, where the file states them: COCO sorts by its `area` field, which differs from
                the pixels of the mask by a little, so that a few objects are of another size; default: those that the truth
                holds, and the pixels of the masks where there are none

        Raises:
            InputError: no scores to rank by, other sizes or classes than the truth's, or not one area a true object.
        """
        check_pair(truth, found, self.classes)
        if found.scores is None:
            raise InputError(f"{found.name}: the found objects have no scores, and AP ranks by score; use Matching without them.")
        self._records.append((Objects.of(truth, areas), Objects.of(found)))

    def compute(self, kind: str = MASK) -> CocoScores:
        """The scores of masks or of boxes; all nan without an image.

        Raises:
            InputError: the kind is neither "mask" nor "box".
        """
        precision, recall = _evaluated(self._records, self.class_ids, self._checked(kind), self.max_dets)
        truths, found = (self._counts(side) for side in (0, 1))
        crowds = sum(int(truth.crowd.sum()) for truth, _ in self._records)
        # The COCO API marks what a class without truth has with -1.
        return CocoScores(
            kind,
            self.names,
            self.max_dets,
            precision=np.where(precision < 0, np.nan, precision),
            recall=np.where(recall < 0, np.nan, recall),
            images=len(self),
            crowds=crowds,
            beyond=int(np.maximum(found - self.max_dets[-1], 0).sum()),
            truths=truths.sum(0),
            found=found.sum(0),
        )

    def ranked(self, kind: str = MASK) -> dict[str, Ranked]:
        """Each class's found objects in the order of their scores; see ranked.rank."""
        lists = rank(self._records, self.class_ids, self._checked(kind), self.max_dets[-1])
        return dict(zip(self.names, lists, strict=True))

    def statistics(self, kind: str = MASK, sizes: Sequence[str] = ("all",)) -> Statistics:
        """AP as a function of how often each image counts, in the order of updates; see ranked.ap_statistics."""
        return ap_statistics(self.ranked(kind), self.max_dets[-1], sizes)

    def _checked(self, kind: str) -> str:
        if kind not in KINDS:
            raise InputError(f"no AP of {kind!r}; there is one of {' and of '.join(map(repr, KINDS))}.")
        return kind

    def _counts(self, side: int) -> NDArray[np.int64]:
        """(n, K) objects of each image and class, crowds left out of the truth."""
        row_of = np.zeros(max(self.class_ids) + 1, np.int64)
        row_of[list(self.class_ids)] = np.arange(len(self.names))
        kept = [r[side].class_ids[~r[side].crowd] if side == 0 else r[side].class_ids for r in self._records]
        counts = [np.bincount(row_of[ids], minlength=len(self.names)) for ids in kept]
        return np.array(counts, np.int64).reshape(len(self), len(self.names))


def _evaluated(
    records: Sequence[tuple[Objects, Objects]], class_ids: Sequence[int], kind: str, max_dets: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision at the last limit (10, 101, K, 4) and recall (10, K, 4, M) by faster-coco-eval; -1 for a class without truth.

    Classes do not touch each other, so they are handed over some at a time, which bounds the memory.
    """
    precision = -np.ones((len(IOUS), len(RECALLS), len(class_ids), len(SIZES_PX)))
    recall = -np.ones((len(IOUS), len(class_ids), len(SIZES_PX), len(max_dets)))
    for rows in _batches(records, class_ids) if records else []:
        precision[:, :, rows], recall[:, rows] = _run(records, [class_ids[k] for k in rows], kind, max_dets)
    return precision, recall


def _batches(records: Sequence[tuple[Objects, Objects]], class_ids: Sequence[int]) -> Iterator[list[int]]:
    """Places of the classes by rising id, as COCO orders them, with about BATCH_OBJECTS objects at a time."""
    held = np.concatenate([side.class_ids for record in records for side in record])
    batch: list[int] = []
    objects = 0
    for k in np.argsort(class_ids).tolist():
        objects += int((held == class_ids[k]).sum())
        batch.append(k)
        if objects >= BATCH_OBJECTS:
            yield batch
            batch, objects = [], 0
    if batch:
        yield batch


def _run(
    records: Sequence[tuple[Objects, Objects]], class_ids: Sequence[int], kind: str, max_dets: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same for some classes, by rising id."""
    from faster_coco_eval import COCO, COCOeval_faster

    truth, found = (COCO(_dataset(records, side, class_ids, kind)) for side in (0, 1))
    run = COCOeval_faster(truth, found, iouType=COCO_NAMES[kind], print_function=_say_nothing)
    run.params.maxDets = list(max_dets)
    run.params.areaRng, run.params.areaRngLbl = [list(borders) for borders in SIZES_PX.values()], list(SIZES_PX)
    run.params.iouThrs, run.params.recThrs = IOUS, RECALLS
    run.evaluate()
    run.accumulate()
    shape = len(IOUS), len(RECALLS), len(class_ids), len(SIZES_PX), len(max_dets)
    precision, recall = (np.asarray(run.eval[what], np.float64) for what in ("precision", "recall"))
    return precision.reshape(shape)[..., -1], recall.reshape(shape[0], *shape[2:])


def _dataset(records: Sequence[tuple[Objects, Objects]], side: int, class_ids: Sequence[int], kind: str) -> dict[str, Any]:
    """Truth (side 0) or found objects (side 1) in COCO's form; ids count from 1, since 0 means "no match" there."""
    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for n, record in enumerate(records, start=1):
        objects = record[side]
        images.append({"id": n, "height": objects.hw[0], "width": objects.hw[1]})
        areas = objects.areas if side == 0 else objects.extent(kind)
        for k in np.flatnonzero(np.isin(objects.class_ids, class_ids)).tolist():
            row: dict[str, Any] = {
                "id": len(rows) + 1,
                "image_id": n,
                "category_id": int(objects.class_ids[k]),
                "bbox": objects.boxes_xywh[k].tolist(),
                "area": float(areas[k]),
                "iscrowd": int(objects.crowd[k]) if side == 0 else 0,
            }
            row |= {"segmentation": {"size": list(objects.hw), "counts": objects.texts[k]}} if kind == MASK else {}
            row |= {"score": float(objects.scores[k])} if side == 1 else {}
            rows.append(row)
    return {"images": images, "annotations": rows, "categories": [{"id": int(i), "name": str(i)} for i in class_ids]}


def _say_nothing(*_: object) -> None:
    """faster-coco-eval reports its steps to whoever it is given."""
