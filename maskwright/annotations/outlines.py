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
    return [
        Outline(
            int(found.all_ids[k]), found.names[k], int(found.class_ids[k]), shapes[k],
            None if found.scores is None else float(str(found.scores[k])), bool(found.crowds[k]),
        )
        for k in sorted(shapes)
    ]  # fmt: skip


def _shapes(found: Instances, tolerance_px: float) -> Iterator[tuple[int, Any]]:
    """Each object's place in the list, and its shape."""
    painted = np.zeros(found.hw, np.int64)
    for k, mask in enumerate(found.masks):
        x0, y0, x1, y1 = mask.box_xyxy
        painted[y0:y1, x0:x1][mask.crop((x0, y0, x1, y1))] = k + 1
    if np.count_nonzero(painted) == found.areas_px.sum():
        yield from _joined(painted, tolerance_px)
        return
    for k, mask in enumerate(found.masks):
        if mask.area_px:
            yield from ((k, shape) for _, shape in _joined(mask.to_mask().astype(np.int64), tolerance_px))


def _joined(painted: NDArray[np.int64], tolerance_px: float) -> Iterator[tuple[int, Any]]:
    """The parts of each number of a map put together, and the number less 1; 0 is left out."""
    shapely = shapely_for("drawing areas as polygons")
    parts = defaultdict(list)
    for value, shape in coverage(painted, tolerance_px):
        if value:
            parts[value - 1].append(shape)
    yield from ((k, shapes[0] if len(shapes) == 1 else shapely.union_all(shapes)) for k, shapes in parts.items())
