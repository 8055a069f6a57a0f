"""A drawn data set of twelve images, folders of predictions for it, and a tiny run that nobody trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray

from maskwright import models
from maskwright.checkpoint import Manifest, save_checkpoint
from maskwright.classes import ClassMap
from maskwright.transforms import Preprocess

LUNGS = ClassMap((0, 1), ("background", "lung"), values=((0,), (255,)), background=0)
HW = (20, 30)

Write = Callable[[Path, NDArray[Any]], None]


def write(path: Path, values: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(values.astype(np.uint8)).save(path)


def truth(number: int) -> NDArray[np.uint8]:
    """Image k holds a rectangle of 10 rows and k + 1 columns, stored as 255."""
    drawn = np.zeros(HW, np.uint8)
    drawn[5:15, 4 : 5 + number] = 255
    return drawn


@pytest.fixture
def make_data(tmp_path: Path) -> Callable[..., Path]:
    """make_data("val/", "test/") puts images 0..5 into val and 6..11 into test; with a classes.yaml."""

    def make(*places: str, name: str = "data", said: bool = True) -> Path:
        root = tmp_path / name
        each = 12 // len(places)
        for number in range(12):
            place = root / places[min(number // each, len(places) - 1)]
            write(place / "images" / f"{number:02d}.png", np.full((*HW, 3), 20 * number, np.uint8))
            write(place / "masks" / f"{number:02d}.png", truth(number))
        if said:
            (root / "classes.yaml").write_text(LUNGS.to_yaml(), encoding="utf-8")
        return root

    return make


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    def make(classes: ClassMap = LUNGS, **manifest: Any) -> Path:
        args = {"width": 4, "depth": 1}
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model = models.build("unet", channels=3, classes=len(classes), **args)
        preprocess = Preprocess(3, None, mean=(0.5,) * 3, std=(0.25,) * 3).to_dict()
        save_checkpoint(
            tmp_path / "run",
            model,
            Manifest(model="unet", model_args=args, classes=classes.to_dict(), preprocess=preprocess, **manifest),
        )
        return tmp_path / "run"

    return make
