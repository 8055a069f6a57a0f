"""Arrays on the disk for as long as they are needed, where memory might not hold them."""

from __future__ import annotations

import os
import tempfile
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from maskwright.errors import InputError


def mapped(file: IO[bytes], dtype: DTypeLike, shape: tuple[int, ...], order: Literal["C", "F"] = "C") -> NDArray[Any]:
    """An array that lies in an empty temporary file.

    Its room is taken at once: a disk that fills up under a mapped file ends the process without a word.

    Raises:
        InputError: there is no room.
    """
    wanted = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, wanted)
        return np.memmap(file, dtype, "w+", shape=shape, order=order)
    except OSError as error:
        raise InputError(
            f"{tempfile.gettempdir()}: no room for {wanted / 1e6:.0f} MB of labels ({error.strerror}). Free some, or name "
            f"another folder with TMPDIR."
        ) from error
