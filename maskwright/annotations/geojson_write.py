"""GeoJSON: a FeatureCollection beside each image, a Feature an object, holes nested in their polygons.

    <folder>/<split>/<name>.<suffix>    the image; directly in the folder where no split is known
    <folder>/<split>/<name>.geojson

Source: RFC 7946. Coordinates are longitude and latitude (WGS 84) where the image itself states where it lies, else pixels of the
image: x to the right and y down, (0, 0) the top left corner of the first pixel. Outer rings have a positive area by the shoelace
formula over the coordinates as they are written, holes a negative one; each ring ends with its first vertex.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.annotations.drawn import AnnotatedImage, Remark
from maskwright.annotations.outlines import outline_alone
from maskwright.annotations.placing import NO_SPLIT, copy_image, holdable, image_file, place_of, with_ending
from maskwright.annotations.vector_files import WGS84, Place, features, geometry, place_for, unsound_shapes_explained
from maskwright.instances import Instances
from maskwright.io.geotiff import place_of_file
from maskwright.io.write import atomic, write_text
from maskwright.ops.coverage import shapely_for
from maskwright.ops.nesting import nested
from maskwright.ops.polygons import Ring, fill
from maskwright.ops.ring_checks import crosses_itself, signed_area
from maskwright.ops.tracing import Polygon, polygons

Row = dict[str, Any]  # one JSON object
PIXELS = Place()
NOT_ON_MAP = "not-on-map"
TOGETHER = 256  # objects brought to the map at once, which costs little more than one


def write(folder: Path, images: Iterable[tuple[AnnotatedImage, Instances]], *, copy_images: bool = True) -> list[Remark]:
    """Write a file for each image; empty masks, and images whose coordinates are pixels, come back as remarks.

    Raises:
        InputError: the folder cannot be written.
        MissingExtraError: shapely is not installed and an image lies on the map, or rasterio and it lies there in another system.
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

    On the map they are features as vector_files.write_geojson writes them, in pixels those of text.

    Args:
        stated: members that stand before the features, as vector_files.stated_crs gives them

    Raises:
        InputError: the file cannot be written.
    """
    with unsound_shapes_explained(path), atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f'{{"type": "FeatureCollection", {stated}"features": [')
        before = "\n"
        for row in _rows(parts, place):
            file.write(before + json.dumps(row, ensure_ascii=False, allow_nan=False))
            before = ",\n"
        file.write("\n]}\n")


def _rows(parts: Iterable[Instances], place: Place) -> Iterator[Row]:
    objects = ((found, k) for found in parts for k in range(len(found)))
    if place.crs is None:
        yield from (feature(found, k) for found, k in objects)
        return
    while outlines := [outline_alone(found, k) for found, k in islice(objects, TOGETHER)]:
        yield from features(outlines, place)


def feature(found: Instances, k: int, place: Place = PIXELS) -> Row:
    """Object k: a Polygon, or a MultiPolygon where it has several parts; class, id and score as properties."""
    properties: Row = {"class": found.names[k], "id": int(found.all_ids[k])}
    if found.scores is not None:
        properties["score"] = float(str(found.scores[k]))
    if found.crowds[k]:
        properties["crowd"] = True
    return {"type": "Feature", "properties": properties, "geometry": _geometry(_parts(found, k, place), place)}


def _geometry(polygons_px: Sequence[Polygon], place: Place) -> Row:
    if place.crs is not None:
        shapely = shapely_for("putting polygons on the map")
        shapes = [shapely.Polygon(outer, holes) for outer, holes in polygons_px]
        (shape,) = place.placed([shapes[0] if len(shapes) == 1 else shapely.multipolygons(shapes)])
        return geometry(shape)
    parts = [_closed(polygon) for polygon in polygons_px]
    kind, coordinates = ("Polygon", parts[0]) if len(parts) == 1 else ("MultiPolygon", parts)
    return {"type": kind, "coordinates": coordinates}


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


def _closed(polygon: Polygon) -> list[list[list[float]]]:
    outer, holes = polygon
    return [_ring(outer, 1.0), *(_ring(hole, -1.0) for hole in holes)]


def _ring(ring: Ring, sign: float) -> list[list[float]]:
    turned = ring if signed_area(ring) * sign > 0 else ring[::-1]
    closed: list[list[float]] = np.concatenate([turned, turned[:1]]).tolist()
    return closed
