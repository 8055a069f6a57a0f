"""Pascal VOC's lists of names: which image is of which split.

    <folder>/ImageSets/Segmentation/train.txt    names, one a line; also val.txt and test.txt; trainval.txt repeats two of them

The folder is the one that was given, or lies below it as the development kit is unpacked (VOCdevkit/VOC2012).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from maskwright.annotations.drawn import Remark
from maskwright.annotations.image_files import split_word
from maskwright.annotations.records import read_text

SPLITS = "ImageSets/Segmentation"


def folders(root: Path) -> list[Path]:
    """Where a VOC folder may be: root, then those below it of VOC's names."""
    return [root, *(path for pattern in ("VOC*", "VOCdevkit/VOC*") for path in sorted(root.glob(pattern)))]


def listed_splits(base: Path, known: Collection[str], masks: str) -> tuple[dict[str, str], list[Remark]]:
    """The split of each listed name, and what is odd about the lists.

    Args:
        base: the VOC folder
        known: names that have a mask; they may hold blanks
        masks: the folder of the masks, for messages

    Raises:
        FormatError: a list is no text.
    """
    split_of: dict[str, str] = {}
    remarks = []
    folder = base / SPLITS
    for path in sorted(folder.glob("*.txt")) if folder.is_dir() else []:
        split = split_word(path.stem)
        if not split:
            continue  # trainval repeats both; other lists are nobody's split
        for line in filter(None, map(str.strip, read_text(path).splitlines())):
            # Lists of a class have 1 or -1 behind each name; but a name may hold blanks.
            name = line if line in known else line.split()[0]
            if split_of.setdefault(name, split) != split:
                text = f"{path}: {name} is listed in {split_of[name]}.txt, too, and counts there; keep one."
                remarks.append(Remark("image-listed-twice", text, name, path))
            # The masks of VOC's test images are kept by its makers.
            elif name not in known and split != "test":
                text = f"{path}: {name} is listed, but has no mask in {masks}/; it is left out."
                remarks.append(Remark("image-not-annotated", text, name, path))
    return split_of, remarks
