"""How the drawn X-rays come about: tissue, bone and air along each ray, attenuated, developed on film, framed.

All shapes are parametric curves of our own with random proportions, in the chest coordinates of chest.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from maskwright.demo.chest import Chest, Map, Points, filled

Side = NDArray[np.bool_]


class _Strokes:
    """Lines of given width and weight, added up with smooth edges: bones, vessels, tubes."""

    def __init__(self, hw: tuple[int, int]) -> None:
        self.hw, self.total = hw, np.zeros(hw, np.float32)

    def line(self, points: Points, width_px: float, weight: float, soft_px: float = 0.6) -> None:
        self.lines([(points, width_px)], weight, soft_px)

    def lines(self, lines: Sequence[tuple[Points, float]], weight: float, soft_px: float) -> None:
        canvas = Pillow.new("L", (self.hw[1], self.hw[0]))
        draw = ImageDraw.Draw(canvas)
        for points, width_px in lines:
            draw.line([tuple(p) for p in points], fill=255, width=max(1, round(width_px)), joint="curve")
        drawn = np.asarray(canvas, np.float32) / 255
        self.total += weight * ndimage.gaussian_filter(drawn, soft_px)


def attenuation(rng: np.random.Generator, chest: Chest, sides: Sequence[Side]) -> Map:
    """Attenuation along each ray, in units in which the thickest soft tissue is about 1."""
    x, y = chest.grid()
    scale = chest.half_width_px / 180  # widths below are for a half width of 180 px
    body = _body(rng, x, y)
    air = _air_of_lungs(rng, chest, sides, scale)
    ray = body * (1 - air) + _mediastinum(rng, x, y)
    # Through the dense belly the lower ribs hardly show.
    ray += _skeleton(rng, chest, scale) * (body > 0.02) * (1 - 0.65 * _smooth_step(y, 0.85, 1.05))
    ray += _vessels(rng, chest, sides, scale) + _disease(rng, chest, sides, scale)
    ray += _belly(rng, x, y, body, sides) + _breasts(rng, x, y, body)
    return ray + _devices(rng, chest, scale)


def _body(rng: np.random.Generator, x: Map, y: Map) -> Map:
    """Soft tissue without lungs: trunk, shoulders and neck; thinner towards its outline, nothing outside."""
    trunk = rng.uniform(1.14, 1.42) + 0.05 * np.sin(3 * y)
    shoulder = rng.uniform(0.02, 0.10)
    slope = rng.uniform(0.55, 0.9)
    # Above the shoulder line the outline narrows to the neck.
    rise = np.clip((shoulder - y) / 0.22, 0, 3)
    width = np.where(
        y > shoulder,
        trunk + rng.uniform(0.25, 0.6) * np.exp(-(((y - 0.12) / 0.25) ** 2)),
        (trunk + 0.45) * np.exp(-slope * rise * 2.2) + 0.27,
    )
    depth = np.sqrt(np.clip(1 - (x / width) ** 2, 0, None))
    arms = _plateau((np.abs(x) - rng.uniform(1.45, 1.7)) / 0.22) * (y > 0.12) * rng.choice([0.0, 0.5, 0.6])
    soft = ndimage.gaussian_filter(np.maximum(depth**0.6, arms).astype(np.float32), 2.0)
    return (rng.uniform(0.62, 0.80) * soft * (0.9 + 0.18 * np.clip(y, 0, 1.2))).astype(np.float32)


def _air_of_lungs(rng: np.random.Generator, chest: Chest, sides: Sequence[Side], scale: float) -> Map:
    """Share of the ray's tissue that is lung: rises from the border inwards, more in the lower field."""
    air = np.zeros(chest.hw, np.float32)
    for side in sides:
        inside = ndimage.distance_transform_edt(side).astype(np.float32)
        air += (1 - np.exp(-inside / (rng.uniform(5, 9) * scale))) * rng.uniform(0.50, 0.62)
    return ndimage.gaussian_filter(air, 1.2 * scale)


def _mediastinum(rng: np.random.Generator, x: Map, y: Map) -> Map:
    """Spine with its discs, great vessels, heart; the windpipe is air in it."""
    spine = _plateau(x / rng.uniform(0.10, 0.13)) * (
        0.17 + 0.03 * np.sin(2 * np.pi * y / rng.uniform(0.085, 0.10) + rng.uniform(0, 6))
    )
    vessels = 0.16 * _plateau(x / rng.uniform(0.19, 0.23)) / (1 + np.exp(-(y - 0.12) / 0.05))
    knob = 0.10 * np.exp(-(((x - 0.19) / 0.09) ** 2) - ((y - 0.34) / 0.06) ** 2)
    tilt, size = rng.uniform(0.3, 0.7), rng.uniform(0.85, 1.15)
    hx, hy = (
        (x - 0.12) * np.cos(tilt) + (y - 0.70) * 1.7 * np.sin(tilt),
        -(x - 0.12) * np.sin(tilt) + (y - 0.70) * 1.7 * np.cos(tilt),
    )
    inside = 1 - (hx / (0.40 * size)) ** 2 - (hy / (0.30 * size)) ** 2
    heart = rng.uniform(0.13, 0.20) * np.clip(inside, 0, None) ** 0.4
    pipe = rng.uniform(0.10, 0.16) * _plateau((x - rng.normal(0.0, 0.012)) / 0.05) / (1 + np.exp((y - 0.36) / 0.02))
    return ndimage.gaussian_filter((spine + vessels + knob + heart - pipe).astype(np.float32), 2.0)


def _skeleton(rng: np.random.Generator, chest: Chest, scale: float) -> Map:
    """Ribs behind and in front, clavicles, shoulder blades, upper arms: bands that are densest at their edges."""
    strokes = _Strokes(chest.hw)
    first, pitch, drop = rng.uniform(-0.02, 0.03), rng.uniform(0.088, 0.102), rng.uniform(0.10, 0.18)
    rib = rng.uniform(9, 13) * scale
    behind, front = [], []
    t = np.linspace(0, 1, 24)
    for side in (-1, 1):
        for n in range(11):
            reach = 0.42 + 0.53 * min(1.0, (n + 0.6) / 5)
            start = first + pitch * n + rng.normal(0, 0.004)
            arch = -0.055 * np.sin(np.pi * np.clip(t * 1.1, 0, 1)) * (1.1 - 0.05 * n)
            behind.append(
                chest.to_px(np.stack((side * (0.10 + (reach - 0.10) * np.sin(t * np.pi / 2)), start + arch + drop * t**2.2), 1))
            )
            if 1 <= n <= 7:  # from the side wall forward and down, ending where the cartilage begins
                end = rng.uniform(0.34, 0.42)
                front.append(
                    chest.to_px(
                        np.stack(
                            (
                                side * (reach - (reach - end) * t),
                                start + drop + 0.05 + (0.13 + 0.012 * n) * np.sqrt(t) - 0.02 * np.sin(np.pi * t),
                            ),
                            1,
                        )
                    )
                )
    weight = rng.uniform(0.8, 1.5)
    strokes.lines([(p, rib) for p in behind], 0.050 * weight, 1.0 * scale)
    strokes.lines([(p + np.array((0, s * rib / 2)), 1.6 * scale) for p in behind for s in (-1, 1)], 0.045 * weight, 0.8 * scale)
    strokes.lines([(p, rib * 1.05) for p in front], 0.030 * weight, 1.4 * scale)
    strokes.lines([(p + np.array((0, s * rib / 2)), 1.5 * scale) for p in front for s in (-1, 1)], 0.022 * weight, 0.9 * scale)
    lift, bow = rng.normal(0.02, 0.03), rng.uniform(0.02, 0.05)
    collar = [
        chest.to_px(np.stack((side * (0.09 + 0.86 * t), 0.135 + lift * t - 0.09 * t - bow * np.sin(2 * np.pi * t)), 1))
        for side in (-1, 1)
    ]
    strokes.lines([(p, 13 * scale) for p in collar], 0.085 * weight, 1.2 * scale)
    strokes.lines([(p + np.array((0, s * 6 * scale)), 1.8 * scale) for p in collar for s in (-1, 1)], 0.05 * weight, 0.8 * scale)
    out = rng.uniform(-0.06, 0.16)
    blades = [
        chest.to_px(
            np.array([(s * (0.62 + out), 0.10), (s * (0.74 + out), 0.28), (s * (0.86 + out), 0.52), (s * (0.98 + out), 0.20)])
        )
        for s in (-1, 1)
    ]
    for blade in blades:
        strokes.line(np.vstack((blade, blade[:1])), 5 * scale, 0.05 * weight, 2.0 * scale)
        strokes.total += 0.035 * weight * ndimage.gaussian_filter(filled(chest.hw, blade).astype(np.float32), 2.5 * scale)
    arms = [chest.to_px(np.array([(s * 1.12, 0.06), (s * (1.25 + rng.uniform(0, 0.25)), 0.55)])) for s in (-1, 1)]
    strokes.lines([(a, 30 * scale) for a in arms], 0.07 * weight, 5 * scale)
    heads = [
        chest.to_px(np.array([(s * (1.12 + 0.1 * np.cos(v)), 0.07 + 0.055 * np.sin(v)) for v in np.linspace(0, 6.28, 24)]))
        for s in (-1, 1)
    ]
    for head in heads:
        strokes.total += 0.10 * weight * ndimage.gaussian_filter(filled(chest.hw, head).astype(np.float32), 3 * scale)
    return strokes.total


def _vessels(rng: np.random.Generator, chest: Chest, sides: Sequence[Side], scale: float) -> Map:
    """Lung vessels: trees that leave the hilum, thinner and fainter with each branching."""
    levels: list[list[tuple[Points, float]]] = [[], [], []]
    for sign in (-1, 1):
        root = np.array([sign * rng.uniform(0.20, 0.26), rng.uniform(0.44, 0.50)])
        for _ in range(rng.integers(10, 16)):
            angle = rng.uniform(-1.35, 1.35)
            _grow(
                rng,
                chest,
                levels,
                root + rng.normal(0, 0.02, 2),
                np.array([sign * np.cos(angle), np.sin(angle) * 0.75]),
                0,
                scale,
            )
    total = np.zeros(chest.hw, np.float32)
    for lines, weight, soft in zip(levels, (0.075, 0.05, 0.032), (1.8, 1.1, 0.8), strict=True):
        strokes = _Strokes(chest.hw)
        strokes.lines(lines, weight, soft * scale)
        total += strokes.total
    inside = ndimage.gaussian_filter((sides[0] | sides[1]).astype(np.float32), 3 * scale)
    hila = np.zeros(chest.hw, np.float32)
    x, y = chest.grid()
    for sign in (-1, 1):
        hila += 0.09 * np.exp(-(((x - sign * 0.23) / 0.09) ** 2) - ((y - 0.47) / 0.07) ** 2)
    haze = ndimage.gaussian_filter(rng.normal(0, 1, chest.hw).astype(np.float32), 2.2 * scale) * rng.uniform(0.03, 0.08)
    return (total * rng.uniform(0.9, 1.8) + haze + hila) * inside


def _grow(
    rng: np.random.Generator,
    chest: Chest,
    levels: list[list[tuple[Points, float]]],
    start: Points,
    way: Points,
    level: int,
    scale: float,
) -> None:
    length = rng.uniform(0.12, 0.24) * (0.8**level)
    bend = rng.normal(0, 0.35)
    t = np.linspace(0, 1, 6)[:, None]
    across = np.array([-way[1], way[0]])
    path = start + length * (t * way + bend * 0.5 * t**2 * across)
    levels[level].append((chest.to_px(path), (4.5, 2.6, 1.4)[level] * scale))
    if level < 2:
        for turn in (rng.uniform(0.2, 0.7), -rng.uniform(0.2, 0.7), rng.normal(0, 0.15)):
            c, s = np.cos(turn + bend * 0.5), np.sin(turn + bend * 0.5)
            _grow(rng, chest, levels, path[-1], np.array([way[0] * c - way[1] * s, way[0] * s + way[1] * c]), level + 1, scale)


def _disease(rng: np.random.Generator, chest: Chest, sides: Sequence[Side], scale: float) -> Map:
    """In a third of the scenes: infiltrates, nodules, scars of the apex, or an effusion that fills the angle."""
    total = np.zeros(chest.hw, np.float32)
    if rng.random() > 0.35:
        return total
    x, y = chest.grid()
    lungs = ndimage.gaussian_filter((sides[0] | sides[1]).astype(np.float32), 1.5 * scale)
    for _ in range(rng.integers(1, 4)):
        cx, cy = rng.choice([-1, 1]) * rng.uniform(0.25, 0.75), rng.uniform(0.08, 0.85)
        spot = np.exp(-(((x - cx) / rng.uniform(0.05, 0.22)) ** 2) - ((y - cy) / rng.uniform(0.04, 0.14)) ** 2)
        cloud = ndimage.gaussian_filter(rng.normal(0, 1, chest.hw).astype(np.float32), 5 * scale) * 5 * scale
        total += rng.uniform(0.08, 0.30) * spot * np.clip(0.7 + cloud, 0, 1.8)
    if rng.random() < 0.4:
        side, level = rng.choice([-1, 1]), rng.uniform(0.70, 0.95)
        meniscus = level - 0.16 * np.clip(np.abs(x) - 0.45, 0, None)
        total += rng.uniform(0.15, 0.30) * (x * side > 0) / (1 + np.exp(-(y - meniscus) / 0.02))
    return np.asarray(total * lungs, np.float32)


def _belly(rng: np.random.Generator, x: Map, y: Map, body: Map, sides: Sequence[Side]) -> Map:
    """Below the diaphragm: liver and spleen, sometimes the stomach's bubble of gas."""
    lungs = sides[0] | sides[1]
    below = np.maximum.accumulate(lungs, axis=0) & ~lungs & (y > 0.6)
    dense = rng.uniform(0.08, 0.18) * ndimage.gaussian_filter(below.astype(np.float32), 2.0)
    if rng.random() < 0.6:
        cx, cy = rng.uniform(0.38, 0.58), rng.uniform(0.98, 1.10)
        dense -= (
            rng.uniform(0.08, 0.22)
            / (1 + np.exp((np.hypot((x - cx) / rng.uniform(0.12, 0.22), (y - cy) / rng.uniform(0.05, 0.09)) - 1) / 0.12))
            * (~lungs)
        )
    return np.asarray(dense * (body > 0.05), np.float32)


def _breasts(rng: np.random.Generator, x: Map, y: Map, body: Map) -> Map:
    if rng.random() > 0.4:
        return np.zeros_like(x)
    weight, cy = rng.uniform(0.04, 0.11), rng.uniform(0.62, 0.85)
    both = sum(
        1
        / (1 + np.exp((np.hypot((x - s * 0.55) / 0.42, (y - cy) / 0.24) - 1) / 0.05))
        * (0.4 + 0.6 * np.clip((y - cy + 0.24) / 0.48, 0, 1))
        for s in (-1, 1)
    )
    return np.asarray(weight * both * (body > 0.05), np.float32)


def _plateau(values: NDArray[Any]) -> NDArray[Any]:
    """exp(-values^4): flat in the middle, steep at 1; squaring twice costs a tenth of a power."""
    square = values * values
    return np.asarray(np.exp(-square * square))


def _smooth_step(values: Map, low: float, high: float) -> Map:
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _devices(rng: np.random.Generator, chest: Chest, scale: float) -> Map:
    strokes = _Strokes(chest.hw)
    t = np.linspace(0, 1, 20)
    if rng.random() < 0.15:  # a central line from the collar bone to the heart
        s = rng.choice([-1, 1])
        strokes.line(chest.to_px(np.stack((s * 0.6 * (1 - t) ** 1.5 - 0.06, 0.08 + 0.45 * t**1.3), 1)), 2 * scale, 0.16)
    if rng.random() < 0.15:  # electrodes and their wires
        for _ in range(rng.integers(1, 4)):
            end = np.array([rng.uniform(-0.8, 0.8), rng.uniform(0.1, 0.9)])
            strokes.line(chest.to_px(end + t[:, None] * rng.normal(0, 0.6, 2) + np.sin(t * 5)[:, None] * 0.04), 2 * scale, 0.15)
            spot = chest.to_px(end + 0.001 * np.stack((np.cos(t * 7), np.sin(t * 7)), 1))
            strokes.line(spot, 11 * scale, 0.22)
    if rng.random() < 0.08:  # a pacemaker
        s, cx, cy = rng.choice([-1, 1]), rng.uniform(0.45, 0.6), rng.uniform(0.12, 0.2)
        box = chest.to_px(np.array([(s * cx + 0.09 * np.cos(a), cy + 0.055 * np.sin(a)) for a in np.linspace(0, 6.28, 24)]))
        strokes.total += 0.45 * ndimage.gaussian_filter(filled(chest.hw, box).astype(np.float32), 0.8)
        strokes.line(chest.to_px(np.stack((s * cx * (1 - t) + 0.1 * t, cy + 0.6 * t**0.8), 1)), 2 * scale, 0.2)
    return strokes.total


def developed(rng: np.random.Generator, chest: Chest, ray: Map, bits: int) -> NDArray[np.generic]:
    """Film curve, detector blur and noise, collimation and markers; bright is what stops the rays."""
    h, w = chest.hw
    light = np.exp(-rng.uniform(1.6, 2.6) * np.clip(ray, 0, None))
    light *= (
        1
        + rng.normal(0, 0.04) * np.linspace(-1, 1, w, dtype=np.float32)
        + rng.normal(0, 0.04) * np.linspace(-1, 1, h, dtype=np.float32)[:, None]
    )
    light = ndimage.gaussian_filter(light, rng.uniform(0.4, 0.9) * min(h, w) / 512)
    light += rng.normal(0, 1, (h, w)).astype(np.float32) * np.sqrt(np.clip(light, 0.01, None)) * rng.uniform(0.004, 0.018)
    film = -np.log(np.clip(light, 1e-3, None))
    low, high = np.percentile(film, (rng.uniform(0.2, 6), rng.uniform(97, 99.8)))
    grey = np.clip((film - low) / (high - low), 0, 1.15)
    # What digital systems do before a doctor sees the image: broad contrast is flattened, fine contrast is raised.
    broad = ndimage.gaussian_filter(grey, min(h, w) * rng.uniform(0.03, 0.08))
    grey = np.clip(broad + rng.uniform(1.0, 2.0) * (grey - broad), 0, 1) ** rng.uniform(0.5, 1.1)
    grey = grey * rng.uniform(0.86, 1.0) + rng.uniform(0, 0.05)
    grey = _framed(rng, grey.astype(np.float32))
    top = 255 if bits == 8 else 65535
    return np.round(np.clip(grey, 0, 1) * top).astype(np.uint8 if bits == 8 else np.uint16)


def _framed(rng: np.random.Generator, grey: Map) -> Map:
    """Collimation borders and a burned-in side marker, as hospitals leave them."""
    h, w = grey.shape
    if rng.random() < 0.45:
        edges = (rng.uniform(0, 0.06, 4) * (h, h, w, w)).astype(int)
        fill = 0.02 if rng.random() < 0.88 else 0.97
        grey[: edges[0]], grey[h - edges[1] :] = fill, fill
        grey[:, : edges[2]], grey[:, w - edges[3] :] = fill, fill
    if rng.random() < 0.6:
        canvas = Pillow.new("L", (w, h))
        left = rng.random() < 0.5
        place = (w * (rng.uniform(0.04, 0.14) if left else rng.uniform(0.82, 0.92)), h * rng.uniform(0.03, 0.12))
        size = max(10.0, h * rng.uniform(0.03, 0.055))
        ImageDraw.Draw(canvas).text(place, "R" if left else "L", fill=255, font=ImageFont.load_default(size))
        grey = np.maximum(grey, np.asarray(canvas, np.float32) / 255 * rng.uniform(0.8, 1.0))
    return grey
