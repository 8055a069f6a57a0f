"""From a recipe to what learns: network, loss, optimizer and average; also from the weights of an earlier run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maskwright import losses, models
from maskwright.checkpoint import Manifest, load_checkpoint
from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.models.encoders import EncoderWeights, load_encoder_weights
from maskwright.recipe import Recipe
from maskwright.training.ema import Ema
from maskwright.training.loop import memory_format
from maskwright.training.measure import Learner


@dataclass(frozen=True)
class Parent:
    """An earlier run to start from: its manifest and weights."""

    path: Path
    manifest: Manifest
    weights: Mapping[str, Tensor]

    @classmethod
    def load(cls, path: str | Path) -> Parent:
        net, manifest = load_checkpoint(path)
        return cls(Path(path), manifest, net.state_dict())

    def settings(self) -> dict[str, Any]:
        """What the new run takes over so that the weights keep their meaning: the network and what it sees."""
        seen = self.manifest.preprocess
        return {"model": self.manifest.model, "model_args": self.manifest.model_args} | {
            key: seen[key] for key in ("channels", "max_side_px", "scaling", "mean", "std")
        }

    def give_weights(self, net: nn.Module, classes: ClassMap) -> list[str]:
        """Copy every weight that fits into net; the class layer row by row, for the classes with the same name.

        Returns the names of the weights that start anew.
        """
        mine = net.state_dict()
        old_names = self.manifest.class_map().names
        rows = [(k, old_names.index(name)) for k, name in enumerate(classes.names) if name in old_names]
        fresh = []
        for name, tensor in mine.items():
            given = self.weights.get(name)
            if (
                given is not None
                and given.ndim
                and _rows(given, tensor) == (len(old_names), len(classes))
                and old_names != classes.names
            ):
                for new, old in rows:
                    tensor[new] = given[old]
                if len(rows) < len(classes):
                    fresh.append(name)
            elif given is not None and given.shape == tensor.shape:
                tensor.copy_(given)
            else:
                fresh.append(name)
        if len(fresh) == len(mine):
            raise InputError(f"{self.path}: none of its weights fits this network; train without --from.")
        return fresh


def check_buildable(recipe: Recipe, classes: int) -> None:
    """Refuse names and numbers of the network and the losses that do not exist, before any time is spent.

    Raises:
        InputError: see models.build and losses.combine.
    """
    with torch.device("meta"):
        models.build(recipe.model, channels=recipe.channels, classes=classes, **recipe.model_args)
    losses.combine(recipe.losses)


def make_learner(
    recipe: Recipe, classes: ClassMap, device: torch.device, *, class_weights: Tensor | None = None, parent: Parent | None = None
) -> Learner:
    """Network, loss, optimizer and average as the recipe says, from its seed: the same bits each time."""
    torch.manual_seed(recipe.seed)
    net = models.build(recipe.model, channels=recipe.channels, classes=len(classes), **recipe.model_args)
    if parent is not None:
        with torch.no_grad():
            parent.give_weights(net, classes)
    elif recipe.weights is not None:
        _load_encoder(net, recipe)
    net = net.to(device).to(memory_format=memory_format(recipe))
    loss = losses.combine(recipe.losses, weights=class_weights).to(device)
    average = Ema(net, recipe.ema_decay)
    optimizer = torch.optim.AdamW(
        _groups(net, recipe.weight_decay), lr=recipe.learning_rate, fused=device.type in ("cpu", "cuda")
    )
    return Learner(net, loss, optimizer, average)


def with_encoder_weights(recipe: Recipe, classes: int, keep: Collection[str] = ()) -> tuple[Recipe, str | None]:
    """The recipe with the normalisation that the encoder's weights were trained with, and the weights' licence.

    Settings in `keep` were given and stay; so does the planned normalisation of images other than grey or colour in 8 bit.
    """
    net = models.build(recipe.model, channels=recipe.channels, classes=classes, **recipe.model_args)
    loaded = _load_encoder(net, recipe)
    if recipe.scaling != "range" or recipe.channels not in (1, 3) or loaded.mean is None or loaded.std is None:
        return recipe, loaded.licence
    seen = {"mean": loaded.mean, "std": loaded.std}
    if recipe.channels == 1:
        seen = {key: (sum(values) / len(values),) for key, values in seen.items()}
    changed = {key: value for key, value in seen.items() if key not in keep}
    return recipe.with_settings(changed, f"what the encoder's weights ({loaded.source}) were trained with"), loaded.licence


def _load_encoder(net: nn.Module, recipe: Recipe) -> EncoderWeights:
    encoder = getattr(net, "encoder", None)
    if not isinstance(encoder, nn.Module) or recipe.weights is None:
        raise InputError(
            f"weights={recipe.weights}: {recipe.model} as set has no encoder to load them into; choose one with --encoder."
        )
    return load_encoder_weights(encoder, recipe.weights)


def _rows(given: Tensor, tensor: Tensor) -> tuple[int, int] | None:
    """First sizes of two tensors that differ there at most."""
    return (len(given), len(tensor)) if given.shape[1:] == tensor.shape[1:] else None


def _groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay for the kernels only: on biases and norm scales it would pull the output towards zero and regularise nothing."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
