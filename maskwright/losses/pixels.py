"""What all losses start from: log probabilities of the counted pixels, in full precision, with shapes and labels checked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from maskwright.errors import InputError


@dataclass(frozen=True, eq=False)
class Pixels:
    """Logits and target of one batch, ready to be summed; several losses share one softmax.

    Attributes:
        log_probs: (B, K, N) float32, or float64 from float64 logits; N pixels an image
        target: (B, N) int64 in [0, K), 0 where the pixel is ignored
        counted: (B, N) 1 where the pixel counts, 0 where it is ignored, in the type of log_probs
        hw: height and width of the images, N = height x width, for losses that look at neighbours
    """

    log_probs: Tensor
    target: Tensor
    counted: Tensor
    hw: tuple[int, int]

    @classmethod
    def of(cls, logits: Tensor, target: Tensor, ignore_index: int) -> Pixels:
        """Check and prepare.

        Shapes:
            logits: (B, K, H, W) of any float type
            target: (B, H, W) int64, in [0, K) or ignore_index

        Raises:
            InputError: shapes that do not go together (nothing is broadcast), a type, or a label that no channel stands for.
        """
        _check(logits, target, ignore_index)
        # Half precision cannot hold sums over an image.
        # Made contiguous before it is made wide: softmax over the last axis of channels_last is many times slower.
        wide = torch.promote_types(logits.dtype, torch.float32)
        log_probs = F.log_softmax(logits.contiguous().to(wide).flatten(2), dim=1)  # (B, K, N)
        labels = target.flatten(1)  # (B, N)
        counted = labels != ignore_index
        labels = labels.masked_fill(~counted, 0)
        low, high = (int(v) for v in torch.aminmax(labels))
        if low < 0 or high >= logits.shape[1]:
            raise InputError(
                f"the target holds labels {low} to {high}, but the logits have channels 0 to {logits.shape[1] - 1}; "
                f"mark pixels that belong to no class with {ignore_index}."
            )
        return cls(log_probs, labels, counted.to(wide), (logits.shape[2], logits.shape[3]))

    @cached_property
    def probs(self) -> Tensor:
        """(B, K, N): probability of each class, also where the pixel is ignored."""
        return self.log_probs.exp()

    @cached_property
    def log_likelihood(self) -> Tensor:
        """(B, N): log probability of each pixel's own class; of class 0 where the pixel is ignored."""
        return self.log_probs.gather(1, self.target.unsqueeze(1)).squeeze(1)

    def by_class(self, values: Tensor) -> Tensor:
        """(B, K): sum over the counted pixels of each class of values (B, N)."""
        sums: Tensor = _SumByClass.apply(values * self.counted, self.target, self.log_probs.shape[1])
        return sums


class _SumByClass(torch.autograd.Function):
    """Sums a class that are exact to many more pixels than adding one by one in float32 and the same bits every time, and keep
    neither a one-hot array nor a mask a class: one pass in float64 on a processor, one masked sum a class elsewhere."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, target: Tensor, classes: int) -> Tensor:
        ctx.save_for_backward(target)
        if values.device.type == "cpu":  # elsewhere bincount adds in no fixed order
            rows = target + classes * torch.arange(len(target)).unsqueeze(1)
            sums = torch.bincount(rows.flatten(), values.flatten().double(), minlength=classes * len(target))
            return sums.view(len(target), classes).to(values)
        return torch.stack([(values * (target == k)).sum(dim=1) for k in range(classes)], dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (target,) = ctx.saved_tensors
        return gradients[0].gather(1, target), None, None


def _check(logits: Tensor, target: Tensor, ignore_index: int) -> None:
    if logits.ndim != 4 or not logits.is_floating_point() or 0 in logits.shape:
        raise InputError(
            f"logits are {tuple(logits.shape)} {logits.dtype}; expected (B, K, H, W) of a float type, none of them 0."
        )
    expected = (logits.shape[0], *logits.shape[2:])
    if tuple(target.shape) != expected or target.dtype != torch.int64:
        raise InputError(
            f"the target is {tuple(target.shape)} {target.dtype}; logits {tuple(logits.shape)} need {expected} torch.int64."
        )
    if 0 <= ignore_index < logits.shape[1]:
        raise InputError(
            f"ignore_index={ignore_index} is one of the {logits.shape[1]} channels; choose a number that no class has."
        )
