"""Splits that lists of names state beside images and masks, as Pascal VOC's ImageSets/Segmentation does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from maskwright.annotations.voc_lists import SPLITS, folders, listed_splits
from maskwright.data.wording import counted


def stated_splits(root: Path, images: Sequence[Path], masks: Sequence[Path]) -> tuple[dict[Path, str], str]:
    """The split of each image and mask that a list names, and the words for the layout line; both empty where no list does.

    Raises:
        FormatError: a list is no text.
    """
    found: dict[Path, str] = {}
    odd: Counter[str] = Counter()
    for base in folders(root):
        if not (base / SPLITS).is_dir():
            continue
        names = {path: _name(path, base) for path in (*images, *masks) if path.is_relative_to(base)}
        splits, remarks = listed_splits(base, {names[path] for path in masks if path in names}, "")
        found |= {path: splits[name] for path, name in names.items() if name in splits}
        odd.update(remark.code for remark in remarks)
    if not found:
        return {}, ""
    twice, lost = odd["image-listed-twice"], odd["image-not-annotated"]
    said = f", {counted(twice, 'name')} listed twice by the first" if twice else ""
    said += f", {counted(lost, 'name')} without a mask" if lost else ""
    return found, f"; splits as {SPLITS} lists them{said}"


def _name(path: Path, base: Path) -> str:
    """The name that a list has for a file: its path below JPEGImages or SegmentationClass without the ending."""
    parts = path.relative_to(base).parts
    return PurePath(*(parts[1:] or parts)).with_suffix("").as_posix()
