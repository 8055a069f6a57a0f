"""How counts, values, folders, splits and mismatches are written in messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from maskwright.classes import ClassMap, StoredValue
from maskwright.io.image import Image
from maskwright.sample import size

SHOWN_VALUES = 8
SHOWN_FOLDERS = 6
SPLIT_ORDER = ("train", "inner", "val", "test", "held-out")


def counted(count: int, word: str) -> str:
    """ "1 image", "2 images"."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def splits_text(splits: Sequence[str]) -> str:
    """ "396 train, 70 val", or "24 pairs, no split"."""
    counts = Counter(splits)
    if set(counts) == {"all"}:
        return f"{counted(len(splits), 'pair')}, no split"
    order = sorted(counts, key=lambda s: (SPLIT_ORDER.index(s) if s in SPLIT_ORDER else len(SPLIT_ORDER), s))
    return ", ".join(f"{counts[s]} {s}" for s in order)


def folders_text(files: list[Path], root: Path) -> str:
    """The folders that hold these files, for messages: at most SHOWN_FOLDERS, with their counts."""
    counts: dict[str, int] = {}
    for path in files:
        folder = path.parent.relative_to(root).as_posix()
        counts[folder] = counts.get(folder, 0) + 1
    shown = [f"{folder if folder != '.' else root.name}/ ({count})" for folder, count in sorted(counts.items())]
    return ", ".join(shown[:SHOWN_FOLDERS]) + (f" and {len(shown) - SHOWN_FOLDERS} more" if len(shown) > SHOWN_FOLDERS else "")


def shown(source: Path | NDArray[Any] | None, name: str, what: str = "mask") -> str:
    """How messages call a mask or an image: its path, or the pair's name for an array."""
    return str(source) if isinstance(source, Path) else f"{what} of {name}"


def shown_values(values: Sequence[StoredValue]) -> str:
    """Values in messages: [0, 7], ranges where they are many: [0..11], and never more than eight."""
    numbers = sorted(v for v in values if isinstance(v, int))
    colours = [str(v) for v in values if isinstance(v, tuple)]
    parts = colours if colours else [str(v) for v in numbers]
    if not colours and len(numbers) > 3:
        parts = _ranges(numbers)
    more = f", and {len(parts) - SHOWN_VALUES} more" if len(parts) > SHOWN_VALUES else ""
    return f"[{', '.join(parts[:SHOWN_VALUES])}{more}]"


def _ranges(numbers: Sequence[int]) -> list[str]:
    parts, start = [], 0
    for k in range(1, len(numbers) + 1):
        if k == len(numbers) or numbers[k] != numbers[k - 1] + 1:
            first, last = numbers[start], numbers[k - 1]
            parts.append(str(first) if first == last else f"{first}, {last}" if last == first + 1 else f"{first}..{last}")
            start = k
    return parts


def size_difference(mask_hw: tuple[int, int], image: Image) -> str:
    """What to say about a mask that is not of its image's size."""
    sizes = f"the mask is {size(mask_hw)}, its image {size(image.hw)}"
    if mask_hw == image.hw[::-1] and image.orientation >= 5:
        return (
            f"{sizes} after turning it as its EXIF orientation ({image.orientation}) says; the mask was drawn on the picture "
            f"as stored. Turn the mask, or save the image without the orientation tag."
        )
    if mask_hw == image.hw[::-1]:
        return f"{sizes}: height and width are exchanged. Turn the mask as the image is turned."
    return f"{sizes}; they must be alike. Export the mask again at the image's size, without smoothing."


def unknown_text(unknown: Mapping[StoredValue, int], classes: ClassMap) -> str:
    """What to say about values that no class has."""
    known = [v for values in classes.values for v in values]
    ignored = f", ignored: {shown_values(classes.ignore_values)}" if classes.ignore_values else ""
    return (
        f"values {shown_values(list(unknown))} are not in the class map (known: {shown_values(known)}{ignored}); "
        f"{counted(sum(unknown.values()), 'pixel')} hold them. Add them to the classes or the ignore_values of a classes.yaml "
        f"(--classes), or move them to the nearest known value with --snap."
    )
