"""LabelMe: a json beside each image, a polygon a part of an object.

    <folder>/<split>/<name>.<suffix>   the image; directly in the folder where no split is known
    <folder>/<split>/<name>.json

Source: LabelMe's json as its version 5 writes it (labelme/label_file.py, labelme/shape.py). Shapes of one object share their
group_id, which is the object's id. LabelMe's polygons have no holes: an object with holes is a shape of the type "mask", a PNG of
its box in base64, whose two points are its first and last pixel.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.annotations.drawn import AnnotatedImage, Remark
from maskwright.annotations.placing import NO_SPLIT, copy_image, holdable, image_file, place_of, with_ending
from maskwright.instances import Instances
from maskwright.io.write import encode_png, write_json
from maskwright.ops.polygons import Ring, fill
from maskwright.ops.tracing import polygons

VERSION = "5.5.0"

Row = dict[str, Any]  # one JSON object


def write(folder: Path, images: Iterable[tuple[AnnotatedImage, Instances]], *, copy_images: bool = True) -> list[Remark]:
    """Write a json for each image; crowds, scores and empty masks, which LabelMe cannot hold, come back as remarks.

    Raises:
        InputError: the folder cannot be written.
    """
    remarks: list[Remark] = []
    for image, found in images:
        root = folder if image.split == NO_SPLIT else folder / image.split
        kept, lost = holdable(image, found, "LabelMe")
        remarks += lost
        write_json(root / with_ending(place_of(image), ".json"), document(image_file(image).name, found.select(kept)))
        if copy_images:
            remarks += copy_image(image, root / image_file(image))
    return remarks


def document(file_name: str, found: Instances) -> Row:
    """The json of one image; objects must not be empty."""
    return {
        "version": VERSION,
        "flags": {},
        "shapes": [shape for k in range(len(found)) for shape in shapes(found, k)],
        "imagePath": file_name,
        "imageData": None,
        "imageHeight": found.hw[0],
        "imageWidth": found.hw[1],
    }


def shapes(found: Instances, k: int) -> list[Row]:
    """Object k as polygons, or as one mask where it has holes."""
    rings = _parts(found, k)
    if rings is None:
        return [_mask_shape(found, k)]
    return [_shape(found, k, "polygon", ring.tolist()) for ring in rings]


def _parts(found: Instances, k: int) -> list[Ring] | None:
    """Rings that cover object k each by itself: as they were drawn, else along pixel edges; None where it has holes."""
    drawn = [ring for ring in found.rings[k] if len(ring) >= 3]
    mask = found.masks[k]
    # No ring lies in another where each covers pixels of its own: then joining them and the even-odd rule are the same.
    if drawn and fill(drawn, found.hw) == mask and sum(fill([ring], found.hw).area_px for ring in drawn) == mask.area_px:
        return drawn
    parts = polygons(mask)
    return None if any(holes for _, holes in parts) else [outer for outer, _ in parts]


def _mask_shape(found: Instances, k: int) -> Row:
    x0, y0, x1, y1 = found.masks[k].box_xyxy
    picture = encode_png(found.masks[k].crop((x0, y0, x1, y1)).astype(np.uint8))
    corners = [[float(x0), float(y0)], [float(x1 - 1), float(y1 - 1)]]
    return _shape(found, k, "mask", corners) | {"mask": base64.b64encode(picture).decode("ascii")}


def _shape(found: Instances, k: int, kind: str, points: list[list[float]]) -> Row:
    return {
        "label": found.names[k],
        "points": points,
        "group_id": int(found.all_ids[k]),
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
    }
