"""All annotation formats by name, which of them a folder holds, and reading it.

A format is a module of this package with `looks_like(root)` and `read(root, images=, classes=)`; it is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType

from maskwright.annotations.damaged_files import damaged_text
from maskwright.annotations.drawn import Annotations
from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError


@dataclass(frozen=True)
class Format:
    """One annotation format.

    Attributes:
        module: its module in this package
        title: what people call it
        example: what its files look like
    """

    module: str
    title: str
    example: str

    def load(self) -> ModuleType:
        return import_module(f"{__package__}.{self.module}")


FORMATS: Mapping[str, Format] = MappingProxyType({
    "coco": Format("coco", "COCO json", "annotations/instances_train.json"),
    "via": Format("via", "VIA json (VGG Image Annotator)", "via_region_data.json"),
    "labelme": Format("labelme", "LabelMe json", "photo.jpg + photo.json"),
    "yolo": Format("yolo", "YOLO-seg text", "data.yaml, images/train/x.jpg + labels/train/x.txt"),
    "cvat": Format("cvat", "CVAT for images XML", "annotations.xml"),
    "label_studio": Format("label_studio", "Label Studio JSON", "project-1-at-....json"),
    "voc": Format("voc", "Pascal VOC", "JPEGImages/, SegmentationClass/, SegmentationObject/"),
    "cityscapes": Format("cityscapes", "Cityscapes", "leftImg8bit/, gtFine/*_polygons.json"),
    "airbus": Format("airbus", "run lengths in a csv (Airbus ships)", "train_ship_segmentations.csv"),
    "geojson": Format("geojson", "GeoJSON, GeoPackage or Shapefile over GeoTIFF", "images/x.tif + labels/x.geojson"),
    "instance_png": Format("instance_png", "instance-id PNG", "images/x.jpg + instances/x.png"),
    "masks": Format("mask_folder", "a folder of binary masks an image", "x/images/x.png + x/masks/*.png"),
})  # fmt: skip


def detect(root: Path) -> list[tuple[str, str]]:
    """The formats whose files lie at root, each with a few words of evidence; several where several fit."""
    found = []
    for name, entry in FORMATS.items():
        evidence = str(entry.load().looks_like(root))
        if evidence:
            found.append((name, evidence))
    return found


def read_annotations(
    root: Path,
    *,
    format: str | None = None,
    images: Path | None = None,
    classes: ClassMap | None = None,
    class_property: str | None = None,
) -> Annotations:
    """Read a folder or file of annotations, whatever its format.

    Args:
        root: a folder, or the annotation file itself
        format: key of FORMATS; found out where none is given
        images: the folder of the images, where it is not around the annotations
        classes: what classes exist; found in the annotations where none is given
        class_property: which property of features holds their class, of files of polygons on the map

    Raises:
        InputError: there is nothing at root, no format or several fit, or there is no format of this name.
        FormatError: an annotation file is damaged.
    """
    if not root.exists():
        raise InputError(f"{root}: no such file or folder.")
    if images is not None and not images.is_dir():
        raise InputError(f"{images}: no such folder of images.")
    name = format if format is not None else _only(root)
    if class_property is not None and name != "geojson":
        raise InputError(f"{root}: is {name}, which has no properties of features; leave --class-property out.")
    chosen = {} if class_property is None else {"class_property": class_property}
    found: Annotations = _module(name).read(root, images=images, classes=classes, **chosen)
    return found


def _only(root: Path) -> str:
    """The one format that fits.

    Raises:
        InputError: none does, or several do.
    """
    found = detect(root)
    if len(found) == 1:
        return found[0][0]
    if not found:
        known = "; ".join(f"{name} ({entry.example})" for name, entry in FORMATS.items())
        damaged = damaged_text(root)
        why = f". {damaged} If they are others," if damaged else ";"
        raise FormatError(f"{root}: no annotations here that I know{why} say what they are with --from FORMAT: {known}.")
    seen = ", ".join(f"{name} ({evidence})" for name, evidence in found)
    raise InputError(f"{root}: fits several formats: {seen}; say which one is meant, as --from {found[0][0]}.")


def _module(name: str) -> ModuleType:
    entry = FORMATS.get(name)
    if entry is None:
        near = get_close_matches(name, FORMATS) or list(FORMATS)
        raise InputError(f"no annotation format named {name!r}; did you mean {', '.join(near)}?")
    return entry.load()
