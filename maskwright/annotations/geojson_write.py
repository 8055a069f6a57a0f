"""GeoJSON: a FeatureCollection beside each image, a Feature an object, holes nested in their polygons.

    <folder>/<split>/<name>.<suffix>    the image; directly in the folder where no split is known
    <folder>/<split>/<name>.geojson

Source: RFC 7946. Coordinates are longitude and latitude (WGS 84) where the image itself states where it lies, else pixels of the
image: x to the right and y down, (0, 0) the top left corner of the first pixel. Outer rings have a positive area by the shoelace
formula over the coordinates as they are written, holes a negative one; each ring ends with its first vertex.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.annotations.drawn import AnnotatedImage, Remark
from maskwright.annotations.placing import NO_SPLIT, copy_image, holdable, image_file, place_of, with_ending
from maskwright.annotations.vector_files import WGS84, Place, place_for
from maskwright.instances import Instances
from maskwright.io.geotiff import place_of_file
from maskwright.io.write import atomic, write_text
from maskwright.ops.nesting import nested
from maskwright.ops.polygons import Ring, fill
from maskwright.ops.ring_checks import crosses_itself, signed_area
from maskwright.ops.tracing import Polygon, polygons

Row = dict[str, Any]  # one JSON object
PIXELS = Place()
NOT_ON_MAP = "not-on-map"


def write(folder: Path, images: Iterable[tuple[AnnotatedImage, Instances]], *, copy_images: bool = True) -> list[Remark]:
    """Write a file for each image; empty masks, and images whose coordinates are pixels, come back as remarks.

    Raises:
        InputError: the folder cannot be written.
        MissingExtraError: rasterio is not installed, and an image lies on the map in another system than WGS 84.
    """
    remarks: list[Remark] = []
    for image, found in images:
        root = folder if image.split == NO_SPLIT else folder / image.split
        kept, lost = holdable(image, found, "GeoJSON", scores=True, crowds=True)
        place = _place(image)
        remarks += [*lost, *([_not_on_map(image)] if place is PIXELS else [])]
        write_text(root / with_ending(place_of(image), ".geojson"), text(found.select(kept), place))
        if copy_images:
            remarks += copy_image(image, root / image_file(image))
    return remarks


def _place(image: AnnotatedImage) -> Place:
    """Where the image's own file says that it lies: then in WGS 84; pixels for all others."""
    georeference = place_of_file(image.path)[0] if image.path is not None else None
    if georeference is None or georeference.crs is None:
        return PIXELS
    return place_for(georeference, WGS84, image.name, default=WGS84)


def _not_on_map(image: AnnotatedImage) -> Remark:
    said = f"{image.path or image.name}: does not state where it lies, so the coordinates of its objects are pixels, not degrees."
    return Remark(NOT_ON_MAP, said, image.name, image.file)


def text(found: Instances, place: Place = PIXELS) -> str:
    """The objects of one image as a FeatureCollection, a line an object; objects must not be empty."""
    features = [json.dumps(feature(found, k, place), ensure_ascii=False, allow_nan=False) for k in range(len(found))]
    return '{"type": "FeatureCollection", "features": [\n' + ",\n".join(features) + "\n]}\n"


def write_parts(path: Path, parts: Iterable[Instances], place: Place, stated: str = "") -> None:
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
                file.write(before + json.dumps(feature(found, k, place), ensure_ascii=False, allow_nan=False))
                before = ",\n"
        file.write("\n]}\n")


def feature(found: Instances, k: int, place: Place = PIXELS) -> Row:
    """Object k: a Polygon, or a MultiPolygon where it has several parts; class, id and score as properties."""
    parts = [_closed(polygon, place) for polygon in _parts(found, k, place)]
    properties: Row = {"class": found.names[k], "id": int(found.all_ids[k])}
    if found.scores is not None:
        properties["score"] = float(str(found.scores[k]))
    if found.crowds[k]:
        properties["crowd"] = True
    kind, coordinates = ("Polygon", parts[0]) if len(parts) == 1 else ("MultiPolygon", parts)
    return {"type": "Feature", "properties": properties, "geometry": {"type": kind, "coordinates": coordinates}}


def _parts(found: Instances, k: int, place: Place) -> list[Polygon]:
    """The rings as they were drawn where they are sound and nested give the mask, else the mask along pixel edges.

    Drawn rings that pass right through the centre of a pixel may miss it on the way to the map and back.
    """
    drawn = [ring for ring in found.rings[k] if len(ring) >= 3]
    mask = found.masks[k]
    read = [place.to_pixels(place.to_map(ring)) for ring in drawn]
    if drawn and fill(read, found.hw) == mask and all(crosses_itself(ring) is None for ring in drawn):
        parts = nested(drawn)
        # Rings that overlap cover some pixels twice, or none at all: then the parts do not add up to the mask.
        if sum(fill([outer, *holes], found.hw).area_px for outer, holes in parts) == mask.area_px:
            return parts
    return polygons(mask)


def _closed(polygon: Polygon, place: Place) -> list[list[list[float]]]:
    outer, holes = polygon
    return [_ring(outer, 1.0, place), *(_ring(hole, -1.0, place) for hole in holes)]


def _ring(ring: Ring, sign: float, place: Place) -> list[list[float]]:
    placed = place.to_map(ring)
    turned = placed if signed_area(placed) * sign > 0 else placed[::-1]
    closed: list[list[float]] = np.concatenate([turned, turned[:1]]).tolist()
    return closed
