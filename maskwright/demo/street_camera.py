"""Where a drawn street lies in the picture and how it is lit: the camera in the car, the light, and the canvas both maps share.

World coordinates in metres: x to the right of the camera, y up from the road, z ahead. Every shape goes through Canvas, which
draws it into the picture and, with the same outline, into the labels: that is why the labels are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

Points = NDArray[np.float64]  # (n, 2) px, or (n, 3) metres
Rgb = tuple[float, float, float]

SCALE = 2  # the picture is drawn this much larger than it is written, then averaged; labels take one of the pixels
NEAR_M = 0.7


@dataclass(frozen=True)
class Camera:
    """A pinhole camera behind a windscreen; `bend` lets the road swing aside, `roll` tilts the horizon."""

    hw: tuple[int, int]
    focal_px: float
    centre_x: float
    horizon_y: float
    height_m: float
    bend: float
    roll: float

    def project(self, points: Sequence[tuple[float, float, float]] | Points) -> Points:
        """World points (n, 3) to pixels (n, 2); what lies behind the camera is moved to just before it."""
        place = np.asarray(points, float)
        z = np.maximum(place[:, 2], NEAR_M)
        pixels = np.empty((len(place), 2))
        aside = self.focal_px * (place[:, 0] / z + self.bend * z)
        pixels[:, 0] = self.centre_x + aside
        pixels[:, 1] = self.horizon_y + self.focal_px * (self.height_m - place[:, 1]) / z + self.roll * aside
        return pixels

    def px(self, metres: float, z: float) -> float:
        """Length of an upright or sideways line at distance z."""
        return self.focal_px * metres / max(z, NEAR_M)

    def ground(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """World (x, z) of the road under each pixel, (H, W) each; z is inf at and above the horizon."""
        h, w = self.hw
        u = np.arange(w, dtype=np.float32) - np.float32(self.centre_x)
        below = np.arange(h, dtype=np.float32)[:, None] - np.float32(self.horizon_y) - np.float32(self.roll) * u
        z = np.where(below > 0.5, np.float32(self.focal_px * self.height_m) / np.maximum(below, 0.5), np.inf).astype(np.float32)
        near = np.minimum(z, 400)
        return u / np.float32(self.focal_px) * near - np.float32(self.bend) * near * near, z


def draw_camera(rng: np.random.Generator, hw: tuple[int, int]) -> Camera:
    h, w = hw
    return Camera(
        hw,
        focal_px=w * rng.uniform(0.82, 1.25),
        centre_x=w * rng.normal(0.5, 0.09),
        horizon_y=h * np.clip(rng.normal(0.54, 0.06), 0.38, 0.68),
        height_m=rng.uniform(1.15, 1.7),
        bend=rng.normal(0, 0.0022) if rng.random() < 0.5 else rng.normal(0, 0.0005),
        roll=rng.normal(0, 0.008),
    )


@dataclass(frozen=True)
class Light:
    """How bright each way of facing is, and what distance fades to; factors for albedos in 0..255."""

    left: float
    right: float
    front: float
    up: float
    tint: Rgb
    haze: Rgb
    haze_m: float
    sunny: bool
    sun_side: int

    def on(self, colour: Rgb, facing: float, z: float = 0.0) -> tuple[int, int, int]:
        """The colour as it is seen from the camera."""
        clear = math.exp(-z / self.haze_m)
        lit, veil = facing * clear, 1 - clear
        (r, g, b), (tr, tg, tb), (hr, hg, hb) = colour, self.tint, self.haze
        return _byte(r * tr * lit + hr * veil), _byte(g * tg * lit + hg * veil), _byte(b * tb * lit + hb * veil)

    def side(self, x: float) -> float:
        """Brightness of a wall on that side of the road, which faces the road."""
        return self.left if x < 0 else self.right


def _byte(value: float) -> int:
    return int(min(255.0, max(0.0, value)))


def draw_light(rng: np.random.Generator, sky: str) -> Light:
    """Under a blown-out sky the street is dim, at dusk it is dark; the sun lights one side of the street only."""
    sunny = sky in ("clear", "broken", "white") and rng.random() < 0.65
    level = {"clear": (0.5, 0.9), "broken": (0.5, 0.9), "white": (0.4, 0.85), "overcast": (0.4, 0.8), "dusk": (0.2, 0.45)}[sky]
    ambient = rng.uniform(*level)
    sun = rng.uniform(0.2, 0.6) * ambient if sunny else 0.0
    side = int(rng.choice([-1, 1]))
    warm = rng.normal(0, 0.05) + (0.03 if sunny else -0.02)
    haze_level = 235 if sky in ("clear", "white", "broken") else 90 if sky == "dusk" else 190
    return Light(
        left=ambient * rng.uniform(0.75, 1.0) + sun * (side < 0),
        right=ambient * rng.uniform(0.75, 1.0) + sun * (side > 0),
        front=ambient * rng.uniform(0.65, 0.95) + sun * rng.uniform(0, 0.6),
        up=ambient * rng.uniform(0.95, 1.15) + sun * 0.8,
        tint=(1 + warm, 1.0, 1 - warm),
        haze=(haze_level * 0.96, haze_level * 0.98, float(haze_level)),
        haze_m=rng.uniform(250, 1500),
        sunny=sunny,
        sun_side=side,
    )


@dataclass
class Canvas:
    """The picture (SCALE times larger) and its labels; every shape is given in px of the final picture."""

    hw: tuple[int, int]
    picture: Pillow.Image
    labels: Pillow.Image = field(init=False)
    shade: Pillow.Image = field(init=False)  # how much light the ground lacks, 0..255

    def __post_init__(self) -> None:
        self.labels = Pillow.new("L", self.picture.size, 0)
        self.shade = Pillow.new("L", (self.hw[1], self.hw[0]), 0)
        self._pens = ImageDraw.Draw(self.picture), ImageDraw.Draw(self.labels), ImageDraw.Draw(self.shade)

    def polygon(self, points: Points, colour: tuple[int, int, int] | None, label: int | None = None) -> None:
        """Fill an outline; without a colour only the labels change, without a label only the picture."""
        flat = (points * SCALE).ravel().tolist()
        if colour is not None:
            self._pens[0].polygon(flat, fill=colour)
        if label is not None:
            self._pens[1].polygon(flat, fill=label)

    def ellipse(
        self, centre: Sequence[float], radii: Sequence[float], colour: tuple[int, int, int] | None, label: int | None = None
    ) -> None:
        (x, y), (rx, ry) = centre, radii
        box = ((x - rx) * SCALE, (y - ry) * SCALE, (x + rx) * SCALE, (y + ry) * SCALE)
        if colour is not None:
            self._pens[0].ellipse(box, fill=colour)
        if label is not None:
            self._pens[1].ellipse(box, fill=label)

    def line(self, points: Points, width_px: float, colour: tuple[int, int, int] | None, label: int | None = None) -> None:
        """A stroke, never thinner than one drawn pixel."""
        flat, width = (points * SCALE).ravel().tolist(), max(1, round(width_px * SCALE))
        if colour is not None:
            self._pens[0].line(flat, fill=colour, width=width, joint="curve")
        if label is not None:
            self._pens[1].line(flat, fill=label, width=width, joint="curve")

    def shadow(self, points: Points, amount: float) -> None:
        """Take light from the ground inside an outline."""
        self._pens[2].polygon(points.ravel().tolist(), fill=int(255 * amount))

    def shadow_spot(self, centre: Sequence[float], radii: Sequence[float], amount: float) -> None:
        (x, y), (rx, ry) = centre, radii
        self._pens[2].ellipse((x - rx, y - ry, x + rx, y + ry), fill=int(255 * amount))

    def label_array(self) -> NDArray[np.uint8]:
        """(H, W) class ids: one of the drawn pixels each, so no two classes are ever mixed."""
        return np.asarray(self.labels)[SCALE // 2 :: SCALE, SCALE // 2 :: SCALE].copy()
