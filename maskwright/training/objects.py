"""What the planner sees and settles for networks of objects: the objects' sizes, the window, the anchors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskwright.sample import Sample

LEAST_ANCHOR_PX, MOST_ANCHOR_PX = 4, 64
ANCHOR_PER_CANONICAL = 7  # 224 px to an anchor of 32 px: He et al. and Lin et al.'s own proportion
LEAST_SIDE_PX = 12.0  # of the smaller objects, for a mask worth the name
MOST_ZOOM = 2.0
CROWDED = 40  # objects of an image from which on a training step looks at more of them
WINDOWS_PX = (256, 320, 384, 512, 640)


@dataclass(frozen=True)
class ObjectSizes:
    """Sides of the objects' boxes in px of the stored images, the square root of width x height; and how many an image has.

    Attributes:
        small, middle, large: 10th, 50th and 95th percentile
        most: objects of one image
    """

    small: float
    middle: float
    large: float
    most: int


def object_sizes(samples: Sequence[Sample]) -> ObjectSizes | None:
    """Of the images looked at; None where no image tells objects apart or none has one."""
    given = [s.instances for s in samples if s.instances is not None]
    boxes = np.concatenate([i.boxes[~i.crowds] for i in given]) if given else np.zeros((0, 4))
    sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    if not len(sides):
        return None
    small, middle, large = np.percentile(sides, (10, 50, 95))
    return ObjectSizes(float(small), float(middle), float(large), max(len(i) for i in given))


@dataclass(frozen=True)
class Seen:
    """At which size a network sees the images.

    Attributes:
        max_side_px, zoom: as in transforms.Preprocess
        patch_hw: the training window, in multiples of 32
    """

    max_side_px: int | None
    zoom: float
    patch_hw: tuple[int, int]

    def scale(self, longest_px: int) -> float:
        """Of images whose longer side is longest_px."""
        return (self.max_side_px / longest_px if self.max_side_px else 1.0) * self.zoom


def seen_of(longest_px: int, hw: tuple[int, int], sizes: ObjectSizes, gpu: bool) -> tuple[Seen, str, str]:
    """How images with objects of these sizes are seen, and why this size and this zoom."""
    most = 1024 if gpu else 384
    enough = [px for px in (*WINDOWS_PX, 800, 1024) if px <= most and sizes.small * px / longest_px >= LEAST_SIDE_PX]
    if longest_px > most and enough:
        scale = enough[-1] / max(hw)
        why = f"whole images at this size: nine of ten objects keep a side of {sizes.small * enough[-1] / longest_px:.0f} px"
        return Seen(enough[-1], 1.0, _grid((round(hw[0] * scale), round(hw[1] * scale)))), why, "as max_side_px says"
    zoom = float(np.clip(round(2 * LEAST_SIDE_PX / sizes.small) / 2, 1, MOST_ZOOM))
    why_zoom = f"one of ten objects has a side under {sizes.small:.0f} px" if zoom > 1 else "the objects are large enough"
    if longest_px * zoom <= most:
        why = f"images of at most {longest_px} px are seen whole"
        return Seen(None, zoom, _grid((round(hw[0] * zoom), round(hw[1] * zoom)))), why, why_zoom
    window = 320 if not gpu else 768
    shown = (min(window, round(hw[0] * zoom)), min(window, round(hw[1] * zoom)))
    why = f"windows of the images: objects have sides from {sizes.small:.0f} px on, smaller images would lose them"
    return Seen(None, zoom, _grid(shown)), why, why_zoom


def _grid(hw: tuple[int, int]) -> tuple[int, int]:
    return -(-hw[0] // 32) * 32, -(-hw[1] // 32) * 32


def network_of(sizes: ObjectSizes, scale: float, gpu: bool) -> tuple[dict[str, Any], str]:
    """Anchors and limits for objects of these sizes at the scale at which the network sees them, and why."""
    base = LEAST_ANCHOR_PX
    while base * 1.5 < sizes.small * scale and base < MOST_ANCHOR_PX:
        base *= 2
    detections = int(np.clip(-(-sizes.most * 3 // 2 // 50) * 50, 100, 500))
    args: dict[str, Any] = {
        "anchor_sizes": [base * 2**level for level in range(5)],
        "canonical_px": base * ANCHOR_PER_CANONICAL,
        "detections": detections,
        "proposals": max(300, 2 * detections) if not gpu else max(1000, 2 * detections),
        "train_proposals": min(500, 2 * detections) if not gpu else 2000,
        "sampled_proposals": (64 if sizes.most <= CROWDED else 128) if not gpu else 512,
    }
    why = (
        f"objects have sides of {sizes.small * scale:.0f} to {sizes.large * scale:.0f} px as the network sees them, at most "
        f"{sizes.most} an image"
    )
    return args, why
