"""Where tiles start along one side of an image, and which pixels a mirrored border repeats.

Plain index arithmetic, one side at a time, so that arrays of any library can be cut and mirrored with it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError


def starts(length_px: int, tile_px: int, overlap_px: int = 0) -> list[int]:
    """First pixels of the tiles that cover one side; the last tile is moved back to end with the image.

    Neighbours overlap by overlap_px, the last two by that or more. A side that is not longer than a tile has one
    tile, at 0; the caller pads what is missing.

    Raises:
        InputError: a length below 1, or an overlap that leaves no step from tile to tile.
    """
    if length_px < 1 or tile_px < 1:
        raise InputError(f"a side of {length_px} px cannot be cut into tiles of {tile_px} px; both must be at least 1 px.")
    if not 0 <= overlap_px < tile_px:
        raise InputError(f"an overlap of {overlap_px} px does not go with tiles of {tile_px} px; expected 0 to {tile_px - 1} px.")
    last = max(length_px - tile_px, 0)
    return [*range(0, last, tile_px - overlap_px), last]


def mirrored(first: int, end: int, length_px: int) -> NDArray[np.int64]:
    """Pixel numbers of positions first..end-1 when a side of length_px continues beyond both ends as in a mirror.

    The border pixel itself is not repeated (... 2 1 | 0 1 2 | 1 0 ...). The mirror image is mirrored again where the
    border is wider than the side; a side of one pixel repeats that pixel.

    Shapes:
        returns: (end - first,) int64 in [0, length_px)
    """
    if length_px < 1:
        raise InputError(f"a side of {length_px} px has nothing to mirror; expected at least 1 px.")
    period = max(2 * (length_px - 1), 1)
    position = np.arange(first, end, dtype=np.int64) % period
    return np.minimum(position, period - position) if length_px > 1 else np.zeros_like(position)
