"""The five losses of a training step: L = L_cls + L_box + L_mask of the heads, and the proposals' two.

Source: He et al. 2017, arXiv:1703.06870, section 3; Ren et al. 2015, arXiv:1506.01497, equation 1; numbers of boxes and
thresholds as in torchvision, which has them from arXiv:1612.03144.
Each is a mean over what was sampled of the whole batch, on all processes together. Where a mean of nothing would not be a number,
it is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.models.mask_rcnn.boxes import FROM_ANCHORS, FROM_PROPOSALS, encoded
from maskwright.models.mask_rcnn.matching import Sampler, matched
from maskwright.models.mask_rcnn.truth import Truth, mask_targets
from maskwright.processes import summed_over_processes

ANCHOR_HITS, PROPOSAL_HITS = 0.5, 0.25  # share of hits among those sampled of an image, at most
MISS, HIT = 0.3, 0.7  # IoU of anchors
SAME = 0.5  # IoU from which on a proposal shows the object
BETA = 1 / 9  # where smooth L1 becomes straight


class Chosen(NamedTuple):
    """The proposals of one image that take part in a step.

    Attributes:
        boxes: (S, 4) xyxy
        labels: (S,) channel of the class, 0 for background
        objects: (S,) position in the truth, of use where the label is above 0
    """

    boxes: Tensor
    labels: Tensor
    objects: Tensor

    def hits(self) -> Chosen:
        return Chosen(*(column[self.labels > 0] for column in self))


def proposal_losses(
    objectness: Tensor, deltas: Tensor, anchors: Tensor, truths: Sequence[Truth], sample: Sampler, count: int
) -> tuple[Tensor, Tensor]:
    """Of objectness and of boxes: binary cross entropy of `count` anchors an image, smooth L1 of the hits among them.

    Shapes:
        objectness: (B, N) logits; deltas: (B, N, 4); anchors: (N, 4)
        returns: two scalars
    """
    logits, wanted, given, targets = [], [], [], []
    for i, truth in enumerate(truths):
        state, which = matched(anchors, truth.boxes, truth.crowds, low=MISS, high=HIT, best_too=True)
        taken = sample(state, count, ANCHOR_HITS)
        hits = taken[state[taken] == 1]
        logits.append(objectness[i, taken])
        wanted.append(state[taken])
        given.append(deltas[i, hits])
        targets.append(encoded(truth.boxes[which[hits]], anchors[hits], FROM_ANCHORS))
    each = F.binary_cross_entropy_with_logits(torch.cat(logits), torch.cat(wanted).to(objectness), reduction="sum")
    boxes = F.smooth_l1_loss(torch.cat(given), torch.cat(targets), beta=BETA, reduction="sum")
    each, boxes = means([each, boxes], sum(len(part) for part in logits))
    return each, boxes


@torch.no_grad()
def choose(proposals: Tensor, truth: Truth, sample: Sampler, count: int) -> Chosen:
    """The `count` proposals of one image to learn from, the truth's own boxes among the candidates.

    Shapes:
        proposals: (P, 4)
    """
    boxes = torch.cat([proposals, truth.boxes.to(proposals)])
    labels, which = matched(boxes, truth.boxes, truth.crowds, low=SAME, high=SAME)
    hits = labels == 1
    labels[hits] = truth.classes[which[hits]]
    taken = sample(labels, count, PROPOSAL_HITS)
    return Chosen(boxes[taken], labels[taken], which[taken])


def box_losses(logits: Tensor, deltas: Tensor, chosen: Sequence[Chosen], truths: Sequence[Truth]) -> tuple[Tensor, Tensor]:
    """Of classes and of boxes: cross entropy of all chosen proposals, smooth L1 of the hits' boxes for their own class.

    Shapes:
        logits: (R, K); deltas: (R, K, 4), R the chosen of all images
        returns: two scalars, both by R
    """
    labels = torch.cat([c.labels for c in chosen])
    targets = [
        encoded(t.boxes[c.objects], c.boxes, FROM_PROPOSALS) for c, t in zip((c.hits() for c in chosen), truths, strict=True)
    ]
    hits = (labels > 0).nonzero()[:, 0]
    boxes = F.smooth_l1_loss(deltas[hits, labels[hits]], torch.cat(targets), beta=BETA, reduction="sum")
    kinds, boxes = means([F.cross_entropy(logits, labels, reduction="sum"), boxes], len(labels))
    return kinds, boxes


def mask_loss(logits: Tensor, hits: Sequence[Chosen], truths: Sequence[Truth]) -> Tensor:
    """Binary cross entropy of each hit's mask for its own class; the other classes' masks do not compete (section 3).

    Shapes:
        logits: (R, K, m, m), R the hits of all images
        returns: a scalar; 0 with a gradient of 0 where there is no hit
    """
    labels = torch.cat([h.labels for h in hits])
    targets = [mask_targets(t, h.boxes, h.objects, logits.shape[-1]) for h, t in zip(hits, truths, strict=True)]
    own = logits[torch.arange(len(labels), device=labels.device), labels]
    (mean,) = means([F.binary_cross_entropy_with_logits(own, torch.cat(targets), reduction="sum")], own.numel())
    return mean


def means(sums: Sequence[Tensor], count: int) -> list[Tensor]:
    """Sums over all processes, each by the count of all processes; 0 where that is 0."""
    totals = summed_over_processes(torch.stack([*sums, sums[0].new_tensor(float(count))]))
    return list(totals[:-1] / totals[-1].clamp(min=1))
