"""The planner: what it sees in the data, what it decides, and that every decision has a reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset
from maskwright.recipe import Recipe
from maskwright.training.measure import steps_in
from maskwright.training.plan import Fingerprint, Machine, fingerprint, looks_in, plan, scheduled, validations_in

CPU = Machine(torch.device("cpu"), cores=2, memory_bytes=8 << 30)
LUNGS = Fingerprint(
    images=337, hw=(512, 512), longest_px=512, channels=1, grey=True, dtype="uint8", scaling="range", mean=(0.5,), std=(0.25,),
    class_share=(0.75, 0.25), oriented=0.2, survival={128: 0.99, 192: 0.99, 256: 0.995, 320: 0.997, 384: 0.998},
)  # fmt: skip
MEMBRANES = replace(LUNGS, images=20, oriented=0.05, survival={128: 0.92, 192: 0.95, 256: 0.96, 320: 0.97, 384: 0.975})


def test_large_shapes_are_seen_whole_and_fine_ones_in_windows():
    lungs, membranes = plan(LUNGS, CPU), plan(MEMBRANES, CPU)
    assert (lungs.max_side_px, lungs.patch_hw) == (256, (256, 256))
    assert "keep a Dice of 0.9950" in lungs.reasons["max_side_px"]
    assert (membranes.max_side_px, membranes.patch_hw) == (None, (256, 256))
    assert "windows of the full-size images" in membranes.reasons["max_side_px"]


def test_flips_only_where_up_and_down_do_not_matter():
    assert plan(LUNGS, CPU).augment == {}
    assert plan(MEMBRANES, CPU).augment == {"flip_horizontal": 0.5, "flip_vertical": 0.5, "turn": 0.75}


def test_rare_classes_weigh_more_only_among_many():
    streets = replace(LUNGS, class_share=(0.5, 0.3, 0.15, 0.04, 0.01, 0.0))
    assert plan(streets, CPU).class_weights == "median"
    assert "smallest class 1.0% of the pixels, of 5" in plan(streets, CPU).reasons["class_weights"]
    assert plan(replace(LUNGS, class_share=(0.99, 0.01)), CPU).class_weights == "none"
    assert plan(replace(LUNGS, class_share=(0.4, 0.3, 0.2, 0.1)), CPU).class_weights == "none"
    # Queries are matched with classes; there is no cross entropy of pixels to weigh.
    assert plan(streets, CPU, model="eomt").class_weights == "none"


@pytest.mark.parametrize(
    ("weights", "model", "args"),
    [
        ("pip:efficientnet_lite1", None, {"encoder": "tf_efficientnet_lite1"}),
        ("timm:resnet34.a1_in1k", "fpn", {"encoder": "resnet34"}),
        ("torchvision:vgg16", "fcn8s", {}),
        ("torchvision:DeepLabV3_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1", "deeplabv3", {"encoder": "resnet101"}),
    ],
)
def test_the_network_is_of_the_form_that_the_weights_are_for(weights, model, args):
    assert plan(LUNGS, CPU, model=model, weights=weights).model_args == args


def test_only_colour_pictures_are_lit_anew():
    assert plan(replace(LUNGS, channels=3), CPU).augment == {"exposure": 0.5}
    assert plan(replace(LUNGS, channels=3, dtype="uint16"), CPU).augment == plan(LUNGS, CPU).augment == {}


def test_small_images_stay_as_they_are_and_little_memory_makes_small_batches():
    small = plan(replace(LUNGS, hw=(100, 60), longest_px=100, survival={}), CPU)
    assert (small.max_side_px, small.patch_hw) == (None, (128, 64))
    poor = plan(LUNGS, replace(CPU, memory_bytes=700 << 20))
    assert poor.batch == 2  # 256 * 256 * 16 * 40 * 4 bytes = 160 MiB an image; half of 700 holds two
    assert "half of the" in poor.reasons["batch"]


@pytest.mark.parametrize("data", [LUNGS, MEMBRANES])
def test_every_setting_that_is_chosen_has_a_reason(data):
    recipe = plan(data, CPU)
    measured = {"reasons", "precision", "channels_last"}  # training adds those two, see measure.py
    assert [k for k in Recipe.model_fields if k not in measured and not recipe.reasons.get(k)] == []


def test_schedule_follows_the_steps():
    recipe = scheduled(Recipe(), 3000, "given")
    assert (recipe.steps, recipe.warmup_steps, recipe.validate_every) == (3000, 150, 150)
    assert recipe.ema_decay == pytest.approx(0.99)  # looks back over 3000 / 30 steps
    assert scheduled(Recipe(ema_decay=0.5), 3000, "given", keep={"ema_decay"}).ema_decay == 0.5


def test_steps_in_the_time_left_by_hand():
    # 10 min less 6 % = 564 s; less 60 s spent, less 21 validations of 4 s: 420 s at 0.5 s a step
    assert steps_in(10, spent=60, step=0.5, validation=4, validations=lambda _: 20) == 840
    # One validation in 50 steps: with 8 of them and one more 504 - 36 = 468 s are left, 468 steps, for which 8 are not enough
    # (468 // 50 = 9); with 9 it is 464 s.
    assert steps_in(10, spent=60, step=1.0, validation=4, validations=lambda steps: steps // 50) == 464
    assert steps_in(0.01, spent=60, step=0.5, validation=4, validations=lambda _: 20) == 10


def test_validations_take_a_tenth_of_the_time():
    assert [looks_in(6, seconds) for seconds in (0.001, 1.8, 6, 12, 100)] == [20, 20, 6, 3, 3]
    assert [validations_in(steps, 6) for steps in (10, 250, 1000)] == [4, 5, 6]
    assert (validations_in(10, 3), validations_in(1000), validations_in(600)) == (3, 20, 12)
    assert scheduled(Recipe(), 3000, "given", looks=6).validate_every == 500


def test_fingerprint_of_drawn_images():
    rng = np.random.default_rng(0)
    masks = [np.zeros((64, 96), np.uint8) for _ in range(6)]
    for mask in masks:
        mask[40:60, 10:80] = 1  # always below: up and down differ
    grey = [np.repeat(rng.integers(0, 200, (64, 96, 1), np.uint8) + 40 * m[..., None], 3, axis=2) for m in masks]
    data = Dataset.in_memory(grey, masks, classes=ClassMap((0, 1), ("sky", "ground"), background=None))
    seen = fingerprint(data, data.pairs)
    assert (seen.images, seen.hw, seen.longest_px, seen.channels, seen.grey, seen.dtype) == (6, (64, 96), 96, 1, True, "uint8")
    assert seen.class_share == pytest.approx((1 - 1400 / 6144, 1400 / 6144))
    assert seen.oriented > 0.2
    assert seen.scaling == "range"
    assert seen.mean[0] == pytest.approx(np.mean(grey) / 255, abs=0.01)
    deep = Dataset.in_memory([g.astype(np.uint16) * 16 for g in grey], masks, classes=data.classes)
    assert fingerprint(deep, deep.pairs).scaling == "percentile"


def test_four_channels_stay_four():
    data = Dataset.in_memory(
        [np.random.default_rng(s).integers(0, 255, (40, 40, 4), np.uint8) for s in range(3)],
        [np.eye(40, dtype=np.uint8)] * 3,
        classes=ClassMap((0, 1), ("background", "line")),
    )
    recipe = plan(fingerprint(data, data.pairs), CPU)
    assert recipe.channels == len(recipe.mean) == len(recipe.std) == 4
