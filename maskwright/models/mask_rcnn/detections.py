"""From classes and deltas of each proposal to the objects of an image.

Source: Ren et al. 2015, arXiv:1506.01497; He et al. 2017, arXiv:1703.06870, section 3.1 ("Inference"); torchvision's limits.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torchvision.ops import batched_nms

from maskwright.models.mask_rcnn.boxes import FROM_PROPOSALS, clipped, decoded, large_enough

LEAST_PX = 1e-2


class Found(NamedTuple):
    """The boxes of one image, best first: (N, 4) xyxy, scores (N,), classes (N,) from 1 on."""

    boxes: Tensor
    scores: Tensor
    classes: Tensor


def detected(
    logits: Tensor, deltas: Tensor, proposals: Tensor, hw: tuple[int, int], *, least_score: float, overlap: float, most: int
) -> Found:
    """The objects of one image: every class of every proposal is a candidate of its own.

    Arguments:
        least_score: candidates at or below it go
        overlap: IoU above which the less likely of two boxes of one class goes

    Shapes:
        logits: (R, K), background first; deltas: (R, K, 4); proposals: (R, 4)
    """
    scores = logits.softmax(dim=1)[:, 1:]  # (R, K - 1)
    proposal, column = (scores > least_score).nonzero(as_tuple=True)
    classes, scores = column + 1, scores[proposal, column]
    # Only candidates are moved: a thousand proposals of ninety classes have a few hundred.
    boxes = clipped(decoded(deltas[proposal, classes], proposals[proposal], FROM_PROPOSALS), hw)
    kept = large_enough(boxes, LEAST_PX)
    boxes, scores, classes = boxes[kept], scores[kept], classes[kept]
    best = batched_nms(boxes, scores, classes, overlap)[:most]
    return Found(boxes[best], scores[best], classes[best])
