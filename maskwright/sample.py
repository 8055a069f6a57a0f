"""Sample: one image and its truth, in the types of an answer, so that scores compare like with like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.io.image import Image


@dataclass(frozen=True, eq=False)
class Sample:
    """An image, what is true about it, and where it belongs.

    Attributes:
        image: the picture, turned upright
        labels: (H, W) class ids, classes.ignore_id where nothing counts or nothing was measured; None where no truth is known
        classes: what the ids mean
        name: unique in its data set, shown in messages and reports
        group: patient, scene or drive; samples of one group never stand on both sides of a split
        instances: the objects, where the truth tells them apart; labels are then painted from them

    Raises:
        InputError: labels are not (H, W) integers of the image's size, or the objects are of another.
    """

    image: Image
    labels: NDArray[Any] | None
    classes: ClassMap
    name: str
    group: str | None = None
    instances: Instances | None = None

    def __post_init__(self) -> None:
        if self.instances is not None and tuple(self.instances.hw) != self.image.hw:
            found, expected = size(self.instances.hw), size(self.image.hw)
            raise InputError(f"{self.name}: its objects are on {found}, the image is {expected}; they must be alike.")
        if self.labels is None:
            return
        if self.labels.dtype.kind not in "iu" or self.labels.ndim != 2:
            raise InputError(
                f"{self.name}: labels are {self.labels.dtype} of the shape {self.labels.shape}; expected integers (H, W)."
            )
        if self.labels.shape != self.image.hw:
            found, expected = size(self.labels.shape), size(self.image.hw)
            raise InputError(f"{self.name}: labels are {found}, the image is {expected}; they must be alike.")
        if self.image.missing is not None:
            labels = np.where(self.image.missing, self.classes.ignore_id, self.labels).astype(self.classes.dtype)
            object.__setattr__(self, "labels", labels)

    @property
    def ignored_px(self) -> int:
        """Pixels that count nowhere; 0 without a truth."""
        return 0 if self.labels is None else int(np.count_nonzero(self.labels == self.classes.ignore_id))


def size(hw: tuple[int, ...]) -> str:
    """A size as people write it: width x height."""
    return f"{hw[1]}x{hw[0]}"
