"""The training loop, top to bottom, in plain torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from maskwright.data.loader import Targets
from maskwright.data.truths import moved
from maskwright.errors import InputError
from maskwright.recipe import Recipe
from maskwright.training.ema import Ema
from maskwright.training.state import Progress


def fit(
    net: nn.Module,
    loss: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Ema,
    batches: Iterator[tuple[Tensor, Targets]],
    recipe: Recipe,
    progress: Progress,
    after_step: Callable[[float], bool],
) -> None:
    """Train until the batches end or after_step (called with the step's loss) gives False.

    Shapes (of one batch):
        images: (B, C, h, w) float32; targets: (B, h, w) uint8 channel indices, 255 ignored, or the objects

    Raises:
        InputError: the loss is not finite; nothing of that step is kept.
    """
    device = next(net.parameters()).device
    net.train()
    anneal = getattr(getattr(net, "module", net), "anneal", None)  # of networks whose training changes with its progress
    for images, targets in batches:
        rate = set_learning_rate(optimizer, recipe, progress.step)
        if anneal is not None:
            anneal(progress.step / recipe.steps)
        images = images.to(device, non_blocking=True, memory_format=memory_format(recipe))
        truth = moved(targets, device)
        with autocast(recipe, device):
            # Logits (B, K, h, w), or what models.outputs lists; networks of objects choose by the truth what they look at.
            output = net(images, truths=truth) if isinstance(truth, list) else net(images)
        value = loss(output, truth)
        if not math.isfinite(shown := value.item()):
            raise InputError(not_finite(shown, progress.step, rate, recipe))
        optimizer.zero_grad()
        value.backward()
        clip_grad_norm_(net.parameters(), recipe.clip_norm)
        optimizer.step()
        average.update(net, progress.step)
        progress.step += 1
        if not after_step(shown):
            return


def set_learning_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, step: int) -> float:
    """Linear warm-up, then half a cosine to zero at the last step."""
    if step < recipe.warmup_steps:
        share = (step + 1) / recipe.warmup_steps
    else:
        share = 0.5 * (1 + math.cos(math.pi * (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)))
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * share * group["share"]
    return recipe.learning_rate * share


def autocast(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 where the recipe says so; the weights, the loss and the optimizer stay in float32."""
    return torch.autocast(device.type, torch.bfloat16) if recipe.precision == "bf16" else nullcontext()


def memory_format(recipe: Recipe) -> torch.memory_format:
    return torch.channels_last if recipe.channels_last else torch.contiguous_format


def not_finite(value: float, step: int, rate: float, recipe: Recipe) -> str:
    """The sentence for a loss that is nan or infinite."""
    way_out = f"--set learning_rate={min(recipe.learning_rate / 4, 2e-3):g}"
    if recipe.precision == "bf16":
        way_out += " or --set precision=fp32"
    return (
        f"the loss became {value} at step {step} (learning rate {rate:.2g}): the training went out of bounds, or an image "
        f"holds values that are not finite. What was saved before is kept. Try {way_out}, and `maskwright check` on the data."
    )
