"""Models by name: `build("unet", channels=3, classes=2)` gives a net with logits at the size of its input."""

from maskwright.models.encoders import TimmEncoder
from maskwright.models.loading import LoadedWeights, load_weights
from maskwright.models.registry import MODELS, Entry, build, class_axes, entry_of, semantic_models
from maskwright.models.unet import UNet

__all__ = [
    "MODELS",
    "Entry",
    "LoadedWeights",
    "TimmEncoder",
    "UNet",
    "build",
    "class_axes",
    "entry_of",
    "load_weights",
    "semantic_models",
]
