"""How a drawn sea is seen from orbit: scale, sun and viewing angle, the canvas that everything is drawn on, and frames of things.

Pixels: x to the right, y down, pixel (column c, row r) covers [c, c + 1) x [r, r + 1), as in ops/polygons.py. Things are measured
in metres: s along their heading, t across it to the right, z above the water.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw
from scipy import fft

Rgb = tuple[float, float, float]
Point = tuple[float, float]
Map = NDArray[np.float32]  # (H, W), or (H, W, 3)

SCALE = 4  # the picture is drawn this much larger than it is written, then averaged
HEIGHT_SCALE = 2
HEIGHTS_A_M = 2  # heights are kept in half metres
WATER, SOIL, PAVED, SHIP = range(4)  # what a pixel is made of; decides its grain
TURN = np.linspace(0, 2 * math.pi, 20, endpoint=False)


@dataclass(frozen=True)
class View:
    """Where the satellite and the sun stand.

    Attributes:
        shadow_px: where the shadow of a point 1 m high falls, in px from its foot
        lean_px: where the point itself is seen, in px from its foot; nothing straight below the satellite
    """

    hw: tuple[int, int]
    metres_per_px: float
    shadow_px: Point
    lean_px: Point

    @property
    def reach_m(self) -> float:
        """Half the picture's diagonal: nothing is farther from its middle."""
        return math.hypot(*self.hw) / 2 * self.metres_per_px


def draw_view(rng: np.random.Generator, hw: tuple[int, int], metres_per_px: float) -> View:
    sun, height = rng.uniform(0, 2 * math.pi), math.radians(rng.uniform(28, 65))
    seen, off = rng.uniform(0, 2 * math.pi), math.radians(abs(rng.normal(0, 4.5)))
    shadow, lean = 1 / math.tan(height) / metres_per_px, min(0.16, math.tan(off)) / metres_per_px
    return View(
        hw,
        metres_per_px,
        (math.cos(sun) * shadow, math.sin(sun) * shadow),
        (math.cos(seen) * lean, math.sin(seen) * lean),
    )


@dataclass(frozen=True)
class Frame:
    """A place and a heading in the picture: metres along and across to pixels."""

    centre_xy: Point
    heading: float  # of s, radians from x towards y; t is a quarter turn further, so it points to starboard
    metres_per_px: float

    @property
    def forward_xy(self) -> Point:
        return math.cos(self.heading), math.sin(self.heading)

    def to_px(self, points: Sequence[Point] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Metres (n, 2) to pixels (n, 2)."""
        c, s = self.forward_xy
        turned = np.asarray(points, float) @ np.array([[c, s], [-s, c]])
        return np.asarray(turned / self.metres_per_px + self.centre_xy, np.float64)

    def moved(self, s: float, t: float, turn: float = 0.0) -> Frame:
        """The frame of something that lies at (s, t) in this one and is turned against it."""
        (x, y), (c, d), m = self.centre_xy, self.forward_xy, self.metres_per_px
        return Frame((x + (s * c - t * d) / m, y + (s * d + t * c) / m), self.heading + turn, m)


class Canvas:
    """What is drawn above the water: colours, how much of a pixel is covered, heights for shadows, kinds for the grain."""

    def __init__(self, hw: tuple[int, int], water: Rgb) -> None:
        h, w = hw
        self.hw, self.water = hw, byte(water)
        self.picture = Pillow.new("RGB", (w * SCALE, h * SCALE), self.water)
        self.cover = Pillow.new("L", (w * SCALE, h * SCALE), 0)
        self.heights = Pillow.new("L", (w * HEIGHT_SCALE, h * HEIGHT_SCALE), 0)
        self.kinds = Pillow.new("L", (w, h), WATER)
        self._pens = [ImageDraw.Draw(p) for p in (self.picture, self.cover, self.heights, self.kinds)]

    def polygon(self, points: Sequence[Point], colour: Rgb, z_m: float | None = None, kind: int | None = None) -> None:
        """Fill an outline given in px; with a kind it is a thing of its own, without one a detail on what is there already."""
        fine = [(x * SCALE, y * SCALE) for x, y in points]
        self._pens[0].polygon(fine, fill=byte(colour))
        if kind is not None:
            self._pens[1].polygon(fine, fill=255)
            self._pens[3].polygon(list(points), fill=kind)
        if z_m is not None:
            high = [(x * HEIGHT_SCALE, y * HEIGHT_SCALE) for x, y in points]
            self._pens[2].polygon(high, fill=max(0, min(255, int(z_m * HEIGHTS_A_M))))

    def colours(self) -> Map:
        """(H, W, 3), plain water where nothing is."""
        return np.asarray(self.picture.reduce(SCALE), np.float32)

    def covered(self) -> Map:
        """(H, W) in [0, 1]: how much of each pixel is not water."""
        return np.asarray(self.cover.reduce(SCALE), np.float32) / np.float32(255)

    def solid(self) -> NDArray[np.bool_]:
        """(H, W): whether the centre of each pixel is not water."""
        return np.asarray(self.cover)[SCALE // 2 :: SCALE, SCALE // 2 :: SCALE] > 0


class Brush:
    """Draws in metres of a frame; what stands high leans as the satellite sees it."""

    def __init__(self, canvas: Canvas, view: View, frame: Frame, base_m: float = 0.0) -> None:
        self.canvas, self.view, self.frame, self.base_m = canvas, view, frame, base_m
        self.px_a_m = 1 / frame.metres_per_px
        self._forward = frame.forward_xy

    def at(self, s: float, t: float, z: float) -> Point:
        """Where a point is seen, in px; a height of base_m leans nowhere."""
        (x, y), (c, d), m = self.frame.centre_xy, self._forward, self.px_a_m
        (lx, ly), up = self.view.lean_px, z - self.base_m
        return x + (s * c - t * d) * m + lx * up, y + (s * d + t * c) * m + ly * up

    def sees(self, s: float, t: float, radius_m: float) -> bool:
        """Whether anything within the radius of a place is in the picture."""
        x, y = self.at(s, t, self.base_m)
        r, (h, w) = radius_m * self.px_a_m, self.canvas.hw
        return -r < x < w + r and -r < y < h + r

    def shape(self, points: Sequence[Point], colour: Rgb, z: float | None = None, kind: int | None = None) -> None:
        """A flat shape at the height z; None: it lies on what is there and changes no shadow."""
        height = self.base_m if z is None else z
        self.canvas.polygon([self.at(s, t, height) for s, t in points], colour, z, kind)

    def box(
        self, s0: float, s1: float, t0: float, t1: float, colour: Rgb, z: float | None = None, kind: int | None = None
    ) -> None:
        self.shape(((s0, t0), (s1, t0), (s1, t1), (s0, t1)), colour, z, kind)

    def disc(self, s: float, t: float, radius: float, colour: Rgb, z: float | None = None, kind: int | None = None) -> None:
        corners = [(s + radius * math.cos(a), t + radius * math.sin(a)) for a in TURN]
        self.shape(corners, colour, z, kind)

    def line(self, a: Point, b: Point, width: float, colour: Rgb, z: float | None = None, kind: int | None = None) -> None:
        """A straight stroke between two places."""
        (s0, t0), (s1, t1) = a, b
        length = math.hypot(s1 - s0, t1 - t0) or 1.0
        ns, nt = -(t1 - t0) / length * width / 2, (s1 - s0) / length * width / 2
        self.shape(((s0 + ns, t0 + nt), (s1 + ns, t1 + nt), (s1 - ns, t1 - nt), (s0 - ns, t0 - nt)), colour, z, kind)

    def prism(self, points: Sequence[Point], foot: float, top: float, colour: Rgb, wall: float = 0.6) -> None:
        """Something with walls: they show on the side to which it leans."""
        kind = PAVED if self.base_m == 0 else None
        if (top - foot) * math.hypot(*self.view.lean_px) > 0.35:
            low, high = ([self.at(s, t, z) for s, t in points] for z in (foot, top))
            shade: Rgb = (colour[0] * wall, colour[1] * wall, colour[2] * wall)
            for k in range(len(points)):
                self.canvas.polygon((low[k - 1], low[k], high[k], high[k - 1]), shade, foot, kind)
        self.shape(points, colour, top, kind)

    def block(self, s0: float, s1: float, t0: float, t1: float, foot: float, top: float, colour: Rgb) -> None:
        self.prism(((s0, t0), (s1, t0), (s1, t1), (s0, t1)), foot, top, colour)


def byte(colour: Rgb) -> tuple[int, int, int]:
    r, g, b = colour
    return min(255, max(0, int(r))), min(255, max(0, int(g))), min(255, max(0, int(b)))


def varied(rng: np.random.Generator, colour: Rgb, spread: float = 12) -> Rgb:
    """A colour near the given one: brightness varies more than hue."""
    level, red, green, blue = rng.normal(0, spread, 4).tolist()
    r, g, b = colour
    return max(4, r + level + 0.25 * red), max(4, g + level + 0.25 * green), max(4, b + level + 0.25 * blue)


def pick(rng: np.random.Generator, colours: Sequence[Rgb], spread: float = 12) -> Rgb:
    return varied(rng, colours[int(rng.integers(len(colours)))], spread)


def lighter(colour: Rgb, factor: float) -> Rgb:
    """Darker for factors under 1."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def smooth(rng: np.random.Generator, hw: tuple[int, int], cells: float) -> Map:
    """Noise of about unit strength; `cells` of it lie along the longer side."""
    h, w = hw
    rows, columns = (max(2, round(cells * side / max(h, w)) + 1) for side in hw)
    coarse = Pillow.fromarray(rng.standard_normal((rows, columns), np.float32))
    return np.asarray(coarse.resize((w, h), Pillow.Resampling.BICUBIC), np.float32)


@functools.lru_cache(maxsize=4)
def frequencies(hw: tuple[int, int]) -> tuple[Map, Map]:
    """Length and direction of each wave vector of a real field, in cycles a pixel and radians; (H, W // 2 + 1) each."""
    fy, fx = np.fft.fftfreq(hw[0])[:, None], np.fft.rfftfreq(hw[1])[None]
    length = np.hypot(fy, fx).astype(np.float32)
    length[0, 0] = 1.0
    return length, np.arctan2(fy, fx).astype(np.float32)


def field(rng: np.random.Generator, hw: tuple[int, int], amplitude: Map) -> Map:
    """Noise of unit strength with the given amplitude of each wave; what leaves on one side comes in on the other."""
    noise = rng.standard_normal((2, *amplitude.shape), np.float32)
    waves = (noise[0] + 1j * noise[1]) * amplitude
    waves[0, 0] = 0
    made = fft.irfft2(waves, s=hw, overwrite_x=True)
    return np.asarray(made / max(float(made.std()), 1e-12), np.float32)


def fractal(rng: np.random.Generator, hw: tuple[int, int], slope: float) -> Map:
    """Noise that looks alike at all scales; the higher the slope, the smoother."""
    return field(rng, hw, frequencies(hw)[0] ** np.float32(-slope))
