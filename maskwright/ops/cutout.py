"""Things taken out of a photo: a soft border, the thing's own colours along it, and what is put behind.

Along a border pixels mix both sides. Mixing them again with another background leaves a rim of the old one, so the colours of
each side are first carried across the border from its own inside: a blur that counts only the pixels of that side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from maskwright.classes import Colour
from maskwright.later import ndimage

FEATHER_PX = 2.0
# A blur never ends; beyond this share it does, at about two standard deviations, so that things are wholly opaque inside.
TAIL = 0.02
# Blurs wider than this are made on a smaller picture: they hold no detail that it would lose.
WIDEST_SIGMA_PX = 2.0


def soft_border(kept: NDArray[np.bool_], feather_px: float = FEATHER_PX) -> NDArray[np.float32]:
    """How far each pixel belongs to what is kept: 1 inside, 0 outside, half on the border, in a band of feather_px a side.

    Shapes:
        kept: (H, W) bool
        feather_px: 0 for a hard border
        returns: (H, W) float32 in [0, 1]
    """
    share = kept.astype(np.float32)
    return share if feather_px <= 0 else np.clip((_blurred(share, feather_px / 2) - TAIL) / (1 - 2 * TAIL), 0, 1)


def cut_out(picture: NDArray[np.uint8], kept: NDArray[np.bool_], feather_px: float = FEATHER_PX) -> NDArray[np.uint8]:
    """The kept part with everything else transparent; along its border in its own colours.

    Shapes:
        picture: (H, W, 3) uint8
        kept: (H, W) bool
        returns: (H, W, 4) uint8, red, green, blue and opacity; black where wholly transparent
    """
    share = soft_border(kept, feather_px)
    cut = np.zeros((*kept.shape, 4), np.uint8)
    window = _window(share, feather_px)
    colours = own_colours(picture[window], share[window], feather_px)
    cut[window][..., :3] = np.where(share[window][..., None] > 0, _bytes(colours), 0)
    cut[..., 3] = _bytes(share * 255)
    return cut


def put_before(
    picture: NDArray[np.uint8], kept: NDArray[np.bool_], ground: NDArray[np.uint8], feather_px: float = FEATHER_PX
) -> NDArray[np.uint8]:
    """The kept part before another background.

    Shapes:
        picture, ground: (H, W, 3) uint8
        kept: (H, W) bool
        returns: (H, W, 3) uint8
    """
    share = soft_border(kept, feather_px)
    placed = ground.copy()
    window = _window(share, feather_px)
    weight = share[window][..., None]
    placed[window] = _bytes(own_colours(picture[window], share[window], feather_px) * weight + ground[window] * (1 - weight))
    return placed


def blurred_behind(
    picture: NDArray[np.uint8], kept: NDArray[np.bool_], radius_px: float, feather_px: float = FEATHER_PX
) -> NDArray[np.uint8]:
    """The picture out of focus behind the kept part, whose colours do not bleed into it.

    Shapes:
        picture: (H, W, 3) uint8
        kept: (H, W) bool
        radius_px: two standard deviations of the Gaussian blur; 0 leaves the picture as it is
        returns: (H, W, 3) uint8
    """
    if radius_px <= 0 or kept.all():
        return picture.copy()
    behind = soft_border(kept, feather_px) == 0
    return put_before(picture, kept, _bytes(_carried(picture, behind, radius_px / 2)), feather_px)


def own_colours(picture: NDArray[np.uint8], share: NDArray[np.float32], feather_px: float = FEATHER_PX) -> NDArray[np.float32]:
    """The picture with mixed pixels in the colours of the part that share says, carried outwards from its inside.

    A part without any inside, thinner than its border, keeps its pixels as they are.

    Shapes:
        picture: (H, W, 3) uint8
        share: (H, W) in [0, 1]
        returns: (H, W, 3) float32 in [0, 255]
    """
    sure = share == 1
    own = picture.astype(np.float32)
    if feather_px <= 0 or sure.all() or not sure.any():
        return own
    # The band is twice feather_px wide, so that two standard deviations reach across it.
    carried = _carried(picture, sure, feather_px)
    return np.where(sure[..., None], own, carried)


def covering(picture: NDArray[np.uint8], hw: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture scaled so that it just covers a size, its middle kept.

    Shapes:
        picture: (h, w, 3) uint8
        returns: (*hw, 3) uint8
    """
    h, w = picture.shape[:2]
    scale = max(hw[0] / h, hw[1] / w)
    part_h, part_w = hw[0] / scale, hw[1] / scale
    box = ((w - part_w) / 2, (h - part_h) / 2, (w + part_w) / 2, (h + part_h) / 2)
    return np.array(PIL.Image.fromarray(picture).resize(hw[::-1], PIL.Image.Resampling.LANCZOS, box))


def flat(colour: Colour, hw: tuple[int, int]) -> NDArray[np.uint8]:
    """One colour all over, (*hw, 3) uint8."""
    return np.broadcast_to(np.array(colour, np.uint8), (*hw, 3)).copy()


def _carried(picture: NDArray[np.uint8], counts: NDArray[np.bool_], sigma_px: float) -> NDArray[np.float32]:
    """A blur over the pixels that count alone, (H, W, 3) float32; where none is near, the picture itself."""
    weight = _blurred(counts.astype(np.float32), sigma_px)
    # Below a 256th of a pixel's weight rounding decides the colour.
    near = weight > 1 / 256
    carried = picture.astype(np.float32)
    for channel in range(3):
        spread = _blurred(np.where(counts, carried[..., channel], np.float32(0)), sigma_px)
        carried[..., channel] = np.where(near, spread / np.maximum(weight, 1e-6), carried[..., channel])
    return carried


def _blurred(plane: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """A Gaussian blur of (H, W) float32; beyond the image it goes on as at its border."""
    times = max(1, int(sigma_px / WIDEST_SIGMA_PX))
    if times == 1:
        return ndimage.gaussian_filter(plane, sigma_px, mode="nearest", truncate=3.0)
    # Averages of times x times pixels, blurred and spread again: the cost does not grow with sigma.
    whole = PIL.Image.fromarray(plane)
    small = np.array(whole.reduce(times))
    wide = PIL.Image.fromarray(ndimage.gaussian_filter(small, sigma_px / times, mode="nearest", truncate=3.0))
    # The last averages may reach beyond the image: the part that the image covers is spread over it.
    box = (0, 0, plane.shape[1] / times, plane.shape[0] / times)
    return np.array(wide.resize(whole.size, PIL.Image.Resampling.BILINEAR, box))


def _window(share: NDArray[np.float32], feather_px: float) -> tuple[slice, slice]:
    """The part of the image that holds every pixel with a share, and a margin for the blurs; the whole cost lies in it."""
    margin = int(4 * feather_px)
    rows, columns = np.flatnonzero((share > 0).any(axis=1)), np.flatnonzero((share > 0).any(axis=0))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    top, left = max(0, int(rows[0]) - margin), max(0, int(columns[0]) - margin)
    return slice(top, int(rows[-1]) + 1 + margin), slice(left, int(columns[-1]) + 1 + margin)


def _bytes(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(values + 0.5, 0, 255), np.uint8)
