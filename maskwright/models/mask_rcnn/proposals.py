"""From the network's word on every anchor to the boxes worth a second look.

Source: Ren et al. 2015, arXiv:1506.01497, section 3.3 ("Sharing features"), with the best of each level apart as in torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from maskwright.models.mask_rcnn.boxes import FROM_ANCHORS, clipped, decoded, large_enough

OVERLAP = 0.7  # IoU above which the less likely of two boxes of a level goes
LEAST_PX = 1e-3


@torch.no_grad()
def propose(
    objectness: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    per_level: Sequence[int],
    hws: Sequence[tuple[int, int]],
    *,
    most: int,
    most_per_level: int,
) -> list[Tensor]:
    """The likeliest boxes of each image, none much like another, most likely first; no gradient flows through them.

    Shapes:
        objectness: (B, N) logits; deltas: (B, N, 4); anchors: (N, 4)
        per_level: number of anchors of each level; their sum is N
        hws: true size of each image of the batch; boxes are clipped to it
        returns: B times (P, 4) xyxy in pixels, P at most `most`, perhaps 0
    """
    best, level = _best_per_level(objectness, per_level, most_per_level)
    boxes = decoded(deltas.gather(1, best[..., None].expand(-1, -1, 4)), anchors[best], FROM_ANCHORS)  # (B, P, 4)
    scores = objectness.gather(1, best).sigmoid()
    found = []
    for b, s, hw in zip(boxes, scores, hws, strict=True):
        b = clipped(b, hw)
        kept = large_enough(b, LEAST_PX)
        b = b[kept]
        found.append(b[batched_nms(b, s[kept], level[kept], OVERLAP)[:most]])
    return found


def fixed(boxes: Sequence[Tensor], count: int) -> tuple[Tensor, Tensor]:
    """The first `count` boxes of each image, filled up with zeros: a graph with a fixed number of proposals takes these.

    Shapes:
        boxes: B times (P, 4)
        returns: (B, count, 4), and which are real, (B, count) bool
    """
    filled = torch.stack([torch.cat([b[:count], b.new_zeros(max(0, count - len(b)), 4)]) for b in boxes])
    lengths = torch.tensor([len(b) for b in boxes], device=filled.device)
    return filled, torch.arange(count, device=filled.device) < lengths[:, None]


def _best_per_level(objectness: Tensor, per_level: Sequence[int], most: int) -> tuple[Tensor, Tensor]:
    """Numbers of the likeliest anchors, (B, P), likeliest of a level first, and the level of each column, (P,)."""
    best, level, before = [], [], 0
    for i, part in enumerate(torch.split(objectness, list(per_level), dim=1)):
        count = min(part.shape[1], most)
        best.append(part.topk(count, dim=1).indices + before)
        level += [i] * count
        before += part.shape[1]
    return torch.cat(best, dim=1), torch.tensor(level, device=objectness.device)
