"""Sums over the processes of a distributed run, so that N processes have the loss and the gradient of one.

Averaging each process's own loss is not the same: a process whose images are mostly ignored would weigh as much as the
others, and Dice is no mean over images at all.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def summed_over_processes(sums: Tensor) -> Tensor:
    """The sum of a tensor over all processes, with gradients; the tensor itself outside a distributed run.

    Every process must call it, with the same shape, in the same order, and run backward as often as the others. The
    gradient is that of the sum of all processes' losses, N times the loss's own: DistributedDataParallel divides by N.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return sums
    total: Tensor = _Sum.apply(sums)
    return total


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, sums: Tensor) -> Tensor:
        total = sums.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total
