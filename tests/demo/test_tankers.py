"""Drawn seas: the same for a seed, different between seeds, a mask for every ship just where it is seen, not to be guessed."""

from __future__ import annotations

import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from maskwright.demo.tankers import CLASSES, LEAST_PX, SIZE_HW, TANKER, VESSEL, scene, scenes, visible_part
from maskwright.errors import InputError
from maskwright.instances import Instances

AROUND = np.ones((3, 3), bool)


@pytest.fixture(scope="module")
def sixty():
    return list(scenes(60, seed=4))


def iou(a: NDArray, b: NDArray) -> float:
    return float(np.count_nonzero(a & b) / max(1, np.count_nonzero(a | b)))


def touching_pairs(ships: Instances) -> int:
    """How many pairs of ships have pixels side by side or corner to corner."""
    ids, pairs = ships.to_ids(), 0
    for number in ships.all_ids.tolist():
        near = ids[ndimage.binary_dilation(ids == number, AROUND)]
        pairs += sum(1 for other in np.unique(near).tolist() if other > number)
    return pairs


def test_a_seed_and_an_index_are_a_scene(sixty):
    pixels, ships = scene(4, 3)
    assert np.array_equal(pixels, sixty[3][0])
    assert ships.masks == sixty[3][1].masks
    assert ships.name == "sea_4_00003"
    assert not np.array_equal(pixels, sixty[4][0])
    assert not np.array_equal(pixels, scene(5, 3)[0])


def test_a_scene_is_the_same_in_another_run(sixty):
    code = "import zlib; from maskwright.demo.tankers import scene; print(zlib.crc32(scene(4, 7)[0].tobytes()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=200)
    assert int(done.stdout) == zlib.crc32(sixty[7][0].tobytes())


def test_what_comes_is_a_picture_and_its_ships(sixty):
    for pixels, ships in sixty:
        assert pixels.shape == (*SIZE_HW, 3)
        assert pixels.dtype == np.uint8
        assert ships.hw == SIZE_HW
        assert ships.classes == CLASSES
        assert ships.scores is None
        assert (ships.areas_px >= LEAST_PX).all()
        assert (ships.boxes >= 0).all()
        assert (ships.boxes <= SIZE_HW[0]).all()
        assert set(ships.names) <= {"tanker", "vessel"}


def test_masks_never_overlap(sixty):
    for _, ships in sixty:
        assert int(ships.areas_px.sum()) == np.count_nonzero(ships.to_ids())


def test_seas_hold_what_seas_hold(sixty):
    counts = np.array([len(ships) for _, ships in sixty])
    classes = np.concatenate([ships.class_ids for _, ships in sixty])
    longest = np.concatenate([np.maximum(*(ships.boxes[:, 2:] - ships.boxes[:, :2]).T) for _, ships in sixty if len(ships)])
    assert 1 <= np.count_nonzero(counts == 0) <= 15, "about one in ten has no ship"
    assert 2 < counts.mean() < 5
    assert counts.max() <= 16
    assert 0.3 < np.mean(classes == TANKER) < 0.6
    assert np.mean(classes == VESSEL) == pytest.approx(1 - np.mean(classes == TANKER))
    assert longest.min() < 25
    assert 130 < longest.max() <= 171
    assert sum(touching_pairs(ships) > 0 for _, ships in sixty) >= 5, "ships side by side"


def test_ships_are_seen_where_their_masks_are(sixty):
    """The brightness steps at the border of the masks, and far less on the same border moved aside."""
    on, off = [], []
    for pixels, ships in sixty:
        owners = ships.to_ids()
        border = np.zeros(SIZE_HW, bool)
        border[1:] = (owners[1:] > 0) != (owners[:-1] > 0)
        step = np.abs(np.diff(pixels.astype(float), axis=0, prepend=pixels[:1])).sum(-1)
        if border.any():
            on.append(step[border].mean())
            aside = np.roll(border, 4, axis=0) & (owners == 0)
            off.append(step[aside].mean())
    assert np.mean(on) > 2 * np.mean(off)


def test_masks_fit_better_than_a_pixel_beside(sixty):
    """Over all scenes the picture steps most at the masks' own border, not at the one of the masks moved by a pixel."""
    moves = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    found = np.zeros(len(moves))
    for pixels, ships in sixty:
        ship = ships.to_ids() > 0
        edge = ndimage.gaussian_gradient_magnitude(pixels.mean(-1), 0.6)
        ring = (ndimage.binary_dilation(ship) & ~ship) | (ship & ~ndimage.binary_erosion(ship))
        found += [float(edge[np.roll(ring, move, (0, 1))].sum()) for move in moves]
    assert moves[int(np.argmax(found))] == (0, 0)
    sides = dict(zip(moves, found, strict=True))
    assert sides[0, 1] == pytest.approx(sides[0, -1], rel=0.05), "neither to the left nor to the right"
    assert sides[1, 0] == pytest.approx(sides[-1, 0], rel=0.05)


def test_no_threshold_finds_the_ships(sixty):
    """The best of all thresholds on how far a pixel's colour is from the sea's (the median) stays poor; it knows no quay from a ship."""
    found = []
    for pixels, ships in sixty:
        if len(ships):
            away = np.abs(pixels.astype(float) - np.median(pixels.reshape(-1, 3), axis=0)).sum(-1)
            found.append(max(iou(away > level, ships.to_ids() > 0) for level in range(15, 200, 15)))
    assert np.mean(found) < 0.6
    assert np.mean(found) > 0.1, "ships do differ from water"


def test_clouds_take_away_what_they_hide_and_small_rests():
    ship, hidden = np.zeros((8, 20), bool), np.zeros((8, 20), bool)
    ship[2:6, 1:19] = True
    hidden[:, 9:17] = True  # leaves 4 x 8 px on the left and 4 x 2 on the right
    assert visible_part(ship, hidden).sum() == 32
    assert not visible_part(ship, hidden)[:, 9:].any(), "8 px are fewer than 12"
    assert visible_part(ship, ~ship).sum() == ship.sum(), "a cloud beside it takes nothing"
    assert not visible_part(ship, np.ones((8, 20), bool)).any()


@pytest.mark.parametrize("size_hw", [(64, 64), (97, 131), (300, 200)])
def test_any_size(size_hw):
    pixels, ships = scene(1, 2, size_hw=size_hw)
    assert pixels.shape == (*size_hw, 3)
    assert ships.hw == size_hw


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "seed=-1, index=0 cannot be"),
        ({"seed": 0, "index": -2}, "seed=0, index=-2 cannot be"),
        ({"seed": 0, "size_hw": (20, 300)}, "size 20 x 300 px: a sea needs at least 64 px"),
    ],
)
def test_wrong_wishes_are_named(wrong, message):
    with pytest.raises(InputError, match=message):
        scene(**wrong)


def test_a_scene_is_drawn_quickly():
    times = []
    for index in range(12):
        start = time.process_time()  # other work on the machine does not count
        scene(6, index)
        times.append(time.process_time() - start)
    assert np.median(times) < 0.12  # 0.02 s alone; coverage and a neighbour on the same core slow it down
