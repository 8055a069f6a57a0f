"""RoIAlign on the level of the pyramid that fits each box.

Source: He et al. 2017, arXiv:1703.06870, section 3, figure 3; the level: Lin et al. 2017, arXiv:1612.03144, equation 1.
As in torchvision: two by two samples a bin, and coordinates without the half pixel that later versions of Detectron add.
torchvision.ops.roi_align cuts, but on a processor where it learns or has its maps in channels_last: there roi_align computes on
one core, and its backward pass took a third of a training step. A bin is a sum of 16 pixels with weights, which is what an
embedding bag computes, on all cores: the same values in a fifth of the time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
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
        returns: (R, C, px, px), in the layout of the maps
    """
    level = level_of(rois[:, 1:], strides, canonical_px)
    if torch.compiler.is_compiling():
        every = torch.stack([roi_align(m, rois, px, 1 / s, SAMPLES) for m, s in zip(maps, strides, strict=True)])
        return every.gather(0, level.reshape(1, -1, 1, 1, 1).expand(1, *every.shape[1:]))[0]
    first = maps[0]
    by_pixel = first.is_contiguous(memory_format=torch.channels_last)
    cut = summed if first.device.type == "cpu" and (first.requires_grad or by_pixel) else roi_align
    layout = torch.channels_last if by_pixel else torch.contiguous_format
    out = first.new_zeros(len(rois), first.shape[1], px, px).to(memory_format=layout)
    for i, (m, stride) in enumerate(zip(maps, strides, strict=True)):
        here = (level == i).nonzero()[:, 0]
        out[here] = cut(m, rois[here], px, 1 / stride, SAMPLES)
    return out


def summed(m: Tensor, rois: Tensor, px: int, scale: float, samples: int) -> Tensor:
    """RoIAlign of one map as sums of its pixels; equal to torchvision.ops.roi_align but for the rounding.

    Shapes:
        m: (B, C, h, w); rois: (R, 5); scale: from the rois' pixels to the map's
        returns: (R, C, px, px)
    """
    (channels, h, w), corners = m.shape[1:], rois[:, 1:] * scale
    columns, across = _weighed(corners[:, 0], corners[:, 2], px, samples, w)
    rows, down = _weighed(corners[:, 1], corners[:, 3], px, samples, h)
    first = rois[:, 0].long() * h * w
    pixels = first[:, None, None, None, None] + rows[:, :, None, :, None] * w + columns[:, None, :, None, :]
    weights = down[:, :, None, :, None] * across[:, None, :, None, :]  # (R, px, px, 2 samples, 2 samples)
    of_pixel = m.permute(0, 2, 3, 1).reshape(-1, channels)
    bag = (2 * samples) ** 2
    sums = F.embedding_bag(pixels.reshape(-1, bag), of_pixel, per_sample_weights=weights.reshape(-1, bag), mode="sum")
    return sums.view(len(rois), px, px, channels).permute(0, 3, 1, 2)


def _weighed(low: Tensor, high: Tensor, px: int, samples: int, size: int) -> tuple[Tensor, Tensor]:
    """For one axis the two pixels around each sample of each bin and their shares of the bin, both (R, px, 2 samples).

    A sample more than a pixel outside counts nothing; nearer than that it counts as the first or last pixel.
    """
    bins, inside = (torch.arange(count, device=low.device).to(low) for count in (px, samples))
    long = ((high - low).clamp(min=1) / px)[:, None, None]
    # In torchvision's own order, so that coordinates are rounded alike.
    where = (low[:, None, None] + bins[:, None] * long + (inside + 0.5) * long / samples).flatten(1)
    seen = ((where >= -1) & (where <= size)).to(low) / samples
    where = where.clamp(0, size - 1)
    before = where.floor()
    share = where - before
    pixels = torch.stack([before, (before + 1).clamp(max=size - 1)], dim=-1).long()
    weights = torch.stack([(1 - share) * seen, share * seen], dim=-1)
    return pixels.view(len(low), px, 2 * samples), weights.view(len(low), px, 2 * samples)
