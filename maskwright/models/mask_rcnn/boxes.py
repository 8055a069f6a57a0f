"""Boxes as numbers that a network can predict, and back; clipping, scaling.

Source: Girshick et al. 2014, arXiv:1311.2524, appendix C: shift of the centre in units of the anchor's size, logarithm of the
growth; Ren et al. 2015, arXiv:1506.01497, equation 2. Factors (10, 10, 5, 5) and the limit of growth as in torchvision.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOST_GROWTH = math.log(1000 / 16)  # a box grows from 16 to 1000 px at most: exp of more would overflow early in training
Factors = tuple[float, float]  # of the shift, of the growth
FROM_ANCHORS: Factors = (1.0, 1.0)
FROM_PROPOSALS: Factors = (10.0, 5.0)


def encoded(boxes: Tensor, anchors: Tensor, factors: Factors) -> Tensor:
    """What the network should say so that the anchors become the boxes.

    Shapes:
        boxes, anchors: (..., 4) xyxy, sides above 0
        returns: (..., 4) shift in x and y, growth in x and y
    """
    centre, size = _centre_size(anchors)
    wanted, wanted_size = _centre_size(boxes)
    shift = factors[0] * (wanted - centre) / size
    return torch.cat([shift, factors[1] * torch.log(wanted_size / size)], dim=-1)


def decoded(deltas: Tensor, anchors: Tensor, factors: Factors) -> Tensor:
    """The inverse of `encoded`; growth beyond MOST_GROWTH is cut."""
    centre, size = _centre_size(anchors)
    middle = deltas[..., :2] / factors[0] * size + centre
    half = 0.5 * (torch.exp((deltas[..., 2:] / factors[1]).clamp(max=MOST_GROWTH)) * size)
    return torch.cat([middle - half, middle + half], dim=-1)


def clipped(boxes: Tensor, hw: tuple[int, int]) -> Tensor:
    """The parts of the boxes, (..., 4) xyxy, that lie inside an image."""
    h, w = hw
    x, y = boxes[..., 0::2].clamp(min=0, max=w), boxes[..., 1::2].clamp(min=0, max=h)
    return torch.stack([x, y], dim=-1).flatten(-2)


def large_enough(boxes: Tensor, least_px: float) -> Tensor:
    """Which boxes, (N, 4) xyxy, have both sides of at least so many pixels: (N,) bool."""
    return (boxes[:, 2:] - boxes[:, :2] >= least_px).all(dim=1)


def share_inside(boxes: Tensor, areas: Tensor) -> Tensor:
    """The largest share of each box that lies in one of the areas.

    Shapes:
        boxes: (N, 4) xyxy; areas: (M, 4) xyxy
        returns: (N,) in [0, 1]; 0 where there are no areas
    """
    if not len(areas):
        return boxes.new_zeros(len(boxes))
    corner, far = torch.maximum(boxes[:, None, :2], areas[:, :2]), torch.minimum(boxes[:, None, 2:], areas[:, 2:])
    shared = (far - corner).clamp(min=0).prod(dim=2)  # (N, M)
    own = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).clamp(min=torch.finfo(boxes.dtype).tiny)
    return shared.amax(dim=1) / own


def _centre_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * size, size
