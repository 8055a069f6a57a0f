"""The parts of drawn seas by hand: frames, canvas, shadows, waves, wakes, and every kind of ship."""

from __future__ import annotations

import math

import numpy as np
import pytest

from maskwright.demo.tanker_picture import shadows
from maskwright.demo.tanker_ships import Hull, Ship
from maskwright.demo.tanker_vessels import KINDS, draw_hull, draw_kind, draw_ship, fitting
from maskwright.demo.tanker_view import PAVED, Brush, Canvas, Frame, View, fractal
from maskwright.demo.tanker_water import Mood, wake, wave_field
from maskwright.ops.polygons import fill

HW = (96, 128)
STRAIGHT_DOWN = View(HW, 2.0, shadow_px=(0.25, 0.0), lean_px=(0.0, 0.0))
WATER = (40.0, 60.0, 80.0)


def test_a_frame_by_hand():
    frame = Frame((10.0, 20.0), math.pi / 2, 2.0)  # heads down the picture, so starboard is to the left
    assert frame.to_px([(8, 0), (0, 6)]) == pytest.approx(np.array([(10, 24), (7, 20)]))
    moved = frame.moved(8, 6, math.pi)
    assert moved.centre_xy == pytest.approx((7, 24))
    assert moved.to_px([(2, 0)]) == pytest.approx(np.array([(7, 23)]))


def test_what_stands_high_leans_and_what_lies_does_not():
    view = View(HW, 1.0, shadow_px=(0.5, 0.0), lean_px=(0.1, -0.2))
    brush = Brush(Canvas(HW, WATER), view, Frame((50.0, 40.0), 0.0, 1.0), base_m=5.0)
    assert brush.at(3, 4, 5) == pytest.approx((53, 44))
    assert brush.at(3, 4, 15) == pytest.approx((54, 42))  # 10 m above the base


def test_shapes_cover_the_pixels_of_their_masks():
    """Outlines between pixels: as much is covered as they are large, in their middle, and solid pixels are those of `fill`."""
    rng, aside, larger, other = np.random.default_rng(0), [], [], []
    ys, xs = np.indices(HW) + 0.5
    for _ in range(60):
        frame = Frame((rng.uniform(50, 70), rng.uniform(40, 60)), rng.uniform(0, 6.28), 1.0)
        outline = frame.to_px([(-25, -6), (25, -6), (25, 6), (-25, 6)])
        canvas = Canvas(HW, WATER)
        canvas.polygon([(x, y) for x, y in outline.tolist()], (200.0, 0.0, 0.0), 3.0, PAVED)
        share = canvas.covered()
        aside.append(np.array([np.average(xs, weights=share), np.average(ys, weights=share)]) - frame.centre_xy)
        larger.append(share.sum() / (50 * 12))
        mask = fill([outline], HW).to_mask()
        other.append(np.count_nonzero(mask ^ canvas.solid()) / mask.sum())
    assert np.mean(aside, axis=0) == pytest.approx((0, 0), abs=0.03)
    assert np.mean(larger) == pytest.approx(1, abs=0.04)
    assert max(other) < 0.06


def test_the_shadow_of_a_wall_by_hand():
    """10 m high, 0.25 px of shadow a metre: 2.5 px to the right of the wall, none on it, none to its left."""
    canvas = Canvas(HW, WATER)
    Brush(canvas, STRAIGHT_DOWN, Frame((0.0, 0.0), 0.0, 2.0)).box(40, 60, 20, 120, (90.0, 90.0, 90.0), 10.0, PAVED)
    dark = shadows(STRAIGHT_DOWN, canvas)[30]
    assert dark[:30].max() == 0
    assert dark[30:34].sum() == pytest.approx(2.5, abs=0.51)
    assert dark[34:].max() == 0


def test_a_long_shadow_has_no_gaps():
    view = View(HW, 1.0, shadow_px=(-1.4, 1.0), lean_px=(0.0, 0.0))
    canvas = Canvas(HW, WATER)
    Brush(canvas, view, Frame((100.0, 20.0), 0.0, 1.0)).box(-3, 3, -3, 3, (90.0, 90.0, 90.0), 40.0, PAVED)
    dark = shadows(view, canvas)  # 56 px to the left and 40 px down
    assert [round(float(dark[20 + 5 * k, 100 - 7 * k])) for k in range(1, 8)] == [1] * 7
    assert dark[70:].max() == 0


def test_nothing_casts_no_shadow():
    assert shadows(STRAIGHT_DOWN, Canvas(HW, WATER)).max() == 0


@pytest.mark.parametrize(("wind", "axis"), [(0.0, 1), (math.pi / 2, 0)])
def test_waves_run_with_the_wind(wind, axis):
    """Along the wind the brightness changes faster than across it."""
    mood = Mood(WATER, wind, wave_m=20.0, chop=3.0, glint=0.1)
    waves = wave_field(np.random.default_rng(0), View((128, 128), 1.0, (0.5, 0.0), (0.0, 0.0)), mood)
    along, across = (float(np.square(np.diff(waves, axis=a)).mean()) for a in (axis, 1 - axis))
    assert along > 1.2 * across
    assert waves.std() == pytest.approx(1, abs=1e-3)
    assert waves.mean() == pytest.approx(0, abs=1e-3)


def test_a_smoother_slope_is_smoother():
    rough, smooth = (fractal(np.random.default_rng(0), HW, slope) for slope in (0.5, 2.0))
    assert np.square(np.diff(rough)).mean() > 5 * np.square(np.diff(smooth)).mean()


def test_a_wake_lies_astern():
    ship = Ship("tanker", Hull(60.0, 12.0, 0.14, 2.0, 0.8, 4.0), Frame((90.0, 48.0), 0.0, 2.0), knots=14.0)
    found = wake(np.random.default_rng(0), STRAIGHT_DOWN, ship, np.zeros(HW, np.float32))
    assert np.abs(found[:, 107:]).max() < 1, "nothing before the bow, which is at x = 105"
    assert found[46:50, 40:70].mean() > 5
    assert np.abs(found[:8, 60:]).max() < 1, "nothing far aside"


def test_a_hull_by_hand():
    hull = Hull(100.0, 20.0, bow=0.2, blunt=2.0, stern=0.6, deck_m=5.0)
    outline = hull.outline()
    assert outline.min(0) == pytest.approx((-50, -10))
    assert outline.max(0) == pytest.approx((50, 10))
    assert outline[outline[:, 0] > 49.99][:, 1] == pytest.approx(0), "a pointed bow"
    assert np.sort(outline[outline[:, 0] < -49.99][:, 1]) == pytest.approx((-6, 6)), "a square stern, 0.6 of the beam"
    assert hull.half_at(0) == pytest.approx(10)
    assert hull.outline(inset=2.0).max(0) == pytest.approx((48, 8))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metres_per_px", [0.6, 2.5])
def test_every_kind_is_drawn_within_its_outline(kind, metres_per_px):
    rng, view = np.random.default_rng(3), View((256, 256), metres_per_px, (0.3, 0.2), (0.0, 0.0))
    low, high = KINDS[kind].metres
    for length in (low, (low + high) / 2):
        canvas = Canvas(view.hw, WATER)
        ship = Ship(kind, draw_hull(rng, kind, length), Frame((128.0, 128.0), 0.7, metres_per_px))
        draw_ship(rng, canvas, view, ship)
        mask = fill([ship.outline_px()], view.hw).to_mask()
        changed = np.abs(canvas.colours() - np.array(canvas.water)).sum(-1) > 20
        around = fill([ship.outline_px(1.5 + 1.2 * metres_per_px)], view.hw).to_mask()
        assert (changed & ~around).sum() == 0
        assert (changed & mask).sum() > 0.8 * mask.sum()


def test_a_tanker_has_its_house_at_the_stern():
    """Heading right: the last quarter is the brightest of the four."""
    brightest = []
    for seed in range(20):
        rng, canvas = np.random.default_rng(seed), Canvas((128, 256), WATER)
        view = View((128, 256), 1.0, (0.3, 0.2), (0.0, 0.0))
        draw_ship(rng, canvas, view, Ship("tanker", draw_hull(rng, "tanker", 200.0), Frame((128.0, 64.0), 0.0, 1.0)))
        deck = canvas.colours()[60:69].mean((0, 2))
        brightest.append(int(np.argmax([deck[28 + 50 * k : 78 + 50 * k].mean() for k in range(4)])))
    assert brightest.count(0) >= 16


@pytest.mark.parametrize("length", [6.0, 20.0, 60.0, 150.0, 300.0, 385.0])
def test_there_is_a_ship_of_every_length(length):
    rng = np.random.default_rng(0)
    assert fitting(length)
    assert {draw_kind(rng, length, 0.5) for _ in range(60)} <= set(fitting(length))
    assert ("tanker" in fitting(length)) == (length >= 28)
