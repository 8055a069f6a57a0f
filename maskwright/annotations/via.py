"""VIA (VGG Image Annotator) json of versions 1 to 3: projects and bare exports of regions.

Source: the VIA 2 project and annotation formats, and the VIA 3 project format (robots.ox.ac.uk/~vgg/software/via, Dutta and
Zisserman 2019, arXiv:1904.10699).
Differs: VIA knows attributes, not classes. The class is the value of the one attribute that looks like a class (its name says so,
or its few values come again and again); where there is none all regions are of one class "object". The line says which.
Open lines and points cover no area and are left out with a remark; a line whose ends meet is an area.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.annotations.class_names import by_name, unknown_class
from maskwright.annotations.drawn import AnnotatedImage, Annotations, Drawn, Remark
from maskwright.annotations.listing import assemble, counted, image_files, json_evidence, json_files, parse_each, relative
from maskwright.annotations.records import Head, Refused, load_json, number, numbers, record, shown, text
from maskwright.annotations.shapes import Ring, circle_through, closed_line, ellipse, no_area, polygon, rectangle
from maskwright.annotations.via_files import Region, images_of
from maskwright.classes import ClassMap
from maskwright.errors import FormatError

ONE_CLASS = "object"
CLASS_WORDS = ("class", "label", "category", "object", "name", "type", "species", "kind")
# An attribute called by one of the first words holds the class even where every region has another one.
_SURE_WORDS = 3
_FEW_VALUES = 254


def _is_via(head: Head) -> bool:
    project = head.has(0, "_via_img_metadata") or head.has(0, "_via_settings")
    bare = head.has(1, "filename", "regions") or (head.has(1, "filename") and head.has(3, "shape_attributes"))
    return head.opens == "{" and (project or bare or _is_via_3(head))


def _is_via_3(head: Head) -> bool:
    return head.has(0, "project", "config") or head.has(0, "project", "file", "view") or head.has(0, "metadata", "file", "view")


def looks_like(root: Path) -> str:
    """The place of the first VIA json below root, "" where there is none."""
    return json_evidence(root, _is_via)


def read(root: Path, *, images: Path | None = None, classes: ClassMap | None = None) -> Annotations:
    """Read one VIA json, or all of a folder.

    Raises:
        FormatError: a file is cut short or no VIA json.
        InputError: there is none here, or there are too many classes.
    """
    files = json_files(root, _is_via)
    if not files:
        raise FormatError(f"{root}: no VIA json here; expected a project or an export of regions as json.")
    remarks: list[Remark] = []
    listed = [one for path in files for one in images_of(path, load_json(path), remarks)]
    attribute, why = class_attribute([row for one in listed for row in one.rows])
    names = (
        {ONE_CLASS}
        if not attribute
        else {str(row["av"][attribute]) for one in listed for row in one.rows if attribute in row["av"]}
    )
    known, ids = by_name(names, classes, source=str(root))
    line = f"VIA json: {', '.join(relative(path, root) for path in files[:5])}; {why}"
    parse = partial(_objects, attribute=attribute, classes=known, ids=ids)
    return assemble("via", root, line, known, listed, image_files(root, images), parse, remarks)


def class_attribute(regions: Sequence[Region]) -> tuple[str, str]:
    """The attribute that holds the class, "" where none does, and why, in words for the line."""
    values: dict[str, list[str]] = {}
    for region in regions:
        for name, value in region["av"].items():
            values.setdefault(name, []).append(value)
    fit = [name for name, found in values.items() if _says_class(name, found)]
    if not fit:
        other = f" (attributes {', '.join(values)} name each region by itself)" if values else ""
        return "", f"no region attribute holds a class{other}: all regions are {ONE_CLASS!r}"
    # Of several the one that is called a class, then the one that most regions have, then the one of fewest values.
    best = min(fit, key=lambda name: (_word(name), -len(values[name]), len(set(values[name])), name))
    others = [name for name in values if name != best]
    aside = f" (not {', '.join(others)})" if others else ""
    return best, f"classes from the region attribute {best!r}{aside}: {counted(len(set(values[best])), 'value')}"


def _word(name: str) -> int:
    """How much a name sounds like a class: its place among the words, or behind them all."""
    low = name.lower()
    return next((k for k, word in enumerate(CLASS_WORDS) if word in low), len(CLASS_WORDS))


def _says_class(name: str, values: Sequence[str]) -> bool:
    few = len(set(values))
    return few <= _FEW_VALUES and (_word(name) < _SURE_WORDS or few < 3 or few <= len(values) // 2)


def _objects(
    raw: list[Any], image: AnnotatedImage, *, attribute: str, classes: ClassMap, ids: Mapping[str, int]
) -> tuple[list[Drawn], list[Remark]]:
    return parse_each(raw, image, partial(_object, image=image, attribute=attribute, classes=classes, ids=ids))


def _object(
    row: Region,
    _position: int,
    _remarks: list[Remark],
    *,
    image: AnnotatedImage,
    attribute: str,
    classes: ClassMap,
    ids: Mapping[str, int],
) -> Drawn:
    name = f"region {row['key']}"
    where = f"{image.file}: {image.listed}, {name}"
    if attribute and attribute not in row["av"]:
        raise Refused("unknown-class", f"{where}: has no value of the attribute {attribute!r}, so that its class is not known.")
    word = row["av"][attribute] if attribute else ONE_CLASS
    ring = ring_of(row["shape"], where)
    if word not in ids:
        raise unknown_class(word, classes, where)
    return Drawn(ids[word], (ring,), where=name)


def ring_of(shape: object, where: str) -> Ring:
    """The polygon of one VIA shape: a record of VIA 2, or a flat list of VIA 3.

    Raises:
        FormatError: it covers no area, or is damaged.
    """
    if isinstance(shape, list):
        return _flat(shape, where)
    given = record(shape, where, "its shape_attributes")
    kind = text(given.get("name"), where, "the name of its shape")
    if kind not in SHAPES:
        raise FormatError(f"{where}: the shape {kind!r} is not known (known: {', '.join(SHAPES)}).")
    return SHAPES[kind](given, where)


def _xy(given: Mapping[str, Any], where: str) -> Ring:
    x = numbers(given.get("all_points_x"), where, "its all_points_x")
    y = numbers(given.get("all_points_y"), where, "its all_points_y")
    if x.size != y.size:
        raise FormatError(f"{where}: has {x.size} values of x but {y.size} of y.")
    return np.stack([x, y], axis=1)


def _values(given: Mapping[str, Any], where: str, *names: str) -> list[float]:
    return [number(given.get(name), where, f"its {name}") for name in names]


def _rect(given: Mapping[str, Any], where: str) -> Ring:
    return checked(rectangle(*_values(given, where, "x", "y", "width", "height")), where)


def _circle(given: Mapping[str, Any], where: str) -> Ring:
    x, y, r = _values(given, where, "cx", "cy", "r")
    return checked(ellipse(x, y, r, r), where)


def _ellipse(given: Mapping[str, Any], where: str) -> Ring:
    # Old exports have no angle.
    theta = number(given.get("theta", 0), where, "its theta")
    return checked(ellipse(*_values(given, where, "cx", "cy", "rx", "ry"), radians=theta), where)


def _point(_: Mapping[str, Any], where: str) -> Ring:
    raise no_area(where, "a point")


def checked(ring: Ring, where: str) -> Ring:
    """A computed ring, refused where it reaches beyond any image."""
    return polygon(ring, where, "the shape")


SHAPES: dict[str, Callable[[Mapping[str, Any], str], Ring]] = {
    "polygon": lambda given, where: polygon(_xy(given, where), where),
    "polyline": lambda given, where: closed_line(_xy(given, where), where),
    "rect": _rect,
    "circle": _circle,
    "ellipse": _ellipse,
    "point": _point,
}

# VIA 3 writes a shape as [its number, values ...]; these are the numbers, and how many values each has (0: pairs).
POINT, RECTANGLE, CIRCLE, ELLIPSE, LINE, POLYLINE, POLYGON, EXTREME_RECTANGLE, EXTREME_CIRCLE = range(1, 10)
_COUNTS = {
    POINT: (2,), RECTANGLE: (4,), CIRCLE: (3,), ELLIPSE: (4, 5), LINE: (4,), POLYLINE: (0,), POLYGON: (0,),
    EXTREME_RECTANGLE: (8,), EXTREME_CIRCLE: (6,),
}  # fmt: skip


def _flat(shape: list[Any], where: str) -> Ring:
    values = numbers(shape, where, "its xy")
    kind = int(values[0]) if values.size and values[0] % 1 == 0 else 0
    values = values[1:]
    if kind not in _COUNTS:
        raise FormatError(
            f"{where}: its xy begins with {shown(shape[0]) if shape else 'nothing'}; expected a shape's number, 1 to 9."
        )
    if values.size not in _COUNTS[kind] and (_COUNTS[kind] != (0,) or values.size % 2):
        raise FormatError(f"{where}: its xy holds {values.size} numbers behind the shape {kind}; the list is damaged.")
    v = [float(value) for value in values]
    if kind in (POINT, LINE):
        raise no_area(where, "a point" if kind == POINT else "a line")
    pairs = values[: values.size // 2 * 2].reshape(-1, 2)
    if kind == POLYLINE:
        return closed_line(pairs, where)
    if kind == POLYGON:
        return polygon(pairs, where)
    if kind == EXTREME_RECTANGLE:
        (x0, y0), (x1, y1) = pairs.min(axis=0), pairs.max(axis=0)
        return checked(rectangle(x0, y0, x1 - x0, y1 - y0), where)
    if kind == EXTREME_CIRCLE:
        return checked(circle_through(pairs, where), where)
    if kind == RECTANGLE:
        return checked(rectangle(v[0], v[1], v[2], v[3]), where)
    r = v[2:4] if kind == ELLIPSE else [v[2], v[2]]
    return checked(ellipse(v[0], v[1], r[0], r[1], radians=v[4] if len(v) == 5 else 0.0), where)
