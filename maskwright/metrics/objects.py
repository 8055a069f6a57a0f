"""The objects of one image as the scores keep them: runs as text, boxes, areas; and how much two sets of them overlap.

Source: overlaps as in the COCO API (Lin et al. 2014, arXiv:1405.0312): intersection over union; against a crowd, the share of
the found object that lies in it. Shared pixels are counted on the runs by faster-coco-eval; no mask becomes a dense array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.instances import Instances

MASK, BOX = "mask", "box"
KINDS = (MASK, BOX)
MIN_SCORE = 0.5  # where a found object has to be taken or left, as in counts


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects of one image, small enough to keep those of every image of a data set.

    Shapes:
        class_ids: (N,) int64
        texts: one a object, COCO's text of its runs
        masks_px: (N,) int64 pixels of each mask
        boxes_xywh: (N, 4) float64: left, top, width, height, as COCO holds them
        areas: (N,) float64, what decides whether a true object is small, medium or large
        scores: (N,) float64; 1 where there are none
        crowd: (N,) bool
    """

    hw: tuple[int, int]
    class_ids: NDArray[np.int64]
    texts: tuple[str, ...]
    masks_px: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    areas: NDArray[np.float64]
    scores: NDArray[np.float64]
    crowd: NDArray[np.bool_]

    @classmethod
    def of(cls, given: Instances, areas: NDArray[np.float64] | Sequence[float] | None = None) -> Objects:
        """Of an image's instances.

        Args:
            areas: (N,) in pixels, where a file states them (COCO's `area`); default: those that the instances hold, and the
                pixels of the masks where there are none

        Raises:
            InputError: not one area an object, or a score that is no number.
        """
        areas = given.stated_areas_px if areas is None else areas
        if areas is not None and len(areas) != len(given):
            raise InputError(f"{given.name}: {len(given)} objects but {len(areas)} areas; give one an object, or none at all.")
        scores = np.ones(len(given)) if given.scores is None else given.scores.astype(np.float64)
        if not np.isfinite(scores).all():
            raise InputError(f"{given.name}: a score is {scores[~np.isfinite(scores)][0]}; scores are numbers in 0..1.")
        boxes = given.boxes.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        texts = tuple(mask.to_text() for mask in given.masks)
        masks_px = given.areas_px
        sizes = masks_px.astype(np.float64)
        if areas is not None:
            sizes = np.where(np.isnan(areas), sizes, areas)
        return cls(given.hw, given.class_ids, texts, masks_px, boxes, sizes, scores, given.crowds)

    def __len__(self) -> int:
        return len(self.texts)

    def select(self, kept: NDArray[np.intp]) -> Objects:
        """Some of the objects, by their positions in the order wanted."""
        return Objects(
            self.hw,
            self.class_ids[kept],
            tuple(self.texts[k] for k in kept),
            self.masks_px[kept],
            self.boxes_xywh[kept],
            self.areas[kept],
            self.scores[kept],
            self.crowd[kept],
        )

    def best_first(self) -> NDArray[np.intp]:
        """Positions by falling score; of equal scores the earlier object comes first."""
        return np.argsort(-self.scores, kind="stable")

    def extent(self, kind: str) -> NDArray[np.float64]:
        """(N,) pixels of the masks, or areas of the boxes."""
        return self.masks_px.astype(np.float64) if kind == MASK else self.boxes_xywh[:, 2] * self.boxes_xywh[:, 3]


def overlaps(found: Objects, truth: Objects, kind: str = MASK) -> NDArray[np.float64]:
    """IoU of each found with each true object; against a crowd, the share of the found object that lies in it.

    Shapes:
        returns: (D, G) in [0, 1]; 0 for empty masks
    """
    shared = shared_px(found, truth).astype(np.float64) if kind == MASK else _shared_boxes(found.boxes_xywh, truth.boxes_xywh)
    own = found.extent(kind)[:, None]
    whole = np.where(truth.crowd, own, own + truth.extent(kind) - shared)
    return np.asarray(np.divide(shared, whole, out=np.zeros(shared.shape), where=(whole > 0) & (shared > 0)), np.float64)


def shared_px(found: Objects, truth: Objects) -> NDArray[np.int64]:
    """Pixels that each found object shares with each true one, (D, G)."""
    if not len(found) or not len(truth):
        return np.zeros((len(found), len(truth)), np.int64)
    from faster_coco_eval.core import mask as coco

    first, second = ([{"size": list(side.hw), "counts": text} for text in side.texts] for side in (found, truth))
    # Taken as a crowd, a true object gives the share of the found one that it covers: times its pixels, a whole number again.
    share = np.asarray(coco.iou(first, second, [1] * len(truth)), np.float64).reshape(len(found), len(truth))
    return np.rint(share * found.masks_px[:, None]).astype(np.int64)


def check_pair(truth: Instances, found: Instances, classes: ClassMap) -> None:
    """Whether the two can be compared.

    Raises:
        InputError: the sizes differ, or a class of an object is not the class of that id in the scores' class map.
    """
    if tuple(truth.hw) != tuple(found.hw):
        raise InputError(
            f"{truth.name}: found objects on {found.hw[1]}x{found.hw[0]} pixels, true ones on {truth.hw[1]}x{truth.hw[0]}; "
            f"give both at the truth's own size."
        )
    ours = dict(zip(classes.ids, classes.names, strict=True))
    for side in (truth, found):
        for class_id in np.unique(side.class_ids).tolist():
            name = side.classes.name_of(class_id)
            if ours.get(class_id) != name or class_id == classes.background:
                raise InputError(
                    f"{side.name}: class {class_id} is {name!r} there and {ours.get(class_id, 'no class')!r} in the scores' "
                    f"class map; give truth, prediction and scores the same class map."
                )


def object_classes(classes: ClassMap) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Ids and names of the classes that objects can have: all but the background.

    Raises:
        InputError: there is none.
    """
    pairs = [(i, n) for i, n in zip(classes.ids, classes.names, strict=True) if i != classes.background]
    if not pairs:
        raise InputError(f"the class map holds only the background {classes.names[0]!r}; scores of objects need another class.")
    return tuple(i for i, _ in pairs), tuple(n for _, n in pairs)


def _shared_boxes(found: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
    """Area that each box shares with each other one, (D, G), in the COCO API's order of operations."""
    first, second = found[:, None], truth[None]
    ends = np.minimum(first[..., 2:] + first[..., :2], second[..., 2:] + second[..., :2])
    sides = np.maximum(ends - np.maximum(first[..., :2], second[..., :2]), 0.0)
    return np.asarray(sides[..., 0] * sides[..., 1], np.float64)
