"""Where tiles start along one side of an image: plain index arithmetic, one side at a time, for arrays of any library."""

from __future__ import annotations

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
