"""Which mask belongs to which image: by name, in steps that never guess between two candidates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maskwright.annotations.damaged_files import damaged_text
from maskwright.data.layouts import EXPECTED, IMAGE_ENDINGS, MASK_WORDS, AmbiguousError, LayoutError, Placed, find_files
from maskwright.data.listed_splits import stated_splits
from maskwright.data.names import bare, common_affixes, says_role, without_affixes
from maskwright.data.wording import counted, folders_text, splits_text

JPEG = (".jpg", ".jpeg")


@dataclass(frozen=True)
class FilePair:
    """An image file and its mask; mask is None where it is missing."""

    name: str
    image: Path
    mask: Path | None
    split: str


@dataclass(frozen=True)
class Pairing:
    """What was found in a folder.

    Attributes:
        pairs: in the order of the image paths
        strays: masks without an image
        line: the layout in one line, for people
    """

    pairs: tuple[FilePair, ...]
    strays: tuple[Path, ...]
    line: str


def find_pairs(root: Path, *, images: str | None = None, masks: str | None = None) -> Pairing:
    """Find images and masks below root and pair them by the stem of their names, whatever their endings.

    Raises:
        LayoutError: nothing to pair, or names that do not belong together. AmbiguousError: two candidates for one role.
    """
    placed = find_files(root, images=images, masks=masks)
    if not any(p.role == "mask" for p in placed):
        placed = roles_by_name(placed)
    pictures, labels = ([p for p in placed if p.role == role] for role in ("image", "mask"))
    _check_both(root, placed, pictures, labels)
    _check_one_candidate(root, labels, "mask")
    _check_one_candidate(root, pictures, "image")
    mask_of = match(pictures, labels)
    if not mask_of:
        raise LayoutError(_nothing_pairs(root, pictures, labels))
    return _arrange(root, pictures, labels, mask_of)


def roles_by_name(placed: Sequence[Placed]) -> list[Placed]:
    """Roles for files that lie in one folder: x.jpg + x_mask.png, or x.jpg + x.png where half of the names come twice."""
    by_folder: dict[Path, list[Placed]] = {}
    for p in placed:
        by_folder.setdefault(p.path.parent, []).append(p)
    found: list[Placed] = []
    for files in by_folder.values():
        stems = {bare(p.path.stem, IMAGE_ENDINGS) for p in files}
        marked = {p.path for p in files if bare(p.path.stem, MASK_WORDS) in stems and says_role(p.path.stem, MASK_WORDS)}
        if marked:
            marked = {p.path for p in files if says_role(p.path.stem, MASK_WORDS)}
        else:
            marked = _masks_by_suffix([p.path for p in files])
        found += [replace(p, role="mask" if p.path in marked else "image") for p in files]
    return found


def _masks_by_suffix(paths: Sequence[Path]) -> set[Path]:
    """Of two files with one stem the mask is the one that is no JPEG, else the PNG; empty where fewer than half come twice."""
    by_stem: dict[str, list[Path]] = {}
    for path in paths:
        by_stem.setdefault(path.stem, []).append(path)
    twins = [two for two in by_stem.values() if len(two) == 2]
    if 2 * len(twins) < len(by_stem):
        return set()
    marked = set()
    for two in twins:
        lossless = [p for p in two if p.suffix.lower() not in JPEG]
        marked |= {p for p in lossless if len(lossless) == 1 or p.suffix.lower() == ".png"}
    return marked


def match(images: Sequence[Placed], masks: Sequence[Placed]) -> dict[Path, Path]:
    """Image path -> mask path. Each step pairs what earlier ones left, and only names that stand once on both sides.

    Raises:
        AmbiguousError: two images or two masks of the same name in the same place.
    """
    by_split = any(p.split for p in images) and any(p.split for p in masks)
    # Folders that say nothing may differ (annotations/trimaps) only where no folder is on both sides: else image 5 of one
    # patient whose mask is missing would get mask 5 of another.
    by_rest = bool({p.rest for p in images} & {p.rest for p in masks})
    affixes = {(p.role, p.split): ("", "") for p in (*images, *masks)}
    for role, split in affixes:
        affixes[role, split] = common_affixes([p.path.stem for p in (*images, *masks) if (p.role, p.split) == (role, split)])

    def place_of(p: Placed) -> Hashable:
        return (p.split if by_split else "", p.rest if by_rest else "")

    steps: list[Callable[[Placed], Hashable]] = [
        lambda p: (place_of(p), p.rest, p.path.stem),
        lambda p: (place_of(p), bare(p.path.stem, IMAGE_ENDINGS if p.role == "image" else MASK_WORDS)),
        lambda p: (place_of(p), without_affixes(p.path.stem, *affixes[p.role, p.split])),
    ]
    found: dict[Path, Path] = {}
    for number, step in enumerate(steps):
        used = {*found, *found.values()}
        left, right = (_by_key([p for p in side if p.path not in used], step) for side in (images, masks))
        for key in left.keys() & right.keys():
            several = next((side[key] for side in (left, right) if len(side[key]) > 1), None)
            if several is None:
                found[left[key][0]] = right[key][0]
            elif number == 0:
                raise AmbiguousError(f"{several[0]} and {several[1].name} share a name; either could be meant. Remove one.")
    return found


def _by_key(files: Sequence[Placed], step: Callable[[Placed], Hashable]) -> dict[Hashable, list[Path]]:
    table: dict[Hashable, list[Path]] = {}
    for p in files:
        table.setdefault(step(p), []).append(p.path)
    return table


def _check_both(root: Path, placed: Sequence[Placed], images: Sequence[Placed], masks: Sequence[Placed]) -> None:
    folders = folders_text([p.path for p in placed], root)
    if not masks:
        said = " ".join(filter(None, (damaged_text(root), EXPECTED)))
        raise LayoutError(f"{root}: {counted(len(images), 'image')} but no masks (in {folders}). {said}.")
    if not images:
        raise LayoutError(f"{root}: {counted(len(masks), 'mask')} but no images (in {folders}). {EXPECTED}.")


def _check_one_candidate(root: Path, files: Sequence[Placed], role: str) -> None:
    for split in sorted({p.split for p in files}):
        words = sorted({p.word for p in files if p.split == split})
        if len(words) > 1:
            there = folders_text([p.path for p in files if p.split == split], root)
            raise AmbiguousError(
                f"{root}: several folders could hold the {role}s: {there}. Name the one you mean with --{role}s."
            )


def _nothing_pairs(root: Path, images: Sequence[Placed], masks: Sequence[Placed]) -> str:
    rests = Counter(p.rest for p in masks)
    lone = Counter(p.rest for p in images)
    if any(count > 1 and lone[rest] == 1 for rest, count in rests.items()):
        return (
            f"{root}: not a layout I know: each image has a folder of several masks, one an object "
            f"(for example {masks[0].path.parent.relative_to(root)}). Merge them into one mask an image. {EXPECTED}."
        )
    return (
        f"{root}: not a layout I know: no mask has the name of an image (images such as {images[0].path.relative_to(root)}, "
        f"masks such as {masks[0].path.relative_to(root)}). {EXPECTED}."
    )


def _arrange(root: Path, images: Sequence[Placed], masks: Sequence[Placed], mask_of: dict[Path, Path]) -> Pairing:
    """Name the pairs, settle their splits, and leave out splits that hold no mask at all (test images for a contest)."""
    stated, said = stated_splits(root, [p.path for p in images], [p.path for p in masks])
    split_of = {p.path: stated.get(p.path, p.split) for p in (*images, *masks)}
    splits = {p.path: split_of[p.path] or split_of.get(mask_of.get(p.path, p.path), "") for p in images}
    labelled = {splits[path] for path in mask_of}
    unlabelled = Counter(s for s in splits.values() if s not in labelled and s not in ("", "train"))
    # Of VOC's images most have no mask; those that should have one are listed.
    unlisted = {path for path, split in splits.items() if stated and not split and path not in mask_of}
    # Images outside the split folders are there to fit on, but not those that lists leave out; "all" stays the name for data
    # without any split.
    plain = "train" if labelled - {""} and "train" not in stated.values() else "all"
    kept = [p for p in images if splits[p.path] not in unlabelled and p.path not in unlisted]
    names = _unique_names(kept, splits)
    pairs = [FilePair(name, p.path, mask_of.get(p.path), splits[p.path] or plain) for name, p in zip(names, kept, strict=True)]
    strays = tuple(p.path for p in masks if p.path not in set(mask_of.values()))
    return Pairing(tuple(pairs), strays, _line(root, pairs, unlabelled, len(unlisted)) + said)


def _unique_names(files: Sequence[Placed], splits: dict[Path, str]) -> list[str]:
    """The stem, with its folders; where that stands twice with the split, and then with the ending too."""
    forms = ["/".join((*p.rest, p.path.stem)) for p in files]
    for longer in (
        ["/".join(filter(None, (splits[p.path], *p.rest, p.path.stem))) for p in files],
        ["/".join(filter(None, (splits[p.path], *p.rest, p.path.name))) for p in files],
    ):
        counts = Counter(forms)
        forms = [form if counts[form] == 1 else other for form, other in zip(forms, longer, strict=True)]
    return forms


def _line(root: Path, pairs: Sequence[FilePair], unlabelled: Counter[str], unlisted: int) -> str:
    shown = next(p for p in pairs if p.mask is not None)
    images, masks = (_folders(root, paths) for paths in ([p.image for p in pairs], [p.mask for p in pairs if p.mask]))
    where = f"images and masks in {images}" if images == masks else f"images in {images}, masks in {masks}"
    left_out = "".join(f"; {counted(n, f'{s} image')} without masks left out" for s, n in sorted(unlabelled.items()))
    left_out += f"; {counted(unlisted, 'image')} without masks that no list names left out" if unlisted else ""
    example = f"{shown.image.name} + {shown.mask.name}" if shown.mask else shown.image.name
    return f"{where}, such as {example}: {splits_text([p.split for p in pairs])}{left_out}"


def _folders(root: Path, files: Sequence[Path]) -> str:
    names = list(dict.fromkeys(f.parent.relative_to(root).as_posix() + "/" for f in files))
    names = ["the folder itself" if n == "./" else n for n in names]
    return " and ".join(names) if len(names) < 4 else f"{names[0]} and {len(names) - 1} more folders"
