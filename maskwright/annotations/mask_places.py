"""Which mask files are the objects of which image, in folders that hold a file an object; see mask_folder.py for the forms."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from maskwright.annotations.image_files import SKIPPED_FOLDERS, files_below
from maskwright.annotations.pictures import IMAGE_WORDS, plain
from maskwright.io.read import IMAGE_SUFFIXES

MASK_WORDS = ("masks", "mask", "instancemasks", "objectmasks")


@dataclass(eq=False)
class Entry:
    """One image and its masks.

    Attributes:
        place: where the image lies, or would lie, without its ending
        path: the image; None where it is not there
        folder: the folder of masks that it belongs to
        files: name of the class folder ("" where there is none) and path of each mask
        annotated: there is a folder of masks for it, though perhaps an empty one
    """

    place: str
    path: Path | None
    folder: Path
    files: list[tuple[str, Path]] = field(default_factory=list)
    annotated: bool = True


@dataclass(frozen=True)
class Found:
    """Images with their masks, and masks that belong to no image that can be told."""

    entries: list[Entry]
    strays: list[Path]


def find_entries(
    root: Path,
    *,
    images: Path | None = None,
    class_names: frozenset[str] = frozenset(),
    folders: Iterable[Path] | None = None,
) -> Found:
    """Every image below root that has masks of its own, or lies beside images that do.

    Args:
        images: where the images are, if not beside the masks
        class_names: names of class folders, to tell them from names of images that are not there
        folders: look at these folders of masks only
    """
    found = Found([], [])
    for folder in folders if folders is not None else mask_folders(root):
        prefix = folder.parent.relative_to(root).parts
        pictures = _beside(folder) if images is None else _below(images, prefix)
        entries = {rel: Entry("/".join((*prefix, rel)), path, folder, annotated=False) for rel, path in pictures.items()}
        for path in files_below(folder, IMAGE_SUFFIXES):
            inner = path.relative_to(folder).parent.parts
            owner = _owner(inner, pictures, class_names)
            if owner is None:
                found.strays.append(path)
                continue
            rel, class_name = owner
            entry = entries.setdefault(rel, Entry("/".join((*prefix, rel) if rel else prefix), None, folder))
            entry.files.append((class_name, path))
        for rel, entry in entries.items():
            entry.annotated = bool(entry.files) or (folder / rel).is_dir() or len(pictures) == 1
        found.entries.extend(entries.values())
    return found


def _owner(inner: tuple[str, ...], pictures: dict[str, Path], class_names: frozenset[str]) -> tuple[str, str] | None:
    """The image that masks in this folder belong to, and the name of their class; None where nothing says it.

    Args:
        inner: folders between the folder of masks and the file
        pictures: images by their place, as far as inner names it
    """
    for cut in (len(inner), len(inner) - 1):
        rel = "/".join(inner[:cut])
        if cut > 0 and rel in pictures:
            return rel, "/".join(inner[cut:])
    if len(pictures) == 1 and len(inner) <= 1:
        return next(iter(pictures)), "".join(inner)
    if inner and inner[-1] in class_names and (len(inner) > 1 or not pictures):
        return "/".join(inner[:-1]), inner[-1]
    return ("/".join(inner), "") if inner or not pictures else None


def mask_folders(root: Path) -> Iterator[Path]:
    """Folders of masks below root, not those inside each other; links are followed once, hidden folders left out."""
    seen: set[str] = set()
    for folder, below, _ in os.walk(root, followlinks=True):
        if os.path.realpath(folder) in seen:
            below.clear()
        seen.add(os.path.realpath(folder))
        below[:] = sorted(name for name in below if not name.startswith(".") and name not in SKIPPED_FOLDERS)
        own = [name for name in below if plain(name) in MASK_WORDS]
        yield from (Path(folder, name) for name in own)
        below[:] = [name for name in below if name not in own and plain(name) not in IMAGE_WORDS]


def _beside(folder: Path) -> dict[str, Path]:
    """The images that belong to a folder of masks, by their place without ending: those in images/ beside it, else beside it."""
    own = sorted(path for path in folder.parent.iterdir() if path.is_dir() and plain(path.name) in IMAGE_WORDS)
    if own:
        return {
            path.relative_to(base).with_suffix("").as_posix(): path for base in own for path in files_below(base, IMAGE_SUFFIXES)
        }
    direct = sorted(path for path in folder.parent.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    return {path.stem: path for path in direct}


def _below(images: Path, prefix: tuple[str, ...]) -> dict[str, Path]:
    """The images in a folder of their own that belong to masks at this place: below the same folders, or of the folder's name."""
    every = {path.relative_to(images).with_suffix("").as_posix(): path for path in files_below(images, IMAGE_SUFFIXES)}
    start = "".join(f"{part}/" for part in prefix)
    same = {rel.removeprefix(start): path for rel, path in every.items() if rel.startswith(start)}
    return same or {rel: path for rel, path in every.items() if path.stem == prefix[-1]} or every
