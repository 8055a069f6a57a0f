"""From a recipe to what learns: network, loss, optimizer and average; also from the weights of an earlier run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maskwright import models
from maskwright.checkpoint import Manifest
from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.models.encoders import TimmEncoder
from maskwright.models.loading import load_weights
from maskwright.models.outline import outlined
from maskwright.published import load_model
from maskwright.recipe import Recipe
from maskwright.training.criterion import BY_QUERIES, criterion_of
from maskwright.training.depthwise import quicken
from maskwright.training.ema import Ema
from maskwright.training.loop import memory_format
from maskwright.training.measure import Learner
from maskwright.training.networks import PLANNED, Planned


@dataclass(frozen=True)
class Parent:
    """An earlier run, or a published model, to start from: its manifest and weights."""

    path: Path
    manifest: Manifest
    weights: Mapping[str, Tensor]

    @classmethod
    def load(cls, path: str | Path) -> Parent:
        net, manifest = load_model(path)
        return cls(Path(path), manifest, net.state_dict())

    def settings(self, model: str | None = None) -> dict[str, Any]:
        """What the new run takes over so that the weights keep their meaning: the network and what it sees.

        With another `model`, as fcn16s after fcn32s, the arguments that both have; the weights of equal names go over.
        """
        seen = self.manifest.preprocess
        name, args = model or self.manifest.model, self.manifest.model_args
        if name in models.MODELS:
            args = {key: value for key, value in args.items() if key in models.MODELS[name].arguments}
        return {"model": name, "model_args": args} | {
            key: seen[key] for key in ("channels", "max_side_px", "zoom", "scaling", "mean", "std")
        }

    def give_weights(self, net: nn.Module, classes: ClassMap, axes: Mapping[str, Mapping[int, int]]) -> list[str]:
        """Copy every weight that fits into net; where one has a slice a class, slice by slice for the classes of the same name.

        Args:
            axes: which weights have such slices, see models.class_axes

        Returns:
            names of the weights that start anew, as a whole or for some classes
        """
        mine, old = net.state_dict(), self.manifest.class_map().names
        pairs = [(k, old.index(name)) for k, name in enumerate(classes.names) if name in old]
        fresh = []
        for name, tensor in mine.items():
            given = self.weights.get(name)
            if given is not None and name in axes and old != classes.names:
                copied = _copy_classes(tensor, given, axes[name], len(classes), len(old), pairs)
                if not copied or len(pairs) < len(classes):
                    fresh.append(name)
            elif given is not None and given.shape == tensor.shape:
                tensor.copy_(given)
            else:
                fresh.append(name)
        if len(fresh) == len(mine):
            raise InputError(f"{self.path}: none of its weights fits this network; train without --from.")
        return fresh


def check_buildable(recipe: Recipe, classes: int, *, trained: bool) -> None:
    """Refuse names and numbers of the network and the losses that do not exist, before any time is spent.

    Args:
        trained: the network starts from weights

    Raises:
        InputError: see models.build and criterion_of; or frozen_stages is more than there is to keep.
    """
    with outlined():
        net = models.build(recipe.model, channels=recipe.channels, classes=classes, **recipe.model_args)
    criterion_of(recipe)
    if recipe.frozen_stages and not trained:
        raise InputError(
            f"frozen_stages={recipe.frozen_stages} would keep random weights; give --weights or --from with it, or leave it at 0."
        )
    if recipe.frozen_stages:
        _encoder_to_freeze(net, recipe.frozen_stages)
    by_queries = BY_QUERIES in PLANNED.get(recipe.model, Planned()).losses
    if by_queries != (BY_QUERIES in recipe.losses):
        raise InputError(
            f"{recipe.model} is trained by {'queries, with' if by_queries else 'its logits, without'} the loss {BY_QUERIES}; "
            f"found losses {dict(recipe.losses)}; leave `losses` out of the recipe."
        )


def make_learner(
    recipe: Recipe, classes: ClassMap, device: torch.device, *, class_weights: Tensor | None = None, parent: Parent | None = None
) -> Learner:
    """Network, loss, optimizer and average as the recipe says, from its seed: the same bits each time."""
    torch.manual_seed(recipe.seed)
    fresh: Sequence[str] = ()
    net = models.build(recipe.model, channels=recipe.channels, classes=len(classes), **recipe.model_args)
    if parent is not None:
        with torch.no_grad():
            axes = models.class_axes(recipe.model, channels=recipe.channels, classes=len(classes), **recipe.model_args)
            fresh = parent.give_weights(net, classes, axes)
    elif recipe.weights is not None:
        load_weights(net, recipe.weights)
    if recipe.frozen_stages:
        _freeze(net, recipe.frozen_stages, fresh)
    net = net.to(device).to(memory_format=memory_format(recipe))
    loss = criterion_of(recipe, class_weights).to(device)
    average = Ema(net, recipe.ema_decay)  # before what only learning needs
    quicken(net)
    optimizer = torch.optim.AdamW(_groups(net, recipe), lr=recipe.learning_rate, fused=device.type in ("cpu", "cuda"))
    return Learner(net, loss, optimizer, average)


def with_weights(recipe: Recipe, classes: int, keep: Collection[str] = ()) -> tuple[Recipe, str | None]:
    """The recipe with the normalisation that its weights were trained with, and the weights' licence.

    Settings in `keep` were given and stay; so does the planned normalisation of images other than grey or colour in 8 bit.

    Raises:
        InputError, CheckpointError: see load_weights.
    """
    if recipe.weights is None:
        return recipe, None
    net = models.build(recipe.model, channels=recipe.channels, classes=classes, **recipe.model_args)
    loaded = load_weights(net, recipe.weights)
    anew = f"; {len(loaded.fresh)} of the net's weights start anew ({', '.join(loaded.fresh[:3])}, ...)" if loaded.fresh else ""
    recipe = recipe.with_settings({"weights": recipe.weights}, f"first layer {loaded.first_layer}{anew}")
    if recipe.scaling != "range" or recipe.channels not in (1, 3) or loaded.mean is None or loaded.std is None:
        return recipe, loaded.licence
    seen = {"mean": loaded.mean, "std": loaded.std}
    if recipe.channels == 1:
        seen = {key: (sum(values) / len(values),) for key, values in seen.items()}
    changed = {key: value for key, value in seen.items() if key not in keep}
    return recipe.with_settings(changed, f"what the weights ({loaded.source}) were trained with"), loaded.licence


def _copy_classes(
    tensor: Tensor, given: Tensor, axes: Mapping[int, int], classes: int, old: int, pairs: Sequence[tuple[int, int]]
) -> bool:
    """Slices (new, old) of `given` into `tensor` along every axis of classes, and what stands behind them; False if misfit."""
    like = [old + axes[a] if a in axes else n for a, n in enumerate(tensor.shape)]
    if list(given.shape) != like:
        return False
    place = [torch.arange(n) for n in tensor.shape]
    for axis, behind in axes.items():
        moved = [*pairs, *((classes + k, old + k) for k in range(behind))]
        place[axis], source = (torch.tensor([pair[i] for pair in moved], dtype=torch.long) for i in (0, 1))
        given = given.index_select(axis, source)
    tensor[torch.meshgrid(*place, indexing="ij")] = given
    return True


def _freeze(net: nn.Module, stages: int, fresh: Collection[str]) -> None:
    """Keep the first stages of the encoder as they are; `fresh` are weights that no earlier run gave."""
    _encoder_to_freeze(net, stages).freeze(stages)
    random = [name for name, weight in net.named_parameters() if not weight.requires_grad and name in fresh]
    if random:
        raise InputError(
            f"frozen_stages={stages} would keep {len(random)} random weights ({random[0]}, ...): the run to start from has "
            f"another encoder; leave it at 0."
        )


def _encoder_to_freeze(net: nn.Module, stages: int) -> TimmEncoder:
    encoder = getattr(net, "encoder", None)
    if not isinstance(encoder, TimmEncoder):
        raise InputError(f"frozen_stages={stages} is for networks on a timm encoder, as --encoder resnet34; leave it at 0.")
    if stages > len(encoder.strides):
        raise InputError(
            f"encoder {encoder.name!r} gives {len(encoder.strides)} maps; frozen_stages={stages} is more than that; give fewer."
        )
    return encoder


def _groups(net: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Decay for the kernels only: on biases and norm scales it would pull the output towards zero and regularise nothing.

    The encoder has groups of its own; `share` is theirs of the learning rate.
    """
    groups: list[dict[str, Any]] = []
    for encoder, share in ((False, 1.0), (True, recipe.encoder_rate)):
        own = [p for name, p in net.named_parameters() if p.requires_grad and name.startswith("encoder.") == encoder]
        groups += [
            {"params": [p for p in own if p.ndim > 1], "weight_decay": recipe.weight_decay, "share": share},
            {"params": [p for p in own if p.ndim <= 1], "weight_decay": 0.0, "share": share},
        ]
    return [group for group in groups if group["params"]]
