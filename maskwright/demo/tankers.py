"""Drawn seas: seeded crops of satellite images, 0.5 to 3 m a pixel, with every ship's own mask and class.

tanker_view.py says how the satellite sees, tanker_ships.py and tanker_vessels.py how ships look, tanker_water.py the sea,
tanker_land.py and tanker_offshore.py what is no ship, tanker_scene.py what lies where, tanker_picture.py how the crop is taken.
All shapes are our own; no real image is in here.

The rule of the masks: a pixel belongs to a ship when its centre lies inside the outline of the deck (ops/polygons.py), whatever
of the superstructure leans over the edge. Wakes, shadows and fenders are no ship. Where a cloud takes at least half of the light
the ship is left out, and so are parts of fewer than LEAST_PX pixels that show through its gaps; a ship without any part left is
no object. Ships lie with at least 40 % of their deck within the picture or are not drawn at all. Masks never overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from maskwright.classes import ClassMap
from maskwright.demo.scenes import write_object_scenes
from maskwright.demo.tanker_picture import taken
from maskwright.demo.tanker_scene import draw_sea
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.ops.rle import Rle

CLASSES = ClassMap((0, 1, 2), ("background", "tanker", "vessel"), colours=((0, 0, 0), (255, 128, 14), (0, 158, 224)))
TANKER, VESSEL = 1, 2
SIZE_HW = (256, 256)
LEAST_PX = 12


def scene(seed: int, index: int = 0, *, size_hw: tuple[int, int] = SIZE_HW) -> tuple[NDArray[np.uint8], Instances]:
    """One drawn crop and its ships; scene `index` of a seed is always the same.

    Shapes:
        returns: (H, W, 3) uint8, and the ships; about one scene in ten has none

    Raises:
        InputError: seed or index is negative, or a side is under 64 px.
    """
    if min(seed, index) < 0:
        raise InputError(f"seed={seed}, index={index} cannot be; give whole numbers of 0 or more.")
    if min(size_hw) < 64:
        raise InputError(f"size {size_hw[0]} x {size_hw[1]} px: a sea needs at least 64 px a side to show its ships.")
    rng = np.random.default_rng((13, seed, index))
    drawn = draw_sea(rng, size_hw)
    pixels, hidden = taken(rng, drawn)
    masks: list[Rle] = []
    class_ids: list[int] = []
    for number, ship in enumerate(drawn.ships, start=1):
        visible = visible_part(drawn.owners == number, hidden)
        if visible.any():
            masks.append(Rle.from_mask(visible))
            class_ids.append(TANKER if ship.kind == "tanker" else VESSEL)
    found = Instances(size_hw, CLASSES, np.array(class_ids, np.int64), tuple(masks), name=f"sea_{seed}_{index:05d}")
    return pixels, found


def scenes(count: int, seed: int = 0, *, size_hw: tuple[int, int] = SIZE_HW) -> Iterator[tuple[NDArray[np.uint8], Instances]]:
    """The first `count` scenes of a seed, one after the other."""
    for index in range(count):
        yield scene(seed, index, size_hw=size_hw)


def visible_part(ship: NDArray[np.bool_], hidden: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What clouds leave of a ship: parts of LEAST_PX pixels or more, a pixel's eight neighbours being its neighbours."""
    if not (ship & hidden).any():
        return ship
    parts, _ = ndimage.label(ship & ~hidden, np.ones((3, 3)))
    kept = np.bincount(parts.ravel()) >= LEAST_PX
    kept[0] = False
    return np.asarray(kept[parts], bool)


def make(out: str | Path, *, count: int, seed: int = 0, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write `count` scenes as COCO json, split into train, val and test; see scenes.write_object_scenes."""
    return write_object_scenes(out, partial(scene, seed), count, seed, progress)
