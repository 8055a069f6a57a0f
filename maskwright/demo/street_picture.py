"""How a drawn street becomes a photograph: sky, texture of the surfaces, shade, glare; what lens, sensor and JPEG do to it."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFilter
from scipy import ndimage

from maskwright.demo.street_camera import SCALE, Camera, Canvas, Light

Map = NDArray[np.float32]  # (H, W)

# Of each class (ids 0..11): how strongly fine grain, small patches and large stains change its brightness.
GRAIN = np.array([0.0, 0.05, 0.03, 0.06, 0.05, 0.15, 0.03, 0.06, 0.02, 0.05, 0.05, 0.02], np.float32)
PATCH = np.array([0.0, 0.08, 0.03, 0.03, 0.04, 0.30, 0.03, 0.08, 0.04, 0.10, 0.08, 0.02], np.float32)
STAIN = np.array([0.0, 0.13, 0.05, 0.04, 0.06, 0.14, 0.04, 0.08, 0.05, 0.05, 0.05, 0.05], np.float32)
ROAD, PAVEMENT, TREE = 3, 4, 5


def draw_sky(rng: np.random.Generator, camera: Camera, kind: str) -> NDArray[np.uint8]:
    """A sky of half the picture's size, brighter towards the horizon, with clouds that grow smaller towards it."""
    h, w = (max(8, side // 2) for side in camera.hw)
    down = np.clip(np.arange(h, dtype=np.float32) / max(4.0, camera.horizon_y / 2), 0, 1)[:, None]
    if kind == "white":
        level = rng.uniform(232, 262) + 12 * down - rng.uniform(0, 25) * (1 - down)
        sky = level[..., None] * np.array([rng.uniform(0.95, 1.0), rng.uniform(0.98, 1.0), 1.0], np.float32)
    elif kind in ("clear", "broken"):
        top = np.array([rng.uniform(70, 150), rng.uniform(130, 195), rng.uniform(195, 245)], np.float32)
        low = np.array([rng.uniform(205, 245), rng.uniform(225, 250), rng.uniform(238, 255)], np.float32)
        sky = top + (low - top) * (down ** rng.uniform(0.5, 1.3))[..., None]
    else:
        level = rng.uniform(160, 225) if kind == "overcast" else rng.uniform(70, 150)
        tint = np.array([rng.uniform(0.9, 1.0), rng.uniform(0.95, 1.0), rng.uniform(0.98, 1.08)], np.float32)
        sky = (level * (0.75 + 0.35 * down))[..., None] * tint
    sky = np.broadcast_to(sky, (h, w, 3))
    if kind in ("broken", "overcast", "dusk"):
        cloud = np.clip(rng.uniform(0.5, 1.4) * (_clouds(rng, h, w) - rng.uniform(-0.5, 0.3)), 0, 1)[..., None] * rng.uniform(
            0.3, 0.9
        )
        white = sky.max() * (
            1.05 if kind == "broken" else rng.uniform(1.05, 1.3) if rng.random() < 0.6 else rng.uniform(0.6, 0.85)
        )
        sky = sky * (1 - cloud) + white * cloud
    return np.asarray(np.clip(sky, 0, 255), np.uint8)


def _clouds(rng: np.random.Generator, h: int, w: int) -> Map:
    total = np.zeros((h, w), np.float32)
    for cells, weight in ((2, 1.0), (4, 0.6), (9, 0.4), (20, 0.25), (45, 0.15)):
        total += weight * _smooth(rng, h, w, cells * 2, cells)
    return total


def _smooth(rng: np.random.Generator, h: int, w: int, rows: int, columns: int) -> Map:
    """Noise of about unit strength whose cells are h / rows high and w / columns wide."""
    coarse = Pillow.fromarray(rng.normal(0, 1, (rows + 1, columns + 1)).astype(np.float32))
    return np.asarray(coarse.resize((w, h), Pillow.Resampling.BICUBIC), np.float32)


def photographed(rng: np.random.Generator, camera: Camera, light: Light, canvas: Canvas) -> NDArray[np.uint8]:
    """The picture as the camera in the car took it, (H, W, 3)."""
    labels = canvas.label_array()
    pixels = np.asarray(canvas.picture.reduce(SCALE), np.float32)
    pixels = pixels * (_texture(rng, camera, labels) * _shade(rng, light, canvas, labels))[..., None]
    pixels = _glare(rng, pixels)
    pixels = _exposed(rng, pixels)
    return _recorded(rng, pixels)


def _texture(rng: np.random.Generator, camera: Camera, labels: NDArray[np.uint8]) -> Map:
    """Factor of the brightness by what each surface is made of; the road also has streaks along it."""
    h, w = labels.shape
    strength = rng.uniform(0.5, 1.4)
    grain = rng.normal(0, 1, (h, w)).astype(np.float32)
    patch = ndimage.gaussian_filter(rng.normal(0, 1, (h, w)).astype(np.float32), 1.1, mode="nearest") * np.float32(3.6)
    stain = _smooth(rng, h, w, 12, 12)
    factor = GRAIN[labels] * grain + PATCH[labels] * patch + STAIN[labels] * stain
    x, z = camera.ground()
    flat = (labels == ROAD) | (labels == PAVEMENT)
    across = np.interp(x, np.linspace(-12, 12, 97), ndimage.gaussian_filter1d(rng.normal(0, 1, 97), 2) * 2).astype(np.float32)
    along = np.interp(np.log(np.clip(z, 1, 400)), np.linspace(0, 6, 60), rng.normal(0, 1, 60)).astype(np.float32)
    wear = rng.uniform(0.02, 0.09) * across + rng.uniform(0.0, 0.04) * along
    slabs = (labels == PAVEMENT) & ((np.mod(x, 0.6) < 0.06) | (np.mod(np.minimum(z, 99), 0.9) < 0.07)) & (z < 14)
    factor += flat * wear - rng.uniform(0, 0.25) * slabs
    return np.clip(1 + strength * factor, 0.2, 2.2).astype(np.float32)


def _shade(rng: np.random.Generator, light: Light, canvas: Canvas, labels: NDArray[np.uint8]) -> Map:
    """Factor of the brightness where the sun or the sky is hidden; only what lies on the ground is shaded fully."""
    soft = canvas.shade.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 2.2) if light.sunny else 2.5))
    lacks = np.asarray(soft, np.float32) / 255
    share = np.select([labels == TREE, np.isin(labels, (ROAD, PAVEMENT))], [0.4, 1.0])
    return np.asarray(1 - lacks * share, np.float32)


def _glare(rng: np.random.Generator, pixels: Map) -> Map:
    """Light of the sky that spreads over the picture in the lens and the windscreen, and the darker corners."""
    h, w = pixels.shape[:2]
    small = Pillow.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).resize(
        (max(4, w // 12), max(4, h // 12)), Pillow.Resampling.BOX
    )
    spread = small.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 3.5))).resize((w, h), Pillow.Resampling.BILINEAR)
    amount = rng.uniform(0.02, 0.14)
    v, u = np.linspace(-1, 1, h, dtype=np.float32)[:, None], np.linspace(-1, 1, w, dtype=np.float32)
    corners = 1 - rng.uniform(0.0, 0.28) * (u * u + v * v) ** 1.2 / 2
    veil = rng.uniform(0, 10) if rng.random() < 0.4 else 0.0
    return np.asarray((pixels * (1 - amount) + amount * np.asarray(spread, np.float32)) * corners[..., None] + veil, np.float32)


def _exposed(rng: np.random.Generator, pixels: Map) -> Map:
    """Exposure (half-heartedly automatic, as cameras are: a bright sky makes a dark street), contrast and white balance."""
    gain = float(np.clip((rng.uniform(75, 140) / max(float(pixels.mean()), 1.0)) ** 0.5, 0.9, 1.5))
    scaled = np.clip(pixels * gain / 255, 0, None) * rng.normal(1, 0.015, 3).astype(np.float32)
    toned = np.clip(scaled, 0, 1.5) ** np.float32(rng.uniform(0.8, 1.2))
    toned = 0.25 + np.float32(rng.uniform(1.0, 1.6)) * (toned - 0.25)
    grey = toned.mean(-1, keepdims=True)
    return np.asarray(255 * (grey + rng.uniform(0.35, 1.1) * (toned - grey)), np.float32)


def _recorded(rng: np.random.Generator, pixels: Map) -> NDArray[np.uint8]:
    """Blur of lens and motion, sharpening by the camera, noise of the sensor, JPEG."""
    h, w = pixels.shape[:2]
    noise = rng.normal(0, 1, (h, w, 3)).astype(np.float32) * np.array([1.0, 0.8, 1.2], np.float32)
    clean = Pillow.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    clean = clean.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.1) * w / 480))
    moved = np.asarray(clean, np.float32)
    if rng.random() < 0.3:
        length = int(rng.integers(2, 6))
        moved = np.asarray(ndimage.uniform_filter1d(moved, length, axis=int(rng.random() < 0.6)), np.float32)
    noisy = np.clip(moved + rng.uniform(0.5, 3.5) * noise, 0, 255).astype(np.uint8)
    sharp = Pillow.fromarray(noisy)
    if rng.random() < 0.6:
        sharp = sharp.filter(ImageFilter.UnsharpMask(1.2, int(rng.uniform(20, 110)), 2))
    kept = io.BytesIO()
    sharp.save(kept, "JPEG", quality=int(rng.integers(55, 96)))
    return np.asarray(Pillow.open(kept).convert("RGB")).copy()
