"""Losses as functions of logits (B, K, H, W) and target (B, H, W), and their weighted sum."""

from maskwright.losses.boundary import boundary
from maskwright.losses.cldice import cldice
from maskwright.losses.combine import LOSSES, Combined, combine
from maskwright.losses.cross_entropy import cross_entropy
from maskwright.losses.dice import dice
from maskwright.losses.focal import focal
from maskwright.losses.jaccard import jaccard
from maskwright.losses.lovasz import lovasz
from maskwright.losses.ohem import ohem
from maskwright.losses.tversky import tversky
from maskwright.losses.weights import class_weights

__all__ = [
    "LOSSES",
    "Combined",
    "boundary",
    "class_weights",
    "cldice",
    "combine",
    "cross_entropy",
    "dice",
    "focal",
    "jaccard",
    "lovasz",
    "ohem",
    "tversky",
]
