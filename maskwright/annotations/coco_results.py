"""Anybody's found objects as COCO's list of results, for the images of a COCO truth.

Source: the results format of cocodataset.org: rows of image_id, category_id, segmentation and score.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.annotations.coco_objects import mask_of_row
from maskwright.annotations.drawn import Annotations
from maskwright.annotations.records import load_json, number, record, rows
from maskwright.errors import FormatError, InputError
from maskwright.instances import Instances
from maskwright.ops.rle import Rle

EXPECTED = "expected COCO results, a list of {image_id, category_id, segmentation, score}, or a file of annotations"


def read_results(path: Path, truth: Annotations, hw_of: Mapping[str, tuple[int, int]]) -> dict[str, Instances]:
    """The found objects of each image that the results name.

    Args:
        truth: COCO annotations; its files say which id is which image and which class
        hw_of: name of each image that may be named -> its size; results of other images are passed over

    Raises:
        InputError: the truth is no COCO json, or two of its files use one id for different images.
        FormatError: the file is damaged, which comes first, or names an image or a category that the truth does not have.
    """
    given = rows(load_json(path), str(path), f"its content ({EXPECTED})")
    if truth.format != "coco":
        raise InputError(f"{path}: COCO results need a COCO json as their truth; {truth.root} holds {truth.format}.")
    names, classes = _ids_of(truth)
    found: dict[str, list[tuple[int, Rle, float]]] = {name: [] for name in hw_of}
    for k, row in enumerate(given):
        where = f"{path}: result {k}"
        row = record(row, where, "it")
        name, class_id = names.get(row.get("image_id")), classes.get(row.get("category_id"))
        if name is None or class_id is None:
            what = "image_id" if name is None else "category_id"
            raise FormatError(f"{where}: its {what} {row.get(what)!r} is not in {truth.root}; score it against its own truth.")
        if name in hw_of:
            found[name].append((class_id, mask_of_row(row, where, hw_of[name]), number(row.get("score"), where, "its score")))
    return {name: _instances(given, truth, hw_of[name], name) for name, given in found.items()}


def _instances(given: list[tuple[int, Rle, float]], truth: Annotations, hw: tuple[int, int], name: str) -> Instances:
    scores = np.array([score for *_, score in given], np.float32)
    class_ids = np.array([class_id for class_id, *_ in given], np.int64)
    return Instances(hw, truth.classes, class_ids, tuple(mask for _, mask, _ in given), scores=scores, name=name)


def _ids_of(truth: Annotations) -> tuple[dict[Any, str], dict[Any, int]]:
    """Image id -> name, and category id -> class id, from the truth's own files."""
    named = {(image.file, image.listed): image.name for image in truth.images}
    images: dict[Any, str] = {}
    classes: dict[Any, int] = {}
    id_of = dict(zip(truth.classes.names, truth.classes.ids, strict=True))
    for file in dict.fromkeys(image.file for image in truth.images if image.file is not None):
        top = load_json(file)
        for row in top.get("images", []):
            name = named.get((file, str(row.get("file_name")))) if isinstance(row, Mapping) else None
            if name is None:
                continue
            if images.setdefault(row.get("id"), name) != name:
                raise InputError(
                    f"{truth.root}: the id {row.get('id')!r} means several images in its files; name the one json that the "
                    f"results are of."
                )
        for row in top.get("categories", []):
            if isinstance(row, Mapping) and str(row.get("name", "")).strip() in id_of:
                classes[row.get("id")] = id_of[str(row["name"]).strip()]
    return images, classes
