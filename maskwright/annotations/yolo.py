"""YOLO-seg: a text file an image, a line an object: its class and the vertices of its polygon as shares of the image's size.

Source: the segmentation data set format of Ultralytics (docs.ultralytics.com/datasets/segment).
Differs: lines of five numbers are boxes (centre, width, height); they become rectangles, and one remark says how many there are.
An image without a label file holds no objects, as in training with that library. The size is the image file's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.annotations.class_names import by_number, unknown_class
from maskwright.annotations.drawn import AnnotatedImage, Annotations, Drawn, Remark
from maskwright.annotations.image_files import files_below
from maskwright.annotations.imagesize import image_hw
from maskwright.annotations.listing import assemble, counted, image_files, left_out, relative
from maskwright.annotations.records import Refused, read_text
from maskwright.annotations.shapes import polygon, rectangle
from maskwright.annotations.yolo_files import (
    LARGEST_SHARE,
    DataYaml,
    class_file,
    find_yaml,
    folder_of,
    is_label,
    label_files,
    load_yaml,
    names_of_lines,
)  # fmt: skip
from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError

BOX_NUMBERS = 5
_MOST_LOOKED_AT = 40


def looks_like(root: Path) -> str:
    """data.yaml, or the first file of class and shares below root; "" where there is neither."""
    if root.is_file():
        return root.name if find_yaml(root) is not None or (root.suffix.lower() == ".txt" and is_label(root)) else ""
    if not root.is_dir():
        return ""
    stated = find_yaml(root)
    if stated is not None:
        return relative(stated, root)
    texts = sorted(files_below(root, (".txt",)), key=lambda path: (path.parent.name.lower() != "labels", path))
    return next((relative(path, root) for path in texts[:_MOST_LOOKED_AT] if is_label(path)), "")


def read(root: Path, *, images: Path | None = None, classes: ClassMap | None = None) -> Annotations:
    """Read a folder with images and labels, or its data.yaml.

    Raises:
        FormatError: data.yaml is damaged, or there is no label file.
        InputError: a file cannot be read, or there are too many classes.
    """
    stated = find_yaml(root)
    meta = None if stated is None else load_yaml(stated)
    files = image_files(folder_of(root, meta), images)
    listed = label_files(root, meta, files)
    labels = [path for one in listed for path in one.rows]
    if not labels:
        raise FormatError(f"{root}: no YOLO label file here; expected text files of class and polygon, as labels/train/x.txt.")
    boxes, numbers = _scan(labels)
    names, why = _names(root, meta, numbers)
    # Class numbers count from 0 on, which is the background's id: each is one more here.
    known, ids = by_number({number + 1: name for number, name in names.items()}, classes, source=str(root))
    remarks = _box_remarks(root, boxes, len(labels))
    line = f"YOLO: {counted(len(labels), 'label file')}, {counted(len(names), 'class', 'classes')} {why}"
    parse = partial(_objects, classes=known, ids=ids, names=names)
    return assemble("yolo", root, line, known, listed, files, parse, remarks, others_count=False)


def _scan(labels: Sequence[str]) -> tuple[list[str], set[int]]:
    """The label files that hold boxes, and the class numbers in use. Damaged files are said when their image is read."""
    boxes: list[str] = []
    numbers: set[int] = set()
    for path in labels:
        try:
            lines = [line.split() for line in read_text(Path(path)).splitlines()]
        except InputError:
            continue
        boxes += [path] if any(len(line) == BOX_NUMBERS for line in lines) else []
        numbers |= {int(line[0]) for line in lines if line and line[0].isascii() and line[0].isdigit() and len(line[0]) < 5}
    return boxes, numbers


def _names(root: Path, meta: DataYaml | None, numbers: set[int]) -> tuple[dict[int, str], str]:
    """The names of the classes by number, and where they come from."""
    if meta is not None:
        return meta.names, f"from {relative(meta.path, root)}"
    found = class_file(root)
    if found is not None:
        return names_of_lines(found), f"from {relative(found, root)}"
    return {number: f"class {number}" for number in sorted(numbers)}, "by their numbers alone (no data.yaml, no classes.txt)"


def _box_remarks(root: Path, boxes: Sequence[str], total: int) -> list[Remark]:
    if not boxes:
        return []
    said = (
        f"{root}: {len(boxes)} of {counted(total, 'label file')} hold boxes (lines of five numbers), as {Path(boxes[0]).name}; "
        f"each becomes a rectangle. Give polygons for masks that follow the objects."
    )
    return [Remark("bad-object", said, "", Path(boxes[0]))]


def _objects(
    raw: list[Any], image: AnnotatedImage, *, classes: ClassMap, ids: Mapping[int, int], names: Mapping[int, str]
) -> tuple[list[Drawn], list[Remark]]:
    objects: list[Drawn] = []
    remarks: list[Remark] = []
    if image.path is None or not raw:
        return objects, remarks
    try:
        hw = image_hw(image.path)
        files = [(Path(path), read_text(Path(path)).splitlines()) for path in raw]
    except InputError as error:
        return [], [Remark("bad-object", f"{str(error).rstrip('.')}; its objects are left out.", image.name, image.file)]
    for path, lines in files:
        for k, line in enumerate(lines, 1):
            try:
                objects += (
                    [_object(line.split(), hw, f"{path}: line {k}", f"line {k}", classes, ids, names)] if line.strip() else []
                )
            except FormatError as error:
                remarks.append(left_out(error, image))
    return objects, remarks


def _object(
    words: list[str],
    hw: tuple[int, int],
    where: str,
    name: str,
    classes: ClassMap,
    ids: Mapping[int, int],
    names: Mapping[int, str],
) -> Drawn:
    try:
        values = np.array([float(word) for word in words], np.float64)
    except ValueError as error:
        raise FormatError(
            f"{where}: holds a word that is no number ({error}); expected a class and shares of the image."
        ) from error
    if not np.all(np.isfinite(values)) or values[0] % 1 or values[0] < 0:
        raise FormatError(f"{where}: begins with {words[0]!r}; expected the number of a class, then shares of the image.")
    shares = values[1:]
    if shares.size < 4 or shares.size % 2:
        raise FormatError(f"{where}: holds {values.size} numbers; expected a class and pairs of x and y.")
    if np.abs(shares).max() > LARGEST_SHARE:
        raise FormatError(f"{where}: holds {np.abs(shares).max():.6g}; expected shares of the image from 0 to 1, not pixels.")
    h, w = hw
    if values.size == BOX_NUMBERS:
        x, y, bw, bh = shares * (w, h, w, h)
        ring = rectangle(x - bw / 2, y - bh / 2, bw, bh)
    else:
        ring = polygon(shares.reshape(-1, 2) * (w, h), where)
    return Drawn(_class_id(int(values[0]), where, classes, ids, names), (ring,), where=name)


def _class_id(number: int, where: str, classes: ClassMap, ids: Mapping[int, int], names: Mapping[int, str]) -> int:
    if number + 1 in ids:
        return ids[number + 1]
    if number in names:
        raise unknown_class(names[number], classes, where)
    known = f"{min(names)} to {max(names)}" if names else "none"
    raise Refused("unknown-class", f"{where}: class {number} has no name (known numbers: {known}).")
