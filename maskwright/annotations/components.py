"""Class masks to objects: each connected part of a class is one. An explicit step, because touching objects become one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.ops.components import CORNERS, EDGES, components


def objects_of_labels(
    labels: NDArray[Any], classes: ClassMap, connectivity: int = CORNERS, min_px: int = 1, name: str = "image"
) -> Instances:
    """The connected parts of every class, by class id and then in reading order; background and ignored pixels are no objects.

    Shapes:
        labels: (H, W) class ids, classes.ignore_id where nothing counts
        connectivity: 4: pixels that share an edge belong together; 8: those that share a corner, too
        min_px: smaller parts are left out

    Raises:
        InputError: labels of another shape, ids that are no classes, or another connectivity.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "iub":
        raise InputError(f"{name}: labels of shape {labels.shape} and type {labels.dtype}; expected class ids (height, width).")
    if connectivity not in (EDGES, CORNERS):
        raise InputError(f"{name}: connectivity {connectivity}; expected {EDGES} (shared edges) or {CORNERS} (corners, too).")
    present = [int(i) for i in np.unique(labels)]
    unknown = sorted(set(present) - {*classes.ids, classes.ignore_id})
    if unknown:
        raise InputError(f"{name}: label ids {unknown[:8]} are not in the class map (known: {list(classes.ids)}).")
    kinds = [i for i in present if i not in (classes.background, classes.ignore_id)]
    found = [(i, part) for i in kinds for part in components(labels == i, connectivity) if part.area_px >= min_px]
    return Instances(
        (labels.shape[0], labels.shape[1]),
        classes,
        np.array([i for i, _ in found], np.int64),
        tuple(part for _, part in found),
        name=name,
    )
