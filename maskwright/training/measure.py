"""Measured, not guessed: which precision and memory layout is quickest here, and how long a step takes."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from maskwright.data.loader import Targets
from maskwright.recipe import Recipe
from maskwright.training.ema import Ema
from maskwright.training.loop import fit
from maskwright.training.state import Progress

STEPS_LEAST = 10
LOSS_TOLERANCE = 0.01  # a precision is refused if it moves the first losses by more than this share
OPTIONS: tuple[tuple[str, bool], ...] = (("fp32", False), ("fp32", True), ("bf16", True))


@dataclass
class Learner:
    """What a training step works on, all built from one recipe and one seed."""

    net: nn.Module
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    average: Ema


Make = Callable[[Recipe], Learner]
Batches = Iterator[tuple[Tensor, Targets]]


def choose_computation(recipe: Recipe, make: Make, batch: tuple[Tensor, Targets], device: torch.device) -> Recipe:
    """The recipe with precision and channels_last set to what is quickest on this device and keeps the loss.

    Each open option takes four steps on one real batch from the same weights, of which the quickest counts: what slows one
    down for a moment is the machine, not the option. What the recipe already fixes stays.
    """
    options = [o for o in OPTIONS if recipe.precision in ("auto", o[0]) and recipe.channels_last in (None, o[1])]
    if device.type not in ("cpu", "cuda"):
        options = [o for o in options if o[0] == "fp32"] or options
    if recipe.precision != "auto" and recipe.channels_last is not None:
        return recipe
    timed: list[tuple[float, float, str, bool]] = []
    for precision, channels_last in options or [(recipe.precision, bool(recipe.channels_last))]:
        tried = recipe.with_settings({"precision": precision, "channels_last": channels_last}, "tried")
        seconds, losses = run_steps(tried, make, itertools.repeat(batch, 4))
        timed.append((min(seconds[1:]), losses[0], precision, channels_last))
    true_loss = timed[0][1]
    moved = {t: abs(t[1] - true_loss) > LOSS_TOLERANCE * abs(true_loss) for t in timed}
    _, _, precision, channels_last = min(t for t in timed if not moved[t])
    told = ", ".join(f"{p}{' channels_last' if c else ''} {s * 1000:.0f} ms" for s, _, p, c in timed)
    refused = "".join(f"; {t[2]} refused: it moved the loss from {true_loss:.4f} to {t[1]:.4f}" for t in timed if moved[t])
    return recipe.with_settings(
        {"precision": precision, "channels_last": channels_last}, f"a step measured here: {told}{refused}"
    )


def run_steps(recipe: Recipe, make: Make, batches: Batches, seconds_least: float = math.inf) -> tuple[list[float], list[float]]:
    """Seconds and loss of each step on a fresh learner, waiting for the batch included.

    Ends with the batches, or after seconds_least and STEPS_LEAST steps.
    """
    learner = make(recipe)
    seconds: list[float] = []
    losses: list[float] = []
    start = time.perf_counter()

    def after_step(loss: float) -> bool:
        nonlocal start
        now = time.perf_counter()
        seconds.append(now - start)
        losses.append(loss)
        start = now
        return len(seconds) < STEPS_LEAST or sum(seconds) < seconds_least

    fit(learner.net, learner.loss, learner.optimizer, learner.average, batches, recipe, Progress(), after_step)
    return seconds, losses


def steps_in(
    minutes: float, *, spent: float, step: float, validation: float, validations: Callable[[int], int], reserve: float = 0.06
) -> int:
    """How many steps fit into the time that the user has.

    Args (all in seconds but minutes):
        spent: already gone; step: one optimizer step; validation: one validation; validations: how many so many steps have;
        reserve: share of the whole time kept for saving and for a machine that gets slower
    """
    left = minutes * 60 * (1 - reserve) - spent
    # The fewest validations whose time leaves no more steps than they are enough for.
    for count in itertools.count(1):
        steps = max(10, int((left - validation * (count + 1)) / step))
        if steps == 10 or validations(steps) <= count:
            break
    return steps
