"""A net that is fitted to bright squares for a moment, as a run folder, with the data it was fitted to: its answers have areas."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from maskwright import models
from maskwright.checkpoint import Manifest, save_checkpoint
from maskwright.classes import ClassMap
from maskwright.io.write import write_mask, write_png
from maskwright.transforms import Preprocess

CLASSES = ClassMap((0, 7), ("background", "square"))
NET = {"width": 4, "depth": 2}


def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright square; no two pictures have the same size."""
    rng = np.random.default_rng(number)
    hw = 50 + 3 * number, 70 - 2 * number
    image, mask = rng.normal(80, 15, (*hw, 3)), np.zeros(hw, np.uint8)
    top, left, side = 5 + number, 8 + number, 20
    mask[top : top + side, left : left + side] = 7
    return np.clip(image + 90 * (mask > 0)[..., None], 0, 255).astype(np.uint8), mask


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "squares"
    for number in range(10):
        image, mask = scene(number)
        split = root / ("train" if number < 6 else "val")
        for folder in ("images", "masks"):
            (split / folder).mkdir(parents=True, exist_ok=True)
        write_png(split / "images" / f"{number:02}.png", image)
        write_mask(split / "masks" / f"{number:02}.png", mask, CLASSES)
    (root / "classes.yaml").write_text(CLASSES.to_yaml(), encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "squares"
    preprocess = Preprocess(3, 56, mean=(0.4, 0.4, 0.4), std=(0.25, 0.25, 0.25))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.build("unet", channels=3, classes=2, **NET)
        optimizer = torch.optim.Adam(model.parameters(), 0.02)
        for step in range(30):
            image, mask = scene(step % 6)
            x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            loss = torch.nn.functional.cross_entropy(model((x - 0.4) / 0.25), torch.from_numpy((mask > 0).astype(np.int64))[None])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    manifest = Manifest(model="unet", model_args=NET, classes=CLASSES.to_dict(), preprocess=preprocess.to_dict())
    save_checkpoint(folder, model, manifest)
    return folder


def run_alone(folder: Path, picture: Path, mask: Path, cwd: Path, *, ends: int = 0) -> str:
    """What predict.py prints, its complaint where it must end with 2; run where maskwright cannot be imported."""
    code = (
        "import runpy, sys; sys.modules['maskwright'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__'); assert sys.modules['maskwright'] is None"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"CI": "true"}  # openvino's telemetry is off in CI
    command = [sys.executable, "-W", "ignore", "-c", code, folder / "predict.py", picture, mask]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=environment, cwd=cwd, check=False)
    assert done.returncode == ends, done.stderr
    return done.stderr if ends else done.stdout


@pytest.fixture
def alone() -> Callable[..., str]:
    return run_alone
