"""Masks that hold a number an object: to objects and back, with the class mask beside them that says what each object is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.class_files import class_without_name
from maskwright.annotations.drawn import AnnotatedImage, Drawn, Remark
from maskwright.classes import IGNORE_ID, ClassMap
from maskwright.errors import FormatError
from maskwright.instances import MOST_IDS, Instances
from maskwright.io.masks import StoredMask, labels_of, pack, read_mask
from maskwright.ops.components import masks_of_ids

VOID = 255  # in object masks of 8 bits the border around objects, where the class mask holds no class either


def read_objects(
    path: Path, class_path: Path | None, classes: ClassMap, image: AnnotatedImage
) -> tuple[list[Drawn], list[Remark]]:
    """The objects of one id map, by ascending number; each of the class that covers most of it in the class mask.

    Without a class mask all are of the one class that class_without_name says. An object over no class at all is left out with a
    remark, unless it is the void border.

    Raises:
        FormatError: a file is no mask or a photo, the two differ in size, or nothing says which class the objects have.
    """
    mask = read_mask(path)
    if len(mask.tally.values) > MOST_IDS + 1:
        found = f"{len(mask.tally.values)} different values"
        raise FormatError(f"{path}: holds {found}; that many are a photo. Expected a mask that numbers its objects.")
    ids = pack(mask.values) if mask.kind == "rgb" else np.maximum(mask.values, 0)
    masks = masks_of_ids(ids)
    remarks: list[Remark] = []
    if class_path is None:
        only = class_without_name(classes)
        if only is None:
            raise FormatError(f"{path}: no class mask beside it, and several classes are known ({', '.join(classes.names)}).")
        class_of: dict[int, int | None] = dict.fromkeys(masks, only)
    else:
        labels, remarks = _labels(class_path, mask, classes, image)
        class_of = majority(ids, labels, classes)
    drawn = []
    for number, rle in masks.items():
        class_id = class_of[number]
        where = f"object {number}"
        if class_id is not None:
            # A colour stands for an object and is no number of it.
            drawn.append(Drawn(class_id, rle=rle, id=None if mask.kind == "rgb" else number, where=where))
        elif number != VOID and mask.kind != "rgb":
            text = f"{path}: {where} ({rle.area_px} pixels) lies on no class in {class_path}; it is left out."
            remarks.append(Remark("bad-object", text, image.name, path))
    return drawn, remarks


def majority(ids: NDArray[Any], labels: NDArray[Any], classes: ClassMap) -> dict[int, int | None]:
    """The class under most pixels of each object, the lower channel where two are as frequent; None where there is none.

    Background and ignored pixels do not count.

    Shapes:
        ids, labels: (H, W), the same shape; 0 in ids is no object
    """
    covered = ids != 0
    numbers, place = np.unique(ids[covered], return_inverse=True)
    channel = classes.to_indices(labels[covered])
    votes = np.bincount(place * (IGNORE_ID + 1) + channel, minlength=len(numbers) * (IGNORE_ID + 1)).reshape(-1, IGNORE_ID + 1)
    votes[:, len(classes) :] = 0
    if classes.background is not None:
        votes[:, classes.ids.index(classes.background)] = 0
    best = votes.argmax(axis=1)
    return {int(n): classes.ids[c] if row[c] else None for n, c, row in zip(numbers, best.tolist(), votes, strict=True)}


@dataclass(frozen=True, eq=False)
class Painted:
    """Objects as arrays, each pixel the smallest object's over it.

    Attributes:
        ids: (H, W) uint16, 0 where there is no object
        labels: (H, W) class ids; crowds are ignored pixels
        remarks: where pixels are lost under others
    """

    ids: NDArray[np.uint16]
    labels: NDArray[Any]
    remarks: list[Remark]


def paint(found: Instances, kept: NDArray[np.int64], image: str, most_ids: int = MOST_IDS) -> Painted:
    """The objects on one plane; ids are kept where none is above most_ids, else objects are numbered 1, 2, ...

    Args:
        kept: positions of the objects that get a number (placing.holdable)

    Raises:
        InputError: more than 65535 objects.
    """
    found = replace(found, scores=None)
    objects = found.select(kept)
    if len(objects) and objects.all_ids.max() > most_ids:
        objects = replace(objects, ids=np.arange(1, len(objects) + 1))
    ids = objects.to_ids()
    left = np.bincount(ids.ravel(), minlength=MOST_IDS + 1)[objects.all_ids]
    lost = objects.areas_px - left
    if not lost.any():
        return Painted(ids, found.to_labels(), [])
    text = (
        f"{image}: {int(lost.sum())} pixels of {int((lost > 0).sum())} objects lie under smaller objects and are lost "
        f"({int((left == 0).sum())} objects whole); this format holds one object a pixel."
    )
    return Painted(ids, found.to_labels(), [Remark("overlap", text, image)])


def _labels(path: Path, ids: StoredMask, classes: ClassMap, image: AnnotatedImage) -> tuple[NDArray[Any], list[Remark]]:
    """Class ids of the mask beside an id map; values that are no classes are said, and count nowhere."""
    mask = read_mask(path)
    if mask.hw != ids.hw:
        found = f"{mask.hw[1]}x{mask.hw[0]}"
        raise FormatError(f"{path}: the class mask is {found}, {ids.path} is {ids.hw[1]}x{ids.hw[0]}; they must be alike.")
    reading = labels_of(mask, classes)
    if not reading.unknown:
        return reading.labels, []
    text = f"{path}: values {list(reading.unknown)[:8]} are no classes (known: {', '.join(classes.names)}); ignored."
    return reading.labels, [Remark("unknown-class", text, image.name, path)]
