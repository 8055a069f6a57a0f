"""What a GeoTIFF says beyond its pixels, read through tifffile; and masks as GeoTIFF, plain or cloud-optimised.

Plain masks need no extra package: the tags of the image are written again as they are. rasterio (the [geo] extra) reads
projections that no EPSG code names, and writes cloud-optimised files.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from maskwright.errors import InputError, MissingExtraError
from maskwright.io.decoded import ID_MARK
from maskwright.io.georeference import (
    GEO_TAGS,
    GEOGRAPHIC_CRS,
    NODATA,
    PROJECTED_CRS,
    TIE_POINT,
    Georeference,
    keys_of,
    read_georeference,
)
from maskwright.io.sidecars import NO_MASK, mask_beside, with_world_file, world_file
from maskwright.io.write import atomic, write_bytes

ALPHA = (1, 2)
MOST_BETWEEN = 0.5  # of the pixels of a transparent band are neither there nor not; infrared is so nearly everywhere
ASCII = 2


def rasterio_for(purpose: str) -> Any:
    """The package rasterio.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import rasterio
        import rasterio.shutil  # its parts are not there by themselves
        import rasterio.warp
    except ImportError as error:
        raise MissingExtraError("rasterio", "geo", purpose) from error
    return rasterio


def gdal_errors(rasterio: Any) -> tuple[type[Exception], ...]:
    """What writing and copying raise: GDAL's own errors pass through rasterio as they are."""
    return rasterio.errors.RasterioError, rasterio.errors.CRSError, rasterio._err.CPLE_BaseError


def warped(points: NDArray[np.float64], source: str, target: str, purpose: str) -> NDArray[np.float64]:
    """Points (n, 2) from one coordinate reference system to another.

    Raises:
        MissingExtraError: rasterio is not installed.
        InputError: one of the two is not known, or a point lies where one of them ends.
    """
    if source == target or not len(points):
        return points
    rasterio = rasterio_for(purpose)
    try:
        return np.stack(rasterio.warp.transform(source, target, points[:, 0], points[:, 1]), axis=1)
    except rasterio.errors.CRSError as error:
        raise InputError(
            f"{purpose}: the coordinate reference system {source} or {target} is not known ({error}). Write the right one into "
            f"the file (gdal_edit.py -a_srs), or give --vector-crs pixels."
        ) from error
    except (rasterio.errors.RasterioError, rasterio._err.CPLE_BaseError) as error:  # what GDAL says comes as the latter
        raise InputError(
            f"{purpose}: some of it lies where {source} or {target} does not reach ({error}). Give --vector-crs pixels, "
            f"or cut the image to the part that lies on the map (gdalwarp)."
        ) from error


def place_of(path: Path, page: Any) -> tuple[Georeference | None, tuple[str, ...]]:
    """The georeference of a TIFF page, None for a plain TIFF; and what a person should know of it, a sentence each.

    A world file beside it says where it lies where the page does not.
    """
    tags = {t.code: (t.code, int(t.dtype), t.count, t.value) for t in page.tags if t.code in (*GEO_TAGS, NODATA)}
    found = read_georeference(tags)
    world = world_file(path) if found is None else None
    if world is not None:
        found = read_georeference(with_world_file(tags, world))
        if found is None:
            return None, ("has a world file beside it that does not hold the six numbers of a place; it is not used.",)
    keys = keys_of(tags)
    states_crs = PROJECTED_CRS in keys or GEOGRAPHIC_CRS in keys
    if found is None:
        lost = TIE_POINT in tags or states_crs
        text = "states where it lies by control points alone, which are not used; warp it to a grid (gdalwarp)."
        return None, (text,) if lost else ()
    if found.nodata is not None:
        found = replace(found, nodata=_nodata_of_pixels(found.nodata, page))
    if found.crs is not None:
        return found, ()
    if not states_crs:
        return found, ("has a place but states no coordinate reference system (CRS); gdal_edit.py -a_srs adds one.",)
    try:
        wkt = _wkt(path)
    except MissingExtraError as error:
        return found, (f"{error} Masks keep its place without it.",)
    return replace(found, crs=wkt), ()


def _nodata_of_pixels(nodata: float, page: Any) -> float:
    """The stated value as it is among the pixels: where white is 0 they are turned round, so that black is."""
    if page.photometric != tifffile.PHOTOMETRIC.MINISWHITE or page.dtype.kind not in "bu":
        return nodata
    return (1 << int(page.bitspersample)) - 1 - nodata


def place_of_file(path: Path) -> tuple[Georeference | None, tuple[int, int] | None]:
    """Where an image file lies, and its size (H, W) where it is a TIFF; None each where it does not say or is damaged."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None, None
    try:
        with tifffile.TiffFile(path) as tiff:
            page: Any = tiff.pages[0]
            return place_of(path, page)[0], (int(page.imagelength), int(page.imagewidth))
    except (tifffile.TiffFileError, OSError, ValueError, IndexError):
        # Damaged: said when its pixels are read.
        return None, None


def _wkt(path: Path) -> str | None:
    """The coordinate reference system in words, for those that no code names."""
    rasterio = rasterio_for("reading a projection without an EPSG code")
    with rasterio.open(path) as file:
        return str(file.crs.to_wkt()) if file.crs else None


def mask_page(tiff: tifffile.TiffFile, hw: tuple[int, ...]) -> Any:
    """The page that says where there is a picture of this size, as GDAL writes it; None where there is none."""
    pages = (s.keyframe for s in tiff.series if s.shape == hw)
    return next((page for page in pages if page.is_mask and not page.is_reduced), None)


def covered(
    path: Path, tiff: tifffile.TiffFile, pixels: NDArray[Any], page: Any
) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    """Where the file's mask page, a mask file beside it or its transparent band says that there is a picture; None where it has
    none of them. And what a person should know.

    Shapes:
        pixels: (H, W) or (H, W, C), with the transparent band
        returns: (H, W)
    """
    mask = mask_page(tiff, pixels.shape[:2])
    if mask is not None:
        return np.asarray(mask.asarray() != 0), ()
    beside, remarks = mask_beside(path, pixels.shape[:2])
    if beside is not None:
        with beside, suppress(OSError, ValueError, RuntimeError, IndexError):  # damaged
            return np.asarray(beside.pages[0].asarray() != 0), remarks
        remarks = NO_MASK
    band = alpha_band(page)
    return np.asarray(pixels[:, :, band] != 0) if band is not None and pixels.ndim == 3 else None, remarks


def alpha_band(page: Any) -> int | None:
    """The place of the transparent band, counted from the last."""
    samples = page.extrasamples
    return next((k - len(samples) for k, kind in enumerate(samples) if int(kind) in ALPHA), None)


def doubted_alpha(pixels: NDArray[Any], page: Any) -> tuple[str, ...]:
    """What a person should know of a transparent band, (H, W, C) with it: GDAL calls the fourth of any four bands so.

    Ortho photos are nearly everywhere either there or not; few of their pixels, at edges, lie between.
    """
    band = alpha_band(page)
    if band is None or pixels.ndim < 3 or pixels.dtype.kind != "u":
        return ()
    values = pixels[:, :, band]
    between = (values != 0) & (values != np.iinfo(values.dtype).max)
    if between.mean() <= MOST_BETWEEN:
        return ()
    number = pixels.shape[2] + band + 1
    return (
        f"states that band {number} is transparency, and it is left out; if it is a measurement, gdal_edit.py "
        f"-colorinterp_{number} undefined keeps it.",
    )


def write_mask_tiff(
    path: str | Path,
    stored: NDArray[Any],
    palette: NDArray[np.uint8] | None,
    place: Georeference | None = None,
    nodata: int | None = None,
) -> None:
    """Class ids as TIFF, with the georeference of the image where it has one.

    Args:
        palette: (N, 3) uint8, the colour of each id
        nodata: the id of pixels that have none; written where there is a place

    Raises:
        InputError: the file cannot be written.
    """
    colormap = None if palette is None else palette.T.astype(np.uint16) * 257
    tags: list[tuple[Any, ...]] = []
    if place is not None:
        tags = [(*tag, True) for tag in place.tags]
        tags += [] if nodata is None else [(NODATA, ASCII, 0, str(nodata), True)]
    with atomic(path) as temporary:
        tifffile.imwrite(
            temporary, stored, photometric="minisblack" if palette is None else "palette", colormap=colormap, compression="zlib",
            metadata=None, description=": ".join(ID_MARK), extratags=tags,
        )  # fmt: skip


def write_mask_cog(
    path: str | Path, stored: NDArray[Any], palette: NDArray[np.uint8] | None, place: Georeference, nodata: int
) -> None:
    """Class ids as a cloud-optimised GeoTIFF: tiles of 512 pixels, overviews that keep whole ids (the mode of each square).

    Raises:
        MissingExtraError: rasterio is not installed.
        InputError: the file cannot be written.
    """
    rasterio = rasterio_for("writing a cloud-optimised GeoTIFF")
    h, w = stored.shape
    profile = {
        "driver": "GTiff", "width": w, "height": h, "count": 1, "dtype": stored.dtype.name, "crs": place.crs, "nodata": nodata,
        "transform": rasterio.Affine(*place.transform), "photometric": "minisblack" if palette is None else "palette",
    }  # fmt: skip
    try:
        with rasterio.MemoryFile() as memory, rasterio.MemoryFile(ext=".tif") as whole:
            with memory.open(**profile) as file:
                file.write(stored, 1)
                file.update_tags(TIFFTAG_IMAGEDESCRIPTION=": ".join(ID_MARK))
                if palette is not None:
                    file.write_colormap(1, {k: (*map(int, colour), 255) for k, colour in enumerate(palette)})
            with memory.open() as file:
                rasterio.shutil.copy(file, whole.name, driver="COG", compress="deflate", overview_resampling="mode")
            # GDAL calls half a file on a full disk a whole one.
            write_bytes(path, whole.read())
    except gdal_errors(rasterio) as error:
        raise InputError(f"{path}: cannot be written as a cloud-optimised GeoTIFF ({error}); write labels instead.") from error
