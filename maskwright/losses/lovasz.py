"""Lovasz-Softmax: the convex continuation of the Jaccard loss of a hard answer, for the errors of each class.

Source: Berman, Rannen Triki, Blaschko 2018, arXiv:1705.08790, Algorithm 1. Written from the paper.
Differs: the gains of Algorithm 1 are taken in closed form, not as differences of nearly equal Jaccard losses, which lose
their digits over a million pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskwright.losses.per_class import check_grouping, counting, mean_over_classes
from maskwright.losses.pixels import Pixels


def lovasz(logits: Tensor, target: Tensor, *, ignore_index: int = 255, per: str = "batch", classes: str = "present") -> Tensor:
    """Mean over classes of the sum of error x gain over the pixels, the largest error first.

    The error of a pixel in class k is 1 - p of a pixel that is k, and p of one that is not. Its gain is what the Jaccard
    loss of class k rises when this pixel turns wrong after those with larger errors. For answers of 0 and 1 this is the
    Jaccard loss itself.

    Arguments:
        per: "batch": the pixels of all images are ranked together; "image": those of each image, then the mean of all classes
            and images. In a distributed run "image" is exact; for "batch" each process ranks its own images, because
            ranking those of all would send every pixel, and the mean is over the classes of all processes
        classes: "present" leaves out classes that the truth of the batch (or image) does not hold; "all" counts them: their
            loss is the largest probability that any pixel has for them

    Shapes:
        logits: (B, K, H, W) of any float type; computed in float32 at least
        target: (B, H, W) int64, in [0, K) or ignore_index
        returns: scalar in [0, 1]; 0 with a gradient of 0 if no pixel counts

    Elsewhere: segmentation-models-pytorch's LovaszLoss("multiclass") is the same with classes="present"; per image it takes
    the mean of each image's classes first, which differs where images hold different numbers of classes.

    Raises:
        InputError: shapes, types or labels that do not go together, or an unknown choice.
    """
    return lovasz_of(Pixels.of(logits, target, ignore_index), per=per, classes=classes)


def lovasz_of(pixels: Pixels, *, per: str = "batch", classes: str = "present") -> Tensor:
    """lovasz of prepared pixels."""
    check_lovasz(per=per, classes=classes)
    truth = pixels.by_class(pixels.counted)  # (B, K)
    if per == "batch":
        truth = truth.sum(dim=0, keepdim=True)
    counts = counting(truth, classes)
    # Sorting is the cost, so absent classes are left out of it; one is sorted in any case, which keeps a gradient of 0.
    ranked = counts.any(dim=0).nonzero().flatten().tolist() or [0]
    lost = torch.stack([_lost(pixels, k, per) for k in ranked], dim=1)  # (G, classes ranked)
    return mean_over_classes(lost, counts[:, ranked], local=True)


def _lost(pixels: Pixels, k: int, per: str) -> Tensor:
    """(G,): the loss of class k in each image, or in the batch as one."""
    own = (pixels.target == k) & (pixels.counted > 0)
    # The errors of ignored pixels are 0, so they come last and add nothing, whatever their gain.
    errors = torch.where(own, 1 - pixels.probs[:, k], pixels.probs[:, k]) * pixels.counted
    groups = len(errors) if per == "image" else 1
    errors, order = errors.reshape(groups, -1).sort(dim=1, descending=True)
    gains = _gains(own.reshape(groups, -1).gather(1, order), errors.dtype)
    return (errors * gains).sum(dim=1)


def _gains(own: Tensor, dtype: torch.dtype) -> Tensor:
    """What the Jaccard loss rises with each further wrong pixel, in order.

    With I true pixels of the class still right and U pixels in the union, a true pixel that turns wrong takes 1 from I: the
    loss rises by 1 / U. Another pixel adds 1 to U: it rises by I / (U - 1) - I / U.

    Shapes:
        own: (G, N) bool, which pixels are of the class, the largest error first
        returns: (G, N) in [0, 1]
    """
    total = own.sum(dim=1, keepdim=True)
    right = total - own.cumsum(dim=1)
    union = (total + (~own).cumsum(dim=1)).to(dtype)
    # A union of 1 with no true pixel is the first of an absent class: its loss jumps from 0 to 1 there.
    grown = torch.where(union > 1, right / (union * (union - 1)).clamp(min=1), 1.0)
    return torch.where(own, 1 / union, grown)


def check_lovasz(*, per: str = "batch", classes: str = "present") -> None:
    """Refuse what lovasz does not know, before the first batch.

    Raises:
        InputError: the message names the setting and its choices.
    """
    check_grouping("lovasz", per, classes)
