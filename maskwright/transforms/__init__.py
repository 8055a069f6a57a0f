"""What happens to an image before the network sees it: Preprocess and its exact inverse, and the paired augmentation."""

from maskwright.transforms.augmentation import Augmentation, RandomWindow, augmenter
from maskwright.transforms.objects import ObjectLayers, layered, paste_objects
from maskwright.transforms.preprocess import Frame, Preprocess, resize_target

__all__ = [
    "Augmentation",
    "Frame",
    "ObjectLayers",
    "Preprocess",
    "RandomWindow",
    "augmenter",
    "layered",
    "paste_objects",
    "resize_target",
]
