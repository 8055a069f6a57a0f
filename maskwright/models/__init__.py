"""Models by name: `build("unet", channels=3, classes=2)` gives a net with logits at the size of its input."""

from maskwright.models.registry import MODELS, Entry, build, class_axes, entry_of, semantic_models

__all__ = ["MODELS", "Entry", "build", "class_axes", "entry_of", "semantic_models"]
