"""Losses as functions of logits (B, K, H, W) and target (B, H, W), and their weighted sum."""

from maskwright.losses.combine import LOSSES, Combined, combine
from maskwright.losses.cross_entropy import cross_entropy
from maskwright.losses.dice import dice
from maskwright.losses.weights import class_weights

__all__ = ["LOSSES", "Combined", "class_weights", "combine", "cross_entropy", "dice"]
