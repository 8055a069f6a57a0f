"""Which object a box stands for in training, and which boxes take part in a step.

Source: Ren et al. 2015, arXiv:1506.01497, section 3.1.2; Girshick 2015, arXiv:1504.08083, section 2.3. Boxes that lie in a
crowd teach nothing, as in Detectron; torchvision has no crowds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import box_iou

from maskwright.models.mask_rcnn.boxes import share_inside

IGNORED = -1
IN_CROWD = 0.7  # share of a box inside a crowd from which on it counts neither as hit nor as miss
PAIRS = 1 << 22  # overlaps computed at a time: a thousand objects times all anchors of a large image would take gigabytes

# (labels (N,), how many, share of positives) -> numbers of the chosen, ascending
Sampler = Callable[[Tensor, int, float], Tensor]


@torch.no_grad()
def matched(
    boxes: Tensor, objects: Tensor, crowds: Tensor, *, low: float, high: float, best_too: bool = False
) -> tuple[Tensor, Tensor]:
    """Whether each box is a hit (1), a miss (0) or IGNORED, and the object that it overlaps most.

    Arguments:
        low, high: IoU below which a box is a miss, from which on it is a hit; between, it is ignored
        best_too: the boxes that overlap an object most are hits whatever the IoU, so that no object goes without

    Shapes:
        boxes: (N, 4); objects: (M, 4); crowds: (C, 4), xyxy
        returns: (N,) int64; (N,) int64 in [0, M), 0 where there are no objects
    """
    overlap, which, best = _best_objects(boxes, objects)
    state = torch.full_like(which, IGNORED)
    state[overlap < low] = 0
    state[(state == 0) & (share_inside(boxes, crowds) > IN_CROWD)] = IGNORED
    state[overlap >= high] = 1
    if best_too:
        state[best] = 1
    return state, which


def balanced(labels: Tensor, count: int, share: float) -> Tensor:
    """A random choice of at most count x share positives (labels from 1 on), filled up with negatives (label 0)."""
    positive, negative = (labels >= 1).nonzero()[:, 0], (labels == 0).nonzero()[:, 0]
    hits = min(len(positive), int(count * share))
    return torch.cat([_some(positive, hits), _some(negative, count - hits)]).sort().values


def _some(of: Tensor, count: int) -> Tensor:
    return of[torch.randperm(len(of), device=of.device)[:count]]


def _best_objects(boxes: Tensor, objects: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each box's largest IoU and with which object, (N,) both, and the boxes that no other surpasses for some object.

    Ties are all kept; boxes that do not touch an object are never its best.
    """
    if not len(objects):
        none = boxes.new_zeros(len(boxes), dtype=torch.int64)
        return boxes.new_zeros(len(boxes)), none, none[:0]
    overlaps, which, ahead, before = [], [], [], 0
    best = boxes.new_zeros(len(objects))
    for part in torch.split(boxes, max(1, PAIRS // len(objects))):
        iou = box_iou(objects, part)  # (M, n)
        overlap, which_of_part = iou.max(dim=0)
        overlaps.append(overlap)
        which.append(which_of_part)
        best = torch.maximum(best, iou.amax(dim=1))
        # Those that lead so far: a later block may have better ones, which the last step then finds out.
        leads = ((iou == best[:, None]) & (iou > 0)).nonzero()
        ahead.append((leads[:, 0], leads[:, 1] + before, iou[leads[:, 0], leads[:, 1]]))
        before += len(part)
    for_object, box, value = (torch.cat(column) for column in zip(*ahead, strict=True))
    return torch.cat(overlaps), torch.cat(which), box[value == best[for_object]]
