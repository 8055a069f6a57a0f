"""Masks that hold the number of the object at each pixel: PNG of 8 or 16 bits, or TIFF of up to 32.

    <folder>/images/<split>/<name>.<suffix>      the images; split folders may also come first, or not at all
    <folder>/instances/<split>/<name>.png        0: no object, else its number
    <folder>/classes/<split>/<name>.png          class ids; without this folder all objects are of one class, "object"
    <folder>/classes.yaml                        what the class ids mean

There is no one source: tools for cells, leaves and aerial pictures write the like, with or without classes. Numbers that stay the
same from picture to picture do no harm: each image is read by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from maskwright.annotations.class_files import OBJECT, classes_in_masks, stated_classes, write_classes
from maskwright.annotations.class_names import by_name
from maskwright.annotations.drawn import AnnotatedImage, Annotations, Drawn, Remark
from maskwright.annotations.id_maps import paint, read_objects
from maskwright.annotations.image_files import ALL, files_below, split_of_words
from maskwright.annotations.listing import Listed, assemble, counted, relative
from maskwright.annotations.pictures import IMAGE_WORDS, Pictures, files_in, folder_named, place_without, stated_hw
from maskwright.annotations.placing import copy_image, holdable, image_file, place_of, with_ending
from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError
from maskwright.instances import Instances
from maskwright.io.write import write_mask, write_png

INSTANCE_WORDS = ("instances", "instance", "instanceids", "instancemasks", "instancelabels", "objectids", "objectmasks")
CLASS_WORDS = ("classes", "classids", "classmasks", "semantic", "semanticmasks")
MASK_SUFFIXES = (".png", ".tif", ".tiff")


def looks_like(root: Path) -> str:
    """The folder of id masks, where there is one with a PNG or TIFF in it."""
    folder = folder_named(root, INSTANCE_WORDS)
    return relative(folder, root) + "/" if folder is not None and files_below(folder, MASK_SUFFIXES) else ""


def read(root: Path, *, images: Path | None = None, classes: ClassMap | None = None) -> Annotations:
    """Every id mask below a folder called instances, instance_ids or alike, with the class mask of the same place and name.

    Classes are those given, else those of classes.yaml or labels.txt, else one for each value of the class masks; without class
    masks one class, "object".

    Raises:
        InputError, FormatError: no such folder, no masks in one, or a list of classes that cannot be used.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; expected one with instances/ and images/.")
    masks = files_in(root, INSTANCE_WORDS, MASK_SUFFIXES)
    if not masks:
        raise FormatError(f"{root}: no PNG or TIFF in a folder instances/; expected masks that number the objects.")
    class_masks = {place_without(path, root, CLASS_WORDS): path for path in files_in(root, CLASS_WORDS, MASK_SUFFIXES)}
    known, how = _classes(root, list(class_masks.values()), classes)
    files = Pictures(images or root, {*masks, *class_masks.values()})
    listed = [_listed(path, root, class_masks, files) for path in masks]
    line = f"instance ids: {counted(len(masks), 'mask')}, {len(class_masks) or 'no'} class masks beside them, classes {how}"
    parse = partial(_objects, classes=known, folder=bool(class_masks))
    return assemble("instance_png", root, line, known, listed, files, parse, others_count=False)


def write(folder: Path, images: Iterable[tuple[AnnotatedImage, Instances]], *, copy_images: bool = True) -> list[Remark]:
    """Write images, id masks of 16 bits, class masks and classes.yaml.

    Ids are kept up to 65535, else the image's objects are numbered anew; crowds are ignored pixels of the class mask. What is
    lost comes back as remarks: pixels under smaller objects, crowds, scores.

    Raises:
        InputError: the folder cannot be written, or an image has more than 65535 objects.
    """
    remarks: list[Remark] = []
    classes: ClassMap | None = None
    for image, found in images:
        classes = found.classes
        below = "" if image.split == ALL else image.split
        file = with_ending(place_of(image), ".png")
        kept, lost = holdable(image, found, "an id mask")
        painted = paint(found, kept, image.name)
        remarks += [*lost, *painted.remarks]
        write_png(folder / INSTANCE_WORDS[0] / below / file, painted.ids)
        write_mask(folder / CLASS_WORDS[0] / below / file, painted.labels, found.classes)
        if copy_images:
            remarks += copy_image(image, folder / IMAGE_WORDS[0] / below / image_file(image))
    if classes is not None:
        write_classes(folder, classes)
    return remarks


def _classes(root: Path, class_masks: list[Path], given: ClassMap | None) -> tuple[ClassMap, str]:
    """The class map, and where it is from, for the line."""
    if given is not None:
        return given, "as given"
    stated = stated_classes(root)
    if stated is not None:
        return stated[0], f"from {stated[1]}"
    if class_masks:
        return classes_in_masks(class_masks), "by the values of the class masks"
    return by_name([OBJECT], None)[0], f'one, "{OBJECT}"'


def _listed(mask: Path, root: Path, class_masks: dict[str, Path], files: Pictures) -> Listed:
    place = place_without(mask, root, INSTANCE_WORDS)
    class_mask = class_masks.get(place)
    split = split_of_words(*mask.relative_to(root).parent.parts)
    row = [str(mask), None if class_mask is None else str(class_mask)]
    return Listed(place, mask, stated_hw(files, place, split, mask), split, [row])


def _objects(rows: list[Any], image: AnnotatedImage, classes: ClassMap, folder: bool) -> tuple[list[Drawn], list[Remark]]:
    """The objects of one mask; folder: class masks are there for other images, so that this one's is missing."""
    mask, class_mask = rows[0]
    if class_mask is None and folder:
        raise FormatError(f"{mask}: has no class mask of its name in {CLASS_WORDS[0]}/, other images have one; add it.")
    return read_objects(Path(mask), None if class_mask is None else Path(class_mask), classes, image)
