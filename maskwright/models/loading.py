"""Starts a model from weights that were trained elsewhere: an encoder from a classifier's, or the whole net.

A net's parts are its direct children (`encoder`, `classifier`, ...). A file for the whole net fills each part whole or has
nothing for it, which then starts anew; a part that is there by halves, and a weight that belongs nowhere, are errors.
Where a model calls its weights otherwise than their publisher, a row of TRANSLATIONS says how to rename them.
Source: timm.models.adapt_input_conv (Apache-2.0) fits a first convolution of three channels to another number: one channel takes
the sum over the three, C channels repeat them in order and scale by 3 / C.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import timm
from timm.models import adapt_input_conv
from torch import Tensor, nn

from maskwright.errors import CheckpointError
from maskwright.models.deeplab import DeepLabV3
from maskwright.models.encoders import FromTimm
from maskwright.models.fcn import FCN, fcn_weights
from maskwright.models.fcn_resnet import FCNResNet, from_torchvision
from maskwright.models.mask_rcnn.model import MaskRCNN
from maskwright.models.mask_rcnn.weights import from_torchvision as detector_from_torchvision
from maskwright.models.outline import outlined
from maskwright.models.unet import UNet, from_smp
from maskwright.models.weight_files import in_timms_names, read_weights, spelling
from maskwright.models.weight_sources import find_weights

# Where classifiers keep what an encoder has no use for.
HEADS = ("fc.", "classifier.", "aux_classifier.", "head.", "head_dist.", "aux1.", "aux2.", "AuxLogits.")
TOOLS = ("module.", "_orig_mod.", "model.")  # wrappers of a whole model


class Translation(NamedTuple):
    """How weights of another naming become a model's own.

    Attributes:
        model: the class that they are for
        known_by: names that begin so give the other naming away
        rename: the other names' tensors to those under our names
    """

    model: type[nn.Module]
    known_by: str
    rename: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


TRANSLATIONS = (
    Translation(DeepLabV3, "backbone.", from_torchvision),
    Translation(FCNResNet, "backbone.", from_torchvision),
    Translation(MaskRCNN, "backbone.body.", detector_from_torchvision),
    Translation(UNet, "segmentation_head.", from_smp),
    Translation(FCN, "classifier.0.", fcn_weights),  # VGG-16's fully connected layers become fc6 and fc7
)


@dataclass(frozen=True)
class LoadedWeights:
    """What was loaded into a model, for the recipe and the manifest.

    Attributes:
        source: as the user gave it
        licence: where the source states one
        mean, std: of the images (in [0, 1]) that the weights were trained with, where they are known
        first_layer: "as stored", or how three channels became another number
        fresh: names of the weights that the source has not, or has for other classes: they start from random numbers
    """

    source: str
    licence: str | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    first_layer: str
    fresh: tuple[str, ...]


def load_weights(model: nn.Module, source: str) -> LoadedWeights:
    """Start a model, or an encoder alone, from weights trained elsewhere; nothing changes if anything does not fit.

    Arguments:
        model: a model of the registry, or an encoder; its `channels` and `classes` say what may differ from the file
        source: a file, or torchvision:, timm:, hf: or pip: and a name; see weight_sources

    Edge cases: a layer for another number of classes starts anew; a first layer for three channels is fitted to the
    model's; a classifier's head and timm's layers behind an encoder's last map are passed over; prefixes that training
    tools add ("module.", "backbone.") are ignored; counters of batches, which play no part in the result, may be missing.

    Raises:
        InputError, MissingExtraError: see find_weights.
        CheckpointError: the file cannot be read, or keys or shapes do not fit; the message lists them.
    """
    found = find_weights(source)
    own = model.state_dict()
    tensors, unexpected = _under_own_names(read_weights(found.path), model, own)
    fit = _fit(tensors, model, own)
    problems = {
        "missing": _missing(tensors, own),
        "unexpected": unexpected,
        "of another shape": fit.wrong,
        "not finite": fit.broken,
    }
    said = [f"{len(keys)} {what} ({_some(keys)})" for what, keys in problems.items() if keys]
    if said:
        raise CheckpointError(
            f"{source}: not weights of {_called(model)}: {'; '.join(said)}. "
            "Choose the model and its size (--set model_args=...), or with --encoder the encoder, that they were made for."
        )
    model.load_state_dict({**own, **fit.tensors})
    known = timm.get_pretrained_cfg(_timm_name(model)) if _timm_name(model) else None
    mean, std = (tuple(known.mean), tuple(known.std)) if known else (None, None)
    fresh = tuple(key for key in own if key not in fit.tensors and not _counts_batches(key))
    return LoadedWeights(source, found.licence, found.mean or mean, found.std or std, fit.first_layer, fresh)


def _under_own_names(
    stored: Mapping[str, Tensor], model: nn.Module, own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """The file's tensors under the model's names, and the file's names that the model has no place for."""
    encoder = _encoder(model)
    stages = getattr(getattr(encoder, "net", None), "blocks", [])  # of an EfficientNet; a ViT's are no stages
    stored = _unwrapped(in_timms_names(stored, [len(s) for s in stages if isinstance(s, nn.Sequential)]))
    for model_class, known_by, rename in TRANSLATIONS:
        if isinstance(model, model_class) and any(key.startswith(known_by) for key in stored):
            stored = rename(stored)
    if isinstance(encoder, FromTimm):
        stored = encoder.fitted(stored)
    if encoder is not model and any(key.startswith("encoder.") and key in own for key in stored):
        return {k: t for k, t in stored.items() if k in own}, [k for k in stored if k not in own]
    by_spelling = {spelling(key): key for key in own if encoder is model or key.startswith("encoder.")}
    tensors = {by_spelling[spelling(key)]: tensor for key, tensor in stored.items() if spelling(key) in by_spelling}
    passed_over = _keys_of_the_classifier(_timm_name(model))
    known = {*by_spelling, *passed_over}
    return tensors, [k for k in stored if spelling(k) not in known and not k.startswith(HEADS)]


def _unwrapped(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes that all names share because a tool wrapped the model."""
    for prefix in TOOLS:
        if all(key.startswith(prefix) for key in stored):
            return _unwrapped({key.removeprefix(prefix): tensor for key, tensor in stored.items()})
    return dict(stored)


@dataclass
class _Fit:
    """Tensors that can be loaded, in the model's shapes, and the names of those that cannot."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    first_layer: str = "as stored"


def _fit(tensors: Mapping[str, Tensor], model: nn.Module, own: Mapping[str, Tensor]) -> _Fit:
    fit = _Fit()
    for key, found in tensors.items():
        wanted = own[key]
        if _is_first_layer(found, wanted):
            channels = wanted.shape[1]
            found = adapt_input_conv(channels, found.float())
            fit.first_layer = "sum over 3 channels" if channels == 1 else f"3 channels repeated to {channels}, times 3/{channels}"
        if found.is_floating_point() and not bool(found.isfinite().all()):
            fit.broken.append(key)
        elif found.shape == wanted.shape:
            fit.tensors[key] = found
        elif key.startswith("encoder.") or not _is_class_layer(found, wanted, getattr(model, "classes", None)):
            fit.wrong.append(f"{key} {tuple(found.shape)} instead of {tuple(wanted.shape)}")
    return fit


def _is_first_layer(found: Tensor, own: Tensor) -> bool:
    """Whether the two differ in nothing but the image's channels, three in the file."""
    return own.ndim == 4 and own.shape[1] != 3 and found.shape == (own.shape[0], 3, *own.shape[2:])


def _is_class_layer(found: Tensor, own: Tensor, classes: int | None) -> bool:
    """Whether the two differ in nothing but the number of classes, or that number and one, since queries may also show nothing,
    or four times that number: the sides of a box of each class."""
    differing = {(a, b) for a, b in zip(found.shape, own.shape, strict=False) if a != b}
    if found.ndim != own.ndim or len(differing) != 1 or classes is None:
        return False
    theirs, ours = differing.pop()
    return ours - classes in (0, 1) or (ours == 4 * classes and theirs % 4 == 0)


def _missing(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Names that are not in the file though others of the same part are; all, where nothing is."""
    needed = [key for key in own if not _counts_batches(key)]
    parts = {key.partition(".")[0] for key in tensors}
    return [key for key in needed if key not in tensors and (not parts or key.partition(".")[0] in parts)]


def _counts_batches(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _encoder(model: nn.Module) -> nn.Module:
    """Where weights for an encoder alone go: `model.encoder`, or the module itself where it has none."""
    encoder = getattr(model, "encoder", None)
    return encoder if isinstance(encoder, nn.Module) else model


def _timm_name(model: nn.Module) -> str:
    """Name of the timm model that the encoder is made of; empty where it is none."""
    encoder = _encoder(model)
    return encoder.name if isinstance(encoder, FromTimm) else ""


def _keys_of_the_classifier(name: str) -> set[str]:
    """Every key that timm's whole classifier has, head included; on the meta device, so that it costs no memory."""
    if not name:
        return set()
    with outlined():
        return {spelling(k) for k in timm.create_model(name, pretrained=False).state_dict()}


def _called(model: nn.Module) -> str:
    name, kind = _timm_name(model), type(model).__name__
    if _encoder(model) is model:
        return f"the encoder {name!r}" if name else kind
    return f"{kind} on the encoder {name!r}" if name else kind


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
