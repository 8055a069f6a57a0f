"""One image's annotations of a COCO json as drawn objects: polygons of several parts, both forms of run lengths, boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from maskwright.annotations.class_names import unknown_class
from maskwright.annotations.drawn import COCO, AnnotatedImage, Drawn, Remark
from maskwright.annotations.listing import parse_each
from maskwright.annotations.records import Refused, number, numbers, pairs, rows, shown, size_hw, whole
from maskwright.annotations.shapes import Ring, polygon
from maskwright.classes import ClassMap
from maskwright.errors import FormatError
from maskwright.ops.rle import Rle

Stated = TypeVar("Stated")


@dataclass(frozen=True)
class Table:
    """What the categories of a set mean.

    Attributes:
        classes: the class map
        ids: category number -> class id, of the categories that the class map knows
        names: category number -> name, of all categories that the files list
    """

    classes: ClassMap
    ids: Mapping[int, int]
    names: Mapping[int, str]


def objects_of(
    raw: list[Any], image: AnnotatedImage, *, files: tuple[Path, ...], table: Table
) -> tuple[list[Drawn], list[Remark]]:
    """The objects of one image; raw holds its annotations with their place ("k") and file ("file", a position in files)."""
    return parse_each(raw, image, partial(_object, image=image, files=files, table=table))


def _object(
    row: Mapping[str, Any],
    _position: int,
    remarks: list[Remark],
    *,
    image: AnnotatedImage,
    files: tuple[Path, ...],
    table: Table,
) -> Drawn:
    stated = row.get("id")
    i = stated if isinstance(stated, int) and not isinstance(stated, bool) and abs(stated) < 1 << 63 else None
    name = f"annotation {row['k'] if i is None else i}"
    where = f"{files[row['file']]}: {name}"
    class_id = _class_id(row, where, table)
    flag = row.get("iscrowd")
    crowd = flag is True or bool(number(flag or 0, where, "its iscrowd"))
    rings, rle = _segmentation(row.get("segmentation"), where, image, remarks)

    def parsed(parse: Callable[[object, str], Stated | None], field: str, instead: str) -> Stated | None:
        try:
            return parse(row.get(field), where)
        except FormatError as error:
            remarks.append(Remark("bad-object", f"{str(error).rstrip('.')}; {instead}.", image.name, image.file))
            return None

    box = parsed(_box, "bbox", "the box of its mask is taken")
    score = parsed(_score, "score", "it is passed over")
    area_px = parsed(_area, "area", "the pixels of its mask are counted")
    return Drawn(class_id, rings, rle, COCO, box, crowd, i, name, score, area_px)


def _class_id(row: Mapping[str, Any], where: str, table: Table) -> int:
    category = whole(row.get("category_id"), where, "its category_id")
    if category in table.ids:
        return table.ids[category]
    if category in table.names:
        raise unknown_class(table.names[category], table.classes, where)
    known = ", ".join(map(str, list(table.names)[:8])) or "none"
    raise Refused("unknown-class", f"{where}: category {category} is not among the file's categories (known ids: {known}).")


def _segmentation(value: object, where: str, image: AnnotatedImage, remarks: list[Remark]) -> tuple[tuple[Ring, ...], Rle | None]:
    """Polygons or run lengths; a part that is no polygon is left out with a remark where others are left."""
    if isinstance(value, Mapping):
        return (), _rle(value, where)
    if value is None or value == []:
        raise FormatError(f"{where}: holds no segmentation, only a box; expected polygons or run lengths.")
    parts = rows(value, where, "its segmentation")
    # One flat list of numbers stands for one polygon in files that were made by hand.
    parts = [parts] if not isinstance(parts[0], list) else parts
    rings: list[Ring] = []
    refused: list[FormatError] = []
    for k, part in enumerate(parts):
        what = "its polygon" if len(parts) == 1 else f"its polygon {k + 1} of {len(parts)}"
        try:
            rings.append(polygon(pairs(part, where, what), where, what))
        except FormatError as error:
            refused.append(error)
    if not rings:
        raise refused[0]
    for why in refused:
        code = why.code if isinstance(why, Refused) else "bad-object"
        remarks.append(Remark(code, f"{str(why).rstrip('.')}; this part is left out.", image.name, image.file))
    return tuple(rings), None


def _rle(value: Mapping[str, Any], where: str) -> Rle:
    """Run lengths, as a list or as COCO's text."""
    size = rows(value.get("size"), where, "the size of its run lengths")
    if len(size) != 2:
        raise FormatError(f"{where}: the size of its run lengths is {shown(size)}; expected [height, width].")
    hw = size_hw(size[0], size[1], where)
    counts = value.get("counts")
    if hw is None:
        raise FormatError(f"{where}: the size of its run lengths is [null, null]; expected [height, width].")
    try:
        if isinstance(counts, str):
            return Rle.from_text(counts, hw)
        lengths = numbers(counts, where, "its run lengths")
        if np.any(lengths % 1) or np.any(lengths > hw[0] * hw[1]):
            raise FormatError("run lengths are whole numbers from 0 to the size of the image.")
        return Rle(hw, lengths.astype(np.int64))
    except FormatError as error:
        said = str(error)
        raise FormatError(said if said.startswith(where) else f"{where}: {said}") from error


def _box(value: object, where: str) -> tuple[float, float, float, float] | None:
    """x, y, width, height to xyxy; None where the file states no box."""
    if value is None or value == []:
        return None
    given = numbers(value, where, "its bbox")
    if given.size != 4:
        raise FormatError(f"{where}: its bbox holds {given.size} numbers; expected x, y, width, height.")
    x, y, w, h = (float(v) for v in given)
    return x, y, x + w, y + h


def _score(value: object, where: str) -> float | None:
    """Of an answer, as this project writes them; None where the file states none."""
    if value is None:
        return None
    score = number(value, where, "its score")
    if not 0 <= score <= 1:
        raise FormatError(f"{where}: its score is {score:g}; expected a number from 0 to 1.")
    return score


def _area(value: object, where: str) -> float | None:
    """In pixels; None where the file states none."""
    if value is None:
        return None
    area = number(value, where, "its area")
    if area < 0:
        raise FormatError(f"{where}: its area is {area:g}; expected a number of pixels.")
    return area


def mask_of_row(row: Mapping[str, Any], where: str, hw: tuple[int, int]) -> Rle:
    """The pixels of one row of results on an image of this size.

    Raises:
        FormatError: it holds no mask, a damaged one, or one of another size.
    """
    image = AnnotatedImage(where, None, hw)
    rings, rle = _segmentation(row.get("segmentation"), where, image, [])
    return Drawn(0, rings, rle, COCO, where=where).mask(hw)
