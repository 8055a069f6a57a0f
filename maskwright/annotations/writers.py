"""All formats that objects can be written in, by the names that `--to` takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from maskwright.annotations import (
    airbus,
    class_png,
    coco_write,
    geojson_write,
    instance_png,
    labelme_write,
    mask_folder,
    voc,
    yolo_write,
)
from maskwright.annotations.drawn import AnnotatedImage, Remark
from maskwright.instances import Instances

Writer = Callable[[Path, Iterable[tuple[AnnotatedImage, Instances]]], list[Remark]]

WRITERS: dict[str, Writer] = {
    "coco": coco_write.write,
    "yolo": yolo_write.write,
    "labelme": labelme_write.write,
    "voc": voc.write,
    "masks": mask_folder.write,
    "instance_png": instance_png.write,
    "airbus": airbus.write,
    "geojson": geojson_write.write,
    "labels": class_png.write,
}
