"""COCO json: one file a split, objects as polygons or run lengths, categories by number.

Source: the COCO data format (Lin et al. 2014, arXiv:1405.0312; cocodataset.org/#format-data).
Differs: a polygon inside a polygon is a part, as in the COCO API, never a hole; polygons keep COCO's own rule for pixels. An
annotation that holds only a box is left out with a remark. Captions, keypoints and things that a folder holds beside its
instances_*.json are left aside; lists of detections (results) are no truth, and the error says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from maskwright.annotations.class_names import by_number
from maskwright.annotations.coco_objects import Table, objects_of
from maskwright.annotations.drawn import Annotations, Remark
from maskwright.annotations.image_files import split_of
from maskwright.annotations.listing import Listed, assemble, counted, image_files, json_evidence, json_files, relative
from maskwright.annotations.records import Head, load_json, record, rows, shown, size_hw, text, whole
from maskwright.classes import ClassMap, Colour
from maskwright.errors import FormatError

EXPECTED = "expected COCO's record of images, annotations and categories"
INSTANCES = "instances"
# Other files of COCO about the same images, which hold no masks of objects or the same ones again.
_BESIDE = ("captions", "person_keypoints", "stuff", "panoptic", "image_info")
_DETECTION = ("image_id", "category_id")
_KEPT = ("id", "category_id", "segmentation", "bbox", "iscrowd", "score", "area")
_MOST_NAMED = 5


def _is_coco(head: Head) -> bool:
    named = head.has(0, "images") and (head.has(0, "annotations") or head.has(0, "categories") or head.has(2, "file_name"))
    return head.opens == "{" and (named or head.has(0, "annotations", "categories") or head.has(2, *_DETECTION))


def _is_results(head: Head) -> bool:
    return head.opens == "[" and head.has(1, *_DETECTION)


def looks_like(root: Path) -> str:
    """The place of the first COCO json below root, "" where there is none."""
    return json_evidence(root, _is_coco)


def read(root: Path, *, images: Path | None = None, classes: ClassMap | None = None) -> Annotations:
    """Read one COCO json, or all of a folder: each file is a split.

    Raises:
        FormatError: a file is cut short or no COCO json, holds detections, or numbers the categories otherwise than another one.
        InputError: there is no COCO json here, or it names too many classes.
    """
    files = _files(root)
    parsed = [_top(path) for path in files]
    names = _categories(files, parsed)
    known, ids = by_number(names, classes, colours=_colours(parsed), source=str(root))
    remarks: list[Remark] = []
    listed = [one for k, path in enumerate(files) for one in _listed(path, k, parsed[k], root, remarks)]
    parse = partial(objects_of, files=tuple(files), table=Table(known, ids, names))
    line = f"COCO json: {_files_text(files, root)}; {counted(len(names), 'category', 'categories')}"
    return assemble("coco", root, line, known, listed, image_files(root, images), parse, remarks)


def _files(root: Path) -> list[Path]:
    found = json_files(root, _is_coco)
    if not found:
        results = json_files(root, _is_results)
        if results:
            raise _results_error(results[0])
        raise FormatError(f"{root}: no COCO json here; {EXPECTED}.")
    chosen = [path for path in found if path.stem.startswith(INSTANCES)]
    return chosen or [path for path in found if not path.stem.startswith(_BESIDE)] or found


def _files_text(files: Sequence[Path], root: Path) -> str:
    stated = ", ".join(f"{relative(path, root)} ({split_of(path, root)})" for path in files[:_MOST_NAMED])
    return stated + (f" and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else "")


def _results_error(path: Path) -> FormatError:
    return FormatError(
        f"{path}: is a list of detections (COCO results), which names neither images nor classes; "
        f"give the annotation json that it was made for as the truth."
    )


def _top(path: Path) -> Mapping[str, Any]:
    """The outermost record of a file, its three lists checked."""
    top = load_json(path)
    if isinstance(top, list) and top and isinstance(top[0], Mapping) and set(_DETECTION) <= set(top[0]):
        raise _results_error(path)
    if not isinstance(top, Mapping) or not isinstance(top.get("images"), list):
        raise FormatError(f"{path}: is {shown(top)} without a list `images`; {EXPECTED}.")
    annotations = rows(top.get("annotations", []), str(path), "`annotations`")
    if any(isinstance(row, Mapping) and "segments_info" in row for row in annotations[:1]):
        raise FormatError(f"{path}: is a panoptic COCO json, whose masks lie in PNG files; expected an instances json.")
    if annotations or "categories" in top:
        rows(top.get("categories"), str(path), "`categories`")
    return top


def _categories(files: Sequence[Path], parsed: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Names of all categories by their number; files must agree."""
    names: dict[int, str] = {}
    stated_by: dict[int, Path] = {}
    for path, top in zip(files, parsed, strict=True):
        for k, row in enumerate(top.get("categories") or []):
            where = f"{path}: category {k}"
            row = record(row, where, "it")
            i, name = whole(row.get("id"), where, "its id"), text(row.get("name"), where, "its name").strip()
            if names.setdefault(i, name) != name:
                raise FormatError(
                    f"{path}: category {i} is {name!r}, but {names[i]!r} in {stated_by[i]}; "
                    f"files of one set must number their categories alike. Read them one by one."
                )
            stated_by.setdefault(i, path)
    return names


def _colours(parsed: Sequence[Mapping[str, Any]]) -> dict[str, Colour]:
    """Those that categories state as `color`, as COCO's panoptic files do; what is no colour is passed over."""
    rows = [row for top in parsed for row in top.get("categories") or [] if isinstance(row, Mapping)]
    stated = {str(row.get("name")).strip(): row.get("color") for row in rows}
    return {
        name: (colour[0], colour[1], colour[2])
        for name, colour in stated.items()
        if isinstance(colour, list) and len(colour) == 3 and all(type(v) is int and 0 <= v <= 255 for v in colour)
    }


def _listed(path: Path, file_k: int, top: Mapping[str, Any], root: Path, remarks: list[Remark]) -> list[Listed]:
    """The images of one file, each with its annotations."""
    split = split_of(path, root)
    found: list[Listed] = []
    by_id: dict[object, Listed] = {}
    for k, row in enumerate(top["images"]):
        where = f"{path}: image {k}"
        try:
            row = record(row, where, "it")
            one = Listed(text(row.get("file_name"), where, "its file_name"), path, None, split)
            key = _key(row.get("id"), where, "its id")
        except FormatError as error:
            remarks.append(Remark("bad-object", f"{str(error).rstrip('.')}; the image is left out.", "", path))
            continue
        try:
            one.hw = size_hw(row.get("height"), row.get("width"), where)
        except FormatError as error:
            remarks.append(Remark("bad-object", f"{str(error).rstrip('.')}; its file says how large it is.", "", path))
        if key not in by_id:
            found.append(one)
        elif by_id[key].listed == one.listed:
            remarks.append(
                Remark("image-listed-twice", f"{where} is listed before under the same id {key!r}; kept once.", "", path)
            )
        else:
            said = (
                f"{where}: the id {key!r} of {one.listed!r} belongs to {by_id[key].listed!r}; it is left out. Give it its own id."
            )
            remarks.append(Remark("bad-object", said, "", path))
        by_id.setdefault(key, one)
    _share_out(path, file_k, top.get("annotations", []), by_id, remarks)
    return found


def _key(value: object, where: str, what: str) -> int | str:
    """An image's id: a whole number, or a text in some people's files."""
    return value if isinstance(value, str) else whole(value, where, what)


def _share_out(
    path: Path, file_k: int, annotations: Sequence[Any], by_id: Mapping[object, Listed], remarks: list[Remark]
) -> None:
    """Give each image its annotations; those of images that are not listed are counted."""
    strays: dict[object, int] = defaultdict(int)
    for k, row in enumerate(annotations):
        where = f"{path}: annotation {k}"
        try:
            row = record(row, where, "it")
            key = _key(row.get("image_id"), where, "its image_id")
        except FormatError as error:
            remarks.append(Remark("bad-object", f"{str(error).rstrip('.')}; the object is left out.", "", path))
            continue
        if key not in by_id:
            strays[key] += 1
            continue
        by_id[key].rows.append({"k": k, "file": file_k, **{name: row[name] for name in _KEPT if name in row}})
    if strays:
        some = ", ".join(str(key) for key in list(strays)[:_MOST_NAMED])
        said = f"{path}: {counted(sum(strays.values()), 'annotation')} name images that it does not list (ids {some}); left out."
        remarks.append(Remark("bad-object", said, "", path))
