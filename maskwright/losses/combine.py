"""Losses by name, and their weighted sum as a module."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.losses.boundary import boundary_of
from maskwright.losses.cldice import check_cldice, cldice_of
from maskwright.losses.cross_entropy import check_cross_entropy, cross_entropy_of
from maskwright.losses.dice import check_dice, dice_of
from maskwright.losses.focal import check_focal, focal_of
from maskwright.losses.jaccard import check_jaccard, jaccard_of
from maskwright.losses.lovasz import check_lovasz, lovasz_of
from maskwright.losses.ohem import check_ohem, ohem_of
from maskwright.losses.pixels import Pixels
from maskwright.losses.tversky import check_tversky, tversky_of


class Loss(NamedTuple):
    """One row of LOSSES.

    Attributes:
        of: the formula, of Pixels and settings; one with a parameter `weights` is given the class weights
        check: refuses wrong values of the same settings; None where there are no settings
    """

    of: Callable[..., Tensor]
    check: Callable[..., None] | None

    def parameters(self) -> list[str]:
        return [name for name in inspect.signature(self.of).parameters if name != "pixels"]


LOSSES = {
    "cross_entropy": Loss(cross_entropy_of, check_cross_entropy),
    "focal": Loss(focal_of, check_focal),
    "ohem": Loss(ohem_of, check_ohem),
    "dice": Loss(dice_of, check_dice),
    "jaccard": Loss(jaccard_of, check_jaccard),
    "tversky": Loss(tversky_of, check_tversky),
    "lovasz": Loss(lovasz_of, check_lovasz),
    "boundary": Loss(boundary_of, None),
    "cldice": Loss(cldice_of, check_cldice),
}


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
        return {name: LOSSES[name].of(pixels, **self._settings_of(name)) for name in self.terms}

    def _settings_of(self, name: str) -> dict[str, Any]:
        own = self.settings.get(name, {})
        return {"weights": self.weights, **own} if "weights" in LOSSES[name].parameters() else own


def combine(
    terms: Mapping[str, float],
    *,
    weights: Tensor | None = None,
    ignore_index: int = 255,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Combined:
    """The sum of losses, each times its factor: combine({"cross_entropy": 1.0, "dice": 1.0}).

    Arguments:
        weights: (K,) class weights, for cross_entropy, focal and ohem: those with a value for each class balance by themselves
        settings: arguments of single losses, as {"dice": {"per": "image"}}

    Raises:
        InputError: no terms, an unknown loss or setting (near names are shown), a value that a setting cannot have, or a
            factor that is not positive.
    """
    settings = settings or {}
    for name in (*terms, *settings):
        if name not in LOSSES:
            raise InputError(f"no loss named {name!r}; did you mean {_near(name, LOSSES)}?")
    if not terms or not all(math.isfinite(factor) and factor > 0 for factor in terms.values()):
        raise InputError(f"a loss is a sum of terms with positive factors, as cross_entropy: 1.0; found {dict(terms)}.")
    for name, given in settings.items():
        _check_settings(name, given)
    return Combined(terms, weights, ignore_index, settings)


def _check_settings(name: str, given: Mapping[str, Any]) -> None:
    check = LOSSES[name].check
    known = [parameter for parameter in LOSSES[name].parameters() if parameter != "weights"]
    for setting in given:
        if check is None:
            raise InputError(f"loss {name!r} takes no settings, found {setting!r}.")
        if setting not in known:
            raise InputError(f"loss {name!r} takes no setting {setting!r}; did you mean {_near(setting, known)}?")
    if check is not None:
        check(**given)


def _near(name: str, known: Mapping[str, object] | list[str]) -> str:
    return ", ".join(get_close_matches(name, known)) or f"one of: {', '.join(known) or 'none'}"
