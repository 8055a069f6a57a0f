"""Masks as files or arrays store them, before their values mean anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.io.masks import StoredMask, read_mask


def stored_mask(source: Path | NDArray[Any], name: str) -> StoredMask:
    """A mask file, or an array of stored values taken as such a file would be.

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
    return StoredMask(wide, "rgb" if colours else "index", None, False, Path(name))


