"""Outlines as GeoJSON and GeoPackage: in degrees (WGS 84), in the image's own coordinate reference system, or in pixels.

Sources: RFC 7946 (longitude before latitude, outer rings counterclockwise); the older `crs` member names other systems, as GDAL
reads and writes it. Areas are taken in Lambert's azimuthal equal-area projection about the image's centre, so that they are right
in any system.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.on_globe import goes_round, on_globe
from maskwright.annotations.outlines import Outline, outlines_of_labels, outlines_of_objects
from maskwright.classes import ClassMap
from maskwright.errors import InputError, MissingExtraError
from maskwright.instances import Instances
from maskwright.io.georeference import Georeference
from maskwright.io.geotiff import warped
from maskwright.io.write import atomic, explanation, full_disk, write_text
from maskwright.ops.coverage import shapely_for

VECTORS = ("geojson", "gpkg")
AUTO, WGS84, OF_IMAGE, PIXELS = "auto", "wgs84", "image", "pixels"
SYSTEMS = (AUTO, WGS84, OF_IMAGE, PIXELS)
DEGREES = "EPSG:4326"
LAYER = "areas"


@dataclass(frozen=True)
class Place:
    """Where outlines are written to.

    Attributes:
        georeference: of the image; None for pixels
        crs: what the coordinates are written in; None for pixels
    """

    georeference: Georeference | None = None
    crs: str | None = None

    @property
    def pixel_m(self) -> float:
        """The side of a square as large as a pixel of the image's centre, in metres; 1 for pixels."""
        if self.georeference is None:
            return 1.0
        shapely = shapely_for("measuring areas")
        return float(np.sqrt(self.areas_m2([shapely.box(0, 0, 1, 1)])[0]))

    def placed(self, shapes: Sequence[Any]) -> list[Any]:
        """Shapes in pixels to where they are written, outer rings counterclockwise by the coordinates as they are written."""
        shapely = shapely_for("writing polygons")
        if self.georeference is None or self.crs is None:
            moved = list(shapes)
        else:
            moved = self._on_globe(shapes) if self.crs == DEGREES else self._moved(shapes, self.crs)
        return list(shapely.orient_polygons(np.array(moved, object)))

    def areas_m2(self, shapes: Sequence[Any]) -> list[float]:
        """Areas of shapes in pixels, in square metres; in pixels where there is no place."""
        shapely = shapely_for("measuring areas")
        if self.georeference is None or self.georeference.crs is None or not len(shapes):
            return [float(shape.area) for shape in shapes]
        if goes_round(shapes, partial(self._warp, crs=DEGREES))[0]:
            # No other plane holds the whole earth.
            on_cylinder = partial(_warped, source=DEGREES, target="+proj=cea +datum=WGS84 +units=m")
            return [float(shape.area) for shape in shapely.transform(np.array(self._on_globe(shapes), object), on_cylinder)]
        left, top, right, bottom = shapely.total_bounds(np.array(shapes, object))
        centre = self.georeference.to_map(np.array([[(left + right) / 2, (top + bottom) / 2]]))
        ((x, y),) = _warped(centre, self.georeference.crs, DEGREES)
        equal_area = f"+proj=laea +lat_0={y:.6f} +lon_0={x:.6f} +datum=WGS84 +units=m"
        return [float(shape.area) for shape in self._moved(shapes, equal_area)]

    def _on_globe(self, shapes: Sequence[Any]) -> list[Any]:
        """Shapes in pixels to degrees; those of an image that lies across the 180th meridian or a pole are cut there."""
        warp = partial(self._warp, crs=DEGREES)
        assert self.georeference is not None
        if any(goes_round(shapes, warp)):
            return on_globe(shapes, warp, wraps=self.georeference.crs != DEGREES)
        return self._moved(shapes, DEGREES)

    def _moved(self, shapes: Sequence[Any], crs: str) -> list[Any]:
        shapely = shapely_for("writing polygons")
        return list(shapely.transform(np.array(shapes, object), partial(self._warp, crs=crs)))

    def to_map(self, points_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points in pixels to the coordinates that are written, (n, 2) each."""
        return points_xy if self.georeference is None or self.crs is None else self._warp(points_xy, self.crs)

    def to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of to_map."""
        if self.georeference is None or self.crs is None or self.georeference.crs is None:
            return points
        return self.georeference.to_pixels(_warped(points, self.crs, self.georeference.crs))

    def _warp(self, points_xy: NDArray[np.float64], crs: str) -> NDArray[np.float64]:
        """Points in pixels of an image that has a place to a coordinate reference system."""
        place = self.georeference
        assert place is not None
        assert place.crs is not None
        return _warped(place.to_map(points_xy), place.crs, crs)


def _warped(points: NDArray[np.float64], source: str, target: str) -> NDArray[np.float64]:
    return warped(points, source, target, "putting polygons on the map")


@contextmanager
def unsound_shapes_explained(path: Path) -> Iterator[None]:
    """What shapely refuses, as a sentence about the file; outlines in pixels do without it.

    Raises:
        InputError: it cannot make a polygon of an area.
    """
    try:
        import shapely
    except ImportError:
        yield
        return
    try:
        yield
    except shapely.errors.ShapelyError as error:
        raise InputError(f"{path}: an area cannot be made a polygon ({error}); give --vector-crs pixels.") from error


def check_drawing(system: str, simplify_m: float) -> None:
    """Refuse wishes that cannot be had, before any work.

    Raises:
        InputError: there is no such system, or the size of details is no length.
    """
    if system not in SYSTEMS:
        raise InputError(f"no coordinates named {system!r} for polygons; known: {', '.join(SYSTEMS)}.")
    if not 0 <= simplify_m < float("inf"):
        raise InputError(f"simplify={simplify_m}: expected a length in metres, such as 0.5, or 0 for outlines along pixels.")


def place_for(georeference: Georeference | None, system: str, where: str, *, default: str) -> Place:
    """Where the outlines of an image go.

    Args:
        system: one of SYSTEMS; "auto" is the default for images that have a place, and pixels for those that have none
        where: the image, for messages

    Raises:
        InputError: the image does not say where it lies.
    """
    if system == PIXELS or (system == AUTO and georeference is None):
        return Place()
    wanted = default if system == AUTO else system
    if georeference is None or georeference.crs is None:
        lacks = "where it lies" if georeference is None else "its coordinate reference system (CRS)"
        raise InputError(f"{where}: does not state {lacks}, so that polygons cannot be put on the map; give --vector-crs pixels.")
    return Place(georeference, DEGREES if wanted == WGS84 else georeference.crs)


def places_of_files(
    stem: Path, formats: Sequence[str], georeference: Georeference | None, *, system: str = AUTO, simplify_m: float = 0.0
) -> dict[str, Place]:
    """Where the outlines of each format go; see save_vectors.

    Raises:
        InputError: one of them cannot be had, by what the image says of its place.
    """
    check_drawing(system, simplify_m)
    places = {name: place_for(georeference, system, stem.name, default=_WRITERS[name][1]) for name in formats}
    if "geojson" in places:
        stated_crs(stem.with_name(f"{stem.name}.geojson"), places["geojson"])
    return places


def write_geojson(path: Path, outlines: Sequence[Outline], place: Place) -> None:
    """A FeatureCollection, a line an outline: class, id, class_id, area_m2 (area_px in pixels), score and crowd where there are.

    Raises:
        InputError: the coordinate reference system has no name that GeoJSON could state, or the file cannot be written.
    """
    stated = stated_crs(path, place)
    lines = [json.dumps(feature, ensure_ascii=False) for feature in features(outlines, place)]
    write_text(path, f'{{"type": "FeatureCollection", {stated}"features": [\n' + ",\n".join(lines) + "\n]}\n")


def features(outlines: Sequence[Outline], place: Place) -> Iterator[dict[str, Any]]:
    """The features of GeoJSON, see write_geojson."""
    shapes = [one.shape for one in outlines]
    for one, placed, area in zip(outlines, place.placed(shapes), place.areas_m2(shapes), strict=True):
        yield {"type": "Feature", "properties": _row(one, area, place, outlines), "geometry": geometry(placed)}


def geometry(shape: Any) -> dict[str, Any]:
    """A shapely shape as GeoJSON has it."""
    found: dict[str, Any] = json.loads(shapely_for("writing polygons").to_geojson(shape))
    return found


def stated_crs(path: Path, place: Place) -> str:
    """The member that names the coordinates of a GeoJSON file, with a comma behind it; empty for degrees and pixels.

    Raises:
        InputError: the coordinate reference system has no name that GeoJSON could state.
    """
    if place.crs in (None, DEGREES):
        return ""
    authority, _, code = str(place.crs).partition(":")
    if authority != "EPSG" or not code.isdecimal():
        raise InputError(f"{path}: GeoJSON cannot name the image's projection, which has no code; write gpkg, or wgs84.")
    return f'"crs": {{"type": "name", "properties": {{"name": "urn:ogc:def:crs:EPSG::{code}"}}}}, '


def write_gpkg(path: Path, outlines: Sequence[Outline], place: Place) -> None:
    """A GeoPackage of one layer with the columns of write_geojson.

    Raises:
        MissingExtraError: pyogrio is not installed.
        InputError: the file cannot be written.
    """
    shapely, pyogrio = shapely_for("writing polygons"), _pyogrio()
    shapes = place.placed([one.shape for one in outlines])
    areas = place.areas_m2([one.shape for one in outlines])
    rows = [_row(one, area, place, outlines) for one, area in zip(outlines, areas, strict=True)]
    names = list(rows[0]) if rows else ["class", "id", "class_id"]
    columns = [np.array([row[name] for row in rows], object if name == "class" else None) for name in names]
    several = np.array([shapely.multipolygons(shapely.get_parts(shape)) for shape in shapes], object)
    with atomic(path) as temporary, warnings.catch_warnings():
        # Pixels have no coordinate reference system, and nobody can do anything about it.
        warnings.filterwarnings("ignore", message=".crs. was not provided")
        try:
            pyogrio.raw.write(
                temporary, shapely.to_wkb(several), columns, names, layer=LAYER, driver="GPKG", geometry_type="MultiPolygon",
                crs=place.crs,
            )  # fmt: skip
        except pyogrio.errors.CRSError as error:
            why = f"{path}: the projection {place.crs} is not known ({error}); give --vector-crs pixels."
            raise InputError(why) from error
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
            if (full := full_disk(path)) is not None:
                raise InputError(explanation(path, full)) from full
            raise InputError(f"{path}: cannot be written ({error}). Check the folder's permissions and the disk.") from error


def _pyogrio() -> Any:
    try:
        import pyogrio
    except ImportError as error:
        raise MissingExtraError("pyogrio", "geo", "writing a GeoPackage") from error
    return pyogrio


def check_packages(formats: Sequence[str], *, objects: bool) -> None:
    """Refuse formats that no answer can be written in here, before any work.

    Args:
        objects: answers hold objects, whose outlines in pixels need no package as GeoJSON

    Raises:
        MissingExtraError: a package of the [geo] extra is missing.
    """
    if "gpkg" in formats or ("geojson" in formats and not objects):
        shapely_for("writing polygons")
    if "gpkg" in formats:
        _pyogrio()


def _row(one: Outline, area: float, place: Place, outlines: Sequence[Outline]) -> dict[str, Any]:
    """What is said of an outline; all rows of a file have the same columns."""
    row: dict[str, Any] = {"class": one.name, "id": one.id, "class_id": one.class_id}
    row["area_px" if place.crs is None else "area_m2"] = round(area, 3)
    if one.score is not None:
        row["score"] = one.score
    if any(other.crowd for other in outlines):
        row["crowd"] = one.crowd
    return row


def save_vectors(
    stem: Path,
    formats: Sequence[str],
    answer: tuple[NDArray[Any], ClassMap] | Instances,
    georeference: Georeference | None,
    *,
    system: str = AUTO,
    simplify_m: float = 0.0,
) -> list[Path]:
    """Write the areas of an answer as <stem>.geojson and <stem>.gpkg.

    Args:
        formats: those of VECTORS that are wanted; by itself GeoJSON is in WGS 84 and a GeoPackage in the image's system
        answer: labels (H, W) with their classes, or objects
        system: one of SYSTEMS, for all files
        simplify_m: details below a square of this side are left out, neighbours stay neighbours; without a place in pixels

    Raises:
        InputError: the image does not say where it lies, or a file cannot be written.
        MissingExtraError: a package of the [geo] extra is missing.
    """
    written = []
    for name, place in places_of_files(stem, formats, georeference, system=system, simplify_m=simplify_m).items():
        write, _, ending = _WRITERS[name]
        path = stem.with_name(f"{stem.name}{ending}")
        with unsound_shapes_explained(path):
            tolerance_px = simplify_m / place.pixel_m if simplify_m else 0.0
            if isinstance(answer, Instances):
                outlines = outlines_of_objects(answer, tolerance_px)
            else:
                outlines = outlines_of_labels(*answer, tolerance_px)
            write(path, outlines, place)
        written.append(path)
    return written


_WRITERS: dict[str, tuple[Callable[[Path, Sequence[Outline], Place], None], str, str]] = {
    "geojson": (write_geojson, WGS84, ".geojson"),
    "gpkg": (write_gpkg, OF_IMAGE, ".gpkg"),
}
