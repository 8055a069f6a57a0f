"""Losses by name, and their weighted sum as a module."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.losses.cross_entropy import cross_entropy_of
from maskwright.losses.dice import check_choices, dice_of
from maskwright.losses.pixels import Pixels

LOSSES: dict[str, Callable[..., Tensor]] = {"cross_entropy": cross_entropy_of, "dice": dice_of}


class Combined(nn.Module):
    """A weighted sum of losses that share one softmax; see `combine`."""

    weights: Tensor | None

    def __init__(
        self, terms: Mapping[str, float], weights: Tensor | None, ignore_index: int, settings: Mapping[str, Mapping[str, Any]]
    ) -> None:
        super().__init__()
        self.terms, self.ignore_index = dict(terms), ignore_index
        self.settings = {name: dict(given) for name, given in settings.items()}
        # Not saved with the run: the weights follow from the training data and stand in its recipe.
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of logits (B, K, H, W) against target (B, H, W)."""
        parts = self.parts(logits, target)
        return torch.stack([self.terms[name] * part for name, part in parts.items()]).sum()

    def parts(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Each loss by name, before its factor; for the log."""
        pixels = Pixels.of(logits, target, self.ignore_index)
        return {name: LOSSES[name](pixels, **self._settings_of(name)) for name in self.terms}

    def _settings_of(self, name: str) -> dict[str, Any]:
        own = self.settings.get(name, {})
        return {"weights": self.weights, **own} if name == "cross_entropy" else own


def combine(
    terms: Mapping[str, float],
    *,
    weights: Tensor | None = None,
    ignore_index: int = 255,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Combined:
    """The sum of losses, each times its factor: combine({"cross_entropy": 1.0, "dice": 1.0}).

    Arguments:
        weights: (K,) class weights, for cross entropy alone: Dice balances classes by itself
        settings: arguments of single losses, as {"dice": {"per": "image"}}

    Raises:
        InputError: no terms, an unknown loss or argument (near names are shown), or a factor that is not positive.
    """
    settings = settings or {}
    for name in (*terms, *settings):
        if name not in LOSSES:
            raise InputError(f"no loss named {name!r}; did you mean {_near(name, LOSSES)}?")
    if not terms or not all(math.isfinite(factor) and factor > 0 for factor in terms.values()):
        raise InputError(f"a loss is a sum of terms with positive factors, as cross_entropy: 1.0; found {dict(terms)}.")
    for name, given in settings.items():
        known = [p for p in inspect.signature(LOSSES[name]).parameters if p not in ("pixels", "weights")]
        for argument in given:
            if argument not in known:
                raise InputError(f"loss {name!r} takes no setting {argument!r}; did you mean {_near(argument, known)}?")
    check_choices(**settings.get("dice", {}))
    return Combined(terms, weights, ignore_index, settings)


def _near(name: str, known: Mapping[str, object] | list[str]) -> str:
    return ", ".join(get_close_matches(name, known)) or f"one of: {', '.join(known) or 'none'}"
