"""Drawn X-rays: the same for a seed, different between seeds, exact labels, and too hard for anything that does not learn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from maskwright.classes import ClassMap
from maskwright.data.dataset import open_dataset
from maskwright.demo.lungs import make, scene
from maskwright.errors import InputError

SIZE = (192, 192)


@pytest.fixture(scope="module")
def scenes():
    return [scene(seed, size_hw=SIZE) for seed in range(40)]


def dice(a: NDArray, b: NDArray) -> float:
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


def otsu(pixels: NDArray) -> float:
    """Otsu's threshold: the one that separates the two sides' means most (IEEE SMC 1979, equation 18)."""
    counts = np.bincount(pixels.ravel(), minlength=256).astype(float)
    below, values = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    total, mean = below[-1], values[-1] / below[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean * below - values) ** 2 / (below * (total - below))
    return float(np.nanargmax(between[:-1]))


def test_a_seed_is_a_scene(scenes):
    again = scene(3, size_hw=SIZE)
    assert np.array_equal(again.image.pixels, scenes[3].image.pixels)
    assert np.array_equal(again.labels, scenes[3].labels)
    assert not np.array_equal(scenes[3].labels, scenes[4].labels)


def test_two_lungs_of_human_size_in_the_picture(scenes):
    for s in scenes:
        _, count = ndimage.label(s.labels)
        assert count in (1, 2)
        assert 0.08 < np.mean(s.labels) < 0.36
        assert set(np.unique(s.labels)) == {0, 1}
        left, right = np.mean(s.labels[:, : SIZE[1] // 2]), np.mean(s.labels[:, SIZE[1] // 2 :])
        assert 0.4 < left / right < 2.5


def test_neither_a_threshold_nor_the_mean_mask_solves_them(scenes):
    """The better polarity of Otsu and the mean of 30 masks both stay under 0.85 on 10 others."""
    mean_mask = np.mean([s.labels for s in scenes[:30]], axis=0) > 0.5
    by_mean = np.mean([dice(mean_mask, s.labels == 1) for s in scenes[30:]])
    by_otsu = []
    for s in scenes[30:]:
        pixels = s.image.pixels[..., 0]
        dark = pixels <= otsu(pixels)
        by_otsu.append(max(dice(dark, s.labels == 1), dice(~dark, s.labels == 1)))
    assert by_mean < 0.85
    assert np.mean(by_otsu) < 0.85
    assert by_mean > 0.5, "the scenes are still chests: their lungs lie about where lungs lie"


def test_sixteen_bit_scenes_use_their_range_and_show_the_same_chest(scenes):
    deep = scene(3, size_hw=SIZE, bits=16)
    assert deep.image.pixels.dtype == np.uint16
    assert len(np.unique(deep.image.pixels)) > 2000
    assert np.array_equal(deep.labels, scenes[3].labels)


def test_make_writes_a_data_set_that_is_found_and_grows_without_moving(tmp_path):
    root = make(tmp_path / "lungs", count=8, seed=5, size_hw=(96, 80))
    data = open_dataset(root)
    assert data.splits == {"train": 6, "val": 1, "test": 1}
    assert data.classes == ClassMap.load(root / "classes.yaml")
    assert data.classes.names == ("background", "lung")
    sample = data.read(data.pairs[0])
    assert sample.image.pixels.shape == (96, 80, 1)
    assert Pillow.open(data.pairs[0].mask).mode == "P"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bits": 12}, "bits=12: scenes have 8 or 16 bits"),
        ({"size_hw": (20, 300)}, "size 20 x 300 px: a scene needs at least 64 px"),
    ],
)
def test_wrong_wishes_are_named(wrong, message):
    with pytest.raises(InputError, match=message):
        scene(0, **wrong)


def test_too_few_scenes_for_three_splits(tmp_path):
    with pytest.raises(InputError, match="count=2: at least 3 scenes"):
        make(tmp_path / "lungs", count=2)
