"""COCO json, written object by object: one file a split, with the images beside it as COCO lays them out.

    <folder>/annotations/instances_<split>.json     info, licenses, categories, images, annotations
    <folder>/<split>/<name>.<suffix>                the images; images/ where no split is known

Source: the data format page of cocodataset.org; result lists as its results format. Differs: polygons stand only where COCO's own
rule gives the mask back to the pixel, and compressed run lengths everywhere else; areas are counted pixels. Answers keep their
scores under "score", which other programs pass over.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.drawn import AnnotatedImage, Remark
from maskwright.annotations.placing import NO_SPLIT, copy_image, holdable, image_file
from maskwright.classes import ClassMap
from maskwright.instances import Instances
from maskwright.io.write import atomic, write_text
from maskwright.ops.polygons import fill_coco
from maskwright.ops.tracing import polygons

# Objects of a file up to this size wait in memory until it is written, more of them on the disk.
KEPT_BYTES = 1 << 26

Row = dict[str, Any]  # one JSON object


def write(folder: Path, images: Iterable[tuple[AnnotatedImage, Instances]], *, copy_images: bool = True) -> list[Remark]:
    """Write images and their objects; what COCO cannot hold (empty masks) comes back as remarks.

    Memory holds one image's objects and a line an image.

    Raises:
        InputError: the folder cannot be written.
    """
    remarks: list[Remark] = []
    with ExitStack() as stack:
        files: dict[str, _Dataset] = {}
        for image, found in images:
            if image.split not in files:
                path = folder / "annotations" / f"instances_{image.split}.json"
                files[image.split] = stack.enter_context(_dataset(path, found.classes))
            kept, lost = holdable(image, found, "COCO", scores=True, crowds=True)
            files[image.split].add(image, found, kept)
            remarks += lost
            if copy_images:
                beside = folder / ("images" if image.split == NO_SPLIT else image.split)
                remarks += copy_image(image, beside / image_file(image))
    return remarks


def write_results(path: Path, answers: Iterable[tuple[int, Instances]]) -> None:
    """Write answers as COCO's evaluation takes them: a list of {image_id, category_id, bbox, segmentation, score}.

    Args:
        answers: the image's id in the truth, and its objects; without scores each counts as 1.0
    """
    rows = [result for image_id, found in answers for result in results(image_id, found)]
    write_text(path, "[\n" + ",\n".join(compact(row) for row in rows) + "\n]\n" if rows else "[]\n")


def results(image_id: int, found: Instances) -> list[Row]:
    """The objects of one image as rows of COCO's results format; masks are always runs there."""
    scores = np.ones(len(found), np.float32) if found.scores is None else found.scores
    return [
        {
            "image_id": image_id,
            "category_id": int(found.class_ids[k]),
            "bbox": box_xywh(found.boxes[k]),
            "segmentation": _runs(found, k),
            "score": _short(scores[k]),
        }
        for k in range(len(found))
    ]


def document(file_name: str, found: Instances) -> Row:
    """A whole COCO file for one image, whose id is 1; empty masks are left out."""
    kept = np.flatnonzero(found.areas_px)
    return {
        **_head(found.classes),
        "images": [_image_row(1, file_name, found.hw)],
        "annotations": [{"id": int(found.all_ids[k]), "image_id": 1, **annotation(found, int(k))} for k in kept],
    }


def write_document(path: Path, file_name: str, hw: tuple[int, int], classes: ClassMap, parts: Iterable[Instances]) -> None:
    """The document of one image whose objects come a few at a time, none of them empty; memory holds those at hand.

    Raises:
        InputError: the file cannot be written.
    """
    head = compact({**_head(classes), "images": [_image_row(1, file_name, hw)]})
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(head[:-1] + ',\n"annotations": [')
        before = "\n"
        for found in parts:
            for k in range(len(found)):
                file.write(before + compact({"id": int(found.all_ids[k]), "image_id": 1, **annotation(found, k)}))
                before = ",\n"
        file.write("]}\n")


def annotation(found: Instances, k: int) -> Row:
    """Object k as COCO holds it, without the ids of image and annotation."""
    row = {
        "category_id": int(found.class_ids[k]),
        "segmentation": segmentation(found, k),
        "area": found.masks[k].area_px,
        "bbox": box_xywh(found.boxes[k]),
        "iscrowd": int(found.crowds[k]),
    }
    return row if found.scores is None else {**row, "score": _short(found.scores[k])}


def segmentation(found: Instances, k: int) -> list[list[float]] | Row:
    """Polygons as they were drawn, else along pixel edges, else runs: the first that COCO's rule turns into the very mask.

    Crowds are always runs, as in COCO itself.
    """
    mask = found.masks[k]
    if not found.crowds[k]:
        drawn = [ring for ring in found.rings[k] if len(ring) >= 3]
        if drawn and fill_coco(drawn, found.hw) == mask:
            return [_flat(ring) for ring in drawn]
        parts = polygons(mask)
        outer = [ring for ring, _ in parts]
        if not any(holes for _, holes in parts) and fill_coco(outer, found.hw) == mask:
            return [_flat(ring) for ring in outer]
    return _runs(found, k)


def box_xywh(box_xyxy: Sequence[np.float32] | NDArray[np.float32]) -> list[float]:
    """COCO's box: left, top, width and height; thousandths of a pixel, which is more than anybody states."""
    x0, y0, x1, y1 = (float(v) for v in box_xyxy)
    return [round(v, 3) for v in (x0, y0, x1 - x0, y1 - y0)]


class _Dataset:
    """One COCO file in the making: its objects wait in a temporary file, since COCO's images stand before them."""

    def __init__(self, classes: ClassMap) -> None:
        self._classes = classes
        self._images: list[str] = []
        self._image_ids: set[int] = set()
        self._object_ids: set[int] = set()
        self.objects = SpooledTemporaryFile(KEPT_BYTES, "w+", encoding="utf-8")  # noqa: SIM115  # closed by _dataset

    def add(self, image: AnnotatedImage, found: Instances, kept: NDArray[np.int64]) -> None:
        # COCO numbers its images by their names: 000000000139.jpg is image 139.
        image_id = _free(int(image.name) if image.name.isdecimal() and len(image.name) <= 15 else 0, self._image_ids)
        self._images.append(compact(_image_row(image_id, str(image_file(image)), found.hw)))
        for k in kept:
            before = ",\n" if self._object_ids else "\n"
            row = {"id": _free(int(found.all_ids[k]), self._object_ids), "image_id": image_id, **annotation(found, int(k))}
            self.objects.write(before + compact(row))

    def finish(self, file: TextIO) -> None:
        head = ",\n".join(f"{json.dumps(key)}: {compact(value)}" for key, value in _head(self._classes).items())
        file.write("{" + head + ',\n"images": [\n' + ",\n".join(self._images) + '],\n"annotations": [')
        self.objects.seek(0)
        shutil.copyfileobj(self.objects, file)
        file.write("]}\n")


@contextmanager
def _dataset(path: Path, classes: ClassMap) -> Iterator[_Dataset]:
    dataset = _Dataset(classes)
    with dataset.objects:
        yield dataset
        with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            dataset.finish(file)


def _free(wanted: int, taken: set[int]) -> int:
    """Take a number: the one wanted where it is positive and free, else the first free one after as many as are taken."""
    number = wanted
    if number < 1 or number in taken:
        number = len(taken) + 1
        while number in taken:
            number += 1
    taken.add(number)
    return number


def _head(classes: ClassMap) -> Row:
    rows = [row for row in zip(classes.ids, classes.names, classes.colours, strict=True) if row[0] != classes.background]
    return {
        "info": {"description": "written by maskwright", "version": "1.0"},
        "licenses": [],
        "categories": [{"id": i, "name": name, "supercategory": "", "color": list(colour)} for i, name, colour in rows],
    }


def _image_row(image_id: int, file_name: str, hw: tuple[int, int]) -> Row:
    return {"id": image_id, "file_name": file_name, "height": hw[0], "width": hw[1]}


def _runs(found: Instances, k: int) -> Row:
    return {"size": list(found.hw), "counts": found.masks[k].to_text()}


def _flat(ring: NDArray[np.float64]) -> list[float]:
    numbers = ring.ravel()
    whole = numbers.astype(np.int64)
    return [*whole.tolist()] if np.array_equal(whole, numbers) else [*numbers.tolist()]


def _short(value: np.float32) -> float:
    """The shortest decimal that is this 32-bit number: 0.9, not 0.8999999761581421."""
    return float(str(value))


def compact(row: object) -> str:
    """JSON in one line, without blanks."""
    return json.dumps(row, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
