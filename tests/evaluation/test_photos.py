"""Photos that were given for masks are refused; masks that went through JPEG are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.evaluation import evaluate
from maskwright.evaluation.photos import check_no_photo, far_px
from maskwright.io.masks import labels_of, read_mask

HW = (40, 60)
PLAIN = ClassMap((0, 1, 2), ("ground", "road", "car"))
COLOURS = ClassMap((0, 1), ("ground", "road"), values=(((0, 0, 0),), ((128, 64, 128),)))


def photo(channels: int = 3) -> np.ndarray:
    shade = np.linspace(40, 220, HW[1])[None, :, None] + np.random.default_rng(0).normal(0, 9, (*HW, channels))
    return np.clip(shade, 0, 255).astype(np.uint8).squeeze()


def saved(path: Path, values: np.ndarray) -> Path:
    PIL.Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("snap", [False, True])
@pytest.mark.parametrize("classes", [PLAIN, COLOURS], ids=["numbers", "colours"])
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_photos_in_colour_are_refused(name, classes, snap, tmp_path):
    mask = read_mask(saved(tmp_path / name, photo()))
    with pytest.raises(InputError, match=rf"{name}: \d+% of its pixels hold no value of a class, as in a photo"):
        check_no_photo(mask, labels_of(mask, classes, snap=snap), classes)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_grey_photos_are_refused(name, tmp_path):
    mask = read_mask(saved(tmp_path / name, photo(1)))
    with pytest.raises(InputError, match="as in a photo; expected a mask of the class ids"):
        check_no_photo(mask, labels_of(mask, PLAIN), PLAIN)


def test_masks_through_jpeg_and_with_a_few_odd_pixels_pass(tmp_path):
    labels = np.zeros((*HW, 3), np.uint8)
    labels[10:30, 16:44] = (128, 64, 128)
    mask = read_mask(saved(tmp_path / "a.jpg", labels))
    reading = labels_of(mask, COLOURS)
    assert reading.snapped_px > HW[0] * HW[1] / 2 or far_px(mask, COLOURS) < reading.snapped_px
    check_no_photo(mask, reading, COLOURS)
    labels[0, :7] = (9, 9, 200)
    mask = read_mask(saved(tmp_path / "a.png", labels))
    assert far_px(mask, COLOURS) == 7
    check_no_photo(mask, labels_of(mask, COLOURS), COLOURS)


def test_probabilities_that_are_snapped_pass(tmp_path):
    lung = ClassMap((0, 1), ("ground", "lung"), values=((0,), (255,)))
    mask = read_mask(saved(tmp_path / "a.png", photo(1)))
    check_no_photo(mask, labels_of(mask, lung, snap=True), lung)


def test_the_images_of_a_data_set_are_no_predictions(objects_folder):
    with pytest.raises(
        InputError, match=r"val/10.png: \d+% of its pixels hold no value of a class.* Give the folder of the pred"
    ):
        evaluate(objects_folder / "val", objects_folder, split="val", resamples=0)
