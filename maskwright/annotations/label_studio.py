"""Label Studio: the JSON export, one task an image, shapes in percent of its size.

Source: Label Studio's documentation, "Export annotations" and "Units of image annotations".
Differs: of several annotations of one task the last that was not cancelled is taken, and the line says how many tasks that
concerns. Tasks that nobody annotated are left out: they are no images without objects. Predictions are never read.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import numpy as np

from maskwright.annotations.brush import decode_brush
from maskwright.annotations.class_names import by_name, unknown_class
from maskwright.annotations.drawn import AnnotatedImage, Annotations, Drawn, Remark
from maskwright.annotations.image_files import ImageFiles, split_of, tidy
from maskwright.annotations.listing import (
    Listed,
    assemble,
    counted,
    image_files,
    json_evidence,
    json_files,
    parse_each,
    relative,
)  # fmt: skip
from maskwright.annotations.records import Head, Refused, load_json, number, numbers, points, record, rows, shown, size_hw, text
from maskwright.annotations.shapes import Ring, ellipse, no_area, polygon, rectangle
from maskwright.classes import ClassMap
from maskwright.errors import FormatError
from maskwright.io.read import IMAGE_SUFFIXES
from maskwright.ops.rle import Rle

EXPECTED = "expected Label Studio's export as JSON (not JSON-MIN or CSV)"
_IMAGE_KEYS = ("image", "img", "picture", "photo", "url")
# Uploads get the first part of a random name and a dash before their own.
_PREFIX = re.compile(r"[0-9a-f]{1,8}-(?=.)")
_SHAPE_KEYS = ("points", "rle", "radiusX", "x")


def _is_label_studio(head: Head) -> bool:
    made = head.has(1, "annotations") or head.has(1, "completions")
    return head.opens == "[" and made and (head.has(1, "data") or head.has(3, "result") or head.has(3, "completed_by"))


def looks_like(root: Path) -> str:
    """The place of the first Label Studio export below root, "" where there is none."""
    return json_evidence(root, _is_label_studio)


def read(root: Path, *, images: Path | None = None, classes: ClassMap | None = None) -> Annotations:
    """Read one export, or all of a folder.

    Raises:
        FormatError: a file is cut short or no JSON export.
        InputError: there is none here, or there are too many labels.
    """
    paths = json_files(root, _is_label_studio)
    if not paths:
        raise FormatError(f"{root}: no Label Studio export here; {EXPECTED}.")
    files = image_files(root, images)
    short = _without_prefix(files)
    remarks: list[Remark] = []
    listed: list[Listed] = []
    several = 0
    for path in paths:
        for k, task in enumerate(_tasks(path)):
            one, more = _listed(path, k, task, split_of(path, root), remarks)
            several += more
            if one is not None:
                one.path = _file_of(one, files, short)
                listed.append(one)
    labels = {name for one in listed for row in one.rows for name in _labels(row["value"])}
    known, ids = by_name(labels, classes, source=str(root))
    last = f"; of {counted(several, 'task')} with several annotations the last is taken" if several else ""
    line = f"Label Studio: {', '.join(relative(path, root) for path in paths[:5])}; {counted(len(labels), 'label')}{last}"
    parse = partial(_objects, classes=known, ids=ids)
    return assemble("label_studio", root, line, known, listed, files, parse, remarks)


def _tasks(path: Path) -> list[Any]:
    top = load_json(path)
    if not isinstance(top, list) or (
        top and not any(isinstance(t, Mapping) and {"annotations", "completions"} & set(t) for t in top)
    ):
        raise FormatError(f"{path}: is {shown(top)} without tasks and their annotations; {EXPECTED}.")
    return top


def _listed(path: Path, k: int, task: object, split: str, remarks: list[Remark]) -> tuple[Listed | None, bool]:
    """The image of one task, None where there is nothing to read; and whether other annotations of it were passed over."""
    where = f"{path}: task {k}"
    try:
        given = record(task, where, "it")
        name = _image_name(given.get("data"), where)
        made = rows(given.get("annotations", given.get("completions")), where, "its annotations")
        counts = [one for one in made if isinstance(one, Mapping) and not (one.get("was_cancelled") or one.get("skipped"))]
        if not counts:
            said = f"{where}: nobody annotated {name!r}; the image is left out. Submit its task, even where it holds no objects."
            remarks.append(Remark("image-not-annotated", said, "", path))
            return None, False
        result = rows(counts[-1].get("result"), where, "the result of its annotation")
    except FormatError as error:
        remarks.append(Remark("bad-object", f"{str(error).rstrip('.')}; the image is left out.", "", path))
        return None, False
    regions = _regions(result, where, path, remarks)
    size = next((row["size"] for row in regions if None not in row["size"]), (None, None))
    try:
        hw = size_hw(size[0], size[1], where)
    except FormatError as error:
        remarks.append(Remark("bad-object", f"{str(error).rstrip('.')}; its file says how large it is.", "", path))
        hw = None
    return Listed(name, path, hw, split, regions), len(counts) > 1


def _image_name(data: object, where: str) -> str:
    """The image of a task: the value of its data that is called so, or that ends like one."""
    given = record(data, where, "its data")
    texts = {str(key): value for key, value in given.items() if isinstance(value, str) and value.strip()}
    pictures = [
        value for value in texts.values() if PurePosixPath(value.split("?d=")[-1].split("?")[0]).suffix.lower() in IMAGE_SUFFIXES
    ]
    named = [texts[key] for key in _IMAGE_KEYS if key in texts]
    found = text(next(iter(named or pictures), None), where, "the image of its data")
    # Files served from a folder are written as /data/local-files/?d=folder/name.jpg.
    return unquote(found.split("?d=")[-1])


def _regions(result: Sequence[Any], where: str, path: Path, remarks: list[Remark]) -> list[dict[str, Any]]:
    """One record a region: its shape and its label may stand in two results of one id."""
    found: dict[str, dict[str, Any]] = {}
    for k, row in enumerate(result):
        if not isinstance(row, Mapping) or not isinstance(row.get("value", {}), Mapping):
            said = f"{where}: result {k} is damaged ({shown(row)}); expected a record with a `value`; the object is left out."
            remarks.append(Remark("bad-object", said, "", path))
            continue
        size = (row.get("original_height"), row.get("original_width"))
        fresh: dict[str, Any] = {"k": k, "value": {}, "size": size, "turned": row.get("image_rotation")}
        region = found.setdefault(str(row.get("id", f"result {k}")), fresh)
        region["value"] |= row.get("value", {})
    # Choices, texts and relations are no regions.
    return [region for region in found.values() if any(key in region["value"] for key in _SHAPE_KEYS)]


def _labels(value: Mapping[str, Any]) -> list[str]:
    """All names under polygonlabels, brushlabels, labels, ...; damaged ones are said when the object is read."""
    lists = [given for key, given in value.items() if str(key).endswith("labels") and isinstance(given, list)]
    return list(dict.fromkeys(name.strip() for given in lists for name in given if isinstance(name, str) and name.strip()))


def _without_prefix(files: ImageFiles) -> dict[str, list[Path]]:
    """Files by their name without the prefix of an upload."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in files.paths:
        if _PREFIX.match(path.name):
            found[_PREFIX.sub("", path.name, count=1)].append(path)
    return found


def _file_of(one: Listed, files: ImageFiles, short: Mapping[str, list[Path]]) -> Path | None:
    """The file of an image whose name has the prefix of an upload on one side only; None where its name does as it is."""
    if files.find(one.listed, near=one.file, split=one.split):
        return None
    parts = tidy(one.listed)
    bare = _PREFIX.sub("", parts[-1], count=1) if parts else ""
    found = files.find("/".join((*parts[:-1], bare)), near=one.file, split=one.split)
    found = found or (short.get(parts[-1], []) if parts else [])
    return found[0] if len(found) == 1 else None


def _objects(
    raw: list[Any], image: AnnotatedImage, *, classes: ClassMap, ids: Mapping[str, int]
) -> tuple[list[Drawn], list[Remark]]:
    return parse_each(raw, image, partial(_object, image=image, classes=classes, ids=ids))


def _object(
    row: Mapping[str, Any],
    _position: int,
    _remarks: list[Remark],
    *,
    image: AnnotatedImage,
    classes: ClassMap,
    ids: Mapping[str, int],
) -> Drawn:
    name = f"result {row['k']}"
    where = f"{image.file}: {image.listed}, {name}"
    value = row["value"]
    hw = size_hw(row["size"][0], row["size"][1], where) or image.hw
    if hw is None:
        raise FormatError(f"{where}: states no original_width and original_height, so that its percents mean nothing.")
    if row["turned"] not in (None, 0):
        raise FormatError(f"{where}: was drawn on the image turned by {shown(row['turned'])} degrees, which is not read.")
    rle = _brush(value, hw, where) if "rle" in value else None
    rings: tuple[Ring, ...] = () if rle is not None else (_ring(value, hw, where),)
    labels = _labels(value)
    if len(labels) != 1:
        found = f"the labels {', '.join(labels)}" if labels else "no label"
        raise Refused("unknown-class", f"{where}: has {found}; expected one.")
    if labels[0] not in ids:
        raise unknown_class(labels[0], classes, where)
    return Drawn(ids[labels[0]], rings, rle, where=name)


def _brush(value: Mapping[str, Any], hw: tuple[int, int], where: str) -> Rle:
    data = numbers(value["rle"], where, "its rle")
    if np.any(data % 1) or np.any((data < 0) | (data > 255)):
        raise FormatError(f"{where}: its rle holds other numbers than bytes (0 to 255).")
    return Rle.from_mask(decode_brush(data.astype(np.uint8), hw, where))


def _ring(value: Mapping[str, Any], hw: tuple[int, int], where: str) -> Ring:
    scale = np.array([hw[1], hw[0]]) / 100
    if "points" in value:
        return polygon(points(value["points"], where, "its points") * scale, where)
    x, y = (number(value.get(key), where, f"its {key}") * s for key, s in zip("xy", scale, strict=True))
    radians = math.radians(number(value.get("rotation") or 0, where, "its rotation"))
    if "radiusX" in value:
        rx, ry = (number(value.get(key), where, f"its {key}") * s for key, s in zip(("radiusX", "radiusY"), scale, strict=True))
        return polygon(ellipse(x, y, rx, ry, radians=radians), where, "the ellipse")
    if "height" not in value:
        raise no_area(where, "a key point")
    w, h = (number(value.get(key), where, f"its {key}") * s for key, s in zip(("width", "height"), scale, strict=True))
    # The corner x, y stays in place when a rectangle is turned.
    return polygon(rectangle(x, y, w, h, radians=radians, about_xy=(x, y)), where, "the rectangle")
