"""Objects of images that are too large for one pass: overlapping tiles, whose objects are joined (stitching.py)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from maskwright.classes import ClassMap
from maskwright.inference.stitching import Piece, Stitcher, pieces_of
from maskwright.inference.tiled import TILE_PX, tiles_for
from maskwright.inference.tiling import Tiling, View
from maskwright.instances import Instances
from maskwright.io.image import Image, Statistics
from maskwright.ops.rle import Rle
from maskwright.transforms import Frame, Preprocess

if TYPE_CHECKING:
    from torch import Tensor

# Pixels that the net sees in one pass: a Mask R-CNN on ResNet-50 then takes some 4 GB in fp32.
WHOLE_PX = 8 << 20


def view_of_objects(preprocess: Preprocess, hw: tuple[int, int], tile: int | None, overlap: int | None) -> View:
    """Tiles that the net sees as it would see images of their size, all at the scale of a full one.

    They overlap by a quarter: an object up to so large is seen whole by a tile.
    """
    wished = tile or TILE_PX
    one_size = (preprocess.max_side_px, preprocess.min_side_px) != (None, None)
    seen = hw if max(hw) <= wished else (wished, wished)
    scale = preprocess.work_hw(seen)[0] / seen[0]
    tiling = Tiling.blended(hw, wished, overlap, scale=1.0 if one_size else scale)
    if overlap is None:
        _, quarter = tiles_for((tiling.tile_px + 1, 1), tiling.tile_px) or (0, 0)
        tiling = replace(tiling, overlap_px=quarter)
    said = (f"the model sees tiles of {tiling.tile_px} px at {scale:.3g} of their size.",) if scale != 1 else ()
    return View(tiling, replace(preprocess, max_side_px=None, min_side_px=None, zoom=scale), said)


def comes_in_tiles(preprocess: Preprocess, hw: tuple[int, int], tile: int | None) -> bool:
    """Whether an image in memory does: where that was wished, or one pass would see too many pixels."""
    return max(hw) > tile if tile else math.prod(preprocess.work_hw(hw)) > WHOLE_PX


def objects_in_tiles(image: Image, view: View, classes: ClassMap, look: Callable[[Tensor, Frame], Instances]) -> Instances:
    """The objects of an image, best first, each once and whole.

    Args:
        look: the objects of what the net sees of a tile
    """
    tiling, preprocess, _ = view
    low, high = preprocess.ends(image)
    whole = None if preprocess.scaling == "range" else Statistics(low, high, low, high - low)
    found: list[Piece] = []
    stitcher, rows = Stitcher(), tiling.rows
    for number in range(len(rows)):
        for tile in tiling.row(number):
            pixels = np.ascontiguousarray(image.pixels[tile.rows, tile.cols])
            part = replace(image, pixels=pixels, statistics=whole, missing=None, georeference=None)
            stitcher.add(pieces_of(look(*preprocess(part)), tile, image.hw))
        found += stitcher.finished(rows[number + 1][0].start if number + 1 < len(rows) else None)
    found.sort(key=lambda piece: -piece.score)
    return Instances(
        image.hw,
        classes,
        np.array([piece.class_id for piece in found], np.int64),
        tuple(Rle.from_crop(piece.mask.to_mask(), piece.corner_xy, image.hw) for piece in found),
        scores=np.array([piece.score for piece in found], np.float32),
        name=image.name or "image",
    )
