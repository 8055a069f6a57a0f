"""Instances: the objects of one image, each with its own mask, box, class, score and id. A truth and an answer alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.ops.rle import Rle

MOST_IDS = 65535


@dataclass(frozen=True, eq=False)
class Instances:
    """The objects of one image; masks stay runs, so 500 objects on a large image are small.

    Attributes:
        hw: size of the image
        classes: what the class ids mean; its background is never the class of an object
        class_ids: (N,) int64
        masks: one a object
        scores: (N,) float32 in [0, 1]; None for a truth
        boxes_xyxy: (N, 4) float32 in pixels, half open; default: the boxes of the masks
        ids: (N,) int64, unique in the image, from 1 on; default: 1, 2, ...
        crowd: (N,) bool, true for a mask that holds many objects nobody told apart: such count nowhere
        rings: one a object, its polygons as they were drawn ((n, 2) x and y each), empty where it was drawn as pixels
        name: of the image, for messages and files
        stated_areas_px: (N,) float64, what the file states as area of each, nan where it states none; None where none has one.
            COCO sorts true objects by it into small, medium and large ones

    Raises:
        InputError: lengths or sizes differ, an id stands twice, or a class is not in the class map.
    """

    hw: tuple[int, int]
    classes: ClassMap
    class_ids: NDArray[np.int64]
    masks: tuple[Rle, ...]
    scores: NDArray[np.float32] | None = None
    boxes_xyxy: NDArray[np.float32] | None = None
    ids: NDArray[np.int64] | None = None
    crowd: NDArray[np.bool_] | None = None
    rings: tuple[tuple[NDArray[np.float64], ...], ...] = ()
    name: str = "image"
    stated_areas_px: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        count = len(self.masks)
        set_ = object.__setattr__
        set_(self, "class_ids", np.asarray(self.class_ids, np.int64).reshape(-1))
        if self.boxes_xyxy is None:
            set_(self, "boxes_xyxy", np.array([m.box_xyxy for m in self.masks], np.float32).reshape(-1, 4))
        if self.ids is None:
            set_(self, "ids", np.arange(1, count + 1))
        if self.crowd is None:
            set_(self, "crowd", np.zeros(count, bool))
        if not self.rings:
            set_(self, "rings", ((),) * count)
        given: dict[str, NDArray[Any] | None] = {
            "class ids": self.class_ids,
            "boxes": self.boxes_xyxy,
            "ids": self.ids,
            "crowd flags": self.crowd,
        }
        given |= {"scores": self.scores} if self.scores is not None else {}
        given |= {"stated areas": self.stated_areas_px} if self.stated_areas_px is not None else {}
        for what, values in [*given.items(), ("rings", self.rings)]:
            if len(values) != count:  # type: ignore[arg-type]  # every field has its default by now
                raise InputError(f"{self.name}: {count} masks but {len(values)} {what}; give one an object.")  # type: ignore[arg-type]
        wrong = next((m.hw for m in self.masks if m.hw != tuple(self.hw)), None)
        if wrong is not None:
            raise InputError(f"{self.name}: a mask of {wrong[1]}x{wrong[0]} on an image of {self.hw[1]}x{self.hw[0]}.")
        known = set(self.classes.ids) - {self.classes.background}
        unknown = sorted(set(self.class_ids.tolist()) - known)
        if unknown:
            raise InputError(f"{self.name}: class ids {unknown[:8]} are no classes of objects (known: {sorted(known)}).")
        if len(set(self.all_ids.tolist())) != count or (count and self.all_ids.min() < 1):
            raise InputError(
                f"{self.name}: ids of objects are whole numbers from 1 on, each once; found {self.all_ids[:8].tolist()}."
            )

    # The fields that may be left out are arrays from birth on; these say so to the type checker.
    @property
    def boxes(self) -> NDArray[np.float32]:
        """(N, 4) float32, xyxy in pixels, half open."""
        assert self.boxes_xyxy is not None
        return self.boxes_xyxy

    @property
    def all_ids(self) -> NDArray[np.int64]:
        assert self.ids is not None
        return self.ids

    @property
    def crowds(self) -> NDArray[np.bool_]:
        assert self.crowd is not None
        return self.crowd

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def areas_px(self) -> NDArray[np.int64]:
        return np.array([m.area_px for m in self.masks], np.int64)

    @property
    def names(self) -> list[str]:
        """Class name of each object."""
        return [self.classes.name_of(int(i)) for i in self.class_ids]

    def select(self, keep: NDArray[Any] | Sequence[int]) -> Instances:
        """Some of the objects: a boolean array (N,), or positions in the order wanted."""
        kept = np.flatnonzero(keep) if np.asarray(keep).dtype == bool else np.asarray(keep, np.int64)
        return replace(
            self,
            class_ids=self.class_ids[kept],
            masks=tuple(self.masks[k] for k in kept),
            scores=None if self.scores is None else self.scores[kept],
            boxes_xyxy=self.boxes[kept],
            ids=self.all_ids[kept],
            crowd=self.crowds[kept],
            rings=tuple(self.rings[k] for k in kept),
            stated_areas_px=None if self.stated_areas_px is None else self.stated_areas_px[kept],
        )

    def to_labels(self) -> NDArray[Any]:
        """The semantic map: the class of each pixel, (H, W) class ids, background where no object is.

        Where objects overlap, the one of the higher score is on top; without scores the smaller one. Pixels of crowds that no
        object covers are classes.ignore_id, and so are all uncovered pixels where the class map has no background.
        """
        empty = self.classes.background if self.classes.background is not None else self.classes.ignore_id
        labels = np.full(self.hw, empty, self.classes.dtype)
        for k in self.drawing_order():
            self._paint(labels, k, self.classes.ignore_id if self.crowds[k] else int(self.class_ids[k]))
        return labels

    def to_ids(self) -> NDArray[np.uint16]:
        """The id of the object at each pixel, (H, W) uint16, 0 where there is none; overlaps as in to_labels.

        Raises:
            InputError: an id is above 65535.
        """
        if len(self) and self.all_ids.max() > MOST_IDS:
            raise InputError(
                f"{self.name}: ids up to {self.all_ids.max()} do not fit in 16 bits (at most {MOST_IDS}); number them anew."
            )
        painted = np.zeros(self.hw, np.uint16)
        for k in self.drawing_order():
            self._paint(painted, k, int(self.all_ids[k]))
        return painted

    def drawing_order(self) -> NDArray[np.int64]:
        """Positions from the bottom to the top: crowds, then by score upwards, or without scores from large to small."""
        rank = -self.areas_px.astype(np.float64) if self.scores is None else self.scores
        return np.lexsort((rank, ~self.crowds))

    def _paint(self, canvas: NDArray[Any], k: int, value: int) -> None:
        x0, y0, x1, y1 = self.masks[k].box_xyxy
        canvas[y0:y1, x0:x1][self.masks[k].crop((x0, y0, x1, y1))] = value
