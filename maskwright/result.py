"""Segmentation: the answer for one image, at that image's own size, with the pictures and files made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.io.image import Image
from maskwright.io.write import atomic, write_mask, write_png
from maskwright.ops import draw
from maskwright.ops.colour import colour_labels, heat

SUFFIXES = {"png": ".png", "tiff": ".tif"}


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Which class each pixel belongs to.

    Attributes:
        labels: (H, W) integer class ids of `classes`, or classes.ignore_id
        classes: what the ids mean
        image: the picture this answers, same H and W
        confidence: (H, W) float32 in [0, 1], the probability of the chosen class, on request
        probs: (K, H, W) float32 in [0, 1], channel order of `classes`, on request
        uncertainty: (H, W) float32, how much the class probabilities vary over passes with dropout, where there were any
        name: stem of the files that save() writes; default: the image's name

    Raises:
        InputError: sizes differ, labels are no integers, or an id is not in the class map.
    """

    labels: NDArray[Any]
    classes: ClassMap
    image: Image | None = None
    confidence: NDArray[np.float32] | None = None
    probs: NDArray[np.float32] | None = None
    name: str = ""
    uncertainty: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.image.name if self.image else "image")
        if self.labels.dtype.kind not in "iu" or self.labels.ndim != 2 or not self.labels.size:
            raise InputError(
                f"{self.name}: labels are {self.labels.dtype} of the shape {self.labels.shape}; expected integers (H, W)."
            )
        hw = self.labels.shape
        expected = {
            "image": (self.image and self.image.hw, hw),
            "confidence": (self.confidence is not None and self.confidence.shape, hw),
            "uncertainty": (self.uncertainty is not None and self.uncertainty.shape, hw),
            "probs": (self.probs is not None and self.probs.shape, (len(self.classes), *hw)),
        }
        for what, (found, shape) in expected.items():
            if found and found != shape:
                raise InputError(f"{self.name}: {what} has the shape {found}; labels of {hw} need {shape}.")
        unknown = sorted(set(self._counts()) - {*self.classes.ids, self.classes.ignore_id})
        if unknown:
            raise InputError(
                f"{self.name}: label ids {unknown[:8]} are not in the class map "
                f"(known: {self.classes.ids}, ignore: {self.classes.ignore_id}). Give the class map these labels were made with."
            )

    def _counts(self) -> dict[int, int]:
        lowest, highest = int(self.labels.min()), int(self.labels.max())
        if lowest < 0 or highest > 65535:
            return {lowest: 0, highest: 0}
        counts = np.bincount(self.labels.ravel())
        return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}

    def areas(self) -> dict[str, int]:
        """Pixels of each class by name, 0 where it was not found; ignored pixels are left out."""
        counts = self._counts()
        return {name: counts.get(i, 0) for i, name in zip(self.classes.ids, self.classes.names, strict=True)}

    def colour(self) -> NDArray[np.uint8]:
        """The labels in the colours of their classes, (H, W, 3) uint8."""
        return colour_labels(self.labels, self.classes)

    def overlay(self, image: Image | NDArray[Any] | None = None, alpha: float = 0.5, legend: bool = True) -> NDArray[np.uint8]:
        """The labels drawn over the picture: tinted areas, solid contours, ignored pixels hatched, a legend below.

        Shapes:
            image: another picture of the same H and W to draw on; default: the one this answers
            returns: (H, W, 3) uint8 without a legend; with it, higher by the legend and enlarged where text would not fit

        Raises:
            InputError: there is no picture to draw on, or its size differs.
        """
        ground = self.image if image is None else image
        if ground is None:
            raise InputError(f"{self.name}: an overlay needs a picture; give one, or use colour() for the labels alone.")
        ground = ground if isinstance(ground, Image) else Image.from_array(ground)
        if ground.hw != self.labels.shape:
            raise InputError(f"{self.name}: the picture is {ground.hw}, the labels are {self.labels.shape}; they must be alike.")
        picture = draw.overlay(ground.to_uint8(), self.labels, self.classes, alpha=alpha)
        return draw.with_legend(picture, self.classes, present=tuple(self._counts())) if legend else picture

    def save(self, folder: str | Path, *, overlay: bool = False, probabilities: bool = False) -> list[Path]:
        """Write the labels (and more on request) into folder; each file is complete or not there.

        Files:
            <name>.png, or <name>.tif for an answer to a TIFF: class ids, with the class colours as palette
            <name>_overlay.png: the overlay with its legend
            <name>_probs.npy: float16 (K, H, W)
            <name>_uncertainty.png: where the answer has one: black to yellow, yellow for the least certain pixel of the image

        Raises:
            InputError: probabilities are wanted but were not kept, or a file cannot be written.
        """
        if probabilities and self.probs is None:
            raise InputError(f"{self.name}: no probabilities were kept; ask for them when predicting.")
        container = self.image.container if self.image else "png"
        written = [Path(folder) / f"{self.name}{SUFFIXES[container]}"]
        write_mask(written[0], self.labels, self.classes, container)
        if overlay:
            written.append(Path(folder) / f"{self.name}_overlay.png")
            write_png(written[-1], self.overlay())
        if self.uncertainty is not None:
            written.append(Path(folder) / f"{self.name}_uncertainty.png")
            write_png(written[-1], heat(self.uncertainty))
        if probabilities and self.probs is not None:
            written.append(Path(folder) / f"{self.name}_probs.npy")
            with atomic(written[-1]) as temporary:
                np.save(temporary, self.probs.astype(np.float16), allow_pickle=False)
        return written
