"""Objects as their files hold them to Instances: the one way from any annotation format to masks, boxes and ids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.drawn import AnnotatedImage, Annotations, Drawn, Remark
from maskwright.classes import ClassMap
from maskwright.instances import Instances
from maskwright.ops.ring_checks import box_of
from maskwright.ops.rle import Rle

# A vertex this far away is a slip; COCO's rule walks along each edge and would need minutes and gigabytes for it.
FAR_PX = 1 << 20
MOST_ID = 2**62  # ids are int64; files have been seen to count in nanoseconds, none beyond this


def instances_of(annotations: Annotations, k: int, hw: tuple[int, int]) -> tuple[Instances, list[Remark]]:
    """The objects of image k as masks on an image of hw, with the remarks of the reader and of this step.

    Masks follow the rule of their file. Ids are the file's where every object has its own, else 1, 2, ... in the file's order.
    Boxes are those that the file states, and those of the masks where it states none or one without extent. Scores are kept where
    every object has one. Objects without a pixel, and masks that are not of the image's size, are left out with a remark.

    Args:
        hw: the size of the image on disk; annotations[k].hw only where no image is there

    Raises:
        InputError: the image's annotations cannot be read at all.
    """
    image = annotations.images[k]
    drawn, remarks = annotations.objects(k)
    kept, lost = rasterised(drawn, image, hw)
    return assembled(kept, annotations.classes, hw, image.name), [*remarks, *lost]


def rasterised(
    drawn: Sequence[Drawn], image: AnnotatedImage, hw: tuple[int, int]
) -> tuple[list[tuple[Drawn, Rle]], list[Remark]]:
    """Each usable object with its mask, in the file's order; a remark for every one that is left out, and for a wrong size."""
    remarks = []
    if image.hw is not None and image.hw != hw:
        stated, found = (f"{size[1]}x{size[0]}" for size in (image.hw, hw))
        text = f"{_file(image)}: says that {image.name} is {stated}, the image is {found}; were the images resized after drawing?"
        remarks.append(Remark("wrong-size", text, image.name, image.file))
    kept = []
    for one in drawn:
        if one.rle is not None and one.rle.hw != hw:
            what = f"is a mask of {one.rle.hw[1]}x{one.rle.hw[0]}, the image is {hw[1]}x{hw[0]}; it is left out."
            remarks.append(remark("wrong-size", image, one, what))
        elif max(map(abs, box_of(one.rings))) > FAR_PX:
            what = f"has a vertex more than {FAR_PX} px away from the image; it is left out."
            remarks.append(remark("out-of-image", image, one, what))
        elif not (mask := one.mask(hw)).area_px:
            remarks.append(remark("zero-area", image, one, "covers no pixel of the image; it is left out."))
        else:
            kept.append((one, mask))
    return kept, remarks


def assembled(kept: Sequence[tuple[Drawn, Rle]], classes: ClassMap, hw: tuple[int, int], name: str) -> Instances:
    """Usable objects as Instances; see instances_of for ids and boxes."""
    ids = [one.id for one, _ in kept if one.id is not None and 1 <= one.id <= MOST_ID]
    own = len(set(ids)) == len(kept)
    scores = [one.score for one, _ in kept if one.score is not None]
    boxes = [one.box_xyxy if _has_extent(one.box_xyxy) else mask.box_xyxy for one, mask in kept]
    return Instances(
        hw,
        classes,
        np.array([one.class_id for one, _ in kept], np.int64),
        tuple(mask for _, mask in kept),
        scores=np.array(scores, np.float32) if kept and len(scores) == len(kept) else None,
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        ids=np.array(ids if own else range(1, len(kept) + 1), np.int64),
        crowd=np.array([one.crowd for one, _ in kept], bool),
        rings=tuple(one.rings for one, _ in kept),
        name=name,
        stated_areas_px=_areas([one for one, _ in kept]),
    )


def _areas(kept: Sequence[Drawn]) -> NDArray[np.float64] | None:
    if all(one.area_px is None for one in kept):
        return None
    return np.array([np.nan if one.area_px is None else one.area_px for one in kept], np.float64)


def remark(code: str, image: AnnotatedImage, one: Drawn, what: str) -> Remark:
    """A remark about one object: `<file>: <place>, image <name>: it <what>`."""
    place = f"{one.where}, " if one.where else ""
    return Remark(code, f"{_file(image)}: {place}image {image.name}: the object {what}", image.name, image.file)


def _file(image: AnnotatedImage) -> Path | str:
    return image.file or image.name


def _has_extent(box: tuple[float, float, float, float] | None) -> bool:
    return box is not None and all(map(math.isfinite, box)) and box[2] > box[0] and box[3] > box[1]
