"""What every writer of annotations does alike: where an image goes, its copy, and which objects a format holds."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.drawn import AnnotatedImage, Remark
from maskwright.instances import Instances
from maskwright.io.read import IMAGE_SUFFIXES
from maskwright.io.write import atomic

NO_SPLIT = "all"


def place_of(image: AnnotatedImage) -> PurePosixPath:
    """The image's name as a relative path without a suffix; it never leads out of the folder that it is joined to."""
    parts = [part for part in image.name.replace("\\", "/").split("/") if part not in ("", ".")]
    return PurePosixPath(*("_" if part == ".." else part for part in parts or ["image"]))


def with_ending(place: PurePosixPath, ending: str) -> PurePosixPath:
    """The path with an ending behind it; dots that belong to the name stay."""
    return place.with_name(place.name + ending)


def image_file(image: AnnotatedImage) -> PurePosixPath:
    """place_of with the suffix of the image's own file, or of the name that its annotations give it."""
    stated = PurePosixPath(image.listed.replace("\\", "/")).suffix
    suffix = image.path.suffix if image.path else stated if stated.lower() in IMAGE_SUFFIXES else ".png"
    return with_ending(place_of(image), suffix)


def copy_image(image: AnnotatedImage, to: Path) -> list[Remark]:
    """Copy the image's file as it is; a remark where it cannot be read. Of one that is not on disk its reader has told.

    Raises:
        InputError: the disk is full or the place may not be written.
    """
    if image.path is None:
        return []
    try:
        source = image.path.open("rb")
    except OSError as error:
        text = f"{image.path}: the image cannot be read ({error.strerror or error}), so only its annotations are written."
        return [Remark("image-not-on-disk", text, image.name, image.path)]
    with source, atomic(to) as temporary, temporary.open("wb") as copy:
        shutil.copyfileobj(source, copy)
    return []


def holdable(
    image: AnnotatedImage, found: Instances, target: str, *, scores: bool = False, crowds: bool = False
) -> tuple[NDArray[np.int64], list[Remark]]:
    """Positions of the objects that a format holds, and a remark for each thing that it does not.

    Empty masks are left out everywhere, crowds where the format has no word for them: as ordinary objects they would be wrong.

    Args:
        target: name of the format, for the sentences
        scores, crowds: whether the format holds them
    """
    empty = found.areas_px == 0
    left_out = empty if crowds else empty | found.crowds
    remarks = []
    for k in range(len(found)):
        what = f"{image.name}: object {found.all_ids[k]} ({found.names[k]})"
        if empty[k]:
            remarks.append(Remark("zero-area", f"{what} covers no pixel and is not written.", image.name, image.file))
        elif left_out[k]:
            text = f"{what} is a crowd, {target} has no word for that; it is not written."
            remarks.append(Remark("crowds-lost", text, image.name, image.file))
        elif found.scores is not None and not scores:
            text = f"{what}: its score {found.scores[k]:.3g} is not written, {target} holds none."
            remarks.append(Remark("scores-lost", text, image.name, image.file))
    return np.flatnonzero(~left_out), remarks
