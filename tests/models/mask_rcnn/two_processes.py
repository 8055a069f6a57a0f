"""One of two processes that train on an image each; run by test_two_processes.py: rank, file to meet at, file for the answer."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from maskwright.models.mask_rcnn.model import TINY, MaskRCNN
from maskwright.models.mask_rcnn.truth import Truth, truth_of
from maskwright.ops.rle import Rle

HW = (64, 96)


def truths() -> list[Truth]:
    """Two objects on the first image, none on the second: the means of the two differ in what they divide by."""
    masks = []
    for x, y, px in ((8, 8, 24), (60, 30, 16)):
        mask = np.zeros(HW, bool)
        mask[y : y + px, x : x + px] = True
        masks.append(Rle.from_mask(mask))
    return [truth_of(masks, [1, 2]), truth_of([], [])]


def images() -> torch.Tensor:
    return torch.randn(2, 3, *HW, generator=torch.Generator().manual_seed(0))


def net() -> nn.Module:
    torch.manual_seed(1)
    # Constants for norms: on processors each process would norm by its own images.
    return MaskRCNN(3, 3, **{**TINY, "encoder_norm": "frozen", "train_proposals": 20}).train()


def every_labelled(labels: torch.Tensor, count: int, share: float) -> torch.Tensor:
    return (labels >= 0).nonzero()[:, 0]


def losses_and_gradient(model: nn.Module, chosen: slice) -> list[float]:
    """The five losses, then the largest gradient of each parameter."""
    losses = model(images()[chosen], truths=truths()[chosen], sample=every_labelled)
    torch.stack(list(losses)).sum().backward()
    return [*torch.stack(list(losses)).tolist(), *(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None)]


def main(rank: int, meeting: str, answer: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    found = losses_and_gradient(DistributedDataParallel(net()), slice(rank, rank + 1))
    with open(f"{answer}.{rank}", "w", encoding="utf-8") as file:
        json.dump(found, file)
    dist.destroy_process_group()
    # Gloo's threads now and then abort a process that has used DistributedDataParallel while it exits.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
