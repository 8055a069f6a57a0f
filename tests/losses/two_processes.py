"""One of two processes that train on half a batch each; run by test_two_processes.py: rank, file to meet at, file for the answer."""

from __future__ import annotations

import json
import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from maskwright import losses

TERMS = {
    "cross_entropy": ({"cross_entropy": 1.0}, {}),
    "dice of the batch": ({"dice": 1.0}, {}),
    "dice of each image": ({"dice": 1.0}, {"dice": {"per": "image"}}),
    "smoothed cross_entropy": ({"cross_entropy": 1.0}, {"cross_entropy": {"label_smoothing": 0.3}}),
    "focal": ({"focal": 1.0}, {}),
    "ohem by threshold": ({"ohem": 1.0}, {"ohem": {"min_share": 0.0}}),
    "jaccard": ({"jaccard": 1.0}, {}),
    "focal tversky of each image": ({"tversky": 1.0}, {"tversky": {"gamma": 1.5, "per": "image"}}),
    "lovasz of each image": ({"lovasz": 1.0}, {"lovasz": {"per": "image"}}),
    "boundary": ({"boundary": 1.0}, {}),
    "cldice of the batch": ({"cldice": 1.0}, {"cldice": {"iterations": 1}}),
    "sum": ({"cross_entropy": 0.5, "dice": 2.0}, {}),
}


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Four images; most of the first two is ignored, class 2 is only in the last."""
    drawn = torch.Generator().manual_seed(0)
    images = torch.randn(4, 2, 6, 7, generator=drawn, dtype=torch.float64)
    target = torch.randint(0, 2, (4, 6, 7), generator=drawn)
    target[0] = 255
    target[1, 1:] = 255
    target[3, :2] = 2
    return images, target


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Conv2d(2, 3, 3, padding=1, dtype=torch.float64)


def losses_and_gradients(model: nn.Module, images: torch.Tensor, target: torch.Tensor) -> dict[str, list[float]]:
    """Loss, then every gradient, by name of the loss."""
    found = {}
    for name, (terms, settings) in TERMS.items():
        loss = losses.combine(terms, weights=torch.tensor([1.0, 3.0, 0.5]), settings=settings)(model(images), target)
        model.zero_grad()
        loss.backward()
        found[name] = [loss.item(), *(g for p in model.parameters() for g in p.grad.flatten().tolist())]
    return found


def main(rank: int, meeting: str, answer: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    images, target = batch()
    half = slice(2 * rank, 2 * rank + 2)
    found = losses_and_gradients(DistributedDataParallel(net()), images[half], target[half])
    with open(f"{answer}.{rank}", "w", encoding="utf-8") as file:
        json.dump(found, file)
    dist.destroy_process_group()
    # Gloo's threads now and then abort a process that has used DistributedDataParallel while it exits (torch 2.15).
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
