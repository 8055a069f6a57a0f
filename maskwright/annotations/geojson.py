"""Polygons on the map as truth: GeoJSON, GeoPackage, Shapefiles over GeoTIFFs; and GeoJSON in pixels.

    images/town.tif, labels/town.geojson      a file an image, by name; also side by side
    town_1.tif, town_2.tif, houses.gpkg       files of other names: every raster takes what lies on it

Coordinates are reprojected to each raster. GeoJSON without a stated system is in WGS 84 where that puts it onto the raster, else
in the raster's own system, else, where the names are alike, in pixels; the choice is said. A polygon covers the pixels whose
centres lie inside (ops/polygons.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.class_names import by_name, unknown_class
from maskwright.annotations.drawn import UNREADABLE, AnnotatedImage, Annotations, Drawn, Remark
from maskwright.annotations.image_files import ImageFiles, files_below, split_of
from maskwright.annotations.listing import Listed, assemble, counted, image_files, parse_each, relative
from maskwright.annotations.shapes import polygon
from maskwright.annotations.vector_layers import LAYER_SUFFIXES, WGS84, Feature, Layer, read_layer
from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError
from maskwright.io.georeference import Georeference
from maskwright.io.geotiff import place_of_file, warped

# Properties that people keep the class in, the likeliest first; compared in lower case.
CLASS_PROPERTIES = ("class", "class_name", "classname", "label", "category", "type", "kind")
OBJECT = "object"
MOST_CLASSES = 250
PIXELS, OF_IMAGE = "pixels", "image"

Box = tuple[float, float, float, float]


def looks_like(root: Path) -> str:
    """The place of the first file of polygons below root, "" where there is none."""
    found = files_below(root, LAYER_SUFFIXES) if root.exists() else []
    return relative(found[0], root) if found else ""


def read(
    root: Path, *, images: Path | None = None, classes: ClassMap | None = None, class_property: str | None = None
) -> Annotations:
    """Read one file of polygons, or all of a folder; a damaged one of several is left out with a remark.

    Args:
        class_property: which property holds the class; default: found (see found_property)

    Raises:
        FormatError: no file can be read; the sentence is about the first.
        InputError: there are too many classes, or no feature has the property.
        MissingExtraError: a package of the [geo] extra is needed: other systems than the raster's, GeoPackage, Shapefile.
    """
    layers, remarks = _layers(root)
    files = image_files(root, images)
    name = found_property(layers) if class_property is None else _stated_property(layers, class_property)
    known, ids = by_name({_class_of(f, name) for layer in layers for f in layer.features}, classes, source=str(root))
    listed: dict[Path, Listed] = {}
    for layer in layers:
        remarks += [Remark("bad-object", text, "", layer.path) for text in layer.refused]
        split = split_of(layer.path, root)
        own = files.by_stem(layer.path.stem, near=layer.path, split=split)
        for path in own if len(own) == 1 else _rasters(files):
            found, said = _on_image(layer, path, name, named_alike=len(own) == 1)
            # No rows of features that are there: they lie elsewhere.
            code = "place-guessed" if found or not layer.features else "bad-object"
            remarks += [Remark(code, f"{layer.path}: {said}", path.stem, layer.path)] if said else []
            if found is not None:
                entry = listed.setdefault(path, Listed(relative(path, files.folder), layer.path, None, split, [], path))
                entry.rows.extend(found)
    if not listed:
        paths = ", ".join(str(layer.path) for layer in layers[:3])
        raise FormatError(
            f"{paths}: no image of this name, and no raster that the polygons lie on; name the folder with --images."
        )
    said = f"classes from the property {name!r}" if name else f"no property of a class: all are {OBJECT!r}"
    line = f"polygons on the map: {counted(len(layers), 'file')} over {counted(len(listed), 'image')}, {said}"
    parse = partial(_objects, classes=known, ids=ids)
    return assemble("geojson", root, line, known, list(listed.values()), files, parse, remarks)


def _layers(root: Path) -> tuple[list[Layer], list[Remark]]:
    layers, remarks, errors = [], [], []  # type: tuple[list[Layer], list[Remark], list[FormatError]]
    for path in files_below(root, LAYER_SUFFIXES):
        try:
            layers.append(read_layer(path))
        except FormatError as error:
            errors.append(error)
            remarks.append(Remark(UNREADABLE, f"{str(error).rstrip('.')}; the file is left out.", "", path))
    if not layers:
        raise errors[0] if errors else FormatError(f"{root}: no files of polygons here ({', '.join(LAYER_SUFFIXES)}).")
    return layers, remarks


def found_property(layers: Sequence[Layer]) -> str | None:
    """The name of the property that holds the class: the likeliest that every feature has; None where there is none."""
    features = [feature for layer in layers for feature in layer.features]
    for wanted in CLASS_PROPERTIES:
        names = {name for feature in features for name in feature.properties if name.lower() == wanted}
        for name in sorted(names):
            values = [feature.properties.get(name) for feature in features]
            if all(isinstance(v, (str, int)) and str(v).strip() for v in values) and len(set(values)) <= MOST_CLASSES:
                return name
    return None


def _stated_property(layers: Sequence[Layer], name: str) -> str:
    there = sorted({key for layer in layers for feature in layer.features for key in feature.properties})
    if name not in there:
        near = get_close_matches(name, there) or there[:8]
        raise InputError(
            f"{layers[0].path}: no feature has a property {name!r} (--class-property); there are: {', '.join(near)}."
        )
    return name


def _class_of(feature: Feature, name: str | None) -> str:
    """The class as text; features without a value are of the class "object"."""
    value = feature.properties.get(name) if name else None
    return OBJECT if value is None or not str(value).strip() else str(value).strip()


def _rasters(files: ImageFiles) -> list[Path]:
    return [path for path in files.paths if path.suffix.lower() in (".tif", ".tiff")]


def _on_image(layer: Layer, path: Path, name: str | None, *, named_alike: bool) -> tuple[list[Any] | None, str]:
    """The rows of the features that lie on an image, None where the layer has nothing to do with it; and what was guessed."""
    place, hw = place_of_file(path)
    if place is None:
        if layer.crs not in (None, WGS84) and named_alike:
            return [], f"is in {layer.crs}, but {path.name} does not state where it lies; its objects are left out."
        return (_rows(layer, layer.points, name, None), "") if named_alike else (None, "")
    assert hw is not None
    size = (float(hw[1]), float(hw[0]))
    for system in _systems(layer, place, named_alike):
        points = _in_pixels(layer, place, system)
        if (named_alike and not len(points)) or (len(points) and _touches(_box(points), size)):
            guessed = system not in (layer.crs, WGS84)
            said = f"states no coordinate system; its numbers are taken as those of {path.name} ({system})." if guessed else ""
            return _rows(layer, points, name, size), said
    if named_alike:
        return [], f"lies nowhere on {path.name}; is one of the two in another coordinate system than it states?"
    return None, ""


def _systems(layer: Layer, place: Georeference, named_alike: bool) -> list[str]:
    """What the layer's coordinates may be, the likeliest first."""
    if layer.crs is not None:
        return [layer.crs if place.crs is not None else OF_IMAGE]
    in_degrees = bool((np.abs(layer.points) <= (180.0, 90.0)).all()) and place.crs is not None
    return [*([WGS84] if in_degrees else []), OF_IMAGE, *([PIXELS] if named_alike else [])]


def _in_pixels(layer: Layer, place: Georeference, system: str) -> NDArray[np.float64]:
    points = layer.points
    if system == PIXELS or not len(points):
        return points
    if system not in (OF_IMAGE, place.crs):
        points = warped(points, system, str(place.crs), f"bringing {layer.path.name} onto its image")
    return place.to_pixels(points)


def _rows(layer: Layer, points: NDArray[np.float64], name: str | None, size: tuple[float, float] | None) -> list[Any]:
    """What is kept of each feature that touches the image: where, class, id, score and rings in pixels."""
    kept, at = [], 0
    for feature in layer.features:
        rings = []
        for ring in feature.rings:
            rings.append(points[at : at + len(ring)])
            at += len(ring)
        if size is None or _touches(_box(np.concatenate(rings)), size):
            known = [feature.properties.get(key) for key in ("id", "score")]
            kept.append([f"{layer.path}: {feature.where}", _class_of(feature, name), *known, [r.tolist() for r in rings]])
    return kept


def _box(points: NDArray[np.float64]) -> Box:
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def _touches(box: Box, size: tuple[float, float]) -> bool:
    return box[0] < size[0] and box[1] < size[1] and box[2] > 0 and box[3] > 0


def _objects(
    raw: list[Any], image: AnnotatedImage, *, classes: ClassMap, ids: Mapping[str, int]
) -> tuple[list[Drawn], list[Remark]]:
    def one(row: list[Any], _position: int, _remarks: list[Remark]) -> Drawn:
        where, label, number, score, rings = row
        if label not in ids:
            raise unknown_class(label, classes, where)
        outlines = tuple(polygon(np.array(ring, np.float64).reshape(-1, 2), where) for ring in rings)
        own = number if isinstance(number, int) and not isinstance(number, bool) else None
        stated = float(score) if isinstance(score, (int, float)) and 0 <= score <= 1 else None
        return Drawn(ids[label], outlines, id=own, score=stated, where=where.rpartition(": ")[2])

    return parse_each(raw, image, one)
