"""Files of polygons on the map, as layers: GeoJSON by itself, GeoPackage and Shapefile through pyogrio ([geo]).

Source: RFC 7946; a `crs` member, as GDAL writes it, names another coordinate reference system than WGS 84.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.records import load_json, numbers, record, rows, shown
from maskwright.errors import FormatError, MissingExtraError
from maskwright.ops.coverage import shapely_for

GEOJSON = ".geojson"
LAYER_SUFFIXES = (GEOJSON, ".gpkg", ".shp")
WGS84 = "EPSG:4326"
_CODE = re.compile(r"EPSG:+(?:[\d.]*:)?(\d+)$", re.IGNORECASE)
_WITHOUT_AREA = ("Point", "MultiPoint", "LineString", "MultiLineString")


@dataclass(frozen=True, eq=False)
class Feature:
    """One area.

    Attributes:
        where: its place in the file: "feature 3"
        properties: what the file says of it
        rings: (n, 2) each, outer rings and holes alike
    """

    where: str
    properties: Mapping[str, Any]
    rings: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True, eq=False)
class Layer:
    """The areas of one file.

    Attributes:
        path: the file
        crs: what the file states, "EPSG:32616" or WKT; None where it states nothing
        features: those that have an area
        refused: why others are left out, a sentence each
    """

    path: Path
    crs: str | None
    features: tuple[Feature, ...]
    refused: tuple[str, ...]

    @property
    def points(self) -> NDArray[np.float64]:
        """All vertices, (n, 2)."""
        every = [ring for feature in self.features for ring in feature.rings]
        return np.concatenate(every) if every else np.zeros((0, 2))


def read_layer(path: Path) -> Layer:
    """Read one file.

    Raises:
        FormatError: it is damaged or no collection of features.
        InputError: it is not there.
        MissingExtraError: a GeoPackage or Shapefile, and pyogrio is not installed.
    """
    crs, found = _geojson(path) if path.suffix.lower() == GEOJSON else _by_pyogrio(path)
    features, refused = [], _other_layers(path)
    for number, value in enumerate(found, 1):
        where = f"feature {number}"
        try:
            features.append(_feature(value, f"{path}: {where}", where))
        except FormatError as error:
            refused.append(f"{str(error).rstrip('.')}; it is left out.")
    return Layer(path, crs, tuple(features), tuple(refused))


def _geojson(path: Path) -> tuple[str | None, list[Any]]:
    top = record(load_json(path), str(path), "the file")
    if top.get("type") == "Feature":
        return None, [top]
    if top.get("type") != "FeatureCollection":
        raise FormatError(f"{path}: its type is {shown(top.get('type'))}; expected a GeoJSON FeatureCollection. Export it again.")
    stated = top.get("crs")
    if stated is None:
        return None, rows(top.get("features"), str(path), "`features`")
    name = str(record(record(stated, str(path), "`crs`").get("properties") or {}, str(path), "`crs`").get("name", ""))
    code = _CODE.search(name)
    if code is None and not name.upper().endswith("CRS84"):
        raise FormatError(f"{path}: its crs {shown(name)} is not known; expected a name such as urn:ogc:def:crs:EPSG::32616.")
    return f"EPSG:{code[1]}" if code else WGS84, rows(top.get("features"), str(path), "`features`")


def _by_pyogrio(path: Path) -> tuple[str | None, list[Any]]:
    shapely = shapely_for(f"reading {path.suffix} files")
    try:
        import pyogrio
    except ImportError as error:
        raise MissingExtraError("pyogrio", "geo", f"reading {path.suffix} files") from error
    try:
        meta, _, shapes, columns = pyogrio.raw.read(path, layer=0, force_2d=True)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise FormatError(f"{path}: cannot be read ({error}). Copy or export it again, with all its parts.") from error
    names = [str(name) for name in meta["fields"]]
    values = zip(*(column.tolist() for column in columns), strict=True) if columns else iter([()] * len(shapes))
    found = [
        {"properties": dict(zip(names, row, strict=True)), "geometry": None if shape is None else json.loads(shape)}
        for shape, row in zip(shapely.to_geojson(shapely.from_wkb(shapes)), values, strict=True)
    ]
    return meta["crs"], found


def _other_layers(path: Path) -> list[str]:
    """That a file holds more layers with shapes than the one that is read, the first."""
    if path.suffix.lower() == GEOJSON:
        return []
    import pyogrio

    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if len(layers) < 2:
        return []
    return [f"{path}: holds {len(layers)} layers, of which the first is read; {', '.join(layers[1:])} is left out."]


def _feature(value: Any, where: str, name: str) -> Feature:
    row = record(value, where, "it")
    properties = row.get("properties") or {}
    geometry = row.get("geometry")
    if geometry is None:
        raise FormatError(f"{where}: has no geometry")
    kind = record(geometry, where, "its geometry").get("type")
    if kind in _WITHOUT_AREA:
        raise FormatError(f"{where}: is a {kind}, which covers no area; draw it as a polygon (in QGIS: Buffer)")
    if kind not in ("Polygon", "MultiPolygon"):
        raise FormatError(f"{where}: its geometry is {shown(kind)}; expected a Polygon or MultiPolygon")
    parts = rows(geometry.get("coordinates"), where, "its coordinates")
    rings = tuple(
        _ring(ring, where) for part in ([parts] if kind == "Polygon" else parts) for ring in rows(part, where, "a part")
    )
    if not rings:
        raise FormatError(f"{where}: its {kind} is empty")
    own = {"id": row["id"]} if isinstance(row.get("id"), int) else {}
    return Feature(name, {**record(properties, where, "its properties"), **own}, rings)


def _ring(value: Any, where: str) -> NDArray[np.float64]:
    """Vertices without heights and without the last, which repeats the first."""
    points = rows(value, where, "a ring")
    if any(not isinstance(point, list) or len(point) < 2 for point in points):
        raise FormatError(f"{where}: a vertex is not [x, y]; expected two numbers a vertex")
    flat = numbers([v for point in points for v in point[:2]], where, "its coordinates").reshape(-1, 2)
    return flat[:-1] if len(flat) > 1 and np.array_equal(flat[0], flat[-1]) else flat
