"""GeoJSON: a FeatureCollection beside each image, a Feature an object, holes nested in their polygons.

    <folder>/<split>/<name>.<suffix>    the image; directly in the folder where no split is known
    <folder>/<split>/<name>.geojson

Source: RFC 7946. Coordinates are pixels of the image, x to the right and y down, (0, 0) the top left corner of the first pixel;
or whatever a function from pixels to the map makes of them. Outer rings have a positive area by the shoelace formula over the
coordinates as they are written, holes a negative one; each ring ends with its first vertex.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.drawn import AnnotatedImage, Remark
from maskwright.annotations.placing import NO_SPLIT, copy_image, holdable, image_file, place_of, with_ending
from maskwright.instances import Instances
from maskwright.io.write import atomic, write_text
from maskwright.ops.nesting import nested
from maskwright.ops.polygons import Ring, fill
from maskwright.ops.ring_checks import crosses_itself, signed_area
from maskwright.ops.tracing import Polygon, polygons

Row = dict[str, Any]  # one JSON object
ToMap = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # (n, 2) x and y in pixels -> (n, 2) on the map


def write(
    folder: Path,
    images: Iterable[tuple[AnnotatedImage, Instances]],
    *,
    copy_images: bool = True,
    to_map: Callable[[AnnotatedImage], ToMap | None] | None = None,
) -> list[Remark]:
    """Write a file for each image; empty masks come back as remarks.

    Args:
        to_map: for each image the function that puts its pixels on the map, or None for pixels; default: pixels for all

    Raises:
        InputError: the folder cannot be written.
    """
    remarks: list[Remark] = []
    for image, found in images:
        root = folder if image.split == NO_SPLIT else folder / image.split
        kept, lost = holdable(image, found, "GeoJSON", scores=True, crowds=True)
        remarks += lost
        shown = text(found.select(kept), to_map(image) if to_map else None)
        write_text(root / with_ending(place_of(image), ".geojson"), shown)
        if copy_images:
            remarks += copy_image(image, root / image_file(image))
    return remarks


def text(found: Instances, to_map: ToMap | None = None) -> str:
    """The objects of one image as a FeatureCollection, a line an object; objects must not be empty."""
    features = [json.dumps(feature(found, k, to_map), ensure_ascii=False, allow_nan=False) for k in range(len(found))]
    return '{"type": "FeatureCollection", "features": [\n' + ",\n".join(features) + "\n]}\n"


def write_parts(path: Path, parts: Iterable[Instances], to_map: ToMap | None, stated: str = "") -> None:
    """The objects of one image that come a few at a time, none of them empty; memory holds those at hand.

    Args:
        stated: members that stand before the features, as vector_files.stated_crs gives them

    Raises:
        InputError: the file cannot be written.
    """
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f'{{"type": "FeatureCollection", {stated}"features": [')
        before = "\n"
        for found in parts:
            for k in range(len(found)):
                file.write(before + json.dumps(feature(found, k, to_map), ensure_ascii=False, allow_nan=False))
                before = ",\n"
        file.write("\n]}\n")


def feature(found: Instances, k: int, to_map: ToMap | None = None) -> Row:
    """Object k: a Polygon, or a MultiPolygon where it has several parts; class, id and score as properties."""
    parts = [_closed(polygon, to_map) for polygon in _parts(found, k)]
    properties: Row = {"class": found.names[k], "id": int(found.all_ids[k])}
    if found.scores is not None:
        properties["score"] = float(str(found.scores[k]))
    if found.crowds[k]:
        properties["crowd"] = True
    kind, coordinates = ("Polygon", parts[0]) if len(parts) == 1 else ("MultiPolygon", parts)
    return {"type": "Feature", "properties": properties, "geometry": {"type": kind, "coordinates": coordinates}}


def _parts(found: Instances, k: int) -> list[Polygon]:
    """The rings as they were drawn where they are sound and nested give the mask, else the mask along pixel edges."""
    drawn = [ring for ring in found.rings[k] if len(ring) >= 3]
    mask = found.masks[k]
    if drawn and fill(drawn, found.hw) == mask and all(crosses_itself(ring) is None for ring in drawn):
        parts = nested(drawn)
        # Rings that overlap cover some pixels twice, or none at all: then the parts do not add up to the mask.
        if sum(fill([outer, *holes], found.hw).area_px for outer, holes in parts) == mask.area_px:
            return parts
    return polygons(mask)


def _closed(polygon: Polygon, to_map: ToMap | None) -> list[list[list[float]]]:
    outer, holes = polygon
    return [_ring(outer, 1.0, to_map), *(_ring(hole, -1.0, to_map) for hole in holes)]


def _ring(ring: Ring, sign: float, to_map: ToMap | None) -> list[list[float]]:
    placed = ring if to_map is None else np.asarray(to_map(ring), np.float64)
    turned = placed if signed_area(placed) * sign > 0 else placed[::-1]
    closed: list[list[float]] = np.concatenate([turned, turned[:1]]).tolist()
    return closed
