"""Writing that never leaves half a file: everything goes to a temporary file beside the target, then takes its name."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.io.decoded import ID_MARK
from maskwright.io.georeference import Georeference
from maskwright.ops.colour import palette_of

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_BELOW = 1 << 20  # free bytes of a disk on which a library could not go on writing
# A disk in this state refuses every later file as well.
_ENDS_IT = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to; on success it replaces path, on any failure path stays as it was.

    The temporary file lies in the same folder (a rename is atomic only within one file system), has the same suffix
    (some writers choose the format by it) and is on the disk before it takes the name. Missing folders are made.

    Raises:
        InputError: the disk is full or the place may not be written.
    """
    path = Path(path)
    if path.is_symlink():
        path = path.resolve()
    temporary = path.with_name(f".{secrets.token_hex(8)}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in (*FULL, *FORBIDDEN) and error.filename not in _names(temporary, path):
            raise
        raise InputError(explanation(path, error)) from error
    finally:
        # Where a parent is a file, unlink would raise an error of its own over the explained one.
        with suppress(NotADirectoryError):
            temporary.unlink(missing_ok=True)


def _names(*paths: Path) -> tuple[Path | str, ...]:
    folders = (folder for path in paths for folder in (path, *path.parents))
    return tuple(name for folder in folders for name in (folder, str(folder)))


def explanation(path: Path, error: OSError) -> str:
    kept = " The file that was there before is kept as it was." if path.is_file() else ""
    if error.errno in FULL:
        return f"{path}: cannot be written, the disk is full ({error.strerror}).{kept} Free some space or choose another folder."
    if error.errno in FORBIDDEN:
        return f"{path}: may not be written ({error.strerror}).{kept} Check the permissions or choose another folder."
    return f"{path}: cannot be written ({error.strerror}).{kept} Choose another folder."


def write_bytes(path: str | Path, data: bytes) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 with line ends as given."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, obj: Any) -> None:
    """Write strict JSON, indented: numpy numbers become numbers, paths text, NaN and infinities null."""
    write_text(path, json.dumps(_plain(obj), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(obj: Any) -> Any:
    if isinstance(obj, Mapping):
        return {str(key): _plain(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [_plain(value) for value in obj]
    if isinstance(obj, (np.ndarray, np.generic)):
        return _plain(obj.tolist())
    if isinstance(obj, float) and not math.isfinite(obj):
        return None
    return str(obj) if isinstance(obj, Path) else obj


def encode_png(array: NDArray[Any], palette: NDArray[np.uint8] | None = None, *, mark: tuple[str, str] | None = None) -> bytes:
    """The bytes of a PNG file, with a text mark (key, value) where one is given.

    Shapes:
        array: (H, W) uint8 or uint16, or (H, W, 3) uint8
        palette: (N, 3) uint8, the colour of each value of an (H, W) uint8 array
    """
    picture = PIL.Image.fromarray(np.ascontiguousarray(array))
    if palette is not None:
        picture = PIL.Image.fromarray(np.ascontiguousarray(array, np.uint8), "P")
        picture.putpalette(palette.astype(np.uint8).tobytes())
    text = PngInfo()
    if mark:
        text.add_text(*mark)
    buffer = io.BytesIO()
    # Photographs barely shrink beyond the lowest level, which is several times quicker; label maps do, up to level 4: level 6
    # takes twice as long for a fifth less.
    picture.save(buffer, "PNG", pnginfo=text, compress_level=1 if array.ndim == 3 else 4)
    return buffer.getvalue()


def write_png(path: str | Path, array: NDArray[Any], palette: NDArray[np.uint8] | None = None) -> None:
    """Write a PNG file; see encode_png."""
    write_bytes(path, encode_png(array, palette))


def write_mask(
    path: str | Path,
    labels: NDArray[Any],
    classes: ClassMap,
    container: str = "png",
    place: Georeference | None = None,
) -> None:
    """Write class ids as a mask that image viewers show in the class colours and programs read as plain numbers.

    Ids up to 255 are stored with a palette; larger ids as 16-bit grey, for which PNG and TIFF have no palette of use.

    Shapes:
        labels: (H, W) integer ids

    Args:
        container: "png", "tiff", or "cog" for a cloud-optimised GeoTIFF
        place: written into TIFF files, with classes.ignore_id as nodata

    Raises:
        InputError: there is no such container, a cloud-optimised file without a place, or the file cannot be written.
        MissingExtraError: a cloud-optimised file is wanted and rasterio is not installed.
    """
    if container not in ("png", "tiff", "cog"):
        raise InputError(f"{path}: no mask container {container!r}; known: png, tiff, cog.")
    stored = labels.astype(classes.dtype)
    palette = palette_of(classes) if classes.dtype == np.uint8 else None
    if container == "png":
        write_bytes(path, encode_png(stored, palette, mark=ID_MARK))
        return
    from maskwright.io.geotiff import write_mask_cog, write_mask_tiff

    if container == "tiff":
        write_mask_tiff(path, stored, palette, place, classes.ignore_id)
    else:
        write_mask_cog(path, stored, palette, place_of_cog(path, place), classes.ignore_id)


def place_of_cog(path: str | Path, place: Georeference | None) -> Georeference:
    """The place that a cloud-optimised mask is written with.

    Raises:
        InputError: there is none.
    """
    if place is None:
        raise InputError(f"{path}: a cloud-optimised GeoTIFF needs an image that states its place; write labels instead.")
    return place


@contextmanager
def whole_folder(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a folder beside path to write into; it takes path's name when all went well, and is gone otherwise.

    Args:
        overwrite: what is there is replaced, at the end; else only an empty folder is

    Raises:
        InputError: a folder cannot be made there, or the disk is full.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        aside.mkdir(parents=True)
        yield aside
        if overwrite and path.exists():
            old = aside.with_suffix(".old")
            os.replace(path, old)
            os.replace(aside, path)
            shutil.rmtree(old)
        else:
            os.replace(aside, path)
    except OSError as error:
        named = str(error.filename or "").startswith((str(aside), str(path)))
        if error.errno not in (*FULL, *FORBIDDEN) and not named:
            raise
        raise InputError(explanation(path, error)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def fresh_folder(path: str | Path) -> Path:
    """Make and return path, or path-2, path-3, ... where a folder with something in it has the name already.

    Raises:
        InputError: a folder cannot be made there.
    """
    path = Path(path)
    number = 1
    while True:
        candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            candidate.mkdir(parents=True)
            return candidate
        except FileExistsError:
            if candidate.is_dir() and not any(candidate.iterdir()):
                return candidate
            number += 1
        except OSError as error:
            raise InputError(explanation(candidate, error)) from error


def full_disk(path: Path, needed: int = 0) -> OSError | None:
    """What the system says of a full disk, where the disk of a path is: for libraries that write and do not pass it on.

    Args:
        needed: bytes without which it counts as full, where that is more than FULL_BELOW
    """
    with suppress(OSError):
        if shutil.disk_usage(path.parent).free < max(FULL_BELOW, needed):
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return None


def disk_ends_it(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that the disk will refuse every later file too: full, or read-only."""
    system = error if isinstance(error, OSError) else error.__cause__
    return isinstance(system, OSError) and system.errno in _ENDS_IT
