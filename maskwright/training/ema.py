"""The running average of a network's weights: what validation scores and what the run saves."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of parameters and of floating-point buffers (batch-norm statistics).

    The decay starts low, min(decay, (1 + n) / (10 + n)) after n updates, so that the random start is soon forgotten.

    Attributes:
        net: the averaged network, in eval mode, without gradients
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, net: nn.Module, updates: int) -> None:
        """Move the average towards net; `updates` is how many went before."""
        share = 1 - min(self.decay, (1 + updates) / (10 + updates))
        averaged: list[Tensor] = []
        current: list[Tensor] = []
        for mine, theirs in zip(_tensors(self.net), _tensors(net), strict=True):
            if mine.is_floating_point():
                averaged.append(mine)
                current.append(theirs)
            else:
                mine.copy_(theirs)
        torch._foreach_lerp_(averaged, current, share)


def _tensors(net: nn.Module) -> list[Tensor]:
    return [*net.parameters(), *net.buffers()]
