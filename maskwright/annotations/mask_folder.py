"""A folder of binary masks for each image, one file an object.

    <id>/images/<id>.png     <id>/masks/*.png                  a folder an image, as the 2018 Data Science Bowl lays them out
    images/<name>.png        masks/<name>/*.png                all images in one folder
    images/<name>.png        masks/<name>/<class>/*.png        with the class of each object; in the first form, too

Split folders may stand anywhere on the way (train/images, images/train, stage1_train/<id>). Whatever is not 0 in a mask belongs
to the object. A file name that is a number is the object's id.

Source: Caicedo et al. 2019, Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl (BBBC038); the other
forms are what people make of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.annotations.class_files import OBJECT, class_without_name, stated_classes, write_classes
from maskwright.annotations.class_names import by_name, unknown_class
from maskwright.annotations.drawn import UNREADABLE, AnnotatedImage, Annotations, Drawn, Remark
from maskwright.annotations.image_files import ALL
from maskwright.annotations.listing import Listed, assemble, counted, parse_each, relative
from maskwright.annotations.mask_places import MASK_WORDS, Entry, find_entries, mask_folders
from maskwright.annotations.pictures import IMAGE_WORDS, Pictures, hw_of_mask
from maskwright.annotations.placing import copy_image, holdable, image_file, place_of
from maskwright.annotations.records import Refused
from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError
from maskwright.instances import Instances
from maskwright.io.masks import read_mask
from maskwright.io.write import fresh_folder, write_png
from maskwright.ops.rle import Rle

_LONGEST_ID = 9
_LOOKED_AT = 20
_NOT_IN_NAMES = '/\\:*?"<>|'


def looks_like(root: Path) -> str:
    """The first folder of masks of single objects, as far as the first few folders of masks hold such."""
    for folder in islice(mask_folders(root), _LOOKED_AT):
        for entry in find_entries(folder.parent, folders=[folder]).entries:
            # A single mask of its image's name may as well be one of classes.
            if entry.path is not None and [path.stem for _, path in entry.files] not in ([], [entry.path.stem]):
                return relative(entry.files[0][1].parent, root) + "/"
    return ""


def read(root: Path, *, images: Path | None = None, classes: ClassMap | None = None) -> Annotations:
    """Every image with a folder of masks, each mask an object.

    Classes are those given, else those of classes.yaml or labels.txt, else the names of class folders; objects without one are of
    the only class there is, or "object".

    Raises:
        InputError, FormatError: no such folder, no masks of single objects in it, or a list of classes that cannot be used.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; expected one with a folder of masks for each image.")
    stated = (classes, "as given") if classes is not None else stated_classes(root)
    names = frozenset(class_folders(stated[0])) if stated is not None else frozenset()
    found = find_entries(root, images=images, class_names=names)
    if not any(entry.files or entry.annotated for entry in found.entries):
        raise FormatError(
            f"{root}: no masks of single objects here; expected masks/<image>/*.png beside images/, or <image>/masks/*.png. "
            f"Masks that hold classes or numbers are other formats."
        )
    folders = {name for entry in found.entries for name, _ in entry.files}
    known, how = stated or (by_name([name or OBJECT for name in folders] or [OBJECT], None)[0], "by folders")
    remarks = [
        Remark(
            "bad-object", f"{path}: lies in no folder of an image, so nothing says whose object it is; it is left out.", "", path
        )
        for path in found.strays
    ]
    remarks += [_not_annotated(entry.path) for entry in found.entries if not entry.annotated and entry.path is not None]
    files = Pictures(images or root, {path for entry in found.entries for _, path in entry.files})
    count = sum(len(entry.files) for entry in found.entries)
    line = f"mask folders: {counted(count, 'mask')} of {counted(len(found.entries), 'image')}, classes {how}"
    parse = partial(_objects, classes=known)
    return assemble("masks", root, line, known, [_listed(e) for e in found.entries], files, parse, remarks, others_count=False)


def write(folder: Path, images: Iterable[tuple[AnnotatedImage, Instances]], *, copy_images: bool = True) -> list[Remark]:
    """Write <split>/images/<name>, <split>/masks/<name>/<class>/<id>.png and classes.yaml; an only class has no folder.

    Overlaps and ids are kept. What is lost comes back as remarks: crowds, scores and empty masks.

    Raises:
        InputError: the folder cannot be written.
    """
    remarks: list[Remark] = []
    classes: ClassMap | None = None
    for image, found in images:
        classes = found.classes
        base = folder if image.split == ALL else folder / image.split
        kept, lost = holdable(image, found, "a folder of masks")
        remarks += lost
        _write_masks(base / MASK_WORDS[0] / place_of(image), found.select(kept))
        if copy_images:
            remarks += copy_image(image, base / IMAGE_WORDS[0] / image_file(image))
    if classes is not None:
        write_classes(folder, classes)
    return remarks


def class_folders(classes: ClassMap) -> dict[str, int]:
    """The folder of each class of objects, and its id: its name without what folders cannot be called."""
    found: dict[str, int] = {}
    for i, name in zip(classes.ids, classes.names, strict=True):
        if i == classes.background:
            continue
        folder = "".join("_" if c in _NOT_IN_NAMES or not c.isprintable() else c for c in name).strip()
        folder = f"_{folder[1:]}" if folder[:1] in ("", ".") else folder
        found[f"{folder}_{i}" if folder in found else folder] = i
    return found


def _write_masks(folder: Path, found: Instances) -> None:
    names = {i: name for name, i in class_folders(found.classes).items()}
    width = len(str(max(found.all_ids, default=0)))
    if not len(found):
        fresh_folder(folder)  # an image without objects is annotated all the same
    for k, mask in enumerate(found.masks):
        below = folder if len(names) == 1 else folder / names[int(found.class_ids[k])]
        write_png(below / f"{found.all_ids[k]:0{width}d}.png", mask.to_mask().astype(np.uint8) * np.uint8(255))


def _not_annotated(path: Path) -> Remark:
    text = (
        f"{path}: has no folder of masks, so it counts as an image without objects. Make an empty one to say so, or take it away."
    )
    return Remark("image-not-annotated", text, path.stem, path)


def _listed(entry: Entry) -> Listed:
    rows = [[name, str(path)] for name, path in sorted(entry.files, key=_by_number)]
    hw = hw_of_mask(entry.files[0][1]) if entry.path is None and entry.files else None
    return Listed(entry.place, entry.folder, hw, rows=rows, path=entry.path)


def _by_number(file: tuple[str, Path]) -> tuple[int, str, str]:
    name, path = file
    return _id_of(path) or 0, name, path.name


def _id_of(path: Path) -> int | None:
    number = path.stem.isascii() and path.stem.isdecimal() and len(path.stem) <= _LONGEST_ID
    return int(path.stem) or None if number else None


def _objects(rows: list[Any], image: AnnotatedImage, classes: ClassMap) -> tuple[list[Drawn], list[Remark]]:
    return parse_each(rows, image, partial(_object, classes=classes, folders=class_folders(classes)))


def _object(row: list[str], _position: int, _remarks: list[Remark], *, classes: ClassMap, folders: dict[str, int]) -> Drawn:
    name, path = row[0], Path(row[1])
    class_id = folders.get(name) if name else class_without_name(classes)
    if class_id is None:
        raise unknown_class(name or OBJECT, classes, str(path))
    return Drawn(class_id, rle=_mask_of(path), id=_id_of(path), where=path.name)


def _mask_of(path: Path) -> Rle:
    try:
        mask = read_mask(path)
    except FormatError as error:
        raise Refused(UNREADABLE, str(error)) from error
    values = mask.values.max(axis=2) if mask.kind == "rgb" else mask.values
    # Compression smears the border of 0 and 255.
    return Rle.from_mask(values > values.max() / 2 if mask.lossy and values.max() > 0 else values != 0)
