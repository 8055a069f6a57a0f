"""Which classes a folder of masks has: by its classes.yaml, by a list of names in a text file, or by what its masks hold."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.class_names import BACKGROUND_NAMES
from maskwright.classes import IGNORE_ID, ClassMap, Colour, default_colours
from maskwright.errors import FormatError, InputError
from maskwright.io.masks import read_mask
from maskwright.io.write import write_text

CLASSES_FILE = "classes.yaml"
# Lists of names, one a line: labelme's converter and many others; CVAT's with a colour behind each name.
NAME_FILES = ("labels.txt", "class_names.txt", "labelmap.txt")
BACKGROUND, OBJECT = "background", "object"
_IGNORED = ("__ignore__", "ignore", "void")
_MOST_NAMES = IGNORE_ID - 1


def stated_classes(*folders: Path) -> tuple[ClassMap, str] | None:
    """The class map that the first of these folders states, and the name of the file that does; None where none does.

    Raises:
        InputError, FormatError: such a file is there and cannot be used.
    """
    for folder in folders:
        if (folder / CLASSES_FILE).is_file():
            return ClassMap.load(folder / CLASSES_FILE), CLASSES_FILE
        for name in NAME_FILES:
            if (folder / name).is_file():
                return _of_names(folder / name), name
    return None


def write_classes(folder: Path, classes: ClassMap) -> None:
    """Say beside the masks what they hold, for this reader and for people."""
    write_text(folder / CLASSES_FILE, classes.to_yaml())


def class_without_name(classes: ClassMap) -> int | None:
    """The class of objects whose file names none: the only one, else the one called "object"; None where nothing says which."""
    ids = [i for i in classes.ids if i != classes.background]
    return ids[0] if len(ids) == 1 else next((i for i in ids if classes.name_of(i) == OBJECT), None)


def classes_in_masks(paths: Iterable[Path]) -> ClassMap:
    """A class for each value that class masks hold, "class 3" and so on, in the palette's colours; 0 is background, 255 ignored.

    Masks that cannot be read say nothing here; reading their objects says so.

    Raises:
        FormatError: the masks hold colours, or too many values, or none.
    """
    values: set[int] = set()
    palette, path = None, Path()
    for path in paths:
        try:
            mask = read_mask(path)
        except InputError:
            continue
        if mask.kind == "rgb":
            raise FormatError(f"{path}: a class mask in colours; say in a {CLASSES_FILE} which colour is which class (`values`).")
        values |= set(mask.tally.values.tolist())
        palette = mask.palette if palette is None else palette
    ids = sorted(values - {0, IGNORE_ID})
    if not ids or len(ids) > _MOST_NAMES or not 0 < ids[0] <= ids[-1] < 65535:
        found = f"the {len(ids)} values {ids[:6]}" if ids else "no value but 0 and 255"
        raise FormatError(f"{path.parent}: the class masks hold {found}; expected 1 to {_MOST_NAMES} class numbers from 1 on.")
    chosen = default_colours(len(ids) + 1) if palette is None else _colours(palette, [0, *ids])
    return ClassMap((0, *ids), (BACKGROUND, *(f"class {i}" for i in ids)), chosen)


def _colours(palette: NDArray[np.uint8], ids: list[int]) -> tuple[Colour, ...]:
    rows = [palette[i].tolist() if i < len(palette) else [0, 0, 0] for i in ids]
    return tuple((r, g, b) for r, g, b in rows)


def _of_names(path: Path) -> ClassMap:
    """Names, one a line, from id 1 on, or from 0 where the first is the background; "name:r,g,b::" also tells the colour."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: the list of class names cannot be read ({error}); expected one name a line.") from error
    rows = [line.strip().split(":") for line in lines if line.strip() and not line.lstrip().startswith("#")]
    rows = [row for row in rows if row[0].lower() not in _IGNORED]
    front = [row for row in rows if row[0].lower() in BACKGROUND_NAMES]
    rows = [row for row in rows if row not in front]
    try:
        colours = [_colour(row[1]) for row in [*front[:1], *rows] if len(row) > 1]
    except ValueError:
        raise FormatError(f"{path}: a colour is not of the form name:red,green,blue:: with numbers in 0..255.") from None
    names = (BACKGROUND, *(row[0] for row in rows))
    ids = tuple(range(len(names)))
    if len(colours) != len(names):
        return ClassMap(ids, names, source=str(path))
    return ClassMap(ids, names, tuple(colours), tuple((c,) for c in colours), source=str(path))


def _colour(text: str) -> Colour:
    r, g, b = (int(part) for part in text.split(","))
    if not all(0 <= v <= 255 for v in (r, g, b)):
        raise ValueError(text)
    return r, g, b
