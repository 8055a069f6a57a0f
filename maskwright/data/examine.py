"""The doctor's look at one pair: can it be read, do the sizes agree, does every value of the mask have a class?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from maskwright.classes import StoredValue
from maskwright.data import orientation
from maskwright.data.dataset import Dataset, Pair
from maskwright.data.duplicates import Look, look_at
from maskwright.data.examine_objects import of_objects
from maskwright.data.findings import ERROR, WARNING, Finding, finding
from maskwright.data.smear import ANTI_ALIASED, SMEARED, UNKNOWN, kind_of_unknown, least_apart
from maskwright.data.stored import stored_mask
from maskwright.data.wording import shown, shown_values, size_difference, unknown_text
from maskwright.errors import InputError
from maskwright.io.image import Image
from maskwright.io.masks import LabelReading, StoredMask, labels_of
from maskwright.io.read import read_image
from maskwright.sample import size

# JPEG moves values by about this much: ids such as 0, 1, 2 do not survive it.
JPEG_APART = 16
_SMEAR_TEXT = {
    ANTI_ALIASED: "lie only on the edges between classes: the mask was smoothed or resized. Export it without smoothing, list "
    "the values in a classes.yaml if they mean something",
    SMEARED: "are scattered around those of the classes: the mask was once a JPEG or resized with smoothing. Save it anew",
}


@dataclass(frozen=True, eq=False)
class Examined:
    """One pair as the doctor saw it.

    Attributes:
        pair: the pair
        findings: what is wrong with it
        pixels: of each class id and of ignore_id; empty where the mask cannot be counted
        look: for the search for duplicates; None where the image cannot be read
        objects: how many of each class id; empty where the truth does not tell objects apart
    """

    pair: Pair
    findings: tuple[Finding, ...]
    pixels: Mapping[int, int] = field(default_factory=dict)
    look: Look | None = None
    objects: Mapping[int, int] = field(default_factory=dict)


def examine(dataset: Dataset, pair: Pair) -> Examined:
    """Read a pair and say what is wrong with it."""
    findings: list[Finding] = []
    image, mask = None, None
    try:
        image = read_image(pair.image)
    except InputError as error:
        findings.append(_unreadable(pair.image, error, pair))
    if dataset.annotations is not None:
        said, pixels, objects = of_objects(dataset.annotations, pair, image)
        return Examined(pair, (*findings, *said), pixels, look_at(image) if image is not None else None, objects)
    if pair.mask is None:
        text = f"{shown(pair.image, pair.name, 'image')}: no mask has the name {pair.name!r}."
        way_out = "Add it, or leave the image out with --skip-bad."
        findings.append(finding("missing-mask", _file(pair.image), pair.name, f"{text} {way_out}", pair.name))
    else:
        try:
            mask = stored_mask(pair.mask, pair.name, dataset.classes)
        except InputError as error:
            findings.append(_unreadable(pair.mask, error, pair))
    look = look_at(image) if image is not None else None
    if mask is None:
        return Examined(pair, tuple(findings), look=look)
    reading = labels_of(mask, dataset.classes, snap=dataset.snap)
    if image is not None:
        findings += _placement(pair, image, mask, reading)
    findings += _values(dataset, pair, mask, reading)
    table = np.bincount(reading.labels.ravel())
    pixels = {int(i): int(table[i]) for i in np.flatnonzero(table)}
    findings += _emptiness(dataset, pair, pixels, reading)
    return Examined(pair, tuple(findings), pixels, look)


def _file(source: object) -> Path | None:
    return source if isinstance(source, Path) else None


def _unreadable(source: object, error: InputError, pair: Pair) -> Finding:
    file = _file(source)
    value = f"{file.stat().st_size} bytes" if file is not None and file.is_file() else ""
    return finding("unreadable", file, value, str(error), pair.name)


def _placement(pair: Pair, image: Image, mask: StoredMask, reading: LabelReading) -> list[Finding]:
    """Size and orientation of the mask against its image."""
    name, file = shown(pair.mask, pair.name), _file(pair.mask)
    sizes = f"{size(mask.hw)}, image {size(image.hw)}"
    if mask.hw != image.hw:
        code = "orientation-mismatch" if mask.hw == image.hw[::-1] else "size-mismatch"
        return [finding(code, file, sizes, f"{name}: {size_difference(mask.hw, image)}", pair.name)]
    fit = orientation.fit_of(image, reading.labels)
    if fit == orientation.FITS:
        return []
    value = f"EXIF orientation {image.orientation}"
    turned = f"{name}: its image is turned by {value}, and the mask"
    if fit == orientation.TURNED:
        text = f"{turned} fits the picture as stored, not as displayed. Turn the mask, or save the image upright without the tag."
        return [finding("orientation-mismatch", file, value, text, pair.name)]
    text = f"{turned} may have been drawn on the picture as stored. See the contact sheet: where it lies wrong, turn it."
    return [finding("orientation-mismatch", file, value, text, pair.name, WARNING)]


def _values(dataset: Dataset, pair: Pair, mask: StoredMask, reading: LabelReading) -> list[Finding]:
    """Values that no class has, and those that were moved to the nearest."""
    name, file = shown(pair.mask, pair.name), _file(pair.mask)
    if reading.lossy and reading.snapped_px:
        odd = labels_of(replace(mask, lossy=False), dataset.classes).unknown
        share = 100 * reading.snapped_px / reading.labels.size
        text = (
            f"{name}: a JPEG mask; {reading.snapped_px} pixels ({share:.1f} %) hold values of no class ({_span(odd)}) and went "
            f"to the nearest."
        )
        known = [v for values in (*dataset.classes.values, dataset.classes.ignore_values) for v in values]
        if least_apart(known) >= JPEG_APART:
            return [finding("jpeg-mask", file, _span(odd), f"{text} Save masks as PNG to have them exact.", pair.name)]
        text = f"{text} JPEG cannot keep values as close as those of the classes ({shown_values(known)}). Save the masks as PNG."
        return [finding("jpeg-mask", file, _span(odd), text, pair.name, ERROR)]
    unknown = reading.unknown or (labels_of(mask, dataset.classes).unknown if reading.snapped_px else {})
    if not unknown:
        return []
    kind = kind_of_unknown(mask, unknown)
    value = shown_values(list(unknown))
    if kind == UNKNOWN and not reading.snapped_px:
        return [finding(kind, file, value, f"{name}: {unknown_text(unknown, dataset.classes)}", pair.name)]
    what = _SMEAR_TEXT.get(kind, "are in no class. List them in a classes.yaml")
    snapped = reading.snapped_px > 0
    end = ". They went to the nearest class (--snap)." if snapped else ", or take the nearest class with --snap."
    text = f"{name}: values {value} ({sum(unknown.values())} pixels) {what}{end}"
    return [finding(kind, file, value, text, pair.name, WARNING if snapped else None)]


def _span(values: Mapping[StoredValue, int]) -> str:
    numbers = [v for v in values if isinstance(v, int)]
    return f"{min(numbers)}..{max(numbers)}" if numbers else f"{len(values)} colours"


def _emptiness(dataset: Dataset, pair: Pair, pixels: Mapping[int, int], reading: LabelReading) -> list[Finding]:
    name, file = shown(pair.mask, pair.name), _file(pair.mask)
    only = next(iter(pixels)) if len(pixels) == 1 and not reading.unknown else None
    if only == dataset.classes.ignore_id:
        text = f"{name}: every pixel is ignored; nothing can be learned from it. Draw the mask or leave the image out."
        return [finding("all-ignored", file, shown_values(dataset.classes.ignore_values), text, pair.name)]
    if only is not None and only == dataset.classes.background:
        value = dataset.classes.name_of(only)
        text = f"{name}: every pixel is {value}. Fine if nothing is there to be found; else the mask is missing."
        return [finding("all-background", file, value, text, pair.name)]
    return []
