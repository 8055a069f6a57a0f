"""Models that others trained and published, ready to use by name: `maskwright predict voc-deeplabv3-resnet50 photo.jpg`.

Each is a net of the registry, weights that torchvision publishes, what its channels mean, and what it sees of an image.
Differs from torchvision's own preprocessing in rounding alone: the longer side is rounded, not cut off, to whole pixels, and
images are resized in float32 instead of 8 bit. The answer comes back at the image's own size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright import models
from maskwright.checkpoint import Manifest, Network, load_checkpoint, stored
from maskwright.classes import ClassMap
from maskwright.errors import CheckpointError, InputError
from maskwright.later import torch
from maskwright.models.mask_rcnn.weights import TORCHVISION_V1, TORCHVISION_V2
from maskwright.transforms import Preprocess

if TYPE_CHECKING:
    from torch import nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHORT_SIDE_PX = 520  # to which torchvision scales images for these weights


@dataclass(frozen=True)
class Published:
    """A trained model of somebody else.

    Attributes:
        model, model_args: of models.build
        weights: of models.loading.load_weights
        classes: what the channels mean, by a name that ClassMap.known knows
        trained_on: for people
        sees: settings of Preprocess; default: the shorter side at SHORT_SIDE_PX
    """

    model: str
    model_args: Mapping[str, Any]
    weights: str
    classes: str = "voc"
    trained_on: str = "the images of COCO that show classes of VOC"
    sees: Mapping[str, Any] | None = None

    def preprocess(self) -> Preprocess:
        return Preprocess(3, mean=IMAGENET_MEAN, std=IMAGENET_STD, **(self.sees or {"min_side_px": SHORT_SIDE_PX}))


def _voc(model: str, encoder: str, weights: str) -> Published:
    return Published(model, {"encoder": encoder}, f"torchvision:{weights}.COCO_WITH_VOC_LABELS_V1")


def _coco(model_args: Mapping[str, Any], weights: str) -> Published:
    return Published(
        "mask_rcnn",
        model_args,
        f"torchvision:{weights}.COCO_V1",
        classes="coco",
        trained_on="COCO 2017",
        sees={"min_side_px": 800, "max_side_px": 1333, "smooth": False},
    )


PUBLISHED = {
    "coco-maskrcnn-resnet50": _coco(TORCHVISION_V1, "MaskRCNN_ResNet50_FPN_Weights"),
    "coco-maskrcnn-resnet50-v2": _coco(TORCHVISION_V2, "MaskRCNN_ResNet50_FPN_V2_Weights"),
    "voc-deeplabv3-resnet50": _voc("deeplabv3", "resnet50", "DeepLabV3_ResNet50_Weights"),
    "voc-deeplabv3-resnet101": _voc("deeplabv3", "resnet101", "DeepLabV3_ResNet101_Weights"),
    "voc-fcn-resnet50": _voc("fcn_resnet", "resnet50", "FCN_ResNet50_Weights"),
    "voc-fcn-resnet101": _voc("fcn_resnet", "resnet101", "FCN_ResNet101_Weights"),
}


def is_published(name: str | Path) -> bool:
    """Whether a name means a published model; a file or folder that is called so comes first."""
    return str(name) in PUBLISHED and not Path(name).exists()


def open_model(path: str | Path) -> tuple[Network, Manifest]:
    """As load_model, but the network of a run folder or a .safetensors file is built when it is needed, see checkpoint.Stored."""
    found = None if is_published(path) or not Path(path).exists() else stored(path)
    return load_model(path) if found is None else (found, found.manifest)


def load_model(path: str | Path) -> tuple[nn.Module, Manifest]:
    """The model in evaluation mode and its manifest: of a run folder, a .safetensors file or a published name.

    Raises:
        CheckpointError: see load_checkpoint, and weights that are not those of the model.
        InputError: a published name is misspelt, or its weights are not here and cannot be fetched.
    """
    if is_published(path):
        return _published(str(path))
    near = get_close_matches(str(path), PUBLISHED)
    if near and not Path(path).exists():
        raise InputError(f"{path}: no such run folder, file or published model; did you mean {', '.join(near)}?")
    return load_checkpoint(path)


def _published(name: str) -> tuple[nn.Module, Manifest]:
    entry = PUBLISHED[name]
    classes = ClassMap.known(entry.classes)
    with torch.random.fork_rng(devices=[]):  # the first weights are overwritten; they may cost nobody a random number
        net = models.build(entry.model, channels=3, classes=len(classes), **entry.model_args)
    from maskwright.models.loading import load_weights  # timm and torchvision, which no run folder needs

    loaded = load_weights(net, entry.weights)
    if loaded.fresh:
        raise CheckpointError(f"{entry.weights}: has no weights for {', '.join(loaded.fresh[:3])}; fetch the file again.")
    manifest = Manifest(
        task="instance" if models.entry_of(entry.model).task == "instance" else "semantic",
        model=entry.model,
        model_args=dict(entry.model_args),
        classes=classes.to_dict(),
        preprocess=entry.preprocess().to_dict(),
        weight_licence=loaded.licence,
    )
    return net.eval(), manifest
