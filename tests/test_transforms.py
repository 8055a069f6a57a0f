"""Preprocess and its way back, and the paired augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from maskwright.errors import InputError
from maskwright.io.image import Image, Statistics
from maskwright.transforms import Frame, Preprocess, resize_target
from maskwright.transforms.augmentation import Augmentation, RandomWindow, augmenter

STILL = Augmentation(**dict.fromkeys(Augmentation.__dataclass_fields__, 0.0))


def test_range_scaling_and_moments_by_hand():
    image = Image.from_array(np.array([[[0, 255, 51]]], np.uint8))
    x, frame = Preprocess(3, mean=(0.5, 0.5, 0.0), std=(0.5, 0.25, 1.0))(image)
    assert x.flatten().tolist() == pytest.approx([-1.0, 2.0, 0.2])  # (0-.5)/.5, (1-.5)/.25, 51/255
    assert frame == Frame((1, 1), (1, 1))


def test_sixteen_bit_range_is_the_type_range():
    x, _ = Preprocess(1)(Image.from_array(np.full((2, 3), 65535, np.uint16)))
    assert x.shape == (1, 1, 2, 3)
    assert x.unique().tolist() == [1.0]


def test_zscore_has_mean_0_and_spread_1():
    rng = np.random.default_rng(0)
    x, _ = Preprocess(1, scaling="zscore")(Image.from_array(rng.normal(-700, 30, (40, 50)).astype(np.float32)))
    assert float(x.mean()) == pytest.approx(0, abs=1e-4)
    assert float(x.std()) == pytest.approx(1, abs=1e-3)


def test_percentile_scaling_ignores_single_hot_pixels():
    pixels = np.tile(np.arange(1000, dtype=np.uint16), (100, 1))
    pixels[0, 0] = 65535
    x, _ = Preprocess(1, scaling="percentile")(Image.from_array(pixels))
    assert float(x[0, 0, 50, 500]) == pytest.approx((500 - 4.5) / 990, abs=0.01)  # 0.5 % lies near 5, 99.5 % near 995
    assert float(x.amax()) == 1.0


@pytest.mark.parametrize(("scaling", "expected"), [("percentile", [0.0, 0.25, 1.0]), ("zscore", [-2.0, 0.0, 10.0])])
def test_a_part_is_scaled_by_the_statistics_of_its_whole(scaling, expected):
    whole = Statistics(low=0, high=400, mean=100, std=50)
    part = Image(np.array([[[0], [100], [600]]], np.int16), statistics=whole)
    x, _ = Preprocess(1, scaling=scaling)(part)
    assert x.flatten().tolist() == pytest.approx(expected)  # 600 is above the percentile and cut off at 1


@pytest.mark.parametrize(
    ("hw", "work_hw"), [((512, 256), (256, 128)), ((1, 900), (1, 256)), ((256, 256), (256, 256)), ((90, 60), (256, 171))]
)
def test_longer_side_becomes_max_side_and_restore_gives_the_size_back(hw, work_hw):
    image = Image.from_array(np.zeros(hw, np.uint8))
    x, frame = Preprocess(1, max_side_px=256)(image)
    assert x.shape[2:] == work_hw
    assert frame.restore(torch.zeros(1, 2, *work_hw)).shape == (1, 2, *hw)


def test_restore_at_equal_size_changes_no_bit():
    logits = torch.randn(1, 2, 7, 9)
    assert torch.equal(Frame((7, 9), (7, 9)).restore(logits), logits)


def test_colour_becomes_grey_by_luma_and_grey_becomes_colour_by_repetition():
    colour = Image.from_array(np.array([[[255, 0, 0]]], np.uint8))
    assert float(Preprocess(1)(colour)[0]) == pytest.approx(0.299)
    grey = Image.from_array(np.array([[51]], np.uint8))
    assert Preprocess(3)(grey)[0].flatten().tolist() == pytest.approx([0.2] * 3)


def test_other_channel_counts_are_refused_with_both_numbers():
    with pytest.raises(InputError, match=r"has 4 channels, the model was trained on 3"):
        Preprocess(3)(Image.from_array(np.zeros((4, 4, 4), np.uint8)))


def test_values_that_are_not_finite_are_counted_and_refused():
    pixels = np.ones((4, 4), np.float32)
    pixels[0, :2] = np.nan
    with pytest.raises(InputError, match="2 values are not finite"):
        Preprocess(1)(Image(pixels[..., None], value_range=(0, 1)))


def test_the_shorter_side_decides_where_it_is_asked_for():
    p = Preprocess(1, min_side_px=10)
    assert [p.work_hw(hw) for hw in ((20, 50), (50, 20), (5, 5), (1, 3))] == [(10, 25), (25, 10), (10, 10), (10, 30)]
    x, frame = p(Image(np.zeros((20, 50, 1), np.uint8)))
    assert (x.shape[-2:], frame.hw) == ((10, 25), (20, 50))


def test_preprocess_survives_its_dict_and_names_unknown_keys():
    p = Preprocess(3, 256, "zscore", (1, 2, 3), (4, 5, 6))
    assert Preprocess.from_dict(p.to_dict()) == p
    with pytest.raises(InputError, match=r"unknown keys \['size'\]"):
        Preprocess.from_dict({"channels": 1, "size": 3})
    for zoom in (0.0, 16.1):
        with pytest.raises(InputError, match=rf"zoom={zoom} must be above 0 and at most 16"):
            Preprocess(1, zoom=zoom)
    with pytest.raises(InputError, match="max_side_px=0 must be 1 or more"):
        Preprocess(1, max_side_px=0)
    with pytest.raises(InputError, match="min_side_px=-1 must be 1 or more"):
        Preprocess(1, min_side_px=-1)
    with pytest.raises(InputError, match=r"std .* must be greater than zero"):
        Preprocess(1, std=(0.0,))


def test_zoom_comes_on_top():
    assert Preprocess(3, zoom=2).work_hw((10, 21)) == (20, 42)
    assert Preprocess(3, max_side_px=10, zoom=1.5).work_hw((10, 20)) == (8, 15)


def test_the_shorter_side_has_its_length_unless_the_longer_would_surpass_its_own():
    p = Preprocess(3, max_side_px=1333, min_side_px=800)
    assert p.work_hw((400, 600)) == (800, 1200)  # twice as large
    assert p.work_hw((500, 1500)) == (444, 1333)  # 1333 / 1500 of 500


def test_target_shrinks_by_majority():
    target = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [255, 255, 1, 0], [255, 0, 0, 0]], np.uint8)
    # blocks: three 0 of four; four 1; three ignored of four; three 0 of four
    assert resize_target(target, (2, 2)).tolist() == [[0, 1], [255, 0]]


def test_no_augmentation_is_the_image_itself():
    image, target = torch.randn(2, 32, 48), torch.randint(0, 3, (32, 48), dtype=torch.uint8)
    x, y = augmenter((32, 48), STILL)(tv_tensors.Image(image), tv_tensors.Mask(target))
    assert torch.allclose(x, image, atol=1e-5)
    assert torch.equal(y.as_subclass(torch.Tensor), target)


def test_outside_of_the_image_is_ignored_in_the_target_and_repeats_the_border_in_the_image():
    x, y = augmenter((8, 8), STILL)(
        tv_tensors.Image(torch.full((1, 4, 4), 3.0)), tv_tensors.Mask(torch.ones(4, 4, dtype=torch.uint8))
    )
    expected = torch.full((8, 8), 255, dtype=torch.uint8)
    expected[2:6, 2:6] = 1  # 4 px in the middle of 8
    assert torch.equal(y.as_subclass(torch.Tensor), expected)
    assert torch.equal(x.as_subclass(torch.Tensor), torch.full((1, 8, 8), 3.0))


def test_image_and_target_move_together():
    """The image is the target as numbers: after the same map they still agree but on borders."""
    target = torch.zeros(64, 64, dtype=torch.uint8)
    target[10:30, 20:50] = 1
    window = RandomWindow((64, 64), Augmentation(flip_horizontal=0.5, flip_vertical=0.5, turn=0.5, rotation_deg=40, elastic=0.03))
    for seed in range(10):
        torch.manual_seed(seed)
        x, y = window(tv_tensors.Image(target[None].float()), tv_tensors.Mask(target))
        counted = y.as_subclass(torch.Tensor) != 255
        wrong = ((x[0] > 0.5) != (y == 1))[counted].float().mean()
        assert wrong < 0.01
        assert (y == 1).any()


def test_flip_is_exact():
    image = torch.arange(12.0).view(1, 3, 4)
    window = RandomWindow((3, 4), Augmentation(**{**STILL.__dict__, "flip_horizontal": 1.0}))
    x, _ = window(tv_tensors.Image(image), tv_tensors.Mask(torch.zeros(3, 4, dtype=torch.uint8)))
    assert torch.allclose(x.as_subclass(torch.Tensor), image.flip(2), atol=1e-4)


def test_foreground_centres_find_a_rare_object():
    target = torch.zeros(512, 512, dtype=torch.uint8)
    target[400:404, 100:104] = 1
    window = RandomWindow((64, 64), Augmentation(**{**STILL.__dict__, "foreground": 1.0}))
    _, y = window(tv_tensors.Image(torch.zeros(1, 512, 512)), tv_tensors.Mask(target))
    assert int((y == 1).sum()) == 16


def test_appearance_changes_the_image_only_and_the_seed_decides():
    image, target = torch.randn(1, 64, 64), torch.randint(0, 2, (64, 64), dtype=torch.uint8)
    augment = augmenter(
        (64, 64), Augmentation(**{**STILL.__dict__, "contrast": 0.5, "gamma": 0.5, "noise": 0.2, "blur": 2, "hide": 1})
    )
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augment(tv_tensors.Image(image), tv_tensors.Mask(target)))
    assert torch.equal(results[0][0], results[1][0])
    assert not torch.equal(results[0][0], results[2][0])
    assert torch.equal(results[2][1].as_subclass(torch.Tensor), target)


def changed(image: torch.Tensor, **strength: float) -> torch.Tensor:
    """The image after RandomAppearance with nothing switched on but `strength`."""
    target = torch.zeros(image.shape[1:], dtype=torch.uint8)
    augment = augmenter(tuple(image.shape[1:]), Augmentation(**{**STILL.__dict__, **strength}))
    x, _ = augment(tv_tensors.Image(image), tv_tensors.Mask(target))
    return x.as_subclass(torch.Tensor)


def test_exposure_scales_from_the_darkest_value_and_is_cut_off_at_the_lightest():
    image = torch.tensor([[[-1.0, 0.0, 1.0]]])
    for seed in range(20):
        torch.manual_seed(seed)
        dark, middle, light = changed(image, exposure=1.0).flatten().tolist()
        assert dark == pytest.approx(-1, abs=1e-4)
        # The middle lies 1 above the darkest: a factor of 0.5 to 2 brings it to -0.5 to 1; the lightest never goes beyond 1.
        assert -0.501 <= middle <= 1.001
        assert light == pytest.approx(min(1.0, -1 + 2 * (middle + 1)), abs=1e-3)


def test_saturation_keeps_each_pixels_grey_and_leaves_grey_pixels_alone():
    image = torch.randn(3, 8, 8)
    image[:, 0] = image[:1, 0]
    found = changed(image, saturation=1.0)
    luma = torch.tensor((0.299, 0.587, 0.114)).view(3, 1, 1)
    assert torch.allclose((found * luma).sum(0), (image * luma).sum(0), atol=1e-4)
    assert torch.allclose(found[:, 0], image[:, 0], atol=1e-4)
    assert not torch.allclose(found, image, atol=1e-2)


def test_tint_moves_each_channel_by_one_number_and_never_a_single_channel():
    image = torch.randn(3, 8, 8)
    moved = (changed(image, tint=0.5) - image).flatten(1)
    assert torch.allclose(moved, moved[:, :1].expand_as(moved), atol=1e-4)
    assert moved[:, 0].unique().numel() == 3
    assert moved.abs().max() <= 0.5
    assert torch.allclose(changed(image[:1], tint=0.5, saturation=0.5), image[:1], atol=1e-4)


@pytest.mark.parametrize(("name", "value"), [("flip_horizontal", 1.5), ("scale", -0.1), ("noise", "much")])
def test_augmentation_out_of_range_is_named(name, value):
    with pytest.raises(InputError, match=rf"augment\.{name} is .*; expected a number from 0"):
        Augmentation(**{name: value})


@pytest.mark.parametrize(
    ("given", "hw", "work"),
    [
        ({"max_side_px": 250}, (373, 500), (187, 250)),  # 186.5 goes up
        ({"min_side_px": 50, "max_side_px": 100}, (100, 400), (25, 100)),  # 50 of the shorter would make 200 of the longer
        ({"min_side_px": 50, "max_side_px": 100}, (100, 150), (50, 75)),
        ({"max_side_px": 10}, (1, 1000), (1, 10)),  # no side under 1
        ({"zoom": 1.37}, (100, 201), (137, 275)),  # 275.37
        ({"zoom": 1 / 3}, (90, 31), (30, 10)),
    ],
)
def test_the_size_that_the_network_sees(given, hw, work):
    assert Preprocess(3, **given).work_hw(hw) == work
