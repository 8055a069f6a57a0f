"""What is wrong between pairs: the same picture on two sides of a split, pictures that look alike, groups that cross."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from maskwright.data.duplicates import near_pictures, same_pictures
from maskwright.data.examine import Examined
from maskwright.data.findings import Finding, finding
from maskwright.data.wording import counted, shown

SHOWN = 3
_TRAIN_FIRST = ("train", "inner", "val", "test")


def across_splits(seen: Sequence[Examined]) -> Iterator[Finding]:
    """Findings about pairs of pictures and about groups."""
    looks = [one.look for one in seen]
    for group in same_pictures(looks):
        yield from _same([seen[k] for k in group])
    yield from _alike(seen, [(seen[i], seen[j]) for i, j in near_pictures(looks, [one.pair.split for one in seen])])
    yield from _crossing_groups(seen)


def _same(group: Sequence[Examined]) -> Iterator[Finding]:
    """One finding for each picture after the first: it stays where it is trained on, so the others are named."""
    first, *others = sorted(group, key=_order)
    kept = shown(first.pair.image, first.pair.name, "image")
    for other in others:
        name, file = shown(other.pair.image, other.pair.name, "image"), _file(other)
        if other.pair.split != first.pair.split:
            text = (
                f"{name} ({other.pair.split}) and {kept} ({first.pair.split}) are the same picture. Leave it in one split only, "
                f"or scores will flatter."
            )
            yield finding("duplicate-across-splits", file, kept, text, other.pair.name)
        else:
            text = f"{name} and {kept} are the same picture. Leave one of them out."
            yield finding("duplicate-image", file, kept, text, other.pair.name)


def _alike(seen: Sequence[Examined], pairs: Sequence[tuple[Examined, Examined]]) -> Iterator[Finding]:
    """One finding for all: neighbouring frames of a film would otherwise be hundreds. Pairs of one group need no word."""
    apart = [two for two in pairs if two[0].pair.group is None or two[0].pair.group != two[1].pair.group]
    found = [tuple(sorted(two, key=_order)) for two in apart]
    if not found:
        return
    names = [f"{b.pair.name} ~ {a.pair.name}" for a, b in found[:SHOWN]]
    count = counted(len({b.pair.name for _, b in found}), "image")
    split = len({one.pair.split for one in seen}) > 1
    where = "nearly like one in another split" if split else "nearly like another, and the split is yet to be drawn"
    examples = ", ".join(names) + (", ..." if len(found) > SHOWN else "")
    way_out = "Where they show one scene or patient, keep them together with --group, or scores will flatter."
    text = f"{count} {where} ({examples}). {way_out}"
    yield finding("near-duplicate", _file(found[0][1]), count, text)


def _crossing_groups(seen: Sequence[Examined]) -> Iterator[Finding]:
    splits: dict[str, dict[str, None]] = {}
    for one in sorted(seen, key=_order):
        if one.pair.group is not None:
            splits.setdefault(one.pair.group, {})[one.pair.split] = None
    for group, where in splits.items():
        if len(where) > 1:
            text = f"group {group!r} stands in the splits {', '.join(where)}: scores will flatter. Split by group."
            yield finding("group-across-splits", None, group, text)


def _order(one: Examined) -> tuple[int, str]:
    split = one.pair.split
    return _TRAIN_FIRST.index(split) if split in _TRAIN_FIRST else len(_TRAIN_FIRST), one.pair.name


def _file(one: Examined) -> Path | None:
    return one.pair.image if isinstance(one.pair.image, Path) else None
