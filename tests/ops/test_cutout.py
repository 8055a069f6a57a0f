"""Soft borders, own colours along them, and what stands behind."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.ops.cutout import blurred_behind, covering, cut_out, flat, own_colours, put_before, soft_border

RED, BLUE, GREEN = (200, 20, 10), (10, 30, 220), (0, 255, 0)


def left_half(hw: tuple[int, int] = (24, 40)) -> np.ndarray:
    kept = np.zeros(hw, bool)
    kept[:, : hw[1] // 2] = True
    return kept


def red_on_blue(hw: tuple[int, int] = (24, 40)) -> np.ndarray:
    """Red on the left, blue on the right, and one column on each side of the border half of both, as a lens leaves it."""
    picture = np.where(left_half(hw)[..., None], RED, BLUE).astype(np.uint8)
    middle = hw[1] // 2
    picture[:, middle - 1 : middle + 1] = np.add(RED, BLUE) // 2
    return picture


def test_the_border_is_soft_and_half_way_on_the_edge():
    share = soft_border(left_half(), 4.0)[10]
    assert share[10] == pytest.approx(1, abs=1e-3)
    assert share[30] == pytest.approx(0, abs=1e-3)
    assert share[19] + share[20] == pytest.approx(1, abs=1e-3)
    assert (np.diff(share) <= 1e-6).all()
    assert soft_border(left_half())[:, 0].min() == pytest.approx(1)  # the image's own border is none
    assert np.array_equal(soft_border(left_half(), 0), left_half())


def test_the_rim_has_the_colour_of_the_inside():
    kept = left_half()
    colours = own_colours(red_on_blue(), soft_border(kept))
    assert np.abs(colours[:, :22] - RED).max() < 1


def test_a_thing_before_another_ground_has_no_rim_of_the_old_one():
    placed = put_before(red_on_blue(), left_half(), flat(GREEN, (24, 40)))
    assert placed[:, :16].tolist() == np.broadcast_to(RED, (24, 16, 3)).tolist()
    assert placed[:, 25:].tolist() == np.broadcast_to(GREEN, (24, 15, 3)).tolist()
    # Red and green in any mixture have less blue than red itself; a rim would have more.
    assert placed[..., 2].max() <= RED[2]


def test_a_cutout():
    cut = cut_out(red_on_blue(), left_half())
    assert (cut.shape, cut.dtype) == ((24, 40, 4), np.uint8)
    assert cut[5, 5].tolist() == [*RED, 255]
    assert cut[5, 35].tolist() == [0, 0, 0, 0]
    assert 0 < cut[5, 20, 3] < 255
    seen = cut[cut[..., 3] > 0][:, :3].astype(int)
    assert np.abs(seen - RED).max() <= 1


def test_nothing_kept_and_everything_kept():
    picture = red_on_blue()
    nothing, everything = np.zeros((24, 40), bool), np.ones((24, 40), bool)
    assert not cut_out(picture, nothing).any()
    assert np.array_equal(put_before(picture, nothing, flat(GREEN, (24, 40))), flat(GREEN, (24, 40)))
    assert np.array_equal(cut_out(picture, everything)[..., :3], picture)
    assert np.array_equal(blurred_behind(picture, everything, 8), picture)


def test_a_hard_border_changes_no_pixel_of_the_thing():
    picture = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    placed = put_before(picture, left_half(), flat(GREEN, (24, 40)), feather_px=0)
    assert np.array_equal(placed[:, :20], picture[:, :20])
    assert np.array_equal(placed[:, 20:], flat(GREEN, (24, 20)))


@pytest.mark.parametrize("radius_px", [4, 40])
def test_the_ground_is_blurred_without_the_thing(radius_px):
    rng = np.random.default_rng(0)
    hw = (90, 161)
    picture = np.where(left_half(hw)[..., None], RED, (10, 30, 120)).astype(np.int64)
    picture[:, 80:, 2] += rng.integers(-60, 61, (90, 81))
    blurred = blurred_behind(picture.astype(np.uint8), left_half(hw), radius_px)
    assert np.array_equal(blurred[:, :70], picture[:, :70])
    ground = blurred[:, 90:].astype(int)
    assert ground[..., 2].std() < picture[:, 90:, 2].std() / 4
    assert np.abs(ground[..., 0] - 10).max() <= 1  # no red has bled into it


def test_no_radius_no_blur():
    picture = red_on_blue()
    same = blurred_behind(picture, left_half(), 0)
    assert np.array_equal(same, picture)
    assert same is not picture


def test_a_thing_thinner_than_its_border():
    kept = np.zeros((24, 40), bool)
    kept[12] = True
    picture = np.full((24, 40, 3), 90, np.uint8)
    cut = cut_out(picture, kept)
    assert 60 < cut[12, 20, 3] < 255
    assert cut[12, 20, :3].tolist() == [90, 90, 90]


def test_a_picture_that_covers():
    thirds = np.repeat(np.array([RED, GREEN, BLUE], np.uint8), 10, axis=0)[None].repeat(6, axis=0)  # (6, 30, 3)
    square = covering(thirds, (12, 12))
    assert square.shape == (12, 12, 3)
    assert np.abs(square[6, 6].astype(int) - GREEN).max() < 12  # the middle third is kept
    assert np.array_equal(covering(thirds, (6, 30)), thirds)
