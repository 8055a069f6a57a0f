"""From what annotation files call their classes to a class map, by number (COCO, YOLO) or by name (all others)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from maskwright.annotations.records import Refused
from maskwright.classes import IGNORE_ID, MAX_ID, ClassMap, Colour, default_colours

# A category of this name is no kind of object: it is the class map's own background.
BACKGROUND_NAMES = ("background", "_background_", "__background__")
BACKGROUND_ID = 0


def by_name(
    names: Iterable[str], given: ClassMap | None, *, colours: Mapping[str, Colour] | None = None, source: str = ""
) -> tuple[ClassMap, dict[str, int]]:
    """Classes of a format that knows names only: in sorted order, from id 1 on; a class map that is given is taken instead.

    Args:
        colours: what the file shows a class in; used where all of them differ
        source: the file, for messages

    Returns:
        the class map, and the class id of each name that it knows as a kind of object

    Raises:
        InputError: more classes than a class map holds.
    """
    if given is None:
        kept = sorted(set(names) - set(BACKGROUND_NAMES))
        given = _class_map(dict(enumerate(kept, 1)), colours or {}, source)
    return given, _object_ids(given)


def by_number(
    names: Mapping[int, str], given: ClassMap | None, *, colours: Mapping[str, Colour] | None = None, source: str = ""
) -> tuple[ClassMap, dict[int, int]]:
    """Classes of a format that numbers its categories.

    Numbers are kept as ids where that is possible; with a category 0 each id is one more. Numbers that no class map can hold
    (255, negative) make all of them be counted anew from 1 on, in their order. Categories of one name are one class.

    Returns:
        the class map, and the class id of each number; numbers of the background and, where a class map is given, of classes
        that it does not know have none

    Raises:
        InputError: more classes than a class map holds.
    """
    kept = {number: name for number, name in sorted(names.items()) if name not in BACKGROUND_NAMES}
    if given is None:
        first: dict[str, int] = {}
        for number, name in kept.items():
            first.setdefault(name, number)
        given = _class_map({i: name for i, name in zip(_ids(list(first.values())), first, strict=True)}, colours or {}, source)
    ids = _object_ids(given)
    return given, {number: ids[name] for number, name in kept.items() if name in ids}


def _ids(numbers: list[int]) -> list[int]:
    """Class ids of ascending category numbers."""
    ids = [number + (0 in numbers) for number in numbers]
    fit = all(1 <= i <= MAX_ID and i != IGNORE_ID for i in ids)
    return ids if fit else list(range(1, len(numbers) + 1))


def _class_map(names: Mapping[int, str], colours: Mapping[str, Colour], source: str) -> ClassMap:
    ids, words = (BACKGROUND_ID, *names), ("background", *names.values())
    chosen = default_colours(len(ids))
    stated = [colours.get(name, (0, 0, 0)) for name in names.values()]
    if len({(0, 0, 0), *stated}) == len(ids):
        chosen = (chosen[0], *stated)
    return ClassMap(ids, words, chosen, background=BACKGROUND_ID, source=source)


def _object_ids(classes: ClassMap) -> dict[str, int]:
    return {name: i for i, name in zip(classes.ids, classes.names, strict=True) if i != classes.background}


def unknown_class(name: str, classes: ClassMap, where: str) -> Refused:
    """The reason why an object of a class that the class map does not know is left out."""
    if name in BACKGROUND_NAMES:
        return Refused("unknown-class", f"{where}: its class is {name!r}, which is no kind of object.")
    known = list(_object_ids(classes))
    near = get_close_matches(name, known, n=3) or known[:8]
    hint = f"near ones: {', '.join(near)}" if near else "it holds no kinds of objects"
    return Refused("unknown-class", f"{where}: class {name!r} is not in the class map ({hint}). Add it there.")
