"""How long a network takes for one image on this machine, in the layout and number type that prediction runs it in."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch import nn

from maskwright.inference.backends import forward_on

SECONDS = 1.0  # that one measurement may take, beyond the first pass
PASSES = 20


def milliseconds(
    model: nn.Module, channels: int, hw: tuple[int, int], device: torch.device, precision: str, seconds: float = SECONDS
) -> float:
    """Median time of a pass over one image, the first pass left out: at most PASSES of them, at least one.

    The model is moved and put into evaluation mode (see forward_on).
    """
    forward = forward_on(model, device, precision, many=True)
    image = torch.rand(1, channels, *hw, device=device)
    spent: list[float] = []
    forward(image)  # prepares the kernels
    while not spent or (len(spent) < PASSES and sum(spent) < seconds):
        _wait(device)
        start = time.perf_counter()
        forward(image)
        _wait(device)
        spent.append(time.perf_counter() - start)
    return 1000 * median(spent)


def _wait(device: torch.device) -> None:
    """A GPU answers before it has computed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
