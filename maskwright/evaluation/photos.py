"""Telling photos from masks: photos that are scored as masks give numbers that mean nothing."""

from __future__ import annotations

import numpy as np

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.io.masks import LabelReading, StoredMask

MOST = 0.5  # share of pixels without a class from which on a file is no mask
NEAR = 32  # JPEG moves the values of a mask by less, but for a few pixels along borders


def check_no_photo(mask: StoredMask, reading: LabelReading, classes: ClassMap) -> None:
    """Refuse a prediction most of whose pixels hold no value of a class; in JPEG and snapped colours, none near one.

    Raises:
        InputError: it is a photo, or a mask of other classes.
    """
    odd = sum(reading.unknown.values())
    if reading.snapped_px and (mask.lossy or mask.kind == "rgb"):
        odd = reading.snapped_px if _only_numbers(mask, classes) else far_px(mask, classes)
    share = odd / (mask.hw[0] * mask.hw[1])
    if share > MOST:
        raise InputError(
            f"{mask.path}: {share:.0%} of its pixels hold no value of a class, as in a photo; expected a mask of the class ids "
            f"{list(classes.ids)[:8]} or of what the truth's masks store. Give the folder of the predicted masks."
        )


def far_px(mask: StoredMask, classes: ClassMap) -> int:
    """Pixels that differ by more than NEAR, in some channel, from every stored value."""
    found = mask.tally.values
    points = np.stack([found >> 16 & 255, found >> 8 & 255, found & 255] if mask.kind == "rgb" else [found] * 3, axis=1)  # (D, 3)
    nearest = np.full(len(points), np.iinfo(np.int64).max)
    for values in (*classes.values, classes.ignore_values):
        for value in values:
            key = value if isinstance(value, tuple) else (value,) * 3
            nearest = np.minimum(nearest, np.abs(points - key).max(axis=1))
    return int(mask.tally.pixels[nearest > NEAR].sum())


def _only_numbers(mask: StoredMask, classes: ClassMap) -> bool:
    """The mask has colours, and no class has one."""
    return mask.kind == "rgb" and not any(isinstance(value, tuple) for values in classes.values for value in values)
