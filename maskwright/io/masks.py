"""Masks as people store them, to class ids.

Index PNG, palette PNG, RGB-coloured masks, 0/1, 0/255, TIFF of any integer type, and JPEG masks, whose smeared values go
to the nearest stored value. Everything is done once per *run* of equal values or by a table, never once per pixel in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap, Colour, StoredValue
from maskwright.errors import FormatError
from maskwright.io.read import decode

TABLE_SIZE = 65536


@dataclass(frozen=True, eq=False)
class StoredMask:
    """A mask file as it is, before anybody says what its values mean.

    Attributes:
        values: (H, W) int32 (int64 for unsigned 32-bit files), or (H, W, 3) uint8 for kind "rgb"
        kind: "index" (also RGB files whose channels are all equal), "palette" (values are indices) or "rgb"
        palette: (N, 3) uint8 for kind "palette", else None
        lossy: the file's compression may have changed values
        path: the file
        holds_ids: written by maskwright: values are class ids, whatever other masks store
    """

    values: NDArray[Any]
    kind: str
    palette: NDArray[np.uint8] | None
    lossy: bool
    path: Path
    holds_ids: bool = False

    @property
    def hw(self) -> tuple[int, int]:
        return self.values.shape[0], self.values.shape[1]

    @cached_property
    def tally(self) -> Tally:
        """The distinct stored values, how many pixels hold each, and the way back to the full size."""
        return _tally_of_numbers(self.values) if self.kind != "rgb" else _tally_of_runs(pack(self.values))

    @property
    def counts(self) -> dict[StoredValue, int]:
        """Pixels of each stored value, in ascending order: whole numbers, or (r, g, b) for kind "rgb"."""
        return {self.as_stored(v): int(n) for v, n in zip(self.tally.values, self.tally.pixels, strict=True)}

    def as_stored(self, value: int) -> StoredValue:
        """A value of the tally as people write it: (r, g, b) for kind "rgb"."""
        return unpack(value) if self.kind == "rgb" else int(value)


@dataclass(frozen=True, eq=False)
class Tally:
    """Distinct values of an array.

    Shapes:
        values: (D,) ascending; colours packed (see pack)
        pixels: (D,) how many pixels hold each
        spread: from one number for each distinct value, (D,), to the array with each pixel's number, (H, W)
    """

    values: NDArray[np.int64]
    pixels: NDArray[np.int64]
    spread: Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class LabelReading:
    """The class ids of a mask file, and what had to be done to get them.

    Attributes:
        labels: (H, W) class ids, in the type of the class map
        snapped_px: pixels whose value was no stored value of the class map and went to the nearest
        unknown: stored value -> pixels that stand for no class; labelled classes.ignore_id; empty when snapped
        lossy: the file's compression may have changed values
    """

    labels: NDArray[Any]
    snapped_px: int = 0
    unknown: dict[StoredValue, int] = field(default_factory=dict)
    lossy: bool = False


def read_mask(path: str | Path) -> StoredMask:
    """Read a mask file as it is.

    Raises:
        FormatError: what is not an image, is cut short, has 2 or 4 bands, or holds fractions.
    """
    path = Path(path)
    found = decode(path)
    values = found.pixels[..., 0] if found.pixels.ndim == 3 and found.pixels.shape[2] == 1 else found.pixels
    if values.ndim == 3 and values.shape[2] != 3:
        raise FormatError(f"{path}: a mask with {values.shape[2]} bands; expected one band of class values, or RGB colours.")
    if values.dtype.kind == "f":
        values = _whole(path, values)
    if values.ndim == 3:
        values = _eight_bit(path, values)
        first = values[..., 0]
        if not (np.array_equal(first, values[..., 1]) and np.array_equal(first, values[..., 2])):
            return StoredMask(values, "rgb", None, found.lossy, path)
        values = first
    values = values.astype(np.int32 if values.dtype.itemsize < 4 or values.dtype == np.int32 else np.int64)
    return StoredMask(values, "index" if found.palette is None else "palette", found.palette, found.lossy, path, found.holds_ids)


def read_labels(path: str | Path, classes: ClassMap, *, snap: bool = False) -> LabelReading:
    """Read a mask file as class ids.

    Lossy files (JPEG, lossy WebP) always go to the nearest stored value, in value or RGB distance; others only with snap.
    A palette file is read by index (stored values first, then class ids), or by its colours where the class map's values
    are colours; a grey value v also stands for the colour (v, v, v). A file that maskwright wrote is read by id.

    Raises:
        FormatError: see read_mask.
    """
    return labels_of(read_mask(path), classes, snap=snap)


def labels_of(mask: StoredMask, classes: ClassMap, *, snap: bool = False) -> LabelReading:
    """Class ids of a mask that has been read already; see read_labels."""
    ids = _match(mask, classes)
    odd = ids < 0
    labels_of = np.where(odd, classes.ignore_id, ids).astype(classes.dtype)
    if not odd.any():
        return LabelReading(mask.tally.spread(labels_of), lossy=mask.lossy)
    if snap or mask.lossy:
        labels_of[odd] = _nearest(mask, classes, odd)
        return LabelReading(mask.tally.spread(labels_of), int(mask.tally.pixels[odd].sum()), lossy=mask.lossy)
    unknown = {value: n for (value, n), is_odd in zip(mask.counts.items(), odd, strict=True) if is_odd}
    return LabelReading(mask.tally.spread(labels_of), unknown=unknown)


def pack(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """One whole number a colour: (..., 3) to (...), red in the highest byte, so that order and equality are one comparison."""
    wide = rgb.astype(np.int32)
    packed: NDArray[np.int32] = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
    return packed


def unpack(packed: int) -> Colour:
    """The colour of a number made by pack."""
    return int(packed) >> 16 & 255, int(packed) >> 8 & 255, int(packed) & 255


def _whole(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    """Floats that are whole numbers as integers: programs that save arrays often write 0.0 and 1.0."""
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64)
    odd = values[whole != values]
    if odd.size:
        raise FormatError(
            f"{path}: {odd.size} mask values are no whole numbers (such as {odd.flat[0]:.6g}); expected class values. "
            f"If they are probabilities, threshold them and save whole numbers."
        )
    return whole


def _eight_bit(path: Path, values: NDArray[Any]) -> NDArray[np.uint8]:
    """Colours with 8 bits; 16-bit files hold 8-bit colours times 257, or plainly."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16 and not (values % 257).any():
        return (values // 257).astype(np.uint8)
    if values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8)
    raise FormatError(f"{path}: a colour mask with values up to {values.max()}; expected 8-bit colours. Convert it to RGB PNG.")


def _tally_of_numbers(values: NDArray[Any]) -> Tally:
    """By a table, without sorting, where the values are small; labels nearly always are."""
    if values.min() < 0 or values.max() >= TABLE_SIZE:
        return _tally_of_runs(values)
    counts = np.bincount(values.ravel())
    found = np.flatnonzero(counts)

    def spread(numbers: NDArray[Any]) -> NDArray[Any]:
        table = np.zeros(len(counts), numbers.dtype)
        table[found] = numbers
        spread_out: NDArray[Any] = table[values]
        return spread_out

    return Tally(found, counts[found], spread)


def _tally_of_runs(values: NDArray[Any]) -> Tally:
    """By runs of equal pixels in reading order: a mask has far fewer of them than pixels, so that sorting is cheap."""
    flat = values.ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    lengths = np.diff(starts, append=flat.size)
    found, inverse = np.unique(flat[starts], return_inverse=True)
    pixels = np.bincount(inverse, weights=lengths).astype(np.int64)
    return Tally(found.astype(np.int64), pixels, lambda numbers: np.repeat(numbers[inverse], lengths).reshape(values.shape))


def _match(mask: StoredMask, classes: ClassMap) -> NDArray[np.int64]:
    """Class id (or ignore_id) of each distinct value of the mask; -1 where the class map has no such value."""
    numbers = mask.tally.values
    if mask.kind == "rgb":
        return _exact(_colour_keys(classes), numbers)
    by_id = _exact(_sorted({i: i for i in (*classes.ids, classes.ignore_id)}), numbers)
    if mask.holds_ids:
        return by_id
    ids = _exact(_number_keys(classes), numbers)
    # Palette indices cannot be smeared shades, so an index that is no stored value may be a class id.
    ids = np.where((ids < 0) & (mask.kind == "palette"), by_id, ids)
    if not _holds_colours(classes):
        return ids
    by_colour = _exact(_colour_keys(classes), _colours_of(mask))
    return np.where(by_colour >= 0, by_colour, ids)


def _nearest(mask: StoredMask, classes: ClassMap, odd: NDArray[np.bool]) -> NDArray[np.int64]:
    """Ids for those distinct values that match nothing: the nearest stored value, the lower one where two are as near."""
    if mask.kind != "rgb" and not _holds_colours(classes):
        keys, ids = _number_keys(classes)
        return ids[np.searchsorted((keys[1:] + keys[:-1]) / 2, mask.tally.values[odd])]
    keys, ids = _colour_keys(classes)
    points = _channels(_colours_of(mask)[odd])  # (D, 3)
    best = np.full(len(points), np.iinfo(np.int64).max)
    nearest = np.zeros(len(points), np.int64)
    for key, class_id in zip(_channels(keys), ids, strict=True):
        distance = ((points - key) ** 2).sum(axis=1)
        closer = distance < best
        best[closer], nearest[closer] = distance[closer], class_id
    return nearest


def _exact(table: tuple[NDArray[np.int64], NDArray[np.int64]], values: NDArray[np.int64]) -> NDArray[np.int64]:
    keys, ids = table
    place = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    return np.where(keys[place] == values, ids[place], -1)


def _stored_ids(classes: ClassMap) -> list[tuple[StoredValue, int]]:
    rows = zip((*classes.ids, classes.ignore_id), (*classes.values, classes.ignore_values), strict=True)
    return [(value, class_id) for class_id, values in rows for value in values]


def _number_keys(classes: ClassMap) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stored numbers in ascending order and their ids; a grey colour (v, v, v) also counts as the number v."""
    stored = _stored_ids(classes)
    pairs = {v[0]: i for v, i in stored if isinstance(v, tuple) and len(set(v)) == 1}
    pairs |= {v: i for v, i in stored if isinstance(v, int)}
    return _sorted(pairs)


def _colour_keys(classes: ClassMap) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stored colours, packed, in ascending order and their ids; a number v in 0..255 also counts as the grey (v, v, v)."""
    stored = _stored_ids(classes)
    pairs = {v * 0x010101: i for v, i in stored if isinstance(v, int) and 0 <= v <= 255}
    pairs |= {v[0] << 16 | v[1] << 8 | v[2]: i for v, i in stored if isinstance(v, tuple)}
    return _sorted(pairs)


def _sorted(pairs: dict[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    # A map without a value of this kind matches nothing: no mask holds the key -2.
    keys = sorted(pairs) or [-2]
    return np.array(keys, np.int64), np.array([pairs.get(k, -1) for k in keys], np.int64)


def _holds_colours(classes: ClassMap) -> bool:
    return any(isinstance(v, tuple) for values in classes.values for v in values)


def _colours_of(mask: StoredMask) -> NDArray[np.int64]:
    """The packed colour of each distinct value: the palette's, or the grey of that number (-1 where there is none)."""
    values = mask.tally.values
    if mask.kind == "rgb":
        return values
    if mask.palette is not None:
        return pack(mask.palette)[values].astype(np.int64)
    return np.where((values >= 0) & (values <= 255), values * 0x010101, -1)


def _channels(packed: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1)
