"""The size at which a detector looks at an image, and images of different sizes in one batch.

Source: Lin et al. 2017, arXiv:1612.03144, section 5 (shorter side 800); the limit of 1333 and both roundings as in torchvision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

GRID = 32
SHORT_PX, LONG_PX = 800, 1333


def resized_for(hw: tuple[int, int], *, short_px: int = SHORT_PX, long_px: int = LONG_PX) -> tuple[int, int]:
    """The size that an image is to be resized to, bilinearly between pixel centres and without smoothing, for published weights.

    The shorter side becomes short_px, unless the longer one would surpass long_px, which it then becomes.
    """
    scale = min(short_px / min(hw), long_px / max(hw))
    # Rounded down from the product itself: for a few sizes the side comes out one pixel short, and so it was in training.
    return max(1, math.floor(float(hw[0]) * scale)), max(1, math.floor(float(hw[1]) * scale))


def batch_of(images: Sequence[Tensor], *, grid: int = GRID) -> tuple[Tensor, list[tuple[int, int]]]:
    """Normalised images of any sizes, (C, h, w) each, as one batch with zeros at the right and below, and their true sizes.

    Shapes:
        returns: (B, C, H, W), H and W the largest of each, up to a multiple of `grid`; B times (h, w)
    """
    hws = [(int(i.shape[-2]), int(i.shape[-1])) for i in images]
    height, width = (-(-max(sides) // grid) * grid for sides in zip(*hws, strict=True))
    return torch.stack([F.pad(i, (0, width - w, 0, height - h)) for i, (h, w) in zip(images, hws, strict=True)]), hws


def zero_filled(image: Tensor, grid: int, *, least: int = 1) -> Tensor:
    """The batch with zeros at the right and below until both sides are multiples of `grid`, at least `least` of them."""
    h, w = image.shape[-2:]
    rows, columns = (h + grid - 1) // grid, (w + grid - 1) // grid
    if least > 1:
        rows, columns = max(rows, least), max(columns, least)
    bottom, right = rows * grid - h, columns * grid - w
    if not (torch.compiler.is_compiling() or bottom or right):
        return image
    return F.pad(image, (0, right, 0, bottom))
