"""The areas of an answer as polygons with what is known of them: of classes a row a part, of objects a row an object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.instances import Instances
from maskwright.ops.coverage import coverage, shapely_for
from maskwright.ops.rle import Rle


@dataclass(frozen=True, eq=False)
class Outline:
    """One area.

    Attributes:
        id: of the object, or the number of the part from 1 on
        name: of its class
        class_id: of its class
        shape: a shapely polygon or several, in pixels
        score: of an object that has one
        crowd: one outline for many objects
    """

    id: int
    name: str
    class_id: int
    shape: Any
    score: float | None = None
    crowd: bool = False


def outlines_of_labels(labels: NDArray[Any], classes: ClassMap, tolerance_px: float = 0.0) -> list[Outline]:
    """The connected parts of all classes but the background; neighbours share their edges, also simplified.

    Shapes:
        labels: (H, W) class ids; pixels of classes.ignore_id are in no outline
    """
    left_out = (classes.background, classes.ignore_id)
    parts = [(value, shape) for value, shape in coverage(labels, tolerance_px) if value not in left_out]
    return [Outline(k, classes.name_of(value), value, shape) for k, (value, shape) in enumerate(parts, 1)]


def outlines_of_objects(found: Instances, tolerance_px: float = 0.0) -> list[Outline]:
    """The objects that cover a pixel. Those that do not overlap share their edges; where some do, each is drawn by itself."""
    shapes = dict(_shapes(found, tolerance_px))
    return [_outline(found, k, shapes[k]) for k in sorted(shapes)]


def outline_alone(found: Instances, k: int) -> Outline:
    """Object k, which must cover a pixel, drawn by itself."""
    return _outline(found, k, _alone(found.masks[k], 0.0))


def _outline(found: Instances, k: int, shape: Any) -> Outline:
    score = None if found.scores is None else float(str(found.scores[k]))
    return Outline(int(found.all_ids[k]), found.names[k], int(found.class_ids[k]), shape, score, bool(found.crowds[k]))


def _shapes(found: Instances, tolerance_px: float) -> Iterator[tuple[int, Any]]:
    """Each object's place in the list, and its shape."""
    painted = np.zeros(found.hw, np.int32)
    for k, mask in enumerate(found.masks):
        x0, y0, x1, y1 = mask.box_xyxy
        painted[y0:y1, x0:x1][mask.crop((x0, y0, x1, y1))] = k + 1
    if np.count_nonzero(painted) == found.areas_px.sum():
        yield from _joined(painted, tolerance_px)
        return
    for k, mask in enumerate(found.masks):
        if mask.area_px:
            yield k, _alone(mask, tolerance_px)


def _alone(mask: Rle, tolerance_px: float) -> Any:
    """The shape of one mask, drawn on its box with a pixel around it: its outline depends on nothing further away."""
    h, w = mask.hw
    x0, y0, x1, y1 = mask.box_xyxy
    x0, y0, x1, y1 = max(0, x0 - 1), max(0, y0 - 1), min(w, x1 + 1), min(h, y1 + 1)
    ((_, shape),) = _joined(mask.crop((x0, y0, x1, y1)).astype(np.int32), tolerance_px)
    return shapely_for("drawing areas as polygons").transform(shape, lambda points: points + np.array([x0, y0]))


def _joined(painted: NDArray[np.int32], tolerance_px: float) -> Iterator[tuple[int, Any]]:
    """The parts of each number of a map put together, and the number less 1; 0 is left out."""
    shapely = shapely_for("drawing areas as polygons")
    parts = defaultdict(list)
    for value, shape in coverage(painted, tolerance_px):
        if value:
            parts[value - 1].append(shape)
    yield from ((k, shapes[0] if len(shapes) == 1 else shapely.union_all(shapes)) for k, shapes in parts.items())
