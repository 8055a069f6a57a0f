"""All models by name, and the one function that builds them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from torch import nn

from maskwright.errors import InputError
from maskwright.models.unet import UNet


@dataclass(frozen=True)
class Entry:
    """One model.

    Attributes:
        build: takes channels, classes and the model's own arguments by keyword
        task: "semantic": (B, C, H, W) to logits (B, K, H, W)
        paper: arXiv number
        multiple_of: sizes that need no padding inside are multiples of it; any size goes in
        summary: one line for `maskwright models`
    """

    build: Callable[..., nn.Module]
    task: str
    paper: str
    multiple_of: int
    summary: str

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the model's own arguments."""
        return tuple(n for n in inspect.signature(self.build).parameters if n not in ("self", "channels", "classes"))


MODELS: dict[str, Entry] = {
    "unet": Entry(
        UNet, task="semantic", paper="1505.04597", multiple_of=1, summary="U-Net as drawn, padded, or on any timm encoder"
    ),
}


def build(name: str, *, channels: int, classes: int, **model_args: object) -> nn.Module:
    """A model with freshly drawn weights, in training mode.

    Raises:
        InputError: no such model or argument (near names are shown), or the model refuses a value.
    """
    if name not in MODELS:
        raise InputError(f"no model named {name!r}; did you mean {_near(name, MODELS)}?")
    entry = MODELS[name]
    for argument in model_args:
        if argument not in entry.arguments:
            raise InputError(f"model {name!r} takes no argument {argument!r}; did you mean {_near(argument, entry.arguments)}?")
    return entry.build(channels=channels, classes=classes, **model_args)


def semantic_models() -> list[str]:
    return [name for name, entry in MODELS.items() if entry.task == "semantic"]


def _near(name: str, known: dict[str, Entry] | tuple[str, ...]) -> str:
    return ", ".join(get_close_matches(name, known)) or f"one of: {', '.join(known)}"
