"""CVAT for images 1.1: one XML file with an <image> for each image.

Source: CVAT's XML annotation format 1.1 (docs.cvat.ai, "XML annotation format", annotation mode).
Differs: shapes of one label and one group_id are one object; points, lines, skeletons and cuboids cover no stated area and are
left out with a remark. Tracks (CVAT for video) are refused. Declarations of document types and entities are refused as well:
CVAT writes none, and they are how XML files do harm.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.annotations.class_names import BACKGROUND_NAMES, by_name, unknown_class
from maskwright.annotations.drawn import AnnotatedImage, Annotations, Drawn, Remark
from maskwright.annotations.groups import Part, grouped
from maskwright.annotations.image_files import ALL, files_below, split_of, split_word
from maskwright.annotations.listing import Listed, assemble, counted, image_files, left_out, relative
from maskwright.annotations.records import (
    LARGEST_MASK_PX,
    LARGEST_SIDE_PX,
    head_text,
    number,
    points,
    read_text,
    size_hw,
    text,
    whole,
)
from maskwright.annotations.shapes import Ring, ellipse, no_area, polygon, rectangle
from maskwright.classes import ClassMap, Colour
from maskwright.errors import FormatError
from maskwright.ops.rle import Rle

_HEAD = 4096
_MOST_LOOKED_AT = 40
_MOST_NAMED = 8
_COLOUR = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")
SHAPES = ("polygon", "box", "ellipse", "mask")
NO_AREA = {"polyline": "a line", "points": "points", "skeleton": "a skeleton", "cuboid": "a cuboid"}


def _is_cvat(path: Path) -> bool:
    head = head_text(path, _HEAD)
    return "<annotations>" in head and ("<meta>" in head or "<image " in head or "<version>" in head)


def looks_like(root: Path) -> str:
    """The place of the first CVAT file below root, "" where there is none."""
    if not root.exists():
        return ""
    files = sorted(files_below(root, (".xml",)), key=lambda path: (len(path.parts), path))[:_MOST_LOOKED_AT]
    return next((relative(path, root) for path in files if _is_cvat(path)), "")


def read(root: Path, *, images: Path | None = None, classes: ClassMap | None = None) -> Annotations:
    """Read one CVAT file, or all of a folder.

    Raises:
        FormatError: a file is cut short, no CVAT file, made for video, or declares entities.
        InputError: there is none here, or there are too many labels.
    """
    paths = [root] if root.is_file() else [path for path in files_below(root, (".xml",)) if _is_cvat(path)]
    if not paths:
        raise FormatError(f"{root}: no CVAT XML here; expected an export as 'CVAT for images 1.1'.")
    remarks: list[Remark] = []
    listed: list[Listed] = []
    labels: dict[str, Colour | None] = {}
    for path in paths:
        top = _top(path)
        labels |= _labels(top)
        listed += _listed(path, top, root, remarks)
    seen = {row["label"].strip(): one for one in reversed(listed) for row in one.rows if row.get("label", "").strip()}
    if classes is None and labels:
        remarks += [_undeclared(name, labels, seen[name]) for name in sorted(seen.keys() - {*labels, *BACKGROUND_NAMES})]
    colours = {name: colour for name, colour in labels.items() if colour is not None}
    known, ids = by_name({*seen, *labels}, classes, colours=colours, source=str(root))
    line = f"CVAT for images: {', '.join(relative(path, root) for path in paths[:5])}; {counted(len(labels), 'label')}"
    parse = partial(_objects, classes=known, ids=ids)
    return assemble("cvat", root, line, known, listed, image_files(root, images), parse, remarks)


def _top(path: Path) -> ET.Element:
    content = read_text(path)
    if "<!DOCTYPE" in content or "<!ENTITY" in content:
        raise FormatError(f"{path}: declares a document type or entities, which no CVAT export does; such a file is not read.")
    try:
        top = ET.fromstring(content)
    except (ET.ParseError, ValueError, RecursionError) as error:
        raise FormatError(f"{path}: is not whole XML ({error}). Copy or export it again.") from error
    if top.tag != "annotations":
        raise FormatError(f"{path}: its outermost element is <{top.tag[:40]}>; expected CVAT's <annotations>.")
    if top.find("track") is not None:
        raise FormatError(f"{path}: holds tracks (CVAT for video); export it as 'CVAT for images 1.1'.")
    return top


def _labels(top: ET.Element) -> dict[str, Colour | None]:
    """The labels that the file declares, with their colours."""
    found: dict[str, Colour | None] = {}
    meta = top.find("meta")
    for label in [] if meta is None else list(meta.iter("label")):
        name = (label.findtext("name") or "").strip()
        said = _COLOUR.fullmatch((label.findtext("color") or "").strip())
        if name:
            found[name] = (int(said[1], 16), int(said[2], 16), int(said[3], 16)) if said else None
    return found


def _undeclared(name: str, labels: Iterable[str], first: Listed) -> Remark:
    """A label that no <labels> declares: often a slip of the pen, and a class of its own all the same."""
    near = get_close_matches(name, list(labels), n=3) or sorted(labels)[:_MOST_NAMED]
    text = f"{first.file}: {first.listed}: the label {name!r} is not declared in <labels> (near ones: {', '.join(near)})"
    return Remark("undeclared-class", f"{text}; it is a class of its own. Declare it, or mend it.", "", first.file)


def _listed(path: Path, top: ET.Element, root: Path, remarks: list[Remark]) -> list[Listed]:
    found = []
    for k, element in enumerate(top.findall("image")):
        where = f"{path}: image {k}"
        try:
            name = text(element.get("name"), where, "its name")
            hw = size_hw(_number(element.get("height")), _number(element.get("width")), where)
        except FormatError as error:
            remarks.append(Remark("bad-object", f"{str(error).rstrip('.')}; the image is left out.", "", path))
            continue
        split = split_word(element.get("subset", "")) or split_of(path, root)
        shapes = [{**child.attrib, "shape": child.tag} for child in element if child.tag != "tag"]
        found.append(Listed(name, path, hw, split or ALL, shapes))
    return found


def _number(value: str | None) -> float | str | None:
    """A number of an attribute; other text stays as it is, so that the check of it can show it."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return value


def _objects(
    raw: list[Any], image: AnnotatedImage, *, classes: ClassMap, ids: Mapping[str, int]
) -> tuple[list[Drawn], list[Remark]]:
    parts: list[Part] = []
    remarks: list[Remark] = []
    for k, row in enumerate(raw, 1):
        name = f"{row['shape']} {k}"
        try:
            parts.append(_shape(row, f"{image.file}: {image.listed}, {name}", name, image.hw, classes, ids))
        except FormatError as error:
            remarks.append(left_out(error, image))
    objects, more = grouped(parts, image.hw, image)
    return objects, remarks + more


def _shape(
    row: Mapping[str, str], where: str, name: str, hw: tuple[int, int] | None, classes: ClassMap, ids: Mapping[str, int]
) -> Part:
    label = text(row.get("label"), where, "its label").strip()
    kind = row["shape"]
    if kind in NO_AREA:
        raise no_area(where, NO_AREA[kind])
    if kind not in SHAPES:
        raise FormatError(f"{where}: the shape <{kind}> is not known (known: {', '.join(SHAPES)}).")
    rle = _mask(row, where, hw) if kind == "mask" else None
    rings: tuple[Ring, ...] = () if rle is not None else (_ring(kind, row, where),)
    if label not in ids:
        raise unknown_class(label, classes, where)
    group = row.get("group_id", "").strip()
    return (None if group in ("", "0") else group), Drawn(ids[label], rings, rle, where=name)


def _ring(kind: str, row: Mapping[str, str], where: str) -> Ring:
    if kind == "polygon":
        pairs = [[_number(v) for v in pair.split(",")] for pair in text(row.get("points"), where, "its points").split(";")]
        return polygon(points(pairs, where, "its points"), where)
    radians = math.radians(_value(row, "rotation", where, 0.0))
    if kind == "box":
        x0, y0, x1, y1 = (_value(row, key, where) for key in ("xtl", "ytl", "xbr", "ybr"))
        return polygon(rectangle(x0, y0, x1 - x0, y1 - y0, radians=radians), where, "the box")
    x, y, rx, ry = (_value(row, key, where) for key in ("cx", "cy", "rx", "ry"))
    return polygon(ellipse(x, y, rx, ry, radians=radians), where, "the ellipse")


def _value(row: Mapping[str, str], key: str, where: str, default: float | None = None) -> float:
    stated = _number(row.get(key))
    return number(default if stated is None else stated, where, f"its {key}")


def _mask(row: Mapping[str, str], where: str, hw: tuple[int, int] | None) -> Rle:
    """Run lengths row by row within a box, background first."""
    left, top, w, h = (whole(_value(row, key, where), where, f"its {key}") for key in ("left", "top", "width", "height"))
    if min(w, h) < 1 or w * h > LARGEST_MASK_PX or max(w, h, abs(left), abs(top)) > LARGEST_SIDE_PX:
        raise FormatError(f"{where}: the box of its mask is {w}x{h} at {left}, {top}; expected pixels of the image.")
    if hw is None:
        raise FormatError(f"{where}: the file does not state the size of its image, which a mask needs.")
    runs = [whole(_number(v), where, "a run of its rle") for v in text(row.get("rle"), where, "its rle").split(",")]
    if min(runs) < 0 or sum(runs) != w * h:
        raise FormatError(f"{where}: the runs of its mask cover {sum(runs)} pixels, but its box is {w}x{h}.")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return Rle.from_crop(inside.reshape(h, w), (left, top), hw)
