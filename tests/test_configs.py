"""Every recipe in configs/ can be read, builds its network and says in its header how it is run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskwright import models
from maskwright.recipe import Recipe
from maskwright.training.criterion import criterion_of

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


def test_there_is_a_recipe_for_every_semantic_network():
    found = {Recipe.load(path).model for path in CONFIGS if path.parent.name == "camvid"}
    assert found == set(models.semantic_models())


@pytest.mark.parametrize("path", CONFIGS, ids=[str(p.relative_to(ROOT / "configs")) for p in CONFIGS])
def test_a_recipe_is_whole(path):
    recipe = Recipe.load(path)
    with torch.device("meta"):
        models.build(recipe.model, channels=3, classes=11, **recipe.model_args)
    criterion_of(recipe)
    header = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert f"--recipe {path.relative_to(ROOT)}" in header[1]
    # A number in the header, or the plain word that nobody has run it.
    assert any(line.startswith(("# Measured on ", "# Not measured yet")) for line in header)
