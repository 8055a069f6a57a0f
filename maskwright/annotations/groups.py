"""Parts that belong to one object, put together: shapes of one group in LabelMe, CVAT and Label Studio."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from maskwright.annotations.drawn import AnnotatedImage, Drawn, Remark
from maskwright.annotations.listing import left_out
from maskwright.annotations.shapes import Ring
from maskwright.errors import FormatError
from maskwright.ops.rle import Rle

Part = tuple[Hashable, Drawn]  # the group, None for an object by itself


def grouped(parts: Sequence[Part], hw: tuple[int, int] | None, image: AnnotatedImage) -> tuple[list[Drawn], list[Remark]]:
    """One object a group and class, at the place of its first part; parts of no group stay as they are."""
    groups: dict[Hashable, list[Drawn]] = {}
    for k, (group, part) in enumerate(parts):
        key = ("alone", k) if group is None else ("group", group, part.class_id)
        groups.setdefault(key, []).append(part)
    objects: list[Drawn] = []
    remarks: list[Remark] = []
    for group_parts in groups.values():
        try:
            objects.append(join(group_parts, hw))
        except FormatError as error:
            remarks.append(left_out(error, image))
    return objects, remarks


def join(parts: Sequence[Drawn], hw: tuple[int, int] | None) -> Drawn:
    """Several drawn parts of one object as one: what any of them covers.

    Rings stay rings where their boxes lie apart. Where they may overlap, the even-odd rule would make a hole of what both cover,
    so that the parts are filled one by one and the object becomes pixels.

    Raises:
        FormatError: parts overlap and the size of the image is not known.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    where = f"{first.where} and {len(parts) - 1} more"
    if all(part.rle is None for part in parts) and _apart([part.rings for part in parts]):
        rings = tuple(ring for part in parts for ring in part.rings)
        return Drawn(first.class_id, rings, rule=first.rule, crowd=first.crowd, id=first.id, where=where)
    if hw is None:
        raise FormatError(f"{where}: parts of one object overlap, and the size of their image is not known.")
    return Drawn(first.class_id, rle=union([part.mask(hw) for part in parts]), crowd=first.crowd, id=first.id, where=where)


def _apart(parts: Sequence[Sequence[Ring]]) -> bool:
    """Whether the boxes of all parts are disjoint; touching borders share no pixel."""
    boxes = [(np.concatenate(rings).min(axis=0), np.concatenate(rings).max(axis=0)) for rings in parts]
    pairs = ((a, b) for k, a in enumerate(boxes) for b in boxes[:k])
    return not any(np.all(low < other_high) and np.all(other_low < high) for (low, high), (other_low, other_high) in pairs)


def union(masks: Sequence[Rle]) -> Rle:
    """What any of the masks covers; all of one size. Costs the box around them."""
    boxes = [mask.box_xyxy for mask in masks if mask.area_px]
    if not boxes:
        return masks[0]
    x0, y0 = (min(box[k] for box in boxes) for k in (0, 1))
    x1, y1 = (max(box[k] for box in boxes) for k in (2, 3))
    covered = np.zeros((y1 - y0, x1 - x0), bool)
    for mask in masks:
        covered |= mask.crop((x0, y0, x1, y1))
    return Rle.from_crop(covered, (x0, y0), masks[0].hw)
