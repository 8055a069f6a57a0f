"""Files beside a TIFF file that say more of it, as GDAL reads them: world files, and masks of where there is a picture.

Sources: GDAL's GTiff driver, "Georeferencing"; GDAL RFC 15, "band masks"; Esri, "World files for raster datasets".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tifffile

from maskwright.io.georeference import (
    PIXEL_IS_POINT,
    PIXEL_SCALE,
    RASTER_TYPE,
    TIE_POINT,
    TRANSFORMATION,
    Tag,
    keys_of,
)

DOUBLE = 12
NO_MASK = ("has a mask file beside it (.msk) that is damaged, or not one band of the image's size; it is not used.",)
WORLD_BYTES = 1000  # far more than six numbers take


def world_file(path: Path) -> Path | None:
    """The world file of a TIFF file: .tfw, .tifw or .tiffw, .wld."""
    endings = (".tfw", f"{path.suffix}w", ".wld")
    names = (path.with_suffix(written) for ending in endings for written in (ending.lower(), ending.upper()))
    return next((name for name in names if name.is_file()), None)


def with_world_file(tags: dict[int, Tag], file: Path) -> dict[int, Tag]:
    """Tags that state a world file's transform and no other; as they were where it does not hold six numbers.

    The file holds a, d, b, e, c, f of Georeference.transform, the last two of the centre of the first pixel.
    """
    try:
        with file.open("rb") as opened:
            a, d, b, e, c, f = map(float, opened.read(WORLD_BYTES).split())
    except (OSError, ValueError):
        return tags
    if keys_of(tags).get(RASTER_TYPE) != PIXEL_IS_POINT:
        c, f = c - (a + b) / 2, f - (d + e) / 2
    matrix = (a, b, 0.0, c, d, e, 0.0, f, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    kept = {code: tag for code, tag in tags.items() if code not in (PIXEL_SCALE, TIE_POINT)}
    return {**kept, TRANSFORMATION: (TRANSFORMATION, DOUBLE, len(matrix), matrix)}


def mask_beside(path: Path, hw: tuple[int, ...]) -> tuple[tifffile.TiffFile | None, tuple[str, ...]]:
    """The mask file of an image (its name and .msk), opened, None where there is none of use; and what a person should know."""
    file = path.with_name(f"{path.name}.msk")
    if not file.is_file():
        return None, ()
    try:
        tiff = tifffile.TiffFile(file)
        if _is_whole_mask(tiff, hw):
            return tiff, ()
        tiff.close()
    except (tifffile.TiffFileError, OSError, ValueError, IndexError):
        pass  # damaged
    return None, NO_MASK


def _is_whole_mask(tiff: tifffile.TiffFile, hw: tuple[int, ...]) -> bool:
    page: Any = tiff.pages[0]
    ends = (o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True))
    return bool(page.shape == hw and max(ends) <= tiff.filehandle.size)
