"""Drawn chest X-rays: seeded frontal radiographs with the exact outline of both lungs, made without any download.

chest.py says where the chest lies and how its lungs are outlined, radiograph.py how the picture comes about. All shapes are
parametric curves of our own with random proportions; no real image or outline is in here.

What varies: size, place, turn and proportions of the chest, level of the diaphragm, size of the heart, ribs and clavicles
that cross the border of the lung, exposure, contrast, collimation, markers, breasts; sometimes effusions, infiltrates,
tubes, wires and pacemakers, which hide a part of the lung that the label still covers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from maskwright.classes import ClassMap
from maskwright.demo.chest import draw_chest, filled, lung_outlines
from maskwright.demo.radiograph import attenuation, developed
from maskwright.demo.scenes import write_scenes
from maskwright.errors import InputError
from maskwright.io.image import Image
from maskwright.sample import Sample

CLASSES = ClassMap((0, 1), ("background", "lung"), colours=((0, 0, 0), (0, 158, 224)))


def scene(seed: int, *, size_hw: tuple[int, int] = (512, 512), bits: int = 8) -> Sample:
    """One drawn radiograph and its lungs.

    Shapes:
        pixels: (H, W, 1) uint8, or uint16 with bits=16; labels: (H, W) 0 background, 1 lung

    Raises:
        InputError: bits is neither 8 nor 16, or a side is under 64 px.
    """
    if bits not in (8, 16):
        raise InputError(f"bits={bits}: scenes have 8 or 16 bits.")
    if min(size_hw) < 64:
        raise InputError(f"size {size_hw[0]} x {size_hw[1]} px: a scene needs at least 64 px a side to show its anatomy.")
    rng = np.random.default_rng((7, seed))
    chest = draw_chest(rng, size_hw)
    sides = [filled(size_hw, outline) for outline in lung_outlines(rng, chest)]
    labels = (sides[0] | sides[1]).astype(np.uint8)
    ray = attenuation(rng, chest, sides)
    pixels = developed(rng, chest, ray, bits)
    name = f"scene_{seed:05d}"
    return Sample(Image.from_array(pixels, path=None), labels, CLASSES, name)


def make(
    out: str | Path,
    count: int = 200,
    seed: int = 0,
    *,
    bits: int = 8,
    size_hw: tuple[int, int] = (512, 512),
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `count` scenes under out/train, out/val and out/test with their classes.yaml; see write_scenes."""
    return write_scenes(out, functools.partial(scene, size_hw=size_hw, bits=bits), CLASSES, count, seed, progress)
