"""Models by name: `build("unet", channels=3, classes=2)` gives a net with logits at the size of its input."""

from maskwright.models.encoders import EncoderWeights, TimmEncoder, load_encoder_weights
from maskwright.models.registry import MODELS, Entry, build, semantic_models
from maskwright.models.unet import UNet

__all__ = ["MODELS", "EncoderWeights", "Entry", "TimmEncoder", "UNet", "build", "load_encoder_weights", "semantic_models"]
