"""Run lengths in a CSV, a line an object, as the Airbus ship detection challenge writes them.

    ImageId,EncodedPixels
    00021ddc3.jpg,74441 3 75207 9
    000155de5.jpg,                      no object

EncodedPixels holds pairs of first pixel and length; pixels count from 1 on, column by column from the top left. A third column
ClassId tells the class of each object (as in the Severstal challenge); without it all are of one class. The CSV does not say how
large an image is: that is read from its file.

Source: the data page of Kaggle's "Airbus Ship Detection Challenge". Writing adds ClassId where there is more than one class.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from maskwright.annotations.class_files import OBJECT, class_without_name, stated_classes, write_classes
from maskwright.annotations.class_names import by_name, by_number, unknown_class
from maskwright.annotations.drawn import AnnotatedImage, Annotations, Drawn, Remark
from maskwright.annotations.image_files import ALL, split_of
from maskwright.annotations.imagesize import image_hw
from maskwright.annotations.listing import Listed, assemble, counted, image_files, parse_each, relative
from maskwright.annotations.placing import copy_image, holdable, image_file
from maskwright.annotations.records import head_text, read_text, shown
from maskwright.classes import ClassMap
from maskwright.errors import FormatError
from maskwright.instances import Instances
from maskwright.io.write import write_text
from maskwright.ops.rle import Rle

IMAGE, PIXELS, CLASS = "ImageId", "EncodedPixels", "ClassId"
ALL_FILE = "annotations"
_HEADER_BYTES = 4096
# A field holds all runs of an object; Python's own limit of 131,072 characters is less than a large ragged one has.
_LONGEST_FIELD = 1 << 30


def looks_like(root: Path) -> str:
    """The first CSV with the two columns, in root or a folder of it."""
    found = next(_files(root, "*.csv", "*/*.csv"), None)
    return relative(found, root) if found is not None else ""


def read(root: Path, *, images: Path | None = None, classes: ClassMap | None = None) -> Annotations:
    """Every image that a CSV names; an image's objects are all its lines with runs.

    Classes are those given, else those of a classes.yaml or labels.txt beside the CSV, else those of ClassId.

    Raises:
        InputError, FormatError: no such CSV, or it cannot be read.
    """
    files = [root] if root.is_file() else list(_files(root, "**/*.csv"))
    if not files:
        raise FormatError(f"{root}: no CSV with the columns {IMAGE} and {PIXELS} here; expected run lengths as of Airbus ships.")
    rows = [row for path in files for row in _rows(path)]
    folder = root if root.is_dir() else root.parent
    known, how = _classes(folder, {row.kind for row in rows if row.kind}, classes)
    listed: dict[tuple[Path, str], Listed] = {}
    for row in rows:
        split = split_of(row.path, folder)
        one = listed.setdefault((row.path, row.image), Listed(row.image, row.path, split=split))
        # An empty field says that the image holds no object.
        one.rows += [] if row.pixels == "" else [[row.number, row.pixels, row.kind]]
    objects = sum(len(one.rows) for one in listed.values())
    line = f"run lengths: {counted(objects, 'object')} in {', '.join(relative(path, root) for path in files)}, classes {how}"
    parse = partial(_objects, classes=known)
    return assemble("airbus", root, line, known, list(listed.values()), image_files(root, images), parse)


def write(folder: Path, images: Iterable[tuple[AnnotatedImage, Instances]], *, copy_images: bool = True) -> list[Remark]:
    """Write images/<split>/<name>, a CSV a split and classes.yaml; overlaps are kept.

    What is lost comes back as remarks: crowds, scores and empty masks. Ids are not held.

    Raises:
        InputError: the folder cannot be written.
    """
    remarks: list[Remark] = []
    lines: dict[str, list[list[str]]] = {}
    classes: ClassMap | None = None
    for image, found in images:
        classes = found.classes
        kept, lost = holdable(image, found, "a list of run lengths")
        remarks += lost
        name = image_file(image)
        rows = [[name.as_posix(), _text(found.masks[k]), str(found.class_ids[k])] for k in kept]
        lines.setdefault(image.split, []).extend(rows or [[name.as_posix(), "", ""]])
        if copy_images:
            remarks += copy_image(image, folder / "images" / ("" if image.split == ALL else image.split) / name)
    if classes is not None:
        write_classes(folder, classes)
        # With one class the third column would say nothing, and tools for the challenge expect two.
        width = 2 if class_without_name(classes) is not None else 3
        for split, rows in lines.items():
            write_text(folder / f"{ALL_FILE if split == ALL else split}.csv", _csv([[IMAGE, PIXELS, CLASS], *rows], width))
    return remarks


class _Row(NamedTuple):
    """One line of a CSV; pixels and kind are None where the line is cut short, kind is "" where no class is stated."""

    path: Path
    number: int
    image: str
    pixels: str | None
    kind: str | None


def _rows(path: Path) -> list[_Row]:
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        lines = list(csv.reader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:
        raise FormatError(f"{path}: is not a readable CSV ({error}); expected the columns {IMAGE} and {PIXELS}.") from error
    column = _columns(lines[0] if lines else [])
    if column is None:
        found = ", ".join(lines[0])[:80] if lines else "nothing"
        raise FormatError(f"{path}: its first line is {found!r}; expected the columns {IMAGE} and {PIXELS}.")
    rows = []
    for number, cells in enumerate(lines[1:], 2):
        given = {name: cells[k].strip() if k < len(cells) else None for name, k in column.items()}
        if given[IMAGE]:
            pixels = given[PIXELS]
            # pandas writes an empty field as nan where it was told to.
            pixels = "" if pixels is not None and pixels.lower() == "nan" else pixels
            rows.append(_Row(path, number, given[IMAGE] or "", pixels, given.get(CLASS, "")))
    return rows


def _columns(header: list[str]) -> dict[str, int] | None:
    """The position of each column that is known; None where one of the two that must be there is not."""
    places = {name.strip().strip('"').lower(): k for k, name in enumerate(header)}
    found = {name: places[name.lower()] for name in (IMAGE, PIXELS, CLASS) if name.lower() in places}
    return found if IMAGE in found and PIXELS in found else None


def _files(root: Path, *patterns: str) -> Iterator[Path]:
    """CSV files below root whose first line has the columns; root itself where it is one."""
    paths = [root] if root.is_file() else sorted({path for pattern in patterns for path in root.glob(pattern)})
    for path in paths:
        head = head_text(path, _HEADER_BYTES) if path.suffix.lower() == ".csv" else ""
        if _columns(head.lstrip("\ufeff").splitlines()[0].split(",") if head.strip() else []) is not None:
            yield path


def _classes(folder: Path, kinds: set[str], given: ClassMap | None) -> tuple[ClassMap, str]:
    """The class map, and where it is from, for the line."""
    if given is not None:
        return given, "as given"
    stated = stated_classes(folder)
    if stated is not None:
        return stated[0], f"from {stated[1]}"
    if kinds and all(map(_is_number, kinds)):
        return by_number({int(kind): f"class {int(kind)}" for kind in kinds}, None)[0], f"by {CLASS}"
    return by_name(kinds or [OBJECT], None)[0], f"by {CLASS}" if kinds else f'one, "{OBJECT}"'


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9


def _objects(rows: list[Any], image: AnnotatedImage, classes: ClassMap) -> tuple[list[Drawn], list[Remark]]:
    if not rows:
        return [], []
    hw = image_hw(image.path) if image.path is not None else image.hw
    if hw is None:
        raise FormatError(f"{image.file}: does not say how large {image.listed} is, and the image is not on disk; add it.")
    return parse_each(rows, image, partial(_object, image=image, classes=classes, hw=hw))


def _object(
    row: list[Any], _position: int, _remarks: list[Remark], *, image: AnnotatedImage, classes: ClassMap, hw: tuple[int, int]
) -> Drawn:
    number, pixels, kind = row
    where = f"{image.file}: line {number}"
    for name, cell in ((PIXELS, pixels), (CLASS, kind)):
        if cell is None:
            raise FormatError(f"{where}: has no column {name}; the line is cut short.")
    class_id = _class_id(kind, classes) if kind else class_without_name(classes)
    if class_id is None:
        raise unknown_class(kind or OBJECT, classes, where)
    return Drawn(class_id, rle=_rle(pixels, hw, where), where=f"line {number}")


def _class_id(kind: str, classes: ClassMap) -> int | None:
    """By name, else by number: of the class map that was made from the numbers, or that says what they mean."""
    ids = [i for i in classes.ids if i != classes.background]
    names = {classes.name_of(i): i for i in ids}
    if not _is_number(kind):
        return names.get(kind)
    # by_number moves ids where one is 0; its names say from where.
    return names.get(f"class {int(kind)}", int(kind) if int(kind) in ids else None)


def _rle(text: str, hw: tuple[int, int], where: str) -> Rle:
    """Runs as pairs of first pixel, from 1 on, and length; they may come in any order and overlap."""
    try:
        numbers = np.array(text.split(), np.int64)
    except (ValueError, OverflowError):
        raise FormatError(f"{where}: {PIXELS} holds {shown(text)}; expected whole numbers.") from None
    if numbers.size % 2:
        raise FormatError(f"{where}: {PIXELS} holds {numbers.size} numbers; expected pairs of first pixel and length.")
    starts, lengths = numbers[0::2] - 1, numbers[1::2]
    last, most = int((starts + lengths).max(initial=0)), hw[0] * hw[1]
    if starts.min(initial=0) < 0 or lengths.min(initial=1) < 1 or lengths.max(initial=0) > most or last > most:
        raise FormatError(f"{where}: a run is not within the {most} pixels of the image ({hw[1]}x{hw[0]}), counted from 1 on.")
    order = np.argsort(starts, kind="stable")
    return Rle.from_runs(starts[order], np.maximum.accumulate((starts + lengths)[order]), hw)


def _text(mask: Rle) -> str:
    starts, ends = mask.runs
    pairs = np.stack([starts + 1, ends - starts], axis=1)[ends > starts]
    return " ".join(map(str, pairs.ravel().tolist()))


def _csv(rows: list[list[str]], width: int) -> str:
    page = io.StringIO()
    csv.writer(page, lineterminator="\n").writerows(row[:width] for row in rows)
    return page.getvalue()
