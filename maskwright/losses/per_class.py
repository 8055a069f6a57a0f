"""Losses with one value a class: which images are summed together, and the mean over the classes that count."""

from __future__ import annotations

import torch
from torch import Tensor

from maskwright.losses.settings import check_choice
from maskwright.processes import summed_over_processes


def check_grouping(loss: str, per: str, classes: str) -> None:
    """Refuse unknown choices.

    Raises:
        InputError: names the loss, the setting and its choices.
    """
    check_choice(loss, "per", per, ("batch", "image"))
    check_choice(loss, "classes", classes, ("present", "all"))


def grouped(sums: Tensor, per: str) -> Tensor:
    """Sums (S, B, K) of single images as they are for "image"; (S, 1, K) over the batch and all processes for "batch"."""
    return sums if per == "image" else summed_over_processes(sums.sum(dim=1, keepdim=True))


def counting(truth: Tensor, classes: str) -> Tensor:
    """Which values count: "present", of classes with a true pixel; "all", of every class of what has any counted pixel.

    Shapes:
        truth: (G, K), true pixels of all classes in G images, or in one batch
        returns: (G, K) bool
    """
    # An image or batch without a single counted pixel says nothing about any class.
    return truth > 0 if classes == "present" else (truth.sum(dim=1, keepdim=True) > 0).expand_as(truth)


def mean_over_classes(lost: Tensor, counts: Tensor, *, local: bool) -> Tensor:
    """Mean of the values that count: of every class, and of every image where images are not summed together.

    Arguments:
        local: the values are of this process's images alone, so the mean is taken over all processes; otherwise every
            process holds the same values already

    Shapes:
        lost: (G, K); counts: (G, K) bool
        returns: scalar; 0 with a gradient of 0 if nothing counts
    """
    lost_sum, count = (lost * counts).sum(), counts.sum().to(lost)
    if local:
        lost_sum, count = summed_over_processes(torch.stack([lost_sum, count]))
    return lost_sum / count.clamp(min=1)
