"""Pascal VOC's segmentation masks: one PNG with the class and one with the object of each pixel.

    <folder>/JPEGImages/<name>.jpg              (other picture formats are found, too)
    <folder>/SegmentationClass/<name>.png       class ids in VOC's palette, 255: the border around objects, counts nowhere
    <folder>/SegmentationObject/<name>.png      objects 1, 2, ... in the same palette, 255: the same border
    <folder>/ImageSets/Segmentation/<split>.txt names, one a line

Source: "The PASCAL Visual Object Classes Challenge 2012 (VOC2012) Development Kit", section on the segmentation taster. Labelme's
and CVAT's exports of it are read, too (SegmentationObjectPNG, class_names.txt, labelmap.txt, masks in colours).
Differs: an object has the class under most of its pixels. Writing keeps a classes.yaml beside the masks; more than 254 objects an
image make its object mask one of 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.class_files import OBJECT, classes_in_masks, stated_classes, write_classes
from maskwright.annotations.class_names import by_name
from maskwright.annotations.drawn import AnnotatedImage, Annotations, Drawn, Remark
from maskwright.annotations.id_maps import VOID, paint, read_objects
from maskwright.annotations.image_files import ALL, files_below
from maskwright.annotations.listing import Listed, assemble, counted, relative
from maskwright.annotations.pictures import Pictures, stated_hw
from maskwright.annotations.placing import copy_image, holdable, image_file, place_of, with_ending
from maskwright.annotations.voc_lists import SPLITS, folders, listed_splits
from maskwright.classes import IGNORE_ID, ClassMap, spread
from maskwright.errors import FormatError, InputError
from maskwright.instances import MOST_IDS, Instances
from maskwright.io.masks import read_mask
from maskwright.io.write import write_mask, write_png, write_text
from maskwright.ops.colour import IGNORED_COLOUR

IMAGES = "JPEGImages"
# Labelme's converter adds PNG to the names, as it also writes arrays.
MASK_FOLDERS = (("SegmentationObject", "SegmentationClass"), ("SegmentationObjectPNG", "SegmentationClassPNG"))
MASK_SUFFIXES = (".png",)
EVERY_SPLIT = "trainval"
_SAMPLED = 10


def looks_like(root: Path) -> str:
    """The folder of object masks, where there is one."""
    found = _bases(root)
    return relative(found[0] / _folders(found[0])[0], root) + "/" if found else ""


def read(root: Path, *, images: Path | None = None, classes: ClassMap | None = None) -> Annotations:
    """Every object mask of a VOC folder, or of the one VOC folder below it (VOCdevkit/VOC2012).

    Classes are those given, else those of classes.yaml, labels.txt, class_names.txt or labelmap.txt, else VOC's own where the
    first masks hold its ids in its palette, else one for each value that is found.

    Raises:
        InputError, FormatError: no such folder, several of them, or a list of classes or names that cannot be used.
    """
    base = _base(root)
    object_folder, class_folder = (base / name for name in _folders(base))
    masks = files_below(object_folder, MASK_SUFFIXES)
    class_masks = {path: class_folder / path.relative_to(object_folder) for path in masks} if class_folder.is_dir() else {}
    if not masks:
        raise FormatError(f"{object_folder}: holds no PNG; expected a mask of objects for each image.")
    known, how = _classes(base, list(class_masks.values()), classes)
    names = {path: _name(path, object_folder) for path in masks}
    split_of, remarks = listed_splits(base, set(names.values()), object_folder.name)
    image_folder = images or (base / IMAGES if (base / IMAGES).is_dir() else base)
    files = Pictures(image_folder, {*masks, *class_masks.values()})
    listed = [_listed(path, class_masks.get(path), name, split_of.get(name, ALL), files) for path, name in names.items()]
    line = f"VOC: {counted(len(masks), 'object mask')} in {relative(object_folder, root)}/, classes {how}"
    return assemble("voc", root, line, known, listed, files, partial(_objects, classes=known), remarks, others_count=False)


def write(folder: Path, images: Iterable[tuple[AnnotatedImage, Instances]], *, copy_images: bool = True) -> list[Remark]:
    """Write images, masks, lists of names and classes.yaml.

    Crowds become void; ids are kept where they fit (up to 254, with more objects up to 65535), else objects are numbered anew.
    What is lost comes back as remarks: pixels under smaller objects, crowds, scores.

    Raises:
        InputError: the folder cannot be written, or an image has more than 65535 objects.
    """
    remarks: list[Remark] = []
    names: dict[str, list[str]] = {}
    classes: ClassMap | None = None
    for image, found in images:
        classes = found.classes
        names.setdefault(image.split, []).append(place_of(image).as_posix())
        remarks += _write_masks(folder, image, found)
        if copy_images:
            remarks += copy_image(image, folder / IMAGES / image_file(image))
    if classes is not None:
        write_classes(folder, classes)
    for split, rows in names.items():
        file = EVERY_SPLIT if split == ALL else split
        write_text(folder / SPLITS / f"{file}.txt", "".join(f"{row}\n" for row in rows))
    return remarks


def _write_masks(folder: Path, image: AnnotatedImage, found: Instances) -> list[Remark]:
    kept, remarks = holdable(image, found, "VOC")
    small = len(kept) < VOID
    painted = paint(found, kept, image.name, VOID - 1 if small else MOST_IDS)
    file = with_ending(place_of(image), ".png")
    void = (painted.labels == found.classes.ignore_id) & (painted.ids == 0)
    # 255 is void in 8 bits only: beyond, it is an object like others, and the class mask alone says what is void.
    ids = np.where(void, VOID, painted.ids).astype(np.uint8) if small else painted.ids
    write_png(folder / MASK_FOLDERS[0][0] / file, ids, _palette() if small else None)
    write_mask(folder / MASK_FOLDERS[0][1] / file, painted.labels, found.classes)
    return [*remarks, *painted.remarks]


def _palette() -> NDArray[np.uint8]:
    """VOC's colour of each index, (256, 3)."""
    table = np.array([spread(k) for k in range(256)], np.uint8)
    table[VOID] = IGNORED_COLOUR
    return table


def _bases(root: Path) -> list[Path]:
    """VOC folders: root, or those below it as the development kit is unpacked."""
    if not root.is_dir():
        return []
    return [path for path in folders(root) if any((path / objects).is_dir() for objects, _ in MASK_FOLDERS)]


def _base(root: Path) -> Path:
    found = _bases(root)
    if not found:
        raise InputError(f"{root}: no folder {MASK_FOLDERS[0][0]}/ here; expected a folder of Pascal VOC with masks of objects.")
    if len(found) > 1 and found[0] != root:
        raise InputError(f"{root}: holds several VOC folders ({', '.join(path.name for path in found)}); give one of them.")
    return found[0]


def _folders(base: Path) -> tuple[str, str]:
    """The names of the folders of object and class masks."""
    return next(both for both in MASK_FOLDERS if (base / both[0]).is_dir())


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _classes(base: Path, class_masks: Sequence[Path], given: ClassMap | None) -> tuple[ClassMap, str]:
    """The class map, and where it is from, for the line."""
    if given is not None:
        return given, "as given"
    stated = stated_classes(base)
    if stated is not None:
        return stated[0], f"from {stated[1]}"
    if not any(path.is_file() for path in class_masks):
        return by_name([OBJECT], None)[0], f"none, as there is no {MASK_FOLDERS[0][1]}/"
    if _hold_voc(class_masks[:: -(-len(class_masks) // _SAMPLED)]):
        return ClassMap.known("voc"), "VOC's own, as ids and palette of the masks say"
    return classes_in_masks(class_masks), "by the values of the masks"


def _hold_voc(paths: Sequence[Path]) -> bool:
    """Whether class masks hold nothing but VOC's ids, in its palette."""
    own = np.array([spread(k) for k in range(21)])
    held = False
    for path in paths:
        try:
            mask = read_mask(path)
        except InputError:
            continue
        if mask.palette is None or not np.array_equal(mask.palette[:21], own) or not set(mask.counts) <= {*range(21), IGNORE_ID}:
            return False
        held = True
    return held


def _listed(mask: Path, class_mask: Path | None, name: str, split: str, files: Pictures) -> Listed:
    row = [str(mask), None if class_mask is None else str(class_mask)]
    return Listed(name, mask, stated_hw(files, name, split, mask), split, [row])


def _objects(rows: list[Any], image: AnnotatedImage, classes: ClassMap) -> tuple[list[Drawn], list[Remark]]:
    mask, class_mask = rows[0]
    return read_objects(Path(mask), None if class_mask is None else Path(class_mask), classes, image)
