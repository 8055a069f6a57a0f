"""RoIAlign on the level of the pyramid that fits each box.

Source: He et al. 2017, arXiv:1703.06870, section 3, figure 3; the level: Lin et al. 2017, arXiv:1612.03144, equation 1.
As in torchvision: two by two samples a bin, and coordinates without the half pixel that later versions of Detectron add.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align

CANONICAL_PX = 224  # side of the box that goes to level 4, whose stride is 16
SAMPLES = 2


def rois_of(boxes: Sequence[Tensor]) -> Tensor:
    """Boxes of each image, B times (N_b, 4), to one list with the number of the image in front, (R, 5)."""
    return torch.cat([torch.cat([b.new_full((len(b), 1), i), b], dim=1) for i, b in enumerate(boxes)])


def level_of(boxes: Tensor, strides: Sequence[int], canonical_px: int = CANONICAL_PX) -> Tensor:
    """Which level each box is cut from: a box half as large goes one level finer.

    Shapes:
        boxes: (N, 4) xyxy
        returns: (N,) int64 in [0, levels)
    """
    side = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt()
    # Level 4 is the one of stride 16; the small number keeps a box of exactly the canonical side on it.
    level = torch.floor(4 + torch.log2(side / canonical_px) + 1e-6) - (strides[0].bit_length() - 1)
    return level.clamp(0, len(strides) - 1).to(torch.int64)


def pooled(maps: Sequence[Tensor], rois: Tensor, px: int, strides: Sequence[int], *, canonical_px: int = CANONICAL_PX) -> Tensor:
    """What each box shows, as a square of the same size for all.

    Traced for torch.export or torch.compile every box is cut from every level and the right one chosen: a fixed graph.

    Shapes:
        maps: (B, C, h_i, w_i), one a stride, in float32 or wider (RoIAlign's coordinates have the precision of the maps)
        rois: (R, 5): number of the image, xyxy in pixels
        returns: (R, C, px, px)
    """
    level = level_of(rois[:, 1:], strides, canonical_px)
    if torch.compiler.is_compiling():
        every = torch.stack([roi_align(m, rois, px, 1 / s, SAMPLES) for m, s in zip(maps, strides, strict=True)])
        return every.gather(0, level.reshape(1, -1, 1, 1, 1).expand(1, *every.shape[1:]))[0]
    out = maps[0].new_zeros(len(rois), maps[0].shape[1], px, px)
    for i, (m, stride) in enumerate(zip(maps, strides, strict=True)):
        here = (level == i).nonzero()[:, 0]
        out[here] = roi_align(m, rois[here], px, 1 / stride, SAMPLES)
    return out
