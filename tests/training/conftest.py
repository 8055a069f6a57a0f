"""A data set that a tiny net learns in seconds, and a recipe for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset
from maskwright.io.write import write_mask, write_png

SQUARE = ClassMap((0, 1), ("background", "square"))


def scene(seed: int, hw: tuple[int, int] = (40, 48)) -> tuple[np.ndarray, np.ndarray]:
    """Noise with one bright square, and its mask."""
    rng = np.random.default_rng(seed)
    image, mask = rng.normal(90, 20, hw), np.zeros(hw, np.uint8)
    side = int(rng.integers(12, 20))
    top, left = (int(rng.integers(0, n - side)) for n in hw)
    mask[top : top + side, left : left + side] = 1
    return np.clip(image + 70 * mask, 0, 255).astype(np.uint8), mask


@pytest.fixture(scope="session")
def squares() -> Dataset:
    pairs = [scene(s) for s in range(18)]
    return Dataset.in_memory(
        [p[0] for p in pairs], [p[1] for p in pairs], classes=SQUARE, name="squares", splits=["train"] * 12 + ["val"] * 6
    )


@pytest.fixture(scope="session")
def squares_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "squares"
    for number in range(18):
        image, mask = scene(number)
        split = root / ("train" if number < 12 else "val")
        for folder in ("images", "masks"):
            (split / folder).mkdir(parents=True, exist_ok=True)
        write_png(split / "images" / f"{number:02}.png", image)
        write_mask(split / "masks" / f"{number:02}.png", mask, SQUARE)
    (root / "classes.yaml").write_text(SQUARE.to_yaml())
    return root


@pytest.fixture
def quick() -> dict[str, Any]:
    """Settings for a run of seconds; fp32 without a layout to measure, so that every test machine computes the same."""
    return {
        "model_args": {"width": 8, "depth": 2},
        "batch": 4,
        "steps": 24,
        "validate_every": 8,
        "warmup_steps": 2,
        "learning_rate": 0.01,
        "ema_decay": 0.8,
        "precision": "fp32",
        "channels_last": False,
    }


@pytest.fixture
def quick_file(quick: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "quick.yaml"
    path.write_text(yaml.safe_dump(quick))
    return path
