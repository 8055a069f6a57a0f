"""What kind of images a graph is made for: their number type, channels and value range become constants of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maskwright.errors import InputError
from maskwright.io.image import Image
from maskwright.transforms import Preprocess

GRAPH_DTYPES = ("uint8", "uint16", "int16", "float32")
EXAMPLE_HW = (96, 72)  # free axes of different lengths


@dataclass(frozen=True)
class Pixels:
    """Of the images that an artefact takes: (H, W, channels) of dtype, whose values lie in value_range."""

    dtype: str
    channels: int
    value_range: tuple[float, float]

    def example(self) -> Tensor:
        """(2, H, W, C) zeros of the type, to trace a graph with."""
        return torch.from_numpy(np.zeros((2, *EXAMPLE_HW, self.channels), self.dtype))

    def __str__(self) -> str:
        return f"{self.dtype}, {self.channels} channels, values {self.value_range[0]:g} to {self.value_range[1]:g}"


def pixels_of(images: Iterable[Image], preprocess: Preprocess) -> Pixels:
    """The kind that all images are of.

    Raises:
        InputError: they are of several kinds, or of a number type that graphs do not take; the message names the image.
    """
    found: Pixels | None = None
    for image in images:
        # Where each image is scaled by its own values, the range of its type plays no part.
        values = image.value_range if preprocess.scaling == "range" else (0.0, 1.0)
        one = Pixels(image.pixels.dtype.name, image.channels, values)
        if one.dtype not in GRAPH_DTYPES:
            raise InputError(
                f"{image.path or image.name}: pixels of the type {one.dtype}; an exported graph takes {', '.join(GRAPH_DTYPES)}. "
                f"Convert the images, for example to float32."
            )
        if found is not None and one != found:
            raise InputError(
                f"{image.path or image.name}: {one}, but the images before it are {found}; one exported graph takes one kind. "
                f"Export with data of one kind."
            )
        found = one
    if found is None:
        raise InputError("there is no validation image to export for; give data with a validation split, or --split NAME.")
    return found
