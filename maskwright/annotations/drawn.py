"""What annotation files hold, before it becomes pixels: objects as they were drawn, images, and the set they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import FormatError
from maskwright.ops.polygons import fill, fill_coco
from maskwright.ops.rle import Rle

EVEN_ODD, COCO = "even-odd", "coco"
UNREADABLE = "unreadable"  # the code of remarks about files that cannot be read at all


@dataclass(frozen=True)
class Remark:
    """Something about annotations that a person should know.

    Attributes:
        code: one of the kinds of the mask doctor, as "two-points"
        text: one sentence: which file and object, what was found, the way out
        image: name of the image it is about, "" for the set as a whole
        path: the file that says so
    """

    code: str
    text: str
    image: str = ""
    path: Path | None = None


@dataclass(frozen=True, eq=False)
class Drawn:
    """One object as its file holds it: by polygons or by runs.

    Attributes:
        class_id: of the set's class map
        rings: polygons (n, 2) x and y in pixels, as they were drawn
        rle: the mask where the file holds pixels; then rings are empty
        rule: how rings become pixels: "even-odd" (this project's rule) or "coco"
        box_xyxy: the box that the file states, in pixels, half open; None where it states none
        crowd: one mask for many objects
        id: the file's own number of the object in its image, None where it has none
        score: in [0, 1], where the file holds answers; None where it states none
        area_px: what the file states as its area, which need not be the pixels of its mask; None where it states none
        where: the object's place in its file, for messages: "annotation 17", "line 3"
    """

    class_id: int
    rings: tuple[NDArray[np.float64], ...] = ()
    rle: Rle | None = None
    rule: str = EVEN_ODD
    box_xyxy: tuple[float, float, float, float] | None = None
    crowd: bool = False
    id: int | None = None
    where: str = ""
    score: float | None = None
    area_px: float | None = None

    def mask(self, hw: tuple[int, int]) -> Rle:
        """What the object covers on an image of this size.

        Raises:
            FormatError: the file's mask is of another size.
        """
        if self.rle is None:
            return fill_coco(self.rings, hw) if self.rule == COCO else fill(self.rings, hw)
        if self.rle.hw != hw:
            found = f"{self.rle.hw[1]}x{self.rle.hw[0]}"
            raise FormatError(f"{self.where}: its mask is {found}, the image is {hw[1]}x{hw[0]}; they must be alike.")
        return self.rle


@dataclass(frozen=True)
class AnnotatedImage:
    """One image that annotations speak of.

    Attributes:
        name: unique in the set: the stem of the file's name, with folders before it where stems come twice
        path: the image file; None where it is not on disk
        hw: the size that the annotations state; None where they state none
        split: "train", "val", "test" or "all"
        file: the file that holds its annotations
        listed: the image's name as the annotations write it
    """

    name: str
    path: Path | None
    hw: tuple[int, int] | None
    split: str = "all"
    file: Path | None = None
    listed: str = ""


@dataclass(frozen=True, eq=False)
class Annotations:
    """A folder's images with their objects; the objects of an image are read only when they are asked for.

    Attributes:
        format: key of FORMATS, as "coco"
        root: the folder, or the annotation file that was given
        line: one line for people: which files were taken for what, and why
        classes: background 0 and one class a kind of object
        images: in the order of their names
        objects: position in images -> the objects of that image, in the file's order, and what is to be said of them. An object
            that cannot be used (a polygon of two points) is left out, and a remark says so
        remarks: what is to be said of the set as a whole: images listed twice, categories that do not exist, images not on disk
    """

    format: str
    root: Path
    line: str
    classes: ClassMap
    images: tuple[AnnotatedImage, ...]
    objects: Callable[[int], tuple[list[Drawn], list[Remark]]]
    remarks: tuple[Remark, ...] = field(default=())
