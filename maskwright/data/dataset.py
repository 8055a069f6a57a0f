"""Dataset: images with their masks, the classes and the splits, from a folder, lists of paths or arrays."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from maskwright.annotations.assemble import instances_of
from maskwright.annotations.drawn import Annotations
from maskwright.annotations.formats import detect, read_annotations
from maskwright.classes import ClassMap
from maskwright.data.found_classes import class_map_of, find_classes
from maskwright.data.layouts import AmbiguousError, LayoutError
from maskwright.data.pairing import find_pairs
from maskwright.data.stored import content_hash, stored_mask
from maskwright.data.volume_pairs import VolumePairs, find_volume_pairs
from maskwright.data.wording import counted, shown, size_difference, unknown_text
from maskwright.errors import InputError
from maskwright.io.image import Image
from maskwright.io.masks import LabelReading, labels_of
from maskwright.io.read import read_image
from maskwright.sample import Sample

Source = Path | NDArray[Any]
# Formats that may hold a mask of classes beside the objects: where they do, what a semantic network is to learn is drawn there,
# borders and all.
BESIDE_CLASSES = {"voc", "cityscapes", "instance_png"}


@dataclass(frozen=True, eq=False)
class Pair:
    """An image and its mask, not yet read.

    Attributes:
        name: unique in the data set: the stem of the image's name, with folders or split before it where stems come twice
        image, mask: paths or arrays; mask is None where it is missing
        split: "train", "val", "test", "inner", "held-out", or "all" where there is no split
        group: patient, scene or drive, None where none was asked for
        objects: place in the data set's annotations, where those hold the truth
    """

    name: str
    image: Source
    mask: Source | None
    split: str = "all"
    group: str | None = None
    objects: int | None = None

    @property
    def labelled(self) -> bool:
        """There is a truth to this image."""
        return self.mask is not None or self.objects is not None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images under one class map.

    Attributes:
        name: the folder's name
        root: the folder, None for arrays and lists of paths
        classes: what the labels mean
        pairs: in the order of the image paths
        layout: one line for people: where images and masks were found, and the splits
        classes_found: one line for people where the classes were found in the masks, "" where they were given
        snap: values that are not in the class map go to the nearest instead of being an error
        strays: masks without an image
        annotations: the objects, where the truth tells them apart; then the pairs have no masks
    """

    name: str
    root: Path | None
    classes: ClassMap
    pairs: tuple[Pair, ...]
    layout: str
    classes_found: str = ""
    snap: bool = False
    strays: tuple[Path, ...] = ()
    annotations: Annotations | None = None

    @classmethod
    def in_memory(
        cls,
        images: Sequence[Source | str],
        masks: Sequence[Source | str],
        *,
        classes: ClassMap | Path | str | None = None,
        name: str = "arrays",
        names: Sequence[str] | None = None,
        splits: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        snap: bool = False,
    ) -> Dataset:
        """Arrays (H, W) or (H, W, C) with masks (H, W), or lists of paths, in the same order; see stored_mask for their values.

        Raises:
            InputError: no image, lists of different length, or a name that stands twice.
        """
        given = {"masks": masks, "names": names, "splits": splits, "groups": groups}
        for what, values in given.items():
            if values is not None and len(values) != len(images):
                raise InputError(f"{name}: {len(images)} images but {len(values)} {what}; give one an image, in the same order.")
        if not len(images):
            raise InputError(f"{name}: no images; give at least one image and its mask.")
        pictures = [Path(s) if isinstance(s, str) else s for s in images]
        labels = [Path(s) if isinstance(s, str) else s for s in masks]
        names = names or _names_of(pictures)
        twice = [n for n, count in Counter(names).items() if count > 1]
        if twice:
            raise InputError(f"{name}: the name {twice[0]!r} stands twice; give each image its own with names=.")
        found, line = _classes(None, classes, labels, name)
        pairs = tuple(
            Pair(name, picture, label, splits[k] if splits else "all", groups[k] if groups else None)
            for k, (name, picture, label) in enumerate(zip(names, pictures, labels, strict=True))
        )
        return cls(name, None, found, pairs, f"{counted(len(pairs), 'image')} given one by one", line, snap)

    @property
    def splits(self) -> dict[str, int]:
        """How many pairs each split has."""
        return dict(Counter(p.split for p in self.pairs))

    def split(self, name: str) -> tuple[Pair, ...]:
        """The pairs of one split; "all" gives every pair.

        Raises:
            InputError: no such split; the message lists those there are.
        """
        found = self.pairs if name == "all" else tuple(p for p in self.pairs if p.split == name)
        if not found:
            there = ", ".join(f"{s} ({n})" for s, n in self.splits.items())
            raise InputError(f"{self.name}: no split {name!r}; there are: {there}.")
        return found

    def read(self, pair: Pair) -> Sample:
        """Read an image and its truth as class ids.

        Raises:
            InputError, FormatError: a file cannot be read, the sizes differ, or the mask holds values without a class.
        """
        image = read_image(pair.image)
        if self.annotations is not None and pair.objects is not None:
            instances, _ = instances_of(self.annotations, pair.objects, image.hw)
            return Sample(image, instances.to_labels(), self.classes, pair.name, pair.group, instances)
        if pair.mask is None:
            return Sample(image, None, self.classes, pair.name, pair.group)
        reading = self.read_labels(pair, image)
        return Sample(image, reading.labels, self.classes, pair.name, pair.group)

    def read_labels(self, pair: Pair, image: Image) -> LabelReading:
        """The labels of a pair whose image has been read; see read."""
        if pair.mask is None:
            raise InputError(f"{pair.name}: has no mask.")
        mask = stored_mask(pair.mask, pair.name, self.classes)
        if mask.hw != image.hw:
            raise InputError(f"{shown(pair.mask, pair.name)}: {size_difference(mask.hw, image)}")
        reading = labels_of(mask, self.classes, snap=self.snap)
        if reading.unknown:
            raise InputError(f"{shown(pair.mask, pair.name)}: {unknown_text(reading.unknown, self.classes)}")
        return reading

    def fingerprint(self) -> str:
        """SHA-256 over classes, names and the contents of all files, wherever they lie: the manifest's data_hash."""
        digest = hashlib.sha256(json.dumps(self.classes.to_dict(), sort_keys=True).encode())
        for pair in sorted(self.pairs, key=lambda p: p.name):
            digest.update(f"\0{pair.name}\0".encode())
            for source in (pair.image, pair.mask):
                digest.update(content_hash(source))
            if self.annotations is not None and pair.objects is not None:
                digest.update(_hash_of_objects(self.annotations, pair.objects))
        return digest.hexdigest()

    def with_splits(self, splits: Mapping[str, str], said: str = "") -> Dataset:
        """The same data with other splits: name -> split; pairs that are not named keep theirs."""
        pairs = tuple(replace(p, split=splits.get(p.name, p.split)) for p in self.pairs)
        return replace(self, pairs=pairs, layout=f"{self.layout}; {said}" if said else self.layout)

    def without(self, names: Collection[str]) -> Dataset:
        """The same data without some pairs, and without the masks that have no image.

        Raises:
            InputError: a name is not there, or nothing would be left.
        """
        missing = sorted(set(names) - {p.name for p in self.pairs})
        if missing:
            raise InputError(f"{self.name}: no pair named {', '.join(map(repr, missing[:3]))} to leave out.")
        pairs = tuple(p for p in self.pairs if p.name not in set(names))
        if not pairs:
            raise InputError(f"{self.name}: leaving out {len(names)} pairs leaves none.")
        left_out = f"; {len(self.pairs) - len(pairs)} pairs left out" if names else ""
        return replace(self, pairs=pairs, strays=(), layout=f"{self.layout}{left_out}")


def open_dataset(
    source: str | Path | Dataset | tuple[Sequence[Source | str], Sequence[Source | str]],
    *,
    classes: ClassMap | Path | str | None = None,
    images: str | None = None,
    masks: str | None = None,
    group: str | None = None,
    snap: bool = False,
    objects: bool | None = None,
) -> Dataset:
    """Find images, masks or annotations of objects, splits and classes.

    Args:
        source: a folder in any layout of data/layouts.py, a pair (images, masks) of lists, or a Dataset, which is handed
            back with classes, group and snap applied; its folders are chosen already
        classes: a class map or the path of a classes.yaml; default: classes.yaml in the folder, else found in the masks
        images, masks: folders that overrule the layout
        group: a regular expression over pair names; its first bracket (or the whole match) names the group
        snap: move values that are not in the class map to the nearest stored value
        objects: True takes annotations that tell objects apart and nothing else; False takes masks alone; None takes what is
            there, and masks of classes where both are (Pascal VOC)

    Raises:
        InputError: see data/layouts.py, data/pairing.py, data/found_classes.py and annotations/formats.py; or the expression
            does not match.
    """
    if isinstance(source, tuple) and (images is not None or masks is not None):
        raise InputError("images= and masks= name folders below a data folder, but the data were given as lists.")
    if isinstance(source, Dataset):
        given = replace(source, classes=class_map_of(classes), classes_found="") if classes is not None else source
        given = replace(given, snap=given.snap or snap)
    elif isinstance(source, tuple):
        given = Dataset.in_memory(*source, classes=classes, snap=snap)
    else:
        given = _open_folder(Path(source), classes, images, masks, snap, objects)
    if objects and given.annotations is None:
        raise InputError(
            f"{given.name}: its masks say which class a pixel has, not which object; a network of objects needs each drawn by "
            f"itself. Where objects do not touch: maskwright convert {given.root or 'DATA'} NEW --to coco --components."
        )
    return _grouped(given, group) if group is not None else given


def _open_folder(
    root: Path, classes: ClassMap | Path | str | None, images: str | None, masks: str | None, snap: bool, objects: bool | None
) -> Dataset:
    formats = _formats(root) if masks is None and objects is not False else set()
    if formats if objects else formats - BESIDE_CLASSES:
        return _annotated(root, classes, images)
    volumes = find_volume_pairs(root, images=images, masks=masks, classes=_given(root, classes))
    if volumes is not None:
        return _of_volumes(root, volumes, classes, snap)
    try:
        found = find_pairs(root, images=images, masks=masks)
    except LayoutError as error:
        if not formats or isinstance(error, AmbiguousError):
            raise
        return _annotated(root, classes, images)
    name = root.resolve().name
    pairs = tuple(Pair(p.name, p.image, p.mask, p.split) for p in found.pairs)
    class_map, line = _classes(root, classes, [p.mask for p in pairs if p.mask is not None], name)
    return Dataset(name, root, class_map, pairs, found.line, line, snap, found.strays)


def _of_volumes(root: Path, found: VolumePairs, classes: ClassMap | Path | str | None, snap: bool) -> Dataset:
    """The slices of volumes; those of one volume, or of one patient, are a group."""
    name = root.resolve().name
    pairs = tuple(Pair(p.name, p.image, p.mask, p.split, p.group) for p in found.pairs)
    if found.classes is not None:
        line = "" if _given(root, classes) is not None else f"classes are the segments' own: {', '.join(found.classes.names)}"
        return Dataset(name, root, found.classes, pairs, found.line, line, snap, found.strays)
    class_map, line = _classes(root, classes, [p.mask for p in pairs if p.mask is not None], name)
    return Dataset(name, root, class_map, pairs, found.line, line, snap, found.strays)


def _formats(root: Path) -> set[str]:
    """The formats of the annotations that are there."""
    return {format_ for format_, _ in detect(root)}


def _annotated(root: Path, classes: ClassMap | Path | str | None, images: str | None) -> Dataset:
    """The images of a folder of annotations, as far as they are on disk; the doctor tells of the others."""
    given = class_map_of(classes) if classes is not None else None
    found = read_annotations(root, images=root / images if images is not None else None, classes=given)
    if not found.images:
        raise LayoutError(f"{root}: the annotations list no images ({found.line}). Export them again, with their images.")
    pairs = tuple(
        Pair(image.name, image.path, None, image.split, objects=k)
        for k, image in enumerate(found.images)
        if image.path is not None
    )
    if not pairs:
        raise LayoutError(
            f"{root}: none of the {len(found.images)} annotated images is on disk; name their folder with --images."
        )
    return Dataset(root.resolve().name, root, found.classes, pairs, found.line, annotations=found)


def _hash_of_objects(annotations: Annotations, k: int) -> bytes:
    """SHA-256 over what the annotations say about one image."""
    digest = hashlib.sha256()
    for one in annotations.objects(k)[0]:
        digest.update(f"{one.class_id} {one.crowd} {one.rule}".encode())
        for array in (*one.rings, *([one.rle.counts] if one.rle is not None else [])):
            digest.update(array.tobytes())
    return digest.digest()


def _given(root: Path | None, classes: ClassMap | Path | str | None) -> ClassMap | None:
    """The class map that was given, or lies in the folder; None where the masks must say."""
    if classes is not None:
        return class_map_of(classes)
    for path in [root / "classes.yaml", root / "classes.yml"] if root else []:
        if path.is_file():
            return ClassMap.load(path)
    return None


def _classes(root: Path | None, given: ClassMap | Path | str | None, masks: Sequence[Source], name: str) -> tuple[ClassMap, str]:
    known = _given(root, given)
    return (known, "") if known is not None else find_classes(masks, name)


def _grouped(dataset: Dataset, expression: str) -> Dataset:
    try:
        compiled = re.compile(expression)
    except re.error as error:
        raise InputError(f"--group {expression!r} is not a regular expression ({error}).") from error
    pairs = []
    for pair in dataset.pairs:
        found = compiled.search(pair.name)
        group = found and (found.group(1) if compiled.groups else found.group())
        if not group:
            raise InputError(f"--group {expression!r} finds no group in the name {pair.name!r}; it must match every name.")
        pairs.append(replace(pair, group=group))
    count = len({p.group for p in pairs})
    return replace(dataset, pairs=tuple(pairs), layout=f"{dataset.layout}; {count} groups by {expression!r}")


def _names_of(images: Sequence[Source]) -> list[str]:
    stems = [s.stem if isinstance(s, Path) else f"{k:04d}" for k, s in enumerate(images)]
    if len(set(stems)) == len(stems):
        return stems
    return [s.as_posix() if isinstance(s, Path) else stem for s, stem in zip(images, stems, strict=True)]
