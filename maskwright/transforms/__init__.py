"""What happens to an image before the network sees it: Preprocess and its exact inverse; and what training does to it."""

from maskwright.transforms.preprocess import Frame, Preprocess, resize_target

__all__ = ["Frame", "Preprocess", "resize_target"]
