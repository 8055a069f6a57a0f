"""How far from a cut edge a net's answer differs from that on the whole image: measured on the net itself.

Rows beyond a cut are filled with nan, and whatever depends on them becomes nan: one pass says where the answer stops to depend.
nan spreads through convolutions, pooling, upsampling and attention alike; where 0 x nan stands for nothing it says too much,
never too little. Cuts lie on the grid on which nets pool, so one cut stands for all that tiles ever make.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskwright.inference.tiled import GRID_PX, Forward
from maskwright.later import torch

if TYPE_CHECKING:
    from torch import Tensor

# A cut in the middle of so many px shows borders of up to half of that; nets that reach farther count as reaching everywhere.
LONG_PX = 2048
WIDE_PX = 64


def border_px(forward: Forward, channels: int) -> int | None:
    """Pixels along a cut edge that a tile must not answer for, the largest of the four sides, up to the next multiple of GRID_PX.

    None: the answer depends on the whole image (image pooling, attention), so that no tile can be exact.
    """
    worst = 0
    for axis in (2, 3):
        for begins in (True, False):
            reached = _reach(forward, channels, axis, begins)
            if reached is None:
                return None
            worst = max(worst, reached)
    return -(-worst // GRID_PX) * GRID_PX


def _reach(forward: Forward, channels: int, axis: int, begins: bool) -> int | None:
    """How far the answer depends on what lies beyond a cut across the axis; begins: what lies before it is cut off."""
    shape = [1, channels, WIDE_PX, WIDE_PX]
    shape[axis] = LONG_PX
    cut = LONG_PX // 2
    image: Tensor = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    image.narrow(axis, 0 if begins else cut, cut).fill_(torch.nan)
    spoilt = forward(image).isnan().any(dim=1)[0].any(dim=1 if axis == 2 else 0).cpu()  # (LONG_PX,)
    kept = spoilt[cut:] if begins else spoilt[:cut].flip(0)
    if bool(kept.all()):
        return None
    return int(kept.nonzero().max()) + 1 if bool(kept.any()) else 0
