"""Masks larger than memory, row of tiles by row of tiles: tiled TIFF (BigTIFF where needed), cloud-optimised GeoTIFF, zarr."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError, MissingExtraError
from maskwright.io.decoded import ID_MARK
from maskwright.io.georeference import NODATA, Georeference
from maskwright.io.geotiff import ASCII, gdal_errors, rasterio_for
from maskwright.io.tiff import BROKEN
from maskwright.io.windows import ZARR_SUFFIX
from maskwright.io.write import atomic, full_disk, whole_folder
from maskwright.ops.colour import palette_of

TILE_PX = 512
# Beyond this the offsets of a plain TIFF may not reach.
BIG_BYTES = (1 << 32) - (1 << 25)
GDAL_CACHE_MB = 64

Rows = Callable[[slice], NDArray[Any]]  # (rows, W) labels


def write_large_tiff(path: Path, rows: Rows, hw: tuple[int, int], classes: ClassMap, place: Georeference | None = None) -> None:
    """Labels as a tiled, compressed TIFF in the class colours.

    Where the image has a place the file has it too, with classes.ignore_id as nodata; and where rasterio is installed it is
    cloud-optimised, with overviews that hold the most frequent id of each square.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        rasterio = rasterio_for("overviews") if place is not None else None
    except MissingExtraError:
        rasterio = None  # the same labels, without overviews
    coloured = classes.dtype == np.uint8
    look: dict[str, Any] = {"photometric": "palette" if coloured else "minisblack", "description": ": ".join(ID_MARK)}
    look["colormap"] = palette_of(classes).T.astype(np.uint16) * 257 if coloured else None
    stored = np.dtype(classes.dtype)
    with atomic(path) as temporary:
        if rasterio is None:
            _write_tiles(temporary, rows, hw, stored, look, place, classes.ignore_id)
            return
        plain = temporary.with_name(f"{temporary.stem}.plain.tif")
        try:
            _write_tiles(plain, rows, hw, stored, look, place, classes.ignore_id, level=1)
            _optimise(rasterio, plain, temporary, path)
            _check_end(temporary)
        finally:
            plain.unlink(missing_ok=True)


def write_large_ids(path: Path, rows: Rows, hw: tuple[int, int], place: Georeference | None = None) -> None:
    """Numbers of objects as a tiled, compressed TIFF of 32 bits, or as zarr where the path ends so; 0 is no object, and nodata.

    Raises:
        InputError: the file cannot be written.
    """
    stored = np.dtype(np.uint32)
    if path.suffix == ZARR_SUFFIX:
        _write_zarr(path, rows, hw, stored, {})
        return
    with atomic(path) as temporary:
        _write_tiles(temporary, rows, hw, stored, {"photometric": "minisblack"}, place, 0)


def write_large_zarr(path: Path, rows: Rows, hw: tuple[int, int], classes: ClassMap) -> None:
    """Labels as a zarr array (Y, X), its attributes naming the classes; the folder is whole or not there.

    Raises:
        InputError: the folder cannot be written.
    """
    named = {str(i): name for i, name in zip(classes.ids, classes.names, strict=True)}
    _write_zarr(path, rows, hw, np.dtype(classes.dtype), {"classes": named})


def _write_zarr(path: Path, rows: Rows, hw: tuple[int, int], dtype: np.dtype[Any], attributes: Mapping[str, Any]) -> None:
    import zarr

    chunk = min(1024, hw[0]), min(1024, hw[1])
    with whole_folder(path) as aside:
        array = zarr.create_array(str(aside), shape=hw, chunks=chunk, dtype=dtype, overwrite=True)
        array.attrs.update(attributes)
        for top in range(0, hw[0], chunk[0]):
            part = slice(top, min(top + chunk[0], hw[0]))
            array[part] = rows(part)


def _write_tiles(
    path: Path,
    rows: Rows,
    hw: tuple[int, int],
    dtype: np.dtype[Any],
    look: Mapping[str, Any],
    place: Georeference | None,
    nodata: int,
    *,
    level: int = 6,
) -> None:
    """Args:
    look: what TiffWriter.write is told of how the numbers are shown
    level: of compression, 1 to 9; higher is smaller and slower
    """
    tags: list[tuple[Any, ...]] = []
    if place is not None:
        tags = [*((*tag, True) for tag in place.tags), (NODATA, ASCII, 0, str(nodata), True)]
    big = hw[0] * hw[1] * dtype.itemsize > BIG_BYTES
    with tifffile.TiffWriter(path, bigtiff=big) as tiff:
        tiff.write(
            _tiles(rows, hw), shape=hw, dtype=dtype, tile=(TILE_PX, TILE_PX), compression="zlib",
            compressionargs={"level": level}, metadata=None, extratags=tags, **look,
        )  # fmt: skip


def _tiles(rows: Rows, hw: tuple[int, int]) -> Iterator[NDArray[Any]]:
    """Squares of TILE_PX from left to right and top to bottom; those at the edges are filled up with zeros."""
    for top in range(0, hw[0], TILE_PX):
        band = rows(slice(top, min(top + TILE_PX, hw[0])))
        for left in range(0, hw[1], TILE_PX):
            part = band[:, left : left + TILE_PX]
            yield np.pad(part, ((0, TILE_PX - part.shape[0]), (0, TILE_PX - part.shape[1])))


def _optimise(rasterio: Any, plain: Path, target: Path, path: Path) -> None:
    """The same file with overviews, laid out for reading over a network.

    Args:
        path: the name that target will take
    """
    settings = {"compress": "deflate", "overview_resampling": "mode", "bigtiff": "if_safer", "num_threads": "ALL_CPUS"}
    try:
        with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_MB):
            rasterio.shutil.copy(str(plain), str(target), driver="COG", **settings)
    except gdal_errors(rasterio) as error:
        why = f"{path}: cannot be written as a cloud-optimised GeoTIFF ({error}); is the disk full?"
        # By then GDAL has taken away what it wrote: overviews by themselves, and the file with them.
        raise InputError(why) from full_disk(target, needed=2 * plain.stat().st_size) or error


def _check_end(written: Path) -> None:
    """Refuse a file whose end is missing: GDAL says nothing of a disk that is full when it closes a file.

    Raises:
        OSError: a piece of the picture or of an overview lies beyond the file, or it cannot be read at all.
    """
    try:
        with tifffile.TiffFile(written) as tiff:
            pages: list[Any] = list(tiff.pages)
            ends = [o + n for page in pages for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
            is_cut = not ends or max(ends) > tiff.filehandle.size
    except BROKEN:
        is_cut = True
    if is_cut:
        raise OSError(errno.ENOSPC, "the end of the file is missing", str(written))
