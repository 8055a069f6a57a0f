"""Colours: label maps and values to RGB, palettes."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from maskwright.classes import ClassMap, Colour

# The colour PASCAL VOC gives its void label, known from every other tool.
IGNORED_COLOUR: Colour = (224, 224, 192)
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)


def palette_of(classes: ClassMap) -> NDArray[np.uint8]:
    """The colour of each label as a table to index with labels; labels that mean nothing are black.

    Shapes:
        returns: (256, 3) uint8, or (65536, 3) where ids go beyond 255
    """
    table = np.zeros((256 if classes.dtype == np.uint8 else 65536, 3), np.uint8)
    table[classes.ignore_id] = IGNORED_COLOUR
    table[list(classes.ids)] = classes.colours
    return table


def colour_labels(labels: NDArray[Any], classes: ClassMap) -> NDArray[np.uint8]:
    """Each pixel in the colour of its class.

    Shapes:
        labels: (H, W) integer ids known to classes, or classes.ignore_id
        returns: (H, W, 3) uint8
    """
    return spread(palette_of(classes), labels)


def spread(table: NDArray[np.uint8], labels: NDArray[Any]) -> NDArray[np.uint8]:
    """table[labels] for a table of colours, several times quicker than indexing.

    Shapes:
        table: (N, 3) uint8
        labels: (H, W) integers in [0, N)
        returns: (H, W, 3) uint8
    """
    if len(table) == 256 and labels.dtype == np.uint8:
        picture = PIL.Image.fromarray(np.ascontiguousarray(labels), "P")
        picture.putpalette(table.tobytes())
        return np.array(picture.convert("RGB"))
    quads = np.zeros((len(table), 4), np.uint8)
    quads[:, :3] = table
    packed = quads.view(np.uint32)[:, 0].take(labels)  # (H, W)
    return np.ascontiguousarray(packed.view(np.uint8).reshape(*labels.shape, 4)[..., :3])


def heat(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Black over red and orange to pale yellow, yellow for the greatest value; all black where all values are 0.

    Shapes:
        values: (H, W), 0 or more
        returns: (H, W, 3) uint8
    """
    steps = (values / max(float(values.max()), 1e-12) * 255).astype(np.uint8)
    knots = np.array([(0, 0, 0), (128, 0, 38), (227, 26, 28), (253, 141, 60), (255, 255, 204)])
    at = np.linspace(0, 255, len(knots))
    table = np.stack([np.interp(np.arange(256), at, knots[:, c]) for c in range(3)], axis=1)
    return spread(table.astype(np.uint8), steps)
