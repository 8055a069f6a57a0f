"""Soft Dice loss, with its conventions spelled out: what is summed together, and what an absent class counts.

Source: Milletari, Navab, Ahmadi 2016, arXiv:1606.04797, section 3.
Differs: the denominator sums probabilities, not their squares; any number of classes; smoothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskwright.errors import InputError
from maskwright.losses.across import summed_over_processes
from maskwright.losses.pixels import Pixels


def dice(
    logits: Tensor, target: Tensor, *, ignore_index: int = 255, per: str = "batch", classes: str = "present", smooth: float = 1.0
) -> Tensor:
    """1 - mean over classes of (2 overlap + smooth) / (found + truth + smooth).

    overlap sums the probability of class k over the counted pixels that are k, found over all counted pixels, truth
    counts the pixels that are k. The background is a class like the others.

    Arguments:
        per: "batch": one Dice a class, from sums over all images (and processes), so that an image with three pixels of a
            class does not weigh as much as a full one; "image": one a class and image, then the mean of all of them
        classes: "present" leaves out classes that the truth of the batch (or image) does not hold; "all" counts them: their
            Dice is smooth / (found + smooth), which rewards finding nothing
        smooth: pixels added above and below; 0 with "all" gives absent classes 0 and no gradient

    Shapes:
        logits: (B, K, H, W) of any float type; computed in float32 at least
        target: (B, H, W) int64, in [0, K) or ignore_index
        returns: scalar in [0, 1]; 0 with a gradient of 0 if no pixel counts

    Raises:
        InputError: shapes, types or labels that do not go together, or an unknown choice.
    """
    return dice_of(Pixels.of(logits, target, ignore_index), per=per, classes=classes, smooth=smooth)


def dice_of(pixels: Pixels, *, per: str = "batch", classes: str = "present", smooth: float = 1.0) -> Tensor:
    """dice of prepared pixels."""
    check_choices(per, classes, smooth)
    overlap = pixels.by_class(pixels.log_likelihood.exp())  # (B, K)
    # Multiplied and summed, not a matrix product: autocast would take that down to half precision.
    found = (pixels.log_probs.exp() * pixels.counted.unsqueeze(1)).sum(dim=2)
    truth = pixels.by_class(pixels.counted)
    if per == "batch":
        sums = torch.stack([overlap, found, truth]).sum(dim=1, keepdim=True)  # (3, 1, K)
        overlap, found, truth = summed_over_processes(sums)
    score = (2 * overlap + smooth) / (found + truth + smooth).clamp(min=torch.finfo(found.dtype).tiny)
    # An image or batch without a single counted pixel says nothing about any class.
    counts = truth > 0 if classes == "present" else (truth.sum(dim=1, keepdim=True) > 0).expand_as(truth)
    lost, count = ((1 - score) * counts).sum(), counts.sum().to(score)
    if per == "image":
        lost, count = summed_over_processes(torch.stack([lost, count]))
    return lost / count.clamp(min=1)


def check_choices(per: str = "batch", classes: str = "present", smooth: float = 1.0) -> None:
    """Refuse what dice does not know, before the first batch.

    Raises:
        InputError: the message names the argument and its choices.
    """
    for name, value, known in (("per", per, ("batch", "image")), ("classes", classes, ("present", "all"))):
        if value not in known:
            raise InputError(f"dice takes {name}={' or '.join(map(repr, known))}, found {value!r}.")
    if isinstance(smooth, bool) or not isinstance(smooth, int | float) or not smooth >= 0:
        raise InputError(f"dice takes a smooth of 0 px or more, found {smooth!r}.")
