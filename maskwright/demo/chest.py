"""Where a drawn chest lies in the picture, and the outlines of its lungs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

Map = NDArray[np.float32]  # (H, W)
Points = NDArray[np.float64]  # (n, 2), x and y

# Outlines in chest coordinates: x from the midline in half widths of the rib cage, y from the apex (0) to the angles (1).
# The patient's right lung lies at negative x, on the left of the picture.
# fmt: off
RIGHT = [
    (-0.17, 0.10), (-0.30, 0.015), (-0.48, 0.07), (-0.68, 0.26), (-0.80, 0.52), (-0.86, 0.78), (-0.90, 1.0), (-0.76, 0.885),
    (-0.52, 0.80), (-0.28, 0.815), (-0.13, 0.86), (-0.16, 0.68), (-0.18, 0.50), (-0.14, 0.33), (-0.12, 0.2),
]
LEFT = [
    (0.17, 0.10), (0.30, 0.015), (0.48, 0.07), (0.68, 0.26), (0.80, 0.52), (0.87, 0.80), (0.90, 1.02), (0.76, 0.93),
    (0.58, 0.86), (0.44, 0.865), (0.47, 0.76), (0.38, 0.64), (0.24, 0.53), (0.20, 0.43), (0.25, 0.34), (0.18, 0.22),
]
# fmt: on


@dataclass(frozen=True)
class Chest:
    """Where chest coordinates lie in the picture, and the few lengths that everything else follows."""

    hw: tuple[int, int]
    centre_x: float
    apex_y: float
    half_width_px: float
    height_px: float
    angle: float

    def to_px(self, points: Sequence[tuple[float, float]] | Points) -> Points:
        """Chest coordinates to pixels, turned about the middle of the chest."""
        p = np.asarray(points, float) * (self.half_width_px, self.height_px) + (0, -self.height_px / 2)
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.asarray(p @ np.array([[c, s], [-s, c]]) + (self.centre_x, self.apex_y + self.height_px / 2))

    def grid(self) -> tuple[Map, Map]:
        """Chest coordinates (x, y) of every pixel, each (H, W)."""
        h, w = self.hw
        ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
        dx, dy = xs - self.centre_x, ys - (self.apex_y + self.height_px / 2)
        c, s = np.cos(self.angle), np.sin(self.angle)
        return (dx * c + dy * s) / self.half_width_px, (dy * c - dx * s) / self.height_px + 0.5


def draw_chest(rng: np.random.Generator, hw: tuple[int, int]) -> Chest:
    h, w = hw
    half = w * rng.uniform(0.30, 0.41)
    return Chest(
        hw,
        centre_x=w * rng.normal(0.5, 0.025),
        apex_y=h * rng.uniform(0.06, 0.19),
        half_width_px=half,
        height_px=min(h * rng.uniform(0.52, 0.80), half * rng.uniform(1.75, 2.35)),
        angle=np.radians(rng.normal(0, 2.2)),
    )


def lung_outlines(rng: np.random.Generator, chest: Chest) -> tuple[Points, Points]:
    """Closed outlines of the right and the left lung in px."""
    right, left = (chest.to_px(_spline(_varied(rng, points))) for points in _control_points(rng))
    return right, left


def _control_points(rng: np.random.Generator) -> tuple[Points, Points]:
    """Control points of both lungs: heart size, diaphragm level and the width of the mediastinum vary together."""
    right, left = np.array(RIGHT), np.array(LEFT)
    heart, middle = rng.normal(0, 0.06), rng.normal(0, 0.025)
    left[9:12, 0] += np.array([0.9, 1.0, 0.9]) * heart
    right[10:12, 0] -= 0.35 * max(heart, 0)
    right[:, 0] -= middle * (right[:, 0] > -0.35)
    left[:, 0] += middle * (left[:, 0] < 0.35)
    for lung, first, last in ((right, 7, 11), (left, 7, 10)):
        lung[first:last, 1] += rng.normal(0, 0.035)
        lung[first + 1 : last - 1, 1] -= abs(rng.normal(0, 0.02))  # a higher dome
        lung[6] += (rng.normal(0, 0.02), rng.normal(0.0, 0.03))
        lung[1, 1] += rng.normal(0, 0.02)
    squeeze = rng.normal(1.0, 0.06, 2)
    right[:, 1] *= squeeze[0]
    left[:, 1] *= squeeze[1] * 0.5 + squeeze[0] * 0.5
    return right, left


def _varied(rng: np.random.Generator, points: Points) -> Points:
    return points + rng.normal(0, 0.012, points.shape)


def _spline(points: Points, steps: int = 12) -> Points:
    """Closed Catmull-Rom curve through the points."""
    before, here, after, next_ = points[np.arange(-1, len(points) - 1)], points, np.roll(points, -1, 0), np.roll(points, -2, 0)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    curve = 0.5 * (
        2 * here
        + (after - before) * t
        + (2 * before - 5 * here + 4 * after - next_) * t**2
        + (3 * here - before - 3 * after + next_) * t**3
    )
    return np.asarray(curve.transpose(1, 0, 2).reshape(-1, 2))


def filled(hw: tuple[int, int], outline: Points) -> NDArray[np.bool_]:
    canvas = Pillow.new("1", (hw[1], hw[0]))
    ImageDraw.Draw(canvas).polygon([tuple(p) for p in outline], fill=1)
    return np.array(canvas, bool)
