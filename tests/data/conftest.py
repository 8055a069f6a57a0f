"""Small data sets drawn by script: a disc and a box on a soft background, 48 x 64 px, stored as 0, 100, 180 and 255 (ignored)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = """\
classes:
  - {id: 0, name: background}
  - {id: 1, name: disc, values: [100]}
  - {id: 2, name: box, values: [180]}
background: 0
ignore_values: [255]
"""
HEIGHT, WIDTH = 48, 64
SPLITS = {"train": 8, "val": 3, "test": 3}


def draw_scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Picture (48, 64, 3) uint8 and stored mask (48, 64) uint8; every class is in it, 255 is a band at the top."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    y, x, radius = rng.integers(14, 34), rng.integers(12, 24), rng.integers(7, 11)
    mask[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = 100
    top, left = rng.integers(6, 24), rng.integers(38, 48)
    mask[top : top + 18, left : left + 12] = 180
    soft = np.asarray(Image.fromarray(rng.integers(40, 120, (6, 8), np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    shade = soft.astype(np.int16) + np.select([mask == 100, mask == 180], [90, 50], 0) + rng.integers(-6, 7, mask.shape)
    mask[:4] = 255
    picture = np.clip(shade, 0, 255).astype(np.uint8)
    return np.stack([picture, picture // 2 + 20, 255 - picture], axis=2), mask


@pytest.fixture
def draw_set(tmp_path: Path) -> Callable[..., Path]:
    """Draws train/, val/ and test/ with images/ and masks/ below, and classes.yaml; gives the folder."""

    def draw(seed: int = 0, *, classes: str | None = CLASSES, binary: bool = False, name: str = "set") -> Path:
        rng = np.random.default_rng(seed)
        root = tmp_path / name
        number = 0
        for split, count in SPLITS.items():
            for folder in ("images", "masks"):
                (root / split / folder).mkdir(parents=True)
            for _ in range(count):
                picture, mask = draw_scene(rng)
                if binary:
                    mask = np.where(np.isin(mask, [100, 180]), 255, 0).astype(np.uint8)
                Image.fromarray(picture).save(root / split / "images" / f"scene{number:02d}.png")
                Image.fromarray(mask).save(root / split / "masks" / f"scene{number:02d}.png")
                number += 1
        if classes is not None:
            (root / "classes.yaml").write_text(classes)
        return root

    return draw
