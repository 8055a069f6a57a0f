"""Census: which values a set of masks holds, in how many masks and pixels, before anybody says what they mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import Colour, StoredValue
from maskwright.data.smear import solid
from maskwright.data.stored import stored_mask
from maskwright.errors import InputError
from maskwright.io.masks import pack, unpack

MOST_MASKS = 2000
WORKERS = 4
# A JPEG of colours holds thousands of values; the classes are among the most frequent.
MOST_VALUES = 512
# A main value fills this share of at least one mask and lies this far from every more frequent main value.
MAIN_SHARE, MAIN_APART, MAIN_APART_RGB = 0.01, 24, 64
# Index masks use low numbers one beside the other: only wider ranges can be smeared.
SMEAR_FROM, FEWEST_SMEARED, MOST_SMEARED = 85, 3, 0.2
MOST_SOLID, SOLID_SAMPLE = 0.05, 50


@dataclass(frozen=True)
class Tallied:
    """What one mask holds.

    Attributes:
        pixels: of each stored value
        lossy: the file is a JPEG or lossy WebP
        coloured: the values are colours
        palette: colour of each used index, empty where the file has no palette
    """

    pixels: Mapping[StoredValue, int]
    lossy: bool
    coloured: bool
    palette: Mapping[StoredValue, Colour]


@dataclass(frozen=True)
class Census:
    """The values of many masks.

    Attributes:
        name: the data set, for messages
        masks: one entry a mask that counts: the lossless ones where they are at least half, else the lossy ones
        pixels: of each value over these masks in ascending order, without smeared values
        coloured: the values are colours
    """

    name: str
    masks: tuple[Tallied, ...]
    pixels: Mapping[StoredValue, int]
    coloured: bool

    @property
    def files(self) -> int:
        return len(self.masks)

    def files_with(self, value: StoredValue) -> int:
        return sum(value in m.pixels for m in self.masks)

    def share_within(self, *sets: set[StoredValue]) -> float:
        """Share of the masks whose values all lie in one of the sets; smeared values do not count."""
        return sum(any(set(self.pixels) & set(m.pixels) <= s for s in sets) for m in self.masks) / len(self.masks)

    def palette_colours(self, values: Sequence[StoredValue]) -> tuple[Colour, ...] | None:
        """The palette's colours of these indices; None where one has none or two are alike."""
        found = {value: colour for m in self.masks for value, colour in m.palette.items()}
        colours = tuple(found[v] for v in values if v in found)
        return colours if len(set(colours)) == len(values) else None


def take_census(masks: Sequence[Path | NDArray[Any]], name: str) -> Census:
    """Read up to MOST_MASKS masks, evenly spread, and count their values; unreadable ones are left to the doctor.

    Raises:
        InputError: no mask can be read; the message holds the first one's reason.
    """
    chosen = [masks[k] for k in np.linspace(0, len(masks) - 1, min(len(masks), MOST_MASKS)).astype(int)]
    with ThreadPoolExecutor(WORKERS) as pool:
        answers = list(zip(chosen, pool.map(_tallied, chosen, [name] * len(chosen)), strict=True))
    read = [(source, found) for source, found in answers if isinstance(found, Tallied)]
    if not read:
        first = f"no mask can be read; the first: {answers[0][1]}" if answers else "there are no masks."
        raise InputError(f"{name}: {first}")
    lossy = 2 * sum(found.lossy for _, found in read) > len(read)
    read = [(source, found) for source, found in read if found.lossy == lossy]
    if _palettes_differ([found for _, found in read]):
        read = [(source, _by_palette(found)) for source, found in read]
    coloured = _are_colours([found for _, found in read])
    kept = [(source, found) for source, found in read if found.coloured == coloured or set(found.pixels) <= {0, 255}]
    tallied = tuple(_grey_as_colour(found) if coloured else found for _, found in kept)
    return Census(name, tallied, _main_values(tallied, [source for source, _ in kept], lossy, coloured), coloured)


def _tallied(source: Path | NDArray[Any], name: str) -> Tallied | InputError:
    try:
        mask = stored_mask(source, name)
    except InputError as error:
        return error
    counts = mask.counts
    palette: dict[StoredValue, Colour] = {}
    if mask.palette is not None:
        palette = {v: unpack(int(pack(mask.palette[v]))) for v in counts if isinstance(v, int) and v < len(mask.palette)}
    kept = counts if len(counts) <= MOST_VALUES or not mask.lossy else dict(Counter(counts).most_common(MOST_VALUES))
    return Tallied(kept, mask.lossy, mask.kind == "rgb", palette)


def _palettes_differ(masks: Sequence[Tallied]) -> bool:
    """One index, two colours: each file was given a palette of its own, and only the colours mean something."""
    found: dict[StoredValue, Colour] = {}
    return any(found.setdefault(v, colour) != colour for m in masks for v, colour in m.palette.items())


def _by_palette(mask: Tallied) -> Tallied:
    if not mask.palette:
        return mask
    return replace(mask, pixels={mask.palette.get(v, v): n for v, n in mask.pixels.items()}, coloured=True)


def _are_colours(masks: Sequence[Tallied]) -> bool:
    """More colour files than number files; files of 0 and 255 alone (an empty colour mask is grey) do not vote."""
    numbers = sum(not m.coloured and not set(m.pixels) <= {0, 255} for m in masks)
    return sum(m.coloured for m in masks) > numbers


def _grey_as_colour(mask: Tallied) -> Tallied:
    return replace(mask, pixels={(v, v, v) if isinstance(v, int) else v: n for v, n in mask.pixels.items()})


def _main_values(
    masks: Sequence[Tallied], sources: Sequence[Path | NDArray[Any]], lossy: bool, coloured: bool
) -> dict[StoredValue, int]:
    """Pixels of each value that may be a class: all of them, or the main ones where the others are smear."""
    total: Counter[StoredValue] = Counter()
    for mask in masks:
        total.update(mask.pixels)
    every = dict(sorted(total.items(), key=lambda item: str(item[0]) if coloured else item[0]))
    main = _peaks(masks, total, coloured)
    rest = set(total) - main
    smeared = lossy
    wide = coloured or any(isinstance(v, int) and v >= SMEAR_FROM for v in main)
    if not lossy and wide and len(rest) >= FEWEST_SMEARED:
        few = sum(total[v] for v in rest) <= MOST_SMEARED * total.total()
        smeared = few and _solid_share(sources, main, coloured) <= MOST_SOLID
    return {v: n for v, n in every.items() if v in main} if smeared else every


def _peaks(masks: Sequence[Tallied], total: Counter[StoredValue], coloured: bool) -> set[StoredValue]:
    large = {v for m in masks for v, n in m.pixels.items() if n >= MAIN_SHARE * sum(m.pixels.values())}
    apart = MAIN_APART_RGB if coloured else MAIN_APART
    main: list[StoredValue] = []
    for value, _ in total.most_common():
        if value in large and all(_distance(value, other) >= apart for other in main):
            main.append(value)
    return set(main)


def _distance(one: StoredValue, other: StoredValue) -> float:
    return float(np.linalg.norm(np.subtract(one, other)))


def _solid_share(sources: Sequence[Path | NDArray[Any]], main: set[StoredValue], coloured: bool) -> float:
    """Share of the pixels of other than main values that lie inside an area of their own value, over some of the masks."""
    inside, count = 0, 0
    for k in np.unique(np.linspace(0, len(sources) - 1, SOLID_SAMPLE).astype(int)):
        mask = stored_mask(sources[k], "")
        values = mask.values if mask.kind == "rgb" or not coloured else np.repeat(mask.values[..., None], 3, axis=2)
        numbers = pack(values) if coloured else values
        keys = [v if isinstance(v, int) else int(pack(np.array(v))) for v in main]
        rest = ~np.isin(numbers, keys)
        count += int(np.count_nonzero(rest))
        inside += int(np.count_nonzero(rest & solid(numbers)))
    return inside / count if count else 0.0
