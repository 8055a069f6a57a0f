"""Drawn objects, found tile by tile by a detector that errs nowhere, are those of the whole image, mask for mask."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from maskwright.classes import ClassMap
from maskwright.inference.stitching import Piece, Stitcher, is_same, joined, pieces_of
from maskwright.inference.tiling import Tiling
from maskwright.instances import Instances
from maskwright.ops.components import components
from maskwright.ops.rle import Rle

CLASSES = ClassMap((0, 1, 2), ("background", "ship", "buoy"))


def detector(labels):
    """The connected parts of each class, scored by their share of the pixels: parts score less than wholes."""
    masks, class_ids = [], []
    for class_id in (1, 2):
        for mask in components(labels == class_id):
            masks.append(mask)
            class_ids.append(class_id)
    scores = np.array([mask.area_px / labels.size for mask in masks], np.float32)
    return Instances(labels.shape, CLASSES, np.array(class_ids, np.int64), tuple(masks), scores=scores)


def stitched(labels, tiling, detect=detector):
    stitcher, found = Stitcher(), []
    for number in range(len(tiling.rows)):
        for tile in tiling.row(number):
            stitcher.add(pieces_of(detect(labels[tile.rows, tile.cols]), tile, labels.shape))
        below = tiling.rows[number + 1][0].start if number + 1 < len(tiling.rows) else None
        found += stitcher.finished(below)
    return found


def at_full_size(piece, hw):
    return piece.class_id, Rle.from_crop(piece.mask.to_mask(), piece.corner_xy, hw)


def assert_equal(labels, tiling):
    whole = detector(labels)
    expected = {(int(c), mask) for c, mask in zip(whole.class_ids, whole.masks, strict=True)}
    found = [at_full_size(piece, labels.shape) for piece in stitched(labels, tiling)]
    assert len(found) == len(set(found)) == len(expected)
    assert set(found) == expected


TILING = Tiling((224, 224), 96, 32)  # starts 0, 64, 128 each way: cuts at 64, 96, 128 and 160


@pytest.mark.parametrize(
    "boxes",
    [
        [(5, 5, 20, 20)],  # within one tile
        [(66, 5, 90, 20)],  # within what two tiles see
        [(50, 10, 110, 16)],  # a bar over two tiles
        [(0, 80, 224, 84)],  # over all columns of tiles, in two rows
        [(75, 0, 80, 224), (0, 100, 70, 104)],  # over all rows; a second one ends before it
        [(60, 60, 100, 100)],  # over the corner of four tiles
        [(64, 64, 96, 96)],  # all that four tiles share
        [(96, 96, 97, 97), (63, 63, 64, 64)],  # single pixels at cuts
        [(10, 50, 20, 120), (40, 50, 50, 120), (10, 110, 50, 120)],  # a U: its arms are two objects in the upper tile
        [(10, 50, 20, 120), (40, 50, 50, 120), (10, 50, 50, 60)],  # the same upside down
        # arms of 5, 3 and 9 rows over the cut: the left tile joins the first two, the right one the last two
        [(40, 10, 90, 15), (40, 20, 120, 23), (40, 10, 45, 23), (70, 40, 120, 49), (115, 20, 120, 49)],
        [(50, 70, 95, 75), (50, 77, 95, 82)],  # neighbours that do not touch stay two
    ],
)
def test_drawn_objects(boxes):
    labels = np.zeros((224, 224), np.uint8)
    for x0, y0, x1, y1 in boxes:
        labels[y0:y1, x0:x1] = 1
    assert_equal(labels, TILING)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "make", [lambda hw: Tiling(hw, 96, 32), lambda hw: Tiling(hw, 128, 64), lambda hw: Tiling.owned(hw, 128, 20)]
)
def test_blobs_and_bars(seed, make):
    rng = np.random.default_rng(seed)
    labels = np.zeros((301, 407), np.uint8)
    noise = ndimage.gaussian_filter(rng.normal(size=labels.shape), 3)
    labels[noise > 0.12] = 1
    for _ in range(4):
        at, width = rng.integers(0, 290), rng.integers(1, 9)
        labels[at : at + width, rng.integers(0, 200) :] = 2
    assert len(detector(labels)) > 50
    assert_equal(labels, make(labels.shape))


def test_other_classes_are_other_objects():
    labels = np.zeros((224, 224), np.uint8)
    labels[10:20, 50:110], labels[20:30, 50:110] = 1, 2
    assert_equal(labels, TILING)
    assert len(stitched(labels, TILING)) == 2


@pytest.mark.parametrize("seed", range(3))
def test_parts_that_wind_through_many_tiles(seed):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(301, 407)), 3)
    labels = (noise > 0.01).astype(np.uint8)  # about half of the image: some parts go from edge to edge
    assert_equal(labels, Tiling(labels.shape, 96, 32))


def test_memory_does_not_grow_with_the_rows_of_tiles():
    def most(rows):
        stitcher, found, held = Stitcher(), 0, 0
        for row in range(rows):
            seen = (0, 64 * row, 96, 64 * row + 96)
            stitcher.add([piece(10, y, 20, y + 5, seen, cut=False) for y in range(seen[1], seen[3] - 5, 6)])
            held = max(held, len(stitcher._pieces))
            found += sum(1 for _ in stitcher.finished(64 * (row + 1)))
        return held, found

    assert most(12)[0] == most(4)[0]
    assert most(12)[1] > 2 * most(4)[1]


def test_the_best_score_is_kept():
    labels = np.zeros((224, 224), np.uint8)
    labels[10:20, 10:110] = 1  # 86 columns in the first tile, 46 in the second
    (found,) = stitched(labels, TILING)
    assert found.score == pytest.approx(86 * 10 / 96**2)
    assert found.corner_xy == (10, 10)
    assert found.mask.hw == (10, 100)  # runs of its own box, whatever the image's size


def test_objects_are_given_out_as_soon_as_no_tile_can_add_to_them():
    labels = np.zeros((224, 224), np.uint8)
    labels[5:10, 5:10] = labels[50:70, 20:30] = 1
    stitcher = Stitcher()
    for tile in TILING.row(0):
        stitcher.add(pieces_of(detector(labels[tile.rows, tile.cols]), tile, labels.shape))
    assert [piece.corner_xy for piece in stitcher.finished(64)] == [(5, 5)]
    assert [piece.corner_xy for piece in stitcher.finished(None)] == [(20, 50)]
    assert list(stitcher.finished(None)) == []


def piece(x0, y0, x1, y1, seen, *, cut, score=0.5):
    return Piece((x0, y0), Rle.from_mask(np.ones((y1 - y0, x1 - x0), bool)), 1, score, seen, cut)


LEFT, RIGHT = (0, 0, 96, 96), (64, 0, 160, 96)


def test_masks_that_differ_a_little_are_one_object():
    # shared 30x10, 1 px more on either side: 300 of 320 in the common columns
    assert is_same(piece(50, 10, 95, 20, LEFT, cut=True), piece(64, 10, 110, 21, RIGHT, cut=True))


def test_a_whole_object_inside_another_stays_its_own():
    small = piece(70, 10, 80, 20, RIGHT, cut=False)
    assert not is_same(piece(66, 5, 96, 60, LEFT, cut=True), small)
    assert is_same(piece(66, 5, 96, 60, LEFT, cut=True), piece(64, 10, 80, 20, RIGHT, cut=True))


def test_objects_of_one_tile_and_of_tiles_apart_are_not_compared():
    assert not is_same(piece(5, 5, 20, 20, LEFT, cut=False), piece(5, 5, 20, 20, LEFT, cut=False))
    assert not is_same(piece(5, 5, 20, 20, LEFT, cut=False), piece(100, 5, 120, 20, (96, 0, 192, 96), cut=False))


def test_the_tile_that_saw_the_object_whole_draws_it():
    ragged, whole = piece(66, 8, 96, 22, LEFT, cut=True, score=0.9), piece(66, 10, 100, 20, RIGHT, cut=False)
    found = joined([ragged, whole])
    assert (found.box, found.score) == (whole.box, 0.9)
    stub = piece(66, 10, 70, 20, RIGHT, cut=False)  # a tile that saw little of it does not
    assert joined([ragged, stub]).box == ragged.box
