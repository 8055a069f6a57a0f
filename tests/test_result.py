"""Segmentation and Sample: what they refuse, what they show, the files they leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.io import Image, read_image, read_labels
from maskwright.result import Segmentation
from maskwright.sample import Sample

CLASSES = ClassMap((0, 1, 4), ("background", "road", "car"))
LABELS = np.array([[0, 1, 1], [255, 1, 0]], np.uint8)
IMAGE = Image(np.full((2, 3, 3), 90, np.uint8), Path("folder/scene.jpg"))
PROBS = np.linspace(0, 1, 18, dtype=np.float32).reshape(3, 2, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": LABELS.astype(np.float32)}, r"image: labels are float32 of the shape \(2, 3\); expected integers \(H, W\)"),
        ({"labels": LABELS.astype(bool)}, "labels are bool"),
        ({"labels": LABELS[None]}, r"of the shape \(1, 2, 3\); expected integers"),
        ({"labels": LABELS[:0]}, r"of the shape \(0, 3\)"),
        (
            {"image": Image(np.zeros((3, 2, 1), np.uint8)), "name": "x"},
            r"x: image has the shape \(3, 2\); labels of \(2, 3\) need \(2, 3\)",
        ),
        ({"confidence": np.zeros((2, 2), np.float32)}, r"confidence has the shape \(2, 2\)"),
        ({"probs": np.zeros((2, 2, 3), np.float32)}, r"probs has the shape \(2, 2, 3\); labels of \(2, 3\) need \(3, 2, 3\)"),
        ({"labels": np.array([[3, 2, 0]])}, r"label ids \[2, 3\] are not in the class map \(known: \(0, 1, 4\), ignore: 255\)"),
        ({"labels": np.array([[-1, 0]])}, r"label ids \[-1\] are not"),
        ({"labels": np.array([[0, 70000]])}, r"label ids \[70000\] are not"),
    ],
)
def test_checks_at_birth(given, message):
    with pytest.raises(InputError, match=message):
        Segmentation(**{"labels": LABELS, "classes": CLASSES, **given})


def test_name_and_areas():
    assert Segmentation(LABELS, CLASSES).name == "image"
    assert Segmentation(LABELS, CLASSES, IMAGE).name == "scene"
    assert Segmentation(LABELS, CLASSES, IMAGE, name="other").name == "other"
    assert Segmentation(LABELS, CLASSES).areas() == {"background": 2, "road": 3, "car": 0}  # the ignored pixel is no area


@pytest.mark.parametrize("dtype", ["uint16", "int32", "int64"])
def test_any_integer_labels(dtype):
    found = Segmentation(LABELS.astype(dtype), CLASSES, IMAGE)
    assert found.areas()["road"] == 3
    assert np.array_equal(found.overlay(), Segmentation(LABELS, CLASSES, IMAGE).overlay())


def test_colour():
    picture = Segmentation(LABELS, CLASSES).colour()
    assert picture[0].tolist() == [list(CLASSES.colours[i]) for i in (0, 1, 1)]


def test_overlay_with_and_without_legend():
    found = Segmentation(LABELS, CLASSES, IMAGE)
    plain = found.overlay(legend=False)
    assert plain.shape == (2, 3, 3)
    assert plain[0, 0].tolist() == [90, 90, 90]
    assert plain[0, 1].tolist() == list(CLASSES.colours[1])
    # Three columns are repeated 107 times to reach 320 px; below comes the legend.
    assert found.overlay().shape[1] == 321
    assert found.overlay().shape[0] > 2 * 107


def test_overlay_on_another_picture():
    found = Segmentation(LABELS, CLASSES)
    assert found.overlay(np.full((2, 3), 7, np.uint8), legend=False)[0, 0].tolist() == [7, 7, 7]
    with pytest.raises(InputError, match=r"image: an overlay needs a picture; give one, or use colour\(\)"):
        found.overlay()
    with pytest.raises(InputError, match=r"the picture is \(3, 2\), the labels are \(2, 3\)"):
        found.overlay(np.zeros((3, 2), np.uint8))


def test_save_answer_to_a_png(tmp_path):
    found = Segmentation(LABELS, CLASSES, IMAGE, probs=PROBS)
    written = found.save(tmp_path / "out", overlay=True, probabilities=True)
    assert [p.name for p in written] == ["scene.png", "scene_overlay.png", "scene_probs.npy"]
    assert sorted(written) == sorted((tmp_path / "out").iterdir())
    assert np.array_equal(read_labels(written[0], CLASSES).labels, LABELS)
    assert np.array_equal(np.asarray(PIL.Image.open(written[1])), found.overlay())
    probs = np.load(written[2], allow_pickle=False)
    assert (probs.dtype, probs.shape) == (np.float16, (3, 2, 3))
    assert np.abs(probs - PROBS).max() < 1e-3


def test_save_answer_to_a_tiff(tmp_path):
    tifffile.imwrite(tmp_path / "deep.tif", np.full((2, 3), 4000, np.uint16))
    found = Segmentation(LABELS, CLASSES, read_image(tmp_path / "deep.tif"))
    written = found.save(tmp_path / "out", overlay=True)
    assert [p.name for p in written] == ["deep.tif", "deep_overlay.png"]
    assert np.array_equal(read_labels(written[0], CLASSES).labels, LABELS)


def test_save_without_an_image(tmp_path):
    assert [p.name for p in Segmentation(LABELS, CLASSES).save(str(tmp_path))] == ["image.png"]
    with pytest.raises(InputError, match="no probabilities were kept; ask for them when predicting"):
        Segmentation(LABELS, CLASSES, name="x").save(tmp_path, probabilities=True)
    assert [p.name for p in tmp_path.iterdir()] == ["image.png"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS.astype(np.float32), r"s: labels are float32 of the shape \(2, 3\); expected integers"),
        (LABELS[None], r"of the shape \(1, 2, 3\)"),
        (LABELS.T, "s: labels are 2x3, the image is 3x2; they must be alike"),
    ],
)
def test_sample_checks_itself(labels, message):
    with pytest.raises(InputError, match=message):
        Sample(IMAGE, labels, CLASSES, "s")


def test_sample_counts_ignored_pixels():
    assert Sample(IMAGE, LABELS, CLASSES, "s").ignored_px == 1
    assert Sample(IMAGE, None, CLASSES, "s").ignored_px == 0
