"""Masks of classes, written from objects: what a network of classes learns from. Which object a pixel belonged to is lost.

    <folder>/<split>/images/<name>.<suffix>, <folder>/<split>/masks/<name>.png, <folder>/classes.yaml

Reading them is the matter of data/layouts.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from maskwright.annotations.drawn import AnnotatedImage, Remark
from maskwright.annotations.placing import NO_SPLIT, copy_image, image_file, place_of, with_ending
from maskwright.instances import Instances
from maskwright.io.write import write_mask, write_text


def write(folder: Path, images: Iterable[tuple[AnnotatedImage, Instances]], *, copy_images: bool = True) -> list[Remark]:
    """Paint the objects of each image onto a class map (Instances.to_labels) and write it; crowds become ignored pixels.

    Raises:
        InputError: the folder cannot be written.
    """
    remarks: list[Remark] = []
    classes = None
    for image, found in images:
        place = folder if image.split == NO_SPLIT else folder / image.split
        write_mask(place / "masks" / with_ending(place_of(image), ".png"), found.to_labels(), found.classes)
        if copy_images:
            remarks += copy_image(image, place / "images" / image_file(image))
        classes = found.classes
    if classes is not None:
        write_text(folder / "classes.yaml", classes.to_yaml())
    return remarks
