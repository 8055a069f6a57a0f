"""Shapes of objects that overlap: drawn on their own box they are those that the whole image gives, and quick."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
import shapely

from maskwright.annotations.outlines import outlines_of_objects
from maskwright.classes import ClassMap
from maskwright.instances import Instances
from maskwright.ops.coverage import coverage
from maskwright.ops.rle import Rle

CLASSES = ClassMap((0, 1), ("background", "ship"))
HW = (40, 60)


def of(*masks: Rle) -> Instances:
    return Instances(masks[0].hw, CLASSES, np.ones(len(masks), np.int64), masks)


def mask(*parts: tuple[int, int, int, int], without: tuple[tuple[int, int, int, int], ...] = ()) -> np.ndarray:
    """Boxes x0, y0, x1, y1 joined, and others cut out of them."""
    drawn = np.zeros(HW, bool)
    for x0, y0, x1, y1 in parts:
        drawn[y0:y1, x0:x1] = True
    for x0, y0, x1, y1 in without:
        drawn[y0:y1, x0:x1] = False
    return drawn


def noise(seed: int) -> np.ndarray:
    drawn = np.zeros(HW, bool)
    drawn[7:30, 9:44] = np.random.default_rng(seed).random((23, 35)) < 0.6
    return drawn


DRAWN = {
    "square": mask((12, 9, 25, 20)),
    "hole": mask((5, 5, 30, 30), without=((10, 10, 15, 15),)),
    "island in a hole": mask((5, 5, 30, 30), (18, 18, 20, 20), without=((10, 10, 26, 26), (19, 19, 20, 20)))
    | mask((18, 18, 20, 20)),
    "several parts": mask((2, 3, 8, 9), (20, 20, 30, 25), (30, 25, 33, 28)),
    "first corner": mask((0, 0, 9, 7)),
    "last corner": mask((50, 31, 60, 40)),
    "left to right": mask((0, 10, 60, 14), (20, 5, 24, 10)),
    "top to bottom, in two": mask((7, 0, 11, 40), (30, 0, 34, 40)),
    "everywhere": mask((0, 0, 60, 40)),
    "open to the border": mask((0, 0, 20, 20), without=((0, 5, 12, 12),)),
    "a pixel": mask((59, 39, 60, 40)),
    "noise": noise(1),
    "noise at the border": np.roll(noise(2), (-7, -9), (0, 1)),
}


@pytest.mark.parametrize("tolerance_px", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("name", DRAWN)
def test_a_shape_drawn_on_its_box_is_that_of_the_whole_image(name, tolerance_px):
    everywhere = Rle.from_mask(np.ones(HW, bool))  # overlaps with all others
    found = outlines_of_objects(of(Rle.from_mask(DRAWN[name]), everywhere), tolerance_px)
    parts = [shape for value, shape in coverage(DRAWN[name].astype(np.int64), tolerance_px) if value]
    whole = parts[0] if len(parts) == 1 else shapely.union_all(parts)
    assert shapely.equals_exact(shapely.normalize(found[0].shape), shapely.normalize(whole))
    assert found[0].shape.is_valid
    if not tolerance_px:
        assert found[0].shape.area == DRAWN[name].sum()


def discs(apart: bool) -> Instances:
    """100 discs of 200 px with a hole on 3000 x 4000, on a grid or heaped."""
    y, x = np.mgrid[-100:100, -100:100] + 0.5
    far = np.hypot(x, y)
    disc = (far < 100) & (far > 40)
    corners = (
        [(40 + 390 * (k % 10), 30 + 290 * (k // 10)) for k in range(100)] if apart else [(17 * k, 13 * k) for k in range(100)]
    )
    return of(*(Rle.from_crop(disc, corner, (3000, 4000)) for corner in corners))


@pytest.mark.parametrize("apart", [False, True], ids=["overlapping", "apart"])
def test_many_objects_of_a_large_image_take_no_time(apart):
    found = discs(apart)
    began = time.process_time()
    outlines = outlines_of_objects(found, 1.0)
    spent = time.process_time() - began
    assert len(outlines) == 100
    assert spent < 5, "a map of the whole image for each object takes a minute"
    if not apart:
        tracemalloc.start()
        outlines_of_objects(found)
        assert tracemalloc.get_traced_memory()[1] < 120e6  # one map of int32 has 48 MB
        tracemalloc.stop()
