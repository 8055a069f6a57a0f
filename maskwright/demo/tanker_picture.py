"""How a drawn sea becomes a crop of a satellite image: shadows, grain of the surfaces, clouds, haze, sensor, JPEG."""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFilter

from maskwright.demo.tanker_scene import Drawn
from maskwright.demo.tanker_view import HEIGHT_SCALE, HEIGHTS_A_M, Canvas, Map, View, fractal
from maskwright.demo.tanker_water import draw_water

# Of water, soil, paving and ships: how strongly fine grain and patches change the brightness.
GRAIN = np.array([0.0, 0.05, 0.03, 0.025], np.float32)
PATCH = np.array([0.0, 0.14, 0.09, 0.05], np.float32)
OPAQUE = 0.5  # a cloud hides what it takes at least this share of the light from


def taken(rng: np.random.Generator, drawn: Drawn) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The picture (H, W, 3), and where an opaque cloud hides what is below it (H, W)."""
    view, canvas = drawn.view, drawn.canvas
    covered = canvas.covered()[..., None]
    water = draw_water(rng, view, drawn.mood, drawn.ships, drawn.land, drawn.shore.surf)
    things = canvas.colours() * _grain(rng, canvas)[..., None]
    pixels = things + (1 - covered) * (water - np.array(canvas.water, np.float32))
    dim = rng.uniform(0.42, 0.62) * shadows(view, canvas)
    pixels = pixels * (1 - dim[..., None] * np.array([1.0, 0.94, 0.86], np.float32))
    cloud = np.zeros(view.hw, np.float32)
    if rng.random() < 0.27:
        pixels, cloud = _clouded(rng, view, pixels)
    return _recorded(rng, _exposed(rng, pixels)), cloud >= OPAQUE


def _grain(rng: np.random.Generator, canvas: Canvas) -> Map:
    kinds = np.asarray(canvas.kinds)
    if not kinds.any():
        return np.ones(canvas.hw, np.float32)
    patches = fractal(rng, canvas.hw, 1.1)
    fine = rng.standard_normal(canvas.hw, np.float32)
    return np.asarray(np.clip(1 + GRAIN[kinds] * fine + PATCH[kinds] * rng.uniform(0.4, 1.1) * patches, 0.3, 1.8), np.float32)


def shadows(view: View, canvas: Canvas) -> Map:
    """Share of each pixel that lies in the shadow of something higher, (H, W) in [0, 1].

    A point is in shadow when something towards the sun is higher than the ray to it. The highest ray of 1, 2, 4, ... steps is
    found by doubling, so that long shadows cost no more than short ones.
    """
    heights = np.asarray(canvas.heights).astype(np.int16)
    top = int(heights.max())
    if top == 0:
        return np.zeros(view.hw, np.float32)
    per_step = HEIGHTS_A_M / (math.hypot(*view.shadow_px) * HEIGHT_SCALE)  # what a ray loses on the way of one drawn pixel
    angle, rays, steps = math.atan2(view.shadow_px[1], view.shadow_px[0]), heights.copy(), 1
    while steps * per_step < top and steps < max(heights.shape):
        dx, dy = round(math.cos(angle) * steps), round(math.sin(angle) * steps)
        moved = _moved(rays, dx, dy) - np.int16(max(1, round(steps * per_step)))
        np.maximum(rays, moved, out=rays)
        steps *= 2
    dark = Pillow.fromarray((rays > heights + 1).astype(np.uint8) * 255)
    return np.asarray(dark.reduce(HEIGHT_SCALE), np.float32) / np.float32(255)


def _moved(values: NDArray[np.int16], dx: int, dy: int) -> NDArray[np.int16]:
    """The values dx further right and dy further down; 0 comes in."""
    h, w = values.shape
    out = np.zeros_like(values)
    kept = values[max(0, -dy) : h - max(0, dy), max(0, -dx) : w - max(0, dx)]
    out[max(0, dy) : h + min(0, dy), max(0, dx) : w + min(0, dx)] = kept
    return out


def _clouded(rng: np.random.Generator, view: View, pixels: Map) -> tuple[Map, Map]:
    """Puffs with their shadows, or a thin veil that hides nothing; gives the picture and how opaque the clouds are."""
    shape = fractal(rng, view.hw, rng.uniform(1.5, 2.0))
    above = np.maximum(shape - np.quantile(shape[::4, ::4], rng.uniform(0.7, 0.96)), 0)
    opacity = 0.98 * (1 - np.exp(-rng.uniform(2.5, 7) * above))
    if rng.random() < 0.3:
        opacity *= rng.uniform(0.2, 0.45)
    away = rng.uniform(12, 60) / math.hypot(*view.shadow_px)  # the field goes on at the other side, so it may be rolled
    shade = np.roll(opacity, (round(view.shadow_px[1] * away), round(view.shadow_px[0] * away)), (0, 1))
    pixels = pixels * (1 - rng.uniform(0.35, 0.6) * shade[..., None])
    white = (rng.uniform(178, 215) + rng.uniform(15, 45) * np.tanh(1.5 * above))[..., None] * np.array(
        [0.98, 1, 1.02], np.float32
    )
    return np.asarray(pixels + opacity[..., None] * (white - pixels), np.float32), np.asarray(opacity, np.float32)


def _exposed(rng: np.random.Generator, pixels: Map) -> Map:
    """Haze of the air, contrast and colour balance of the product."""
    veil = rng.uniform(0.03, 0.3) if rng.random() < 0.35 else rng.uniform(0, 0.08)
    haze = np.array([150, 164, 178], np.float32) * rng.uniform(0.8, 1.1)
    pixels = pixels + veil * (haze - pixels)
    pixels = pixels * rng.normal(1, 0.03, 3).astype(np.float32) * rng.uniform(0.88, 1.3) + rng.uniform(-8, 8)
    grey = (pixels @ np.full(3, 1 / 3, np.float32))[..., None]
    return np.asarray(grey + rng.uniform(0.6, 1.0) * (pixels - grey), np.float32)


def _recorded(rng: np.random.Generator, pixels: Map) -> NDArray[np.uint8]:
    """Brightness with blur, sharpening and noise; colours recorded more coarsely, as satellites do, and merged with it; JPEG."""
    h, w = pixels.shape[:2]
    level, *colours = Pillow.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).convert("YCbCr").split()
    level = level.filter(ImageFilter.GaussianBlur(rng.uniform(0.25, 0.75)))
    if rng.random() < 0.5:
        level = level.filter(ImageFilter.UnsharpMask(1.0, int(rng.uniform(20, 90)), 1))
    noise = rng.uniform(0.4, 3.2)
    noisy = [_noisy(rng, level, noise)]
    coarse = rng.uniform(1.0, 3.5)
    for colour in colours:
        small = colour.resize((max(1, round(w / coarse)), max(1, round(h / coarse))), Pillow.Resampling.BOX)
        noisy.append(_noisy(rng, small, 0.4 * noise).resize((w, h), Pillow.Resampling.BILINEAR))
    kept = io.BytesIO()
    Pillow.merge("YCbCr", noisy).save(kept, "JPEG", quality=int(rng.integers(72, 97)))
    return np.asarray(Pillow.open(kept).convert("RGB")).copy()


def _noisy(rng: np.random.Generator, channel: Pillow.Image, strength: float) -> Pillow.Image:
    noise = rng.standard_normal((channel.height, channel.width), np.float32)
    return Pillow.fromarray(np.clip(np.asarray(channel, np.float32) + np.float32(strength) * noise, 0, 255).astype(np.uint8))
