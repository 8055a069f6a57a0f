"""Several processes under torchrun: who am I, how text gets from the first process to the others, and sums over all of them.

Averaging each process's own loss is not the loss of all: a process whose images are mostly ignored, or hold one object where
others hold fifty, would weigh as much as the others, and Dice is no mean over images at all. So sums are added up first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """This process's place among those that train together: rank 0 .. count-1; rank 0 plans, writes and reports."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        return self.rank == 0

    def device(self, wished: str) -> str:
        """The device of this process: with several processes on GPUs, one each."""
        one_each = self.count > 1 and wished in ("auto", "cuda") and torch.cuda.is_available()
        return f"cuda:{self.local_rank}" if one_each else wished

    def share_text(self, text: str) -> str:
        """The first process's text, in every process. Sent as bytes: nothing is pickled."""
        if self.count == 1:
            return text
        size = torch.tensor([len(text.encode())])
        dist.broadcast(size, src=0)
        data = torch.zeros(int(size), dtype=torch.uint8)
        if self.first:
            data.copy_(torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8))
        dist.broadcast(data, src=0)
        return bytes(data.tolist()).decode()

    def any(self, flag: bool) -> bool:
        """True in every process if it is true in one."""
        if self.count == 1:
            return flag
        votes = torch.tensor([int(flag)])
        dist.all_reduce(votes)
        return bool(votes.item())


@contextmanager
def processes() -> Iterator[Processes]:
    """Join the other processes that torchrun started, if it did; leave them at the end."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    # CPU tensors carry the few bytes that we send ourselves, so gloo is there even when nccl moves the gradients.
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Processes(dist.get_rank(), count, int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        dist.destroy_process_group()


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
