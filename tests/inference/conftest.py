"""Tiny fake runs: a U-Net of width 4 with drawn weights, saved as training saves it. Nobody trained it; its answers vary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maskwright import models
from maskwright.checkpoint import Manifest, save_checkpoint
from maskwright.classes import ClassMap
from maskwright.inference.predictor import Predictor
from maskwright.transforms import Preprocess

CLASSES = ClassMap((0, 3, 7), ("background", "lung", "heart"))  # ids that are not channel numbers
NET = {"width": 4, "depth": 2}


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def make(channels: int = 1, max_side_px: int | None = None, **manifest: Any) -> Path:
        folder = tmp_path_factory.mktemp("run")
        with torch.random.fork_rng():
            torch.manual_seed(4)
            model = models.build("unet", channels=channels, classes=len(CLASSES), **NET)
        given = Manifest(
            model="unet",
            model_args=NET,
            classes=CLASSES.to_dict(),
            preprocess=Preprocess(channels, max_side_px, mean=(0.5,) * channels, std=(0.25,) * channels).to_dict(),
            **manifest,
        )
        save_checkpoint(folder, model, given)
        return folder

    return make


@pytest.fixture(scope="session")
def run(make_run: Callable[..., Path]) -> Path:
    return make_run()


@pytest.fixture(scope="session")
def predictor(run: Path) -> Predictor:
    return Predictor.load(run, device="cpu")


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth grey noise, so that answers have areas and not only speckles."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 1, max(1, height // 6), max(1, width // 6))))
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return smooth[0, 0].numpy().astype(np.uint8)
