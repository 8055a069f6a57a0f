"""LabelMe json: one file an image, shapes with a label each.

Source: LabelMe's annotation file (Wada, github.com/wkentaro/labelme), versions 3 to 5, and what X-AnyLabeling adds to it.
Differs: every shape is an object by itself unless shapes of one label share a group_id; pictures inside the json (imageData) are
not read: the image file is needed. Lines and points cover no area and are left out with a remark.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.Image import DecompressionBombError, DecompressionBombWarning

from maskwright.annotations.class_names import by_name, unknown_class
from maskwright.annotations.drawn import UNREADABLE, AnnotatedImage, Annotations, Drawn, Remark
from maskwright.annotations.groups import Part, grouped
from maskwright.annotations.image_files import ImageFiles, files_below, split_of
from maskwright.annotations.imagesize import image_hw
from maskwright.annotations.listing import Listed, assemble, counted, image_files, json_evidence, json_files, left_out
from maskwright.annotations.records import Head, load_json, points, record, shown, size_hw, text
from maskwright.annotations.shapes import Ring, ellipse, in_reach, no_area, polygon, rectangle
from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError
from maskwright.ops.rle import Rle

_BESIDE_SHAPES = ("version", "flags", "imagePath", "imageData", "imageHeight", "imageWidth")
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, DecompressionBombError, DecompressionBombWarning)
NO_AREA = ("line", "linestrip", "point", "points")


def _is_labelme(head: Head) -> bool:
    return head.opens == "{" and head.has(0, "shapes") and any(head.has(0, name) for name in _BESIDE_SHAPES)


def looks_like(root: Path) -> str:
    """The place of the first LabelMe json below root, "" where there is none."""
    return json_evidence(root, _is_labelme)


def read(root: Path, *, images: Path | None = None, classes: ClassMap | None = None) -> Annotations:
    """Read one LabelMe json, or all of a folder; one of several that cannot be read is left out with a remark.

    Raises:
        FormatError: no file can be read; the sentence is about the first.
        InputError: there is no LabelMe json here, or there are too many labels.
    """
    paths = json_files(root, _is_labelme)
    files = image_files(root, images)
    remarks: list[Remark] = []
    listed: list[Listed] = []
    labels: set[str] = set()
    errors: list[InputError] = []
    for path in sorted([*paths, *_cut_short(root, paths, files)]):
        try:
            one, found = _listed(path, root, files)
        except InputError as error:
            errors.append(error)
            remarks.append(Remark(UNREADABLE, f"{str(error).rstrip('.')}; its image is left out.", "", path))
            continue
        listed.append(one)
        labels |= found
    if not listed:
        raise errors[0] if errors else FormatError(f"{root}: no LabelMe json here; expected files with a list `shapes`.")
    known, ids = by_name(labels, classes, source=str(root))
    line = f"LabelMe json: {counted(len(listed), 'file')}, classes from {counted(len(labels), 'label')}"
    parse = partial(_objects, classes=known, ids=ids)
    return assemble("labelme", root, line, known, listed, files, parse, remarks, others_count=False)


def _cut_short(root: Path, known: Sequence[Path], files: ImageFiles) -> Iterator[Path]:
    """JSON files named like an image that end before they show what they are: reading them says why they cannot be read."""
    others = set(files_below(root, (".json",))).difference(known) if root.is_dir() else ()
    for path in sorted(others):
        if not files.by_stem(path.stem, near=path):
            continue
        try:
            load_json(path)
        except InputError:
            yield path


def _listed(path: Path, root: Path, files: ImageFiles) -> tuple[Listed, set[str]]:
    """The image of one file, and the labels in it."""
    top = _top(path)
    where = str(path)
    labels = {row["label"].strip() for row in top["shapes"] if isinstance(row, Mapping) and isinstance(row.get("label"), str)}
    stated = top.get("imagePath")
    name = path.stem if stated in (None, "") else text(stated, where, "`imagePath`")
    split = split_of(path, root)
    one = Listed(name, path, size_hw(top.get("imageHeight"), top.get("imageWidth"), where), split, [str(path)])
    # Images that were renamed together with their files keep the old name inside.
    by_name_of_file = files.by_stem(path.stem, near=path, split=split)
    if not files.find(name, near=path, split=split) and len(by_name_of_file) == 1:
        one.path = by_name_of_file[0]
    return one, labels - {""}


def _top(path: Path) -> Mapping[str, Any]:
    top = load_json(path)
    if not isinstance(top, Mapping) or not isinstance(top.get("shapes"), list):
        raise FormatError(f"{path}: is {shown(top)} without a list `shapes`; expected a LabelMe json.")
    return top


def _objects(
    raw: list[Any], image: AnnotatedImage, *, classes: ClassMap, ids: Mapping[str, int]
) -> tuple[list[Drawn], list[Remark]]:
    parts: list[Part] = []
    remarks: list[Remark] = []
    hw = image.hw
    for path in map(Path, raw):
        try:
            shapes = _top(path)["shapes"]
            if hw is None and image.path is not None and _needs_size(shapes):
                hw = image_hw(image.path)
        except InputError as error:
            remarks.append(Remark(UNREADABLE, f"{str(error).rstrip('.')}; its objects are left out.", image.name, path))
            continue
        for k, row in enumerate(shapes, 1):
            try:
                parts.append(_shape(row, f"{path}: shape {k}", f"shape {k}", hw, classes, ids))
            except FormatError as error:
                remarks.append(left_out(error, image))
    objects, more = grouped(parts, hw, image)
    return objects, remarks + more


def _needs_size(shapes: list[Any]) -> bool:
    """Whether pixels have to be placed: masks, and groups, whose parts may overlap."""
    return any(
        isinstance(row, Mapping) and (row.get("group_id") is not None or row.get("shape_type") == "mask") for row in shapes
    )


def _shape(value: object, where: str, name: str, hw: tuple[int, int] | None, classes: ClassMap, ids: Mapping[str, int]) -> Part:
    row = record(value, where, "it")
    label = text(row.get("label"), where, "its label").strip()
    # Files of old versions know polygons only and state no type.
    kind = row.get("shape_type") or "polygon"
    corners = points(row.get("points"), where, "its points")
    rle = _mask(row.get("mask"), corners, where, hw) if kind == "mask" else None
    rings: tuple[Ring, ...] = () if rle is not None else (_ring(kind, corners, where),)
    if label not in ids:
        raise unknown_class(label, classes, where)
    group = row.get("group_id")
    number = group if isinstance(group, int) and not isinstance(group, bool) and abs(group) < 1 << 62 else None
    joined = None if group is None or group == "" else str(group)
    return joined, Drawn(ids[label], rings, rle, id=number, where=name)


def _ring(kind: object, corners: Ring, where: str) -> Ring:
    if kind in NO_AREA:
        raise no_area(where, f"a {kind}")
    if kind == "rectangle" and len(corners) == 2:
        (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
        return polygon(rectangle(x0, y0, x1 - x0, y1 - y0), where, "the rectangle")
    if kind == "circle":
        if len(corners) != 2:
            raise FormatError(f"{where}: its circle has {counted(len(corners), 'point')}; expected its centre and a point on it.")
        radius = float(np.hypot(*(corners[1] - corners[0])))
        return polygon(ellipse(corners[0, 0], corners[0, 1], radius, radius), where, "the circle")
    if kind in ("polygon", "rectangle", "rotation"):
        return polygon(corners, where, f"the {kind}")
    raise FormatError(f"{where}: the shape {shown(kind)} is not known (known: polygon, rectangle, rotation, circle, mask).")


def _mask(value: object, corners: Ring, where: str, hw: tuple[int, int] | None) -> Rle:
    """A PNG in base64 that fills the box between two pixels, both included."""
    crop = _png(text(value, where, "its mask"), where)
    if hw is None:
        raise FormatError(f"{where}: the size of its image is not known, neither from imageHeight nor from the image file.")
    if len(corners) != 2:
        raise FormatError(
            f"{where}: its mask has {counted(len(corners), 'point')}; expected the first and the last pixel of its box."
        )
    # Cut like LabelMe itself does, so that 3.9 is pixel 3.
    in_reach(corners, where, "the box of its mask")
    (x0, y0), (x1, y1) = corners.astype(int)
    stated = (int(y1 - y0) + 1, int(x1 - x0) + 1)
    if crop.shape != stated:
        found = f"{crop.shape[1]}x{crop.shape[0]}"
        raise FormatError(f"{where}: its mask is {found} pixels, but its box is {stated[1]}x{stated[0]}; they must be alike.")
    return Rle.from_crop(crop, (int(x0), int(y0)), hw)


def _png(coded: str, where: str) -> NDArray[Any]:
    try:
        data = base64.b64decode(coded, validate=True)
        with PIL.Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            return np.asarray(picture.convert("L"))
    except binascii.Error as error:
        raise FormatError(f"{where}: its mask is no base64 text ({error}).") from error
    except _BROKEN as error:
        raise FormatError(f"{where}: its mask is no whole PNG ({error}).") from error
