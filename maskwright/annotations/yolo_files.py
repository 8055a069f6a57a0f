"""Which files a YOLO data set is made of: data.yaml, names of classes, label files, and the image of each."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from maskwright.annotations.image_files import ImageFiles, files_below, split_of, split_of_words
from maskwright.annotations.listing import Listed, relative
from maskwright.annotations.records import head_text, read_text, shown, text, whole
from maskwright.errors import FormatError, InputError

YAML_SUFFIXES = (".yaml", ".yml")
NAME_FILES = ("classes.txt", "obj.names", "classes.names", "labels.txt")
SPLITS = ("train", "val", "test")
# Rounding writes 1.0000001; far beyond, the numbers are pixels.
LARGEST_SHARE = 2.0
_HEAD = 1024


@dataclass(frozen=True)
class DataYaml:
    """What a data.yaml says.

    Attributes:
        path: the file
        folder: the folder that its paths start from, where that is here; else the file's own
        names: of the classes by their number, as in the label files
        splits: split -> folders of images, or files that list images
    """

    path: Path
    folder: Path
    names: dict[int, str]
    splits: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)


def find_yaml(root: Path) -> Path | None:
    """The file with the names of the classes: root itself, or the first that looks so in it or in a folder of it."""
    if root.is_file():
        return root if root.suffix.lower() in YAML_SUFFIXES else None
    near = sorted(path for pattern in ("*", "*/*") for path in root.glob(pattern) if path.suffix.lower() in YAML_SUFFIXES)
    return next((path for path in sorted(near, key=lambda p: (len(p.parts), p)) if _says_names(path)), None)


def _says_names(path: Path) -> bool:
    lines = head_text(path).splitlines()
    keys = {line.split(":")[0].strip() for line in lines if ":" in line and not line.startswith((" ", "#", "\t"))}
    return "names" in keys and bool(keys & {"train", "val", "test", "nc", "path"})


def load_yaml(path: Path) -> DataYaml:
    """Read a data.yaml.

    Raises:
        FormatError: it is no YAML, or its names are neither a list nor a record of numbers.
        InputError: it cannot be read.
    """
    try:
        given = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise FormatError(f"{path}: is not readable YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(given, Mapping):
        raise FormatError(f"{path}: is {shown(given)}; expected YAML with `names` and the folders of train and val.")
    folder = _folder(path, given)
    splits = {split: _places(path, folder, given.get(split)) for split in SPLITS}
    if not splits["val"]:
        splits["val"] = _places(path, folder, given.get("valid"))
    return DataYaml(path, folder, _names(path, given.get("names")), splits)


def _names(path: Path, given: object) -> dict[int, str]:
    where = str(path)
    if isinstance(given, list):
        return {k: text(_plain(name), where, f"name {k}") for k, name in enumerate(given)}
    if isinstance(given, Mapping):
        return {
            whole(_number(k), where, "a number of a class"): text(_plain(name), where, f"name {k}") for k, name in given.items()
        }
    raise FormatError(f"{path}: `names` is {shown(given)}; expected a list of names, or a record of number: name.")


def _plain(name: object) -> object:
    """YAML reads a class called 1 or yes as a number or a truth."""
    return str(name) if isinstance(name, (int, float)) else name


def _number(key: object) -> object:
    return int(key) if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 7 else key


def _folder(path: Path, given: Mapping[str, Any]) -> Path:
    """The folder of `path:` where a split lies in it; it often names a place on another machine."""
    stated = given.get("path")
    if not isinstance(stated, str) or not stated.strip() or "\0" in stated:
        return path.parent
    there = path.parent / stated
    named = [one for split in SPLITS for one in _texts(given.get(split))]
    return there if any((there / one).exists() for one in named) else path.parent


def _texts(given: object) -> list[str]:
    """The paths that a split names: one, or a list of them."""
    return [
        one for one in (given if isinstance(given, list) else [given]) if isinstance(one, str) and one.strip() and "\0" not in one
    ]


def _places(path: Path, folder: Path, given: object) -> tuple[Path, ...]:
    """The folders or lists of one split that are here."""
    found: list[Path] = []
    for one in _texts(given):
        # Exports often write ../train/images and lie beside train/.
        tries = (folder / one, path.parent / one, folder / one.replace("\\", "/").lstrip("./"))
        found += [place for place in tries if os.path.exists(place)][:1]
    return tuple(found)


def class_file(root: Path) -> Path | None:
    """The nearest classes.txt or obj.names below root."""
    folder = root if root.is_dir() else root.parent
    files = [path for path in files_below(folder, (".txt", ".names")) if path.name.lower() in NAME_FILES]
    named = [path for path in files if not is_label(path)]
    return min(named, key=lambda path: (len(path.parts), path), default=None)


def names_of_lines(path: Path) -> dict[int, str]:
    """One name a line."""
    lines = [line.strip() for line in read_text(path).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return {k: name or f"class {k}" for k, name in enumerate(lines)}


def is_label(path: Path) -> bool:
    """Whether the first line of a text file is the number of a class and at least four shares."""
    first = next((line for line in head_text(path, _HEAD).splitlines() if line.strip()), "").split()
    try:
        values = [float(v) for v in first]
    except ValueError:
        return False
    # Shares, so that tables of other numbers (cameras, points) are not taken for labels.
    return len(values) >= 5 and values[0] >= 0 and values[0] % 1 == 0 and all(abs(v) <= LARGEST_SHARE for v in values[1:])


def folder_of(root: Path, meta: DataYaml | None) -> Path:
    """Where labels and images lie: the folder that was given, or the one of data.yaml where that is elsewhere."""
    folder = root if root.is_dir() else root.parent
    return folder if meta is None or meta.folder.resolve().is_relative_to(folder.resolve()) else meta.folder


def label_files(root: Path, meta: DataYaml | None, files: ImageFiles) -> list[Listed]:
    """Every label file with its image, and every image beside those that has none (it holds no objects)."""
    folder = folder_of(root, meta)
    single = root.is_file() and root.suffix.lower() == ".txt"
    texts = [root] if single else [path for path in files_below(folder, (".txt",)) if path.name.lower() not in NAME_FILES]
    pairs = _pairs(texts, folder, files)
    split = _splitter(meta, files)
    found = [
        Listed(
            relative(path, files.folder) if path else relative(label, folder),
            label,
            None,
            split(path or label),
            [str(label)],
            path,
        )
        for label, path in sorted(pairs.items())
    ]
    empty = [] if single else _without_label(files.paths, set(pairs.values()), meta)
    return found + [Listed(relative(path, files.folder), None, None, split(path), [], path) for path in empty]


def _pairs(texts: Sequence[Path], folder: Path, files: ImageFiles) -> dict[Path, Path | None]:
    """The image of each label file: that of its stem in its own folder, or where its folder labels reads images.

    What is left over on both sides is joined by the stem alone, where that is unique.
    """
    exact: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in files.paths:
        exact[path.parent, path.stem].append(path)
    pairs: dict[Path, Path | None] = {}
    for label in texts:
        there = exact.get((_images_for(label.parent), label.stem)) or exact.get((label.parent, label.stem), [])
        if len(there) == 1:
            pairs[label] = there[0]
    taken = set(pairs.values())
    for label in texts:
        if label not in pairs and is_label(label):
            free = [path for path in files.by_stem(label.stem, split=split_of(label, folder)) if path not in taken]
            pairs[label] = free[0] if len(free) == 1 else None
            taken |= {pairs[label]}
    return pairs


def _images_for(folder: Path) -> Path:
    """The folder of the images of a folder of labels: the last "labels" on the way reads "images"."""
    parts = list(folder.parts)
    for k in range(len(parts) - 1, -1, -1):
        if parts[k].lower() == "labels":
            parts[k] = "Images" if parts[k] == "Labels" else "images"
            return Path(*parts)
    return folder


def _without_label(paths: Sequence[Path], taken: Iterable[Path | None], meta: DataYaml | None) -> list[Path]:
    """Images that no label file belongs to, in folders that hold images of the set."""
    taken = set(taken)
    folders = {path.parent for path in taken if path is not None}
    folders |= {place for places in (list(meta.splits.values()) if meta is not None else []) for place in places}
    real = {Path(os.path.realpath(folder)) for folder in folders}
    return [path for path in paths if path not in taken and Path(os.path.realpath(path.parent)) in real]


def _splitter(meta: DataYaml | None, files: ImageFiles) -> Callable[[Path], str]:
    """A function from an image or label file to its split: what data.yaml says, else what its folders say."""
    places: list[tuple[Path, str]] = []
    listed: dict[Path, str] = {}
    for split, given in (dict(meta.splits) if meta is not None else {}).items():
        for place in given:
            if place.is_dir():
                places.append((Path(os.path.realpath(place)), split))
                continue
            for line in read_text(place).splitlines():
                listed |= {path: split for path in files.find(line)[:1] if line.strip() and path not in listed}

    def split_of_file(path: Path) -> str:
        real = Path(os.path.realpath(path))
        stated = listed.get(path) or next((split for place, split in places if real.is_relative_to(place)), "")
        folders = path.relative_to(files.folder).parent.parts if path.is_relative_to(files.folder) else path.parent.parts[-2:]
        return stated or split_of_words(*folders)

    return split_of_file
