"""Drawn street scenes: seeded pictures as a car's camera sees them, with the exact labels of CamVid's classes.

street_camera.py says where things lie in the picture and in which light, street_things.py and street_traffic.py how they look,
street_scene.py what is where, street_picture.py how a photograph comes about. All shapes are our own; no real image is in here.

What varies: camera height, lens and horizon, bends, town, suburb and open places, side roads, width of road and pavements, marks
and wear, five skies, sun or none, shade across the road, houses, trees with leaves and without, traffic, people, exposure,
glare, blur, noise and JPEG. As in CamVid lawns and hedges count as Tree, vans and buses as Car, and things of no class (the own
bonnet, parked bicycles) are void.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from maskwright.classes import ClassMap
from maskwright.demo.scenes import write_scenes
from maskwright.demo.street_picture import photographed
from maskwright.demo.street_scene import draw_street
from maskwright.errors import InputError
from maskwright.io.image import Image
from maskwright.sample import Sample

CLASSES = ClassMap.known("camvid")
SIZE_HW = (360, 480)


def scene(seed: int, *, size_hw: tuple[int, int] = SIZE_HW) -> Sample:
    """One drawn street and its labels.

    Shapes:
        pixels: (H, W, 3) uint8; labels: (H, W) 0..10, or 11 where nothing counts

    Raises:
        InputError: a side is under 64 px.
    """
    if min(size_hw) < 64:
        raise InputError(f"size {size_hw[0]} x {size_hw[1]} px: a street needs at least 64 px a side to show its cars.")
    rng = np.random.default_rng((11, seed))
    drawn = draw_street(rng, size_hw)
    pixels, labels = photographed(rng, drawn.camera, drawn.light, drawn.canvas), drawn.canvas.label_array()
    if rng.random() < 0.5:  # half of the world drives on the other side
        pixels, labels = pixels[:, ::-1].copy(), labels[:, ::-1].copy()
    return Sample(Image.from_array(pixels, path=None), labels, CLASSES, f"street_{seed:05d}")


def make(
    out: str | Path,
    count: int = 400,
    seed: int = 0,
    *,
    size_hw: tuple[int, int] = SIZE_HW,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `count` scenes under out/train, out/val and out/test with their classes.yaml; see write_scenes."""
    return write_scenes(out, functools.partial(scene, size_hw=size_hw), CLASSES, count, seed, progress)
