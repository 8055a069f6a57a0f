"""--weights: what a run starts from, and what it takes over from where that was trained."""

from __future__ import annotations

import pytest
import torch

from maskwright import models
from maskwright.classes import ClassMap
from maskwright.errors import CheckpointError
from maskwright.models.vgg import VGG16
from maskwright.recipe import Recipe
from maskwright.training.setup import make_learner, with_weights

CLASSES = ClassMap((0, 1), ("background", "road"))
IMAGENET_MEAN = (0.485, 0.456, 0.406)


@pytest.fixture
def vgg(tmp_path, monkeypatch):
    """A narrow VGG-16 under the name of torchvision's file, where torch keeps what it has fetched."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    net = VGG16(3, 10, batch_norm=True, width=4, fc_width=8)
    (tmp_path / "checkpoints").mkdir()
    torch.save(net.state_dict(), tmp_path / "checkpoints" / "vgg16_bn-6c64b313.pth")
    return net


def recipe(**changes):
    given = {"model": "segnet", "model_args": {"width": 4}, "weights": "torchvision:vgg16_bn", "channels": 3}
    return Recipe(**{**given, **changes})


def test_the_run_starts_from_them(vgg):
    learner = make_learner(recipe(), CLASSES, torch.device("cpu"))
    net = next(value for value in vars(learner).values() if isinstance(value, models.MODELS["segnet"].build))
    assert torch.equal(net.encoder.features[0].weight, vgg.features[0].weight)


def test_the_normalisation_is_that_of_the_weights(vgg):
    changed, licence = with_weights(recipe(mean=(0.5,) * 3, std=(0.5,) * 3), len(CLASSES))
    assert (changed.mean, licence) == (IMAGENET_MEAN, "BSD-3-Clause")
    assert changed.reasons["mean"] == "what the weights (torchvision:vgg16_bn) were trained with"


def test_grey_images_take_the_mean_over_the_colours(vgg):
    changed, _ = with_weights(recipe(channels=1), len(CLASSES))
    assert changed.mean == pytest.approx((sum(IMAGENET_MEAN) / 3,))


@pytest.mark.parametrize("given", [{"scaling": "percentile"}, {"channels": 5}])
def test_the_planned_normalisation_stays_for_other_images(vgg, given):
    changed, _ = with_weights(recipe(**given), len(CLASSES))
    assert changed.model_dump() == recipe(**given).model_dump()  # the reasons may say more


def test_what_was_given_stays(vgg):
    changed, _ = with_weights(recipe(mean=(0.1,) * 3), len(CLASSES), keep=["mean"])
    assert changed.mean == (0.1,) * 3
    assert changed.std == (0.229, 0.224, 0.225)


def test_weights_of_another_net_are_refused(vgg):
    other = recipe(model="unet", model_args={"width": 4, "depth": 2})
    with pytest.raises(CheckpointError, match=r"torchvision:vgg16_bn: not weights of UNet: \d+ missing"):
        with_weights(other, len(CLASSES))


def test_without_weights_nothing_changes():
    plain = recipe(weights=None)
    assert with_weights(plain, len(CLASSES)) == (plain, None)
