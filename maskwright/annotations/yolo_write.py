"""YOLO segmentation labels: a line an object, its class and one ring in shares of the image's width and height.

    <folder>/data.yaml                       names of the classes, folders of the splits
    <folder>/images/<split>/<name>.<suffix>  the images; without a split images/<name>.<suffix>
    <folder>/labels/<split>/<name>.txt       empty where the image has no objects

Source: the documentation of Ultralytics YOLO, "Instance Segmentation Datasets". Differs: a line holds one ring only, so parts and
holes are joined by bridges walked there and back (ops/tracing.joined), which cancel under the even-odd rule. Classes are
numbered from 0 on in the order of the class map, without its background.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from maskwright.annotations.drawn import AnnotatedImage, Remark
from maskwright.annotations.placing import NO_SPLIT, copy_image, holdable, image_file, place_of, with_ending
from maskwright.classes import ClassMap
from maskwright.instances import Instances
from maskwright.io.write import write_text
from maskwright.ops.polygons import Ring, fill
from maskwright.ops.tracing import joined, polygons

# Six decimals tell a tenth of a pixel on 100,000; the others are for vertices that were drawn close to pixel centres.
DECIMALS = (6, 9, 17)


def write(folder: Path, images: Iterable[tuple[AnnotatedImage, Instances]], *, copy_images: bool = True) -> list[Remark]:
    """Write images, labels and data.yaml; crowds, scores and empty masks, which YOLO cannot hold, come back as remarks.

    Raises:
        InputError: the folder cannot be written.
    """
    remarks: list[Remark] = []
    splits: set[str] = set()
    classes: ClassMap | None = None
    for image, found in images:
        classes = found.classes
        splits.add(image.split)
        below = "" if image.split == NO_SPLIT else image.split
        kept, lost = holdable(image, found, "YOLO")
        remarks += lost
        write_text(folder / "labels" / below / with_ending(place_of(image), ".txt"), text(found.select(kept)))
        if copy_images:
            remarks += copy_image(image, folder / "images" / below / image_file(image))
    if classes is not None:
        write_text(folder / "data.yaml", data_yaml(classes, splits))
    return remarks


def data_yaml(classes: ClassMap, splits: Iterable[str]) -> str:
    """The text of data.yaml; a set without splits names none, for its owner to choose."""
    names = [name for i, name in zip(classes.ids, classes.names, strict=True) if i != classes.background]
    folders = {split: f"images/{split}" for split in sorted(splits) if split != NO_SPLIT}
    rows = {"path": ".", **folders, "nc": len(names), "names": dict(enumerate(names))}
    return yaml.safe_dump(rows, sort_keys=False, allow_unicode=True, width=200)


def text(found: Instances) -> str:
    """The label file of one image, a line an object; objects must not be empty."""
    order = [i for i in found.classes.ids if i != found.classes.background]
    return "".join(f"{order.index(int(i))} {_numbers(found, k)}\n" for k, i in enumerate(found.class_ids))


def _numbers(found: Instances, k: int) -> str:
    """The ring of object k in as few digits as read back to the very mask: as it was drawn, else along pixel edges."""
    drawn = [ring for ring in found.rings[k] if len(ring) >= 3]
    candidates = [joined([(drawn[0], drawn[1:])])] if drawn and all(_inside(ring, found.hw) for ring in drawn) else []
    traced = joined(polygons(found.masks[k]))
    scale = np.array(found.hw[::-1], np.float64)
    for ring in (*candidates, traced):
        for decimals in DECIMALS:
            shares = _in_words(ring / scale, decimals)
            read_back = np.array(shares.split(), np.float64).reshape(-1, 2) * scale
            if fill([read_back], found.hw) == found.masks[k]:
                return shares
    raise AssertionError("a ring along pixel edges gives its mask back")


def _inside(ring: Ring, hw: tuple[int, int]) -> bool:
    """Whether no vertex is outside the image: YOLO's own reader refuses shares beyond 0 and 1."""
    return bool(ring.min() >= 0 and (ring <= np.array(hw[::-1])).all())


def _in_words(shares: NDArray[np.float64], decimals: int) -> str:
    return " ".join(f"{share:.{decimals}f}".rstrip("0").rstrip(".") for share in shares.ravel())
