"""Anchors: boxes of fixed sizes and shapes at every place of every map, from which the network's boxes start.

Source: Ren et al. 2015, arXiv:1506.01497, section 3.1.1; one size a level: Lin et al. 2017, arXiv:1612.03144, section 4.1.
As torchvision has them: sides in whole even pixels around a cell's corner, and the step of a level is the image's side by the
map's, rounded down, which for the coarsest level is not always 64.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def cells(size_px: float, ratios: Sequence[float]) -> Tensor:
    """The anchors of one size around the origin, all of about the same area.

    Arguments:
        ratios: height / width

    Shapes:
        returns: (A, 4) xyxy float32, one a ratio
    """
    tall = torch.sqrt(torch.tensor(ratios, dtype=torch.float32))
    h, w = tall * size_px, 1 / tall * size_px
    return (torch.stack([-w, -h, w, h], dim=1) / 2).round()


def anchors_of(map_hws: Sequence[tuple[int, int]], image_hw: tuple[int, int], level_cells: Tensor) -> Tensor:
    """All anchors of an image: level by level, row by row, at each place one a ratio.

    Shapes:
        level_cells: (L, A, 4), `cells` of each level
        returns: (sum of h x w x A over the levels, 4) xyxy in pixels; they reach beyond the image
    """
    found = []
    for (h, w), around in zip(map_hws, level_cells, strict=True):
        y = torch.arange(h, device=around.device, dtype=around.dtype) * (image_hw[0] // h)
        x = torch.arange(w, device=around.device, dtype=around.dtype) * (image_hw[1] // w)
        at = torch.stack([x.expand(h, -1), y[:, None].expand(-1, w)] * 2, dim=2).reshape(-1, 4)  # (h x w, 4)
        found.append((at[:, None] + around).flatten(0, 1))
    return torch.cat(found)
