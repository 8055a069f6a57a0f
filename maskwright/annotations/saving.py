"""The objects of one answer as files beside each other, in the forms that other programs open."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from maskwright.annotations import coco_write, geojson_write, labelme_write, yolo_write
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.io.write import write_json, write_png, write_text


def save_objects(folder: Path, found: Instances, formats: Iterable[str], *, file_name: str) -> list[Path]:
    """Write the objects of one image; each file is complete or not there. Objects without a pixel are left out.

    Files, `<name>` being found.name:
        ids      <name>_ids.png: 16-bit numbers of the objects, 0 where none is; where objects overlap the one on top
        coco     <name>_coco.json: a COCO data set of this one image, scores included
        geojson  <name>.geojson: polygons with holes, in pixels
        labelme  <name>.json: opens in LabelMe where the image lies beside it; no crowds, no scores
        yolo     <name>.txt: segmentation labels; classes count from 0 on without the background; no crowds, no scores
        masks    <name>_masks/<id>_<class>.png: a file an object, 255 where it is

    Args:
        file_name: of the image, for the formats that name it

    Raises:
        InputError: a format is unknown, or a file cannot be written.
    """
    found = found.select(found.areas_px > 0)
    written: list[Path] = []
    for name in checked(formats):
        written += SAVERS[name](folder, found, file_name)
    return written


def checked(formats: Iterable[str]) -> list[str]:
    """The formats, each once.

    Raises:
        InputError: one is unknown; the message shows near ones.
    """
    given = list(dict.fromkeys(formats))
    for name in given:
        if name not in SAVERS:
            near = get_close_matches(name, SAVERS) or list(SAVERS)
            raise InputError(f"no format named {name!r} to save objects in; did you mean {', '.join(near)}?")
    return given


def _ids(folder: Path, found: Instances, _file_name: str) -> list[Path]:
    path = folder / f"{found.name}_ids.png"
    write_png(path, found.to_ids())
    return [path]


def _coco(folder: Path, found: Instances, file_name: str) -> list[Path]:
    path = folder / f"{found.name}_coco.json"
    write_text(path, coco_write.compact(coco_write.document(file_name, found)) + "\n")
    return [path]


def _geojson(folder: Path, found: Instances, _file_name: str) -> list[Path]:
    path = folder / f"{found.name}.geojson"
    write_text(path, geojson_write.text(found))
    return [path]


def _labelme(folder: Path, found: Instances, file_name: str) -> list[Path]:
    path = folder / f"{found.name}.json"
    write_json(path, labelme_write.document(file_name, found.select(~found.crowds)))
    return [path]


def _yolo(folder: Path, found: Instances, _file_name: str) -> list[Path]:
    path = folder / f"{found.name}.txt"
    write_text(path, yolo_write.text(found.select(~found.crowds)))
    return [path]


def _masks(folder: Path, found: Instances, _file_name: str) -> list[Path]:
    below = folder / f"{found.name}_masks"
    width = len(str(max(found.all_ids, default=0)))
    paths = [below / f"{i:0{width}d}_{_plain(name)}.png" for i, name in zip(found.all_ids, found.names, strict=True)]
    # Objects of an earlier answer would count as objects of this one.
    for old in below.glob("*_*.png"):
        if old not in paths and re.fullmatch(r"\d+_.*", old.stem):
            old.unlink()
    for path, mask in zip(paths, found.masks, strict=True):
        write_png(path, mask.to_mask().astype(np.uint8) * np.uint8(255))
    return paths


def _plain(name: str) -> str:
    """A class name as a part of a file name."""
    return re.sub(r"[^\w.-]+", "-", name)


# What stands behind the image's name.
ENDINGS = {
    "ids": "_ids.png",
    "coco": "_coco.json",
    "geojson": ".geojson",
    "labelme": ".json",
    "yolo": ".txt",
    "masks": "_masks",
}
SAVERS: dict[str, Callable[[Path, Instances, str], list[Path]]] = {
    "ids": _ids,
    "coco": _coco,
    "geojson": _geojson,
    "labelme": _labelme,
    "yolo": _yolo,
    "masks": _masks,
}
