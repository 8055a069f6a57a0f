"""Mask R-CNN: anchors -> proposals -> boxes and classes -> masks; one idea a file, `model` puts them together."""

from maskwright.models.mask_rcnn.model import TINY, MaskRCNN
from maskwright.models.mask_rcnn.paste import pasted
from maskwright.models.mask_rcnn.scaling import batch_of, resized_for
from maskwright.models.mask_rcnn.truth import Truth, truth_of
from maskwright.models.mask_rcnn.weights import TORCHVISION_V1, TORCHVISION_V2, from_torchvision

__all__ = [
    "TINY",
    "TORCHVISION_V1",
    "TORCHVISION_V2",
    "MaskRCNN",
    "Truth",
    "batch_of",
    "from_torchvision",
    "pasted",
    "resized_for",
    "truth_of",
]
