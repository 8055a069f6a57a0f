"""Masks as files or arrays store them, before their values mean anything."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.io.masks import StoredMask, read_mask
from maskwright.io.read import decode
from maskwright.io.volume import slice_of


def stored_mask(source: Path | NDArray[Any], name: str, classes: ClassMap | None = None) -> StoredMask:
    """A mask file, or an array taken as such a file would be.

    An array may hold the stored values of classes, or class ids where one of its values is not stored by any class.

    Shapes:
        source: (H, W) bool or integers, (H, W, 1), or (H, W, 3) uint8 colours

    Raises:
        FormatError, InputError: the file cannot be read, or the array has another shape or type.
    """
    if isinstance(source, Path):
        return read_mask(source)
    array = source[..., 0] if source.ndim == 3 and source.shape[2] == 1 else source
    colours = array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8
    if array.dtype.kind not in "bui" or 0 in array.shape or not (array.ndim == 2 or colours):
        raise InputError(
            f"mask of {name}: {array.dtype} of the shape {array.shape}; expected whole numbers (height, width) "
            f"or uint8 colours (height, width, 3)."
        )
    wide = array if colours else array.astype(np.int32 if array.dtype.itemsize < 4 or array.dtype == np.int32 else np.int64)
    mask = StoredMask(wide, "rgb" if colours else "index", None, False, Path(name))
    if classes is None or colours:
        return mask
    stored = {v for values in (*classes.values, classes.ignore_values) for v in values}
    return replace(mask, holds_ids=not set(mask.counts) <= stored and set(mask.counts) <= {*classes.ids, classes.ignore_id})


def content_hash(source: Path | NDArray[Any] | None) -> bytes:
    """SHA-256 of a file's bytes, or of an array's or a slice's type, shape and values."""
    digest = hashlib.sha256()
    if isinstance(source, Path) and slice_of(source):
        return content_hash(decode(source).pixels)
    if isinstance(source, Path):
        try:
            with source.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise InputError(f"{source}: cannot be read ({error.strerror}).") from error
    elif source is not None:
        array = np.ascontiguousarray(source)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.digest()
