"""All models by name, and the one function that builds them.

A network's module is imported when the first one is built: timm and torchvision, which many stand on, take seconds and memory
that the others have no use for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from maskwright.errors import InputError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Entry:
    """One model.

    Attributes:
        made_by: "module:class"
        task: "semantic": (B, C, H, W) to logits (B, K, H, W); "instance": to Detections, and with truths to InstanceLosses
        paper: arXiv number
        summary: one line for `maskwright models`
        weights: what `--weights` takes for it, as it is written there; NAME stands for any, as in "timm:NAME"
        first: what the class takes first, the same for all of this name
    """

    made_by: str
    task: str
    paper: str
    summary: str
    weights: tuple[str, ...] = ()
    first: tuple[object, ...] = ()

    @property
    def build(self) -> Callable[..., nn.Module]:
        """Takes channels, classes and the model's own arguments by keyword."""
        made: Callable[..., nn.Module] = resolve_name(self.made_by)
        return partial(made, *self.first) if self.first else made

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the model's own arguments."""
        return tuple(n for n in inspect.signature(self.build).parameters if n not in ("self", "channels", "classes"))


# Weights of any timm model for its encoder, hub or not.
ON_TIMM = ("timm:NAME", "pip:efficientnet_lite0")

MODELS: dict[str, Entry] = {
    "unet": Entry(
        "maskwright.models.unet:UNet",
        task="semantic",
        paper="1505.04597",
        summary="U-Net as drawn, padded, or on any timm encoder",
        weights=ON_TIMM,
    ),
    "unetpp": Entry(
        "maskwright.models.unetpp:UNetPlusPlus",
        task="semantic",
        paper="1807.10165",
        summary="U-Net++: nested columns between the paths",
        weights=ON_TIMM,
    ),
    "fcn32s": Entry(
        "maskwright.models.fcn:FCN",
        task="semantic",
        paper="1411.4038",
        summary="FCN-32s on VGG-16",
        weights=("torchvision:vgg16",),
        first=(32,),
    ),
    "fcn16s": Entry(
        "maskwright.models.fcn:FCN",
        task="semantic",
        paper="1411.4038",
        summary="FCN-16s: scores of pool4 added",
        weights=("torchvision:vgg16",),
        first=(16,),
    ),
    "fcn8s": Entry(
        "maskwright.models.fcn:FCN",
        task="semantic",
        paper="1411.4038",
        summary="FCN-8s: scores of pool4 and pool3 added",
        weights=("torchvision:vgg16",),
        first=(8,),
    ),
    "fcn_googlenet": Entry(
        "maskwright.models.fcn:FCNGoogLeNet",
        task="semantic",
        paper="1411.4038",
        summary="FCN-32s on GoogLeNet",
        weights=("torchvision:googlenet",),
    ),
    "segnet": Entry(
        "maskwright.models.segnet:SegNet",
        task="semantic",
        paper="1511.00561",
        summary="SegNet: VGG-16 down and up, unpooling by positions",
        weights=("torchvision:vgg16_bn",),
    ),
    "segnet_basic": Entry(
        "maskwright.models.segnet:SegNetBasic",
        task="semantic",
        paper="1511.00561",
        summary="SegNet-Basic: four 7x7 convolutions each way",
    ),
    "bisenetv2": Entry(
        "maskwright.models.bisenet:BiSeNetV2",
        task="semantic",
        paper="2004.02147",
        summary="BiSeNetV2: real time, trained from scratch",
    ),
    "fcn_resnet": Entry(
        "maskwright.models.fcn_resnet:FCNResNet",
        task="semantic",
        paper="1411.4038",
        summary="FCN on a dilated ResNet, torchvision's form",
        weights=("torchvision:fcn_resnet50", *ON_TIMM),
    ),
    "deeplabv3": Entry(
        "maskwright.models.deeplab:DeepLabV3",
        task="semantic",
        paper="1706.05587",
        summary="DeepLabV3: atrous pyramid pooling on any timm encoder",
        weights=("torchvision:deeplabv3_resnet50", *ON_TIMM),
    ),
    "deeplabv3plus": Entry(
        "maskwright.models.deeplab:DeepLabV3Plus",
        task="semantic",
        paper="1802.02611",
        summary="DeepLabV3+: the same with a small decoder",
        weights=ON_TIMM,
    ),
    "fpn": Entry(
        "maskwright.models.fpn:FPN",
        task="semantic",
        paper="1901.02446",
        summary="Panoptic FPN's semantic branch",
        weights=ON_TIMM,
    ),
    "upernet": Entry(
        "maskwright.models.fpn:UPerNet",
        task="semantic",
        paper="1807.10221",
        summary="UPerNet: pyramid pooling and FPN",
        weights=ON_TIMM,
    ),
    "eomt": Entry(
        "maskwright.models.eomt:EoMT",
        task="semantic",
        paper="2503.19108",
        summary="EoMT: a plain ViT with queries, no decoder",
        weights=("timm:NAME",),
    ),
    "mask_rcnn": Entry(
        "maskwright.models.mask_rcnn.model:MaskRCNN",
        task="instance",
        paper="1703.06870",
        summary="Mask R-CNN: class, box and mask of every object",
        weights=("torchvision:maskrcnn_resnet50_fpn", *ON_TIMM),
    ),
}


def build(name: str, *, channels: int, classes: int, **model_args: object) -> nn.Module:
    """A model with freshly drawn weights, in training mode.

    Raises:
        InputError: no such model or argument (near names are shown), or the model refuses a value.
    """
    entry = entry_of(name)
    for argument in model_args:
        if argument not in entry.arguments:
            raise InputError(f"model {name!r} takes no argument {argument!r}; did you mean {_near(argument, entry.arguments)}?")
    return entry.build(channels=channels, classes=classes, **model_args)


def entry_of(name: str) -> Entry:
    """The row of a model.

    Raises:
        InputError: no such model; near names are shown.
    """
    if name not in MODELS:
        raise InputError(f"no model named {name!r}; did you mean {_near(name, MODELS)}?")
    return MODELS[name]


def class_axes(name: str, *, channels: int, classes: int, **model_args: object) -> dict[str, dict[int, int]]:
    """Which weights hold a slice a class: name -> {axis: slices behind those of the classes}, found by one class more.

    Edge cases: an axis of as many entries as there are classes, but for another reason, is not taken for one of classes; nor is
    one with several slices a class, as the sides of boxes, which starts anew where the classes change.
    """
    from maskwright.models.outline import outlined

    with outlined():
        one, more = (build(name, channels=channels, classes=k, **model_args).state_dict() for k in (classes, classes + 1))
    found = {}
    for key, weight in one.items():
        axes = {a: n - classes for a, (n, m) in enumerate(zip(weight.shape, more[key].shape, strict=True)) if m == n + 1}
        if axes:
            found[key] = axes
    return found


def semantic_models() -> list[str]:
    return [name for name, entry in MODELS.items() if entry.task == "semantic"]


def _near(name: str, known: dict[str, Entry] | tuple[str, ...]) -> str:
    return ", ".join(get_close_matches(name, known)) or f"one of: {', '.join(known)}"
