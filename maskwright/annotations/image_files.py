"""Which file on disk an annotation means: image files by their path, by their name, and by their stem.

Annotation files write names as their program saw them: with folders of another machine, with backslashes, as a URL, in other
capitals or without the folder. The longest ending of the listed path that a file on disk shares is what counts; nothing outside
the indexed folder is ever found, whatever the file says.

How people use it:

    files = ImageFiles(folder)
    files.find("train2017/000000001.jpg")            # [Path] one file; [] none; several: the name alone does not say which
    files.find("img_7.png", near=json_file)          # of several the one in the same folder, or of the same split
    files.find("x.png", known=files.known(["x.png", "a/x.png"]))      # where a/x.png lies says which x.png is meant
    files.by_stem("img_7")                           # for label files that have the image's stem
    files.paths                                      # all of them, sorted
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from maskwright.errors import InputError
from maskwright.io.read import IMAGE_SUFFIXES

SKIPPED_FOLDERS = ("__MACOSX", "__pycache__")
ALL = "all"

_SPLIT_OF = {
    "training": "train", "train": "train", "validation": "val", "valid": "val", "val": "val", "testing": "test", "test": "test",
}  # fmt: skip
_SPLIT = re.compile(rf"(?<![a-z])({'|'.join(_SPLIT_OF)})(?![a-z])")


def files_below(root: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files under root with one of these endings (lower case, as ".json"), by path; root itself where it is such a file.

    Links are followed once; hidden files and folders are left out.

    Raises:
        InputError: a folder cannot be listed.
    """
    if root.is_file():
        return [root] if root.suffix.lower() in suffixes else []
    return sorted(path for path in _walk(root, set()) if path.suffix.lower() in suffixes)


def _walk(folder: Path, seen: set[Path]) -> Iterator[Path]:
    real = folder.resolve()
    if real in seen:
        return
    seen.add(real)
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror}); check its permissions.") from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name in SKIPPED_FOLDERS:
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), seen)
        else:
            yield Path(entry.path)


def split_word(name: str) -> str:
    """ "train", "val" or "test" where a name says so: instances_train2017, valid, my-test; else "". trainval says neither."""
    found = {_SPLIT_OF[word] for word in _SPLIT.findall(name.lower())}
    return found.pop() if len(found) == 1 else ""


def split_of(file: Path, root: Path) -> str:
    """The split that a file's name, or the innermost of its folders below root that says one, stands for; else "all"."""
    folders = file.relative_to(root).parent.parts if file.is_relative_to(root) and file != root else ()
    return split_of_words(*folders, file.stem)


def split_of_words(*names: str) -> str:
    """The split that the last of these names says that says one; "all" where none does."""
    return next((split for split in map(split_word, reversed(names)) if split), ALL)


def tidy(listed: str) -> tuple[str, ...]:
    """The parts of a listed name: backslashes, a drive, "./", ".." and what a URL adds are taken off."""
    plain = re.sub(r"^[a-zA-Z]+://[^/]*|^[a-zA-Z]:(?=[\\/])", "", listed.strip())
    if plain != listed.strip() and "://" in listed:
        plain = re.split(r"[?#]", plain)[0]
    return tuple(part for part in PurePosixPath(plain.replace("\\", "/")).parts if part not in ("/", "//", ".", ".."))


@dataclass(frozen=True)
class Known:
    """What those entries of one annotation file that are listed with folders tell about its other entries.

    Attributes:
        begin: the folder that their paths begin in; None where there are none, or they do not agree
        claimed: their files, which no other entry means
    """

    begin: Path | None = None
    claimed: frozenset[Path] = frozenset()


NOTHING_KNOWN = Known()


class ImageFiles:
    """An index of the picture files below one folder.

    Raises:
        InputError: there is no such folder, or one in it cannot be listed.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder of images.")
        self.folder = folder
        self.paths = files_below(folder, IMAGE_SUFFIXES)
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for path in self.paths:
            self._by_name[path.name.lower()].append(path)
            self._by_stem[path.stem.lower()].append(path)

    def __len__(self) -> int:
        return len(self.paths)

    def known(self, names: Iterable[str]) -> Known:
        """What the names that one annotation file lists tell about each other, see Known."""
        begins: set[Path] = set()
        claimed: set[Path] = set()
        for parts in map(tidy, names):
            same_name = self._by_name.get(parts[-1].lower(), []) if len(parts) > 1 else []
            whole = [path for path in same_name if _shared_end(path.parent.parts, parts[:-1]) == len(parts) - 1]
            if len(whole) == 1:
                claimed.add(whole[0])
                begins.add(whole[0].parents[len(parts) - 1])
        return Known(begins.pop() if len(begins) == 1 else None, frozenset(claimed))

    def find(self, listed: str, *, near: Path | None = None, split: str = ALL, known: Known = NOTHING_KNOWN) -> list[Path]:
        """The files that a listed name can mean: one, none, or several between which nothing decides.

        A name without a known ending, or whose ending is another one on disk (x.tif kept as x.png), is looked up by its stem.

        Args:
            near: the annotation file; of several files the one in its folder, or in the folder it is named after, is taken
            split: of several files those whose folders say this split are taken
            known: what else the annotation file lists; of several files the one where its paths begin is taken
        """
        parts = tidy(listed)
        if not parts:
            return []
        same_name = self._by_name.get(parts[-1].lower(), [])
        stem = PurePosixPath(parts[-1]).stem if _has_image_suffix(parts[-1]) else parts[-1]
        return self._narrow(same_name or self._by_stem.get(stem.lower(), []), parts, near, split, known)

    def by_stem(self, stem: str, *, near: Path | None = None, split: str = ALL) -> list[Path]:
        """As find, for a name that has no ending; folders before it count, as in "train/img_7"."""
        parts = tidy(stem)
        return self._narrow(self._by_stem.get(parts[-1].lower(), []), parts, near, split, NOTHING_KNOWN) if parts else []

    def _narrow(self, paths: list[Path], parts: tuple[str, ...], near: Path | None, split: str, known: Known) -> list[Path]:
        """Of several files of one name those that agree best with the listed folders, then with where and what the file is."""
        if len(paths) < 2:
            return list(paths)
        if known.begin is not None and known.begin.joinpath(*parts) in paths:
            return [known.begin.joinpath(*parts)]
        shared = [_shared_end(path.parent.parts, parts[:-1]) for path in paths]
        paths = [path for path, length in zip(paths, shared, strict=True) if length == max(shared)]
        exact = [path for path in paths if path.name == parts[-1]]
        paths = exact or paths
        paths = [path for path in paths if path not in known.claimed] or paths
        if near is not None:
            here = [path for path in paths if path.parent == near.parent]
            words = set(re.split(r"[_\-. ]+", near.stem.lower())) | {near.stem.lower()}
            paths = here or [path for path in paths if words & {p.lower() for p in self._folders(path)}] or paths
        if split != ALL:
            paths = [path for path in paths if split_of_words(*self._folders(path)) == split] or paths
        return _above_all_others(paths) or paths

    def _folders(self, path: Path) -> tuple[str, ...]:
        return path.relative_to(self.folder).parent.parts


def _has_image_suffix(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _above_all_others(paths: Collection[Path]) -> list[Path]:
    """The file in whose folder all the others' folders lie: a path that is listed without a folder begins there."""
    return [path for path in paths if all(other is path or path.parent in other.parent.parents for other in paths)]


def _shared_end(a: Sequence[str], b: Sequence[str]) -> int:
    """How many items two rows have in common at their end."""
    count = 0
    for one, other in zip(reversed(a), reversed(b), strict=False):
        if one.lower() != other.lower():
            break
        count += 1
    return count


def unique_names(places: Sequence[PurePosixPath]) -> list[str]:
    """A name an image: its stem; where stems come twice, the path below the root without its ending; else the whole path.

    Args:
        places: each image's path below the root, or as it is listed; no path twice
    """
    forms = [(place.stem, str(place.with_suffix("")) if place.name else "", str(place)) for place in places]
    level = [0] * len(forms)
    while True:
        names = [form[k] for form, k in zip(forms, level, strict=True)]
        count = Counter(names)
        twice = [k for k, name in enumerate(names) if count[name] > 1 and level[k] < 2]
        if not twice:
            return names
        for k in twice:
            level[k] += 1
