"""Classes found in the masks, where nobody has written a classes.yaml.

The files' own values decide, by rules that are said to the user in one line: 0/1 and 0/255 are background and foreground;
index masks keep their numbers, 255 beside them is ignored; greys spread over the range and colours are numbered.
A value that is smeared (JPEG, smoothed edges) or stands in one mask of many is no class: the doctor reports it instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from maskwright.classes import IGNORE_ID, LABEL_SETS, ClassMap, Colour, StoredValue, default_colours
from maskwright.data.census import MOST_MASKS, Census, take_census
from maskwright.data.wording import counted, shown_values
from maskwright.errors import InputError

SOURCE = "classes found in the masks"
BACKGROUND, FOREGROUND = "background", "foreground"
VOID_VALUES = (255, 65535)
CAMVID_DRIVES = ("0001TP_", "0006R0_", "0016E5_", "Seq05VD_")
MOST_CLASSES = 256
# Values that reach this far with this few steps are greys somebody drew with (0, 128, 255), not ids.
GREY_FROM, MOST_GREYS = 85, 16
# Share of the masks that must hold 0 for it to be taken as the background of more than two classes.
BACKGROUND_SHARE = 0.9
# Share of the masks that must hold nothing but 0/1 or 0/255 for the few others to be taken as faulty.
NEARLY_ALL = 0.8
# In fewer masks than this a value of a single mask may well be a class.
MANY_MASKS = 10


def class_map_of(given: ClassMap | Path | str) -> ClassMap:
    """A class map as it is, a label set by its name (camvid, voc, cityscapes), or read from the path of a classes.yaml."""
    if isinstance(given, ClassMap):
        return given
    # A word without an ending names a set; a file is there under its own name, or has an ending.
    if str(given) in LABEL_SETS or not (Path(given).suffix or Path(given).exists() or len(Path(given).parts) > 1):
        return ClassMap.known(str(given))
    return ClassMap.load(given)


def recognised(masks: Sequence[Path | NDArray[Any]], found: ClassMap) -> tuple[ClassMap, str] | None:
    """CamVid's classes, where masks that lie as its 11-class copy does (trainannot/, valannot/) hold exactly its values 0..11.

    Frames named as CamVid's drives are taken for it; others are only told that --classes camvid would name them. None
    where nothing says CamVid.
    """
    paths = [m for m in masks if isinstance(m, Path)]
    if len(paths) < len(masks) or found.values != tuple((i,) for i in range(12)):
        return None
    if not any(p.parent.name.lower() == "trainannot" for p in paths):
        return None
    if all(p.stem.startswith(CAMVID_DRIVES) for p in paths):
        line = "masks in trainannot/ named as CamVid's drives hold its values [0..11]: taken as its 11 classes, 11 as void"
        return ClassMap.known("camvid"), line
    return found, "values [0..11] in trainannot/ could be CamVid's, 11 being void: --classes camvid names them"


def find_classes(masks: Sequence[Path | NDArray[Any]], name: str) -> tuple[ClassMap, str]:
    """The class map of these masks, and one line that says what was found and how it was taken.

    Raises:
        InputError: no mask can be read, all hold one value, or they hold photos or numbered objects instead of classes.
    """
    census = take_census(masks, name)
    classes, how = _of_colours(census) if census.coloured else _of_numbers(census)
    if len(classes) < 2:
        raise InputError(
            f"{name}: every mask holds the single value {shown_values(classes.values[0])}; there is nothing to learn. "
            f"Check that these are the right masks, or name the classes with --classes."
        )
    known = recognised(masks, classes)
    if known is not None and known[0] is not classes:
        return known
    how = f"{how}; {known[1]}" if known is not None else how
    some = f"the first {census.files} of {len(masks)} masks" if len(masks) > MOST_MASKS else counted(census.files, "mask")
    return classes, f"{counted(len(classes), 'class').replace('classs', 'classes')} found in {some}: {how}"


def _of_numbers(census: Census) -> tuple[ClassMap, str]:
    binary = _binary(census)
    if binary is not None:
        return binary
    values = without_outliers([v for v in census.pixels if isinstance(v, int)], census)
    void = [v for v in values if v in VOID_VALUES and len(values) > 2]
    rest = [v for v in values if v not in void]
    if void and len(values) <= MOST_GREYS and max(rest) >= GREY_FROM:
        void, rest = [], values
    if len(rest) > MOST_CLASSES:
        raise InputError(
            f"{census.name}: the masks hold {len(values)} values ({shown_values(values)}). That many are numbered objects or "
            f"photos, not classes; name the folder of the masks with --masks, or the classes with --classes."
        )
    if rest[-1] >= GREY_FROM and len(rest) <= MOST_GREYS:
        ids = range(len(rest))
        return _class_map(census, ids, rest, void, f"values {shown_values(rest)}, numbered {shown_values(list(ids))}")
    return _class_map(census, rest, rest, void, f"values {shown_values(rest)}")


def _binary(census: Census) -> tuple[ClassMap, str] | None:
    """Background and foreground where nearly all masks hold nothing but two values, one of them 0."""
    low, high = census.share_within({0, 1}), census.share_within({0, 255})
    both = census.share_within({0, 1}, {0, 255})
    palette = census.palette_colours([0, 1])
    if both >= NEARLY_ALL and {1, 255} <= set(census.pixels) and max(low, high) < both:
        return _two((1, 255), "0 background; 1 in some masks and 255 in others are both foreground", None)
    if high >= NEARLY_ALL and 255 in census.pixels:
        return _two((255,), "0 background, 255 foreground", None)
    if low >= NEARLY_ALL and 1 in census.pixels:
        return _two((1,), "0 background, 1 foreground", palette)
    return None


def _two(foreground: tuple[int, ...], line: str, colours: tuple[Colour, ...] | None) -> tuple[ClassMap, str]:
    names = (BACKGROUND, FOREGROUND)
    return ClassMap((0, 1), names, colours or default_colours(2), ((0,), foreground), source=SOURCE), line


def without_outliers(values: list[int], census: Census) -> list[int]:
    """Leave out what one mask of many holds beside gaps: id 7 once, where all others have 0, 1 and 2.

    Such a value is more often a slip than a class, and training on one example of it would pass in silence.
    """
    if census.files < MANY_MASKS:
        return values
    common = {v for v in values if census.files_with(v) > 1}
    return [v for v in values if {v - 1, v, v + 1} & common or v in VOID_VALUES] if common else values


def _of_colours(census: Census) -> tuple[ClassMap, str]:
    colours = [v if isinstance(v, tuple) else (v, v, v) for v in census.pixels]
    if census.files >= MANY_MASKS:
        colours = [c for c in colours if census.files_with(c) > 1] or colours
    if len(colours) > MOST_CLASSES:
        raise InputError(
            f"{census.name}: the masks hold {len(colours)} colours. That many are photos or coloured objects, not classes; "
            f"name the folder of the masks with --masks, or the classes with --classes."
        )
    # Black first: it is the background more often than not.
    colours = sorted(set(colours))
    return _class_map(census, range(len(colours)), colours, [], f"colours {shown_values(colours)}, numbered in this order")


def _class_map(
    census: Census, ids: Sequence[int], values: Sequence[StoredValue], void: Sequence[int], line: str
) -> tuple[ClassMap, str]:
    first = values[0]
    background = first in (0, (0, 0, 0)) and (len(values) == 2 or _looks_like_background(census, first))
    names = [BACKGROUND if background and k == 0 else f"class-{i}" for k, i in enumerate(ids)]
    if len(values) == 2 and background:
        names[1] = FOREGROUND
    colours = census.palette_colours(list(values)) or default_colours(len(ids), background)
    if all(isinstance(v, tuple) for v in values):
        colours = tuple(v for v in values if isinstance(v, tuple))
    ignore = tuple(void) or (() if IGNORE_ID in values else (IGNORE_ID,))
    stored = tuple((v,) for v in values)
    classes = ClassMap(tuple(ids), tuple(names), colours, stored, IGNORE_ID, ignore, ids[0] if background else None, SOURCE)
    said = f"{first} taken as background" if background else "none taken as background"
    return classes, f"{line}; {said}" + (f", {shown_values(void)} ignored" if void else "")


def _looks_like_background(census: Census, value: StoredValue) -> bool:
    """The largest value of all, and in nearly every mask: so the sky of street scenes, id 0, is not taken for it."""
    return census.pixels[value] == max(census.pixels.values()) and census.files_with(value) >= BACKGROUND_SHARE * census.files
