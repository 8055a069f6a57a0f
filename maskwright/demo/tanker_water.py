"""The water of a drawn sea: colour, waves by a directional spectrum, glint, drifting patches, shallows, surf and wakes.

Source of the waves: the spectrum of Pierson and Moskowitz 1964 for the roll-off on both sides of the peak, with a power of the
cosine for the spread of directions. Differs: the field is the brightness of slopes, not height; its strength is drawn freely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from maskwright.demo.tanker_ships import Ship
from maskwright.demo.tanker_view import Map, Rgb, View, field, frequencies, smooth, varied

COLOURS: dict[str, tuple[Rgb, ...]] = {
    "deep": ((18, 40, 68), (14, 32, 52), (24, 54, 82), (20, 46, 60)),
    "coastal": ((36, 76, 78), (48, 88, 82), (30, 68, 66), (62, 98, 92)),
    "grey": ((72, 84, 92), (58, 68, 74), (92, 102, 104)),
    "glint": ((112, 124, 132), (138, 144, 146), (96, 110, 122)),
    "turbid": ((96, 104, 80), (108, 106, 84), (78, 96, 76)),
}
KNOT = 0.514  # metres a second


@dataclass(frozen=True)
class Mood:
    """The state of the sea.

    Attributes:
        wind: where waves run to, radians; wave_m: length of the longest waves
        chop: strength of the waves in grey levels; glint: how much their bright sides outshine the dark ones
    """

    colour: Rgb
    wind: float
    wave_m: float
    chop: float
    glint: float


def draw_mood(rng: np.random.Generator, *, sheltered: bool) -> Mood:
    kinds = list(COLOURS)
    weights = (0.2, 0.41, 0.2, 0.02, 0.17) if sheltered else (0.44, 0.24, 0.2, 0.06, 0.06)
    kind = str(rng.choice(kinds, p=weights))
    palette = COLOURS[kind]
    colour = varied(rng, palette[int(rng.integers(len(palette)))], 7)
    chop = rng.uniform(0.6, 2.6) if sheltered else math.exp(rng.uniform(math.log(1.2), math.log(9)))
    wave_m = rng.uniform(8, 25) if sheltered else math.exp(rng.uniform(math.log(18), math.log(110)))
    glint = rng.uniform(0.25, 0.7) if rng.random() < 0.3 or kind == "glint" else rng.uniform(0.0, 0.25)
    return Mood(colour, rng.uniform(0, 2 * math.pi), wave_m, chop, glint)


def draw_water(
    rng: np.random.Generator, view: View, mood: Mood, ships: Sequence[Ship], land: NDArray[np.bool_], surf: float
) -> Map:
    """Colour of the water everywhere, (H, W, 3) grey levels; land: (H, W) where there is none; surf in [0, 1]."""
    waves, patches = wave_field(rng, view, mood), smooth(rng, view.hw, rng.uniform(1.5, 5))
    rough = np.clip(1 + 0.35 * patches, 0.3, 1.8)  # gusts and slicks
    light = mood.chop * rough * np.expm1(mood.glint * np.clip(waves, -3, 4)) / max(mood.glint, 0.02)
    light += rng.uniform(0.5, 3.0) * smooth(rng, view.hw, 2) + rng.uniform(0, 2.5) * patches
    if mood.chop > 5 and rng.random() < 0.7:  # whitecaps
        light += rng.uniform(15, 60) * np.clip(waves + 0.5 * patches - rng.uniform(2.4, 2.9), 0, 1)
    for ship in ships:
        if ship.knots > 0:
            light += wake(rng, view, ship, waves)
    tint = (np.array(mood.colour, np.float32) + 40) / (float(np.mean(mood.colour)) + 40)
    water = np.array(mood.colour, np.float32) + light[..., None] * (0.35 + 0.65 * tint)
    if land.any():
        water = _shore(rng, water, waves, land, surf)
    return np.asarray(water, np.float32)


def wave_field(rng: np.random.Generator, view: View, mood: Mood) -> Map:
    """Slopes of the waves towards the light, of unit strength."""
    frequency, direction = frequencies(view.hw)
    swell = (rng.uniform(0, 0.5), rng.normal(0, 1.2), rng.uniform(1.5, 3), 14.0)
    power = np.zeros_like(frequency)
    for weight, turn, longer, narrow in ((1.0, 0.0, 1.0, 2.0), swell):
        peak = frequency * np.float32(mood.wave_m * longer / view.metres_per_px)
        shape = np.exp(-1.25 / np.square(peak)) / peak ** np.float32(2.6)
        cosine = np.square(np.cos(direction - np.float32(mood.wind + turn)))
        power += np.float32(weight) * shape * (0.12 + cosine ** np.float32(narrow / 2))
    return field(rng, view.hw, np.sqrt(power))


def wake(rng: np.random.Generator, view: View, ship: Ship, waves: Map) -> Map:
    """What a ship stirs up: foam at bow and sides, the churned band astern, and the waves that spread at 19.5 degrees."""
    (h, w), m = view.hw, view.metres_per_px
    (cx, cy), (c, d) = ship.frame.centre_xy, ship.frame.forward_xy
    x = (np.arange(w, dtype=np.float32) + np.float32(0.5 - cx)) * np.float32(m)
    y = ((np.arange(h, dtype=np.float32) + np.float32(0.5 - cy)) * np.float32(m))[:, None]
    behind_bow = np.float32(ship.hull.length / 2) - (x * np.float32(c) + y * np.float32(d))
    aside = np.abs(y * np.float32(c) - x * np.float32(d))
    long, wide, speed = ship.hull.length, ship.hull.beam, ship.knots * KNOT
    strength = rng.uniform(18, 60) * min(1.5, speed / 8)
    astern = np.maximum(behind_bow - 0.97 * long, 0)
    band = wide * rng.uniform(0.3, 0.45) + 0.07 * np.sqrt(astern * wide)
    fade = np.exp(-astern / (rng.uniform(0.8, 3.5) * long + 60)) * (behind_bow > 0.94 * long)
    churned = strength * fade * np.exp(-np.square(aside / band)) * np.clip(1 + 0.35 * waves, 0.3, 2)
    after_bow = np.maximum(behind_bow, 0)
    arm = wide * 0.35 + after_bow * rng.uniform(0.16, 0.3)
    thick = 1.2 * m + 0.02 * after_bow
    foam = rng.uniform(0.5, 1.2) * strength * np.exp(-np.square((aside - arm) / thick)) * np.exp(-after_bow / (0.45 * long + 10))
    length = 2 * math.pi * speed**2 / 9.81
    cusp = after_bow * np.float32(0.354)
    phase = (0.82 * after_bow + 0.58 * aside) * (2 * math.pi * 1.5 / max(length, 6 * m)) + 0.6 * waves
    spread = np.exp(-np.square((aside - cusp) / (0.05 * after_bow + 2 * m))) * np.exp(-after_bow / (2.5 * long + 80))
    return np.asarray(churned + (behind_bow > 0) * (foam + rng.uniform(0, 0.25) * strength * spread * np.cos(phase)), np.float32)


def _shore(rng: np.random.Generator, water: Map, waves: Map, land: NDArray[np.bool_], surf: float) -> Map:
    """Shallow, turbid water along the land and, on open coasts, a broken line of foam."""
    h, w = land.shape
    coarse = ndimage.distance_transform_edt(~land[::4, ::4]).astype(np.float32) * 4
    away = np.asarray(Pillow.fromarray(coarse).resize((w, h), Pillow.Resampling.BILINEAR), np.float32)
    shallow = rng.uniform(0.1, 0.55) * np.exp(-away / rng.uniform(8, 45)) * np.clip(1 + 0.3 * smooth(rng, (h, w), 6), 0, 2)
    silt = np.array(varied(rng, (92, 112, 92), 10), np.float32)
    water = water + np.clip(shallow, 0, 0.8)[..., None] * (silt - water)
    if surf > 0:
        line = np.exp(-np.square((away - 4) / 4)) + 0.6 * np.exp(-np.square((away - 13) / 2.5)) * (smooth(rng, (h, w), 9) > 0.2)
        water = water + (surf * line * np.clip(0.55 + 0.5 * waves, 0, 1.5))[..., None] * (215 - water) * 0.8
    return np.asarray(water, np.float32)
