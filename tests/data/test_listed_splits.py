"""Splits that Pascal VOC's lists state hold for masks of classes as they do for objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskwright.classes import spread
from maskwright.data.check import check
from maskwright.data.dataset import open_dataset
from maskwright.data.pairing import find_pairs
from maskwright.data.split import as_trained
from maskwright.io.write import write_png, write_text

PALETTE = np.array([spread(k) for k in range(256)], np.uint8)
MASK = np.pad(np.array([[1, 1, 255, 0], [2, 2, 255, 0]], np.uint8), ((0, 6), (0, 4)))
LISTS = {"train": "a\nb\nc\n", "val": "d\ne\n", "test": "f\n", "trainval": "a\nb\nc\nd\ne\n"}


def voc(base: Path, names: str = "abcdef", lists: dict[str, str] = LISTS, without_mask: str = "") -> Path:
    """Random pictures with two objects each, in VOC's folders."""
    rng = np.random.default_rng(0)
    for name in names:
        write_png(base / "JPEGImages" / f"{name}.png", rng.integers(0, 255, (8, 8, 3), np.uint8))
        if name not in without_mask:
            for folder, values in (("SegmentationObject", MASK), ("SegmentationClass", np.where(MASK == 2, 15, MASK))):
                write_png(base / folder / f"{name}.png", values.astype(np.uint8), PALETTE)
    for split, text in lists.items():
        write_text(base / "ImageSets" / "Segmentation" / f"{split}.txt", text)
    return base


def splits(root: Path, **options) -> dict[str, str]:
    return {p.name: p.split for p in open_dataset(root, classes="voc", **options).pairs}


@pytest.mark.parametrize("below", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_lists_say_the_splits_of_classes_and_of_objects(below, tmp_path):
    voc(tmp_path / below)
    expected = {"a": "train", "b": "train", "c": "train", "d": "val", "e": "val", "f": "test"}
    assert splits(tmp_path) == splits(tmp_path, objects=True) == expected
    data = open_dataset(tmp_path, classes="voc")
    assert data.annotations is None
    assert data.layout.endswith("3 train, 2 val, 1 test; splits as ImageSets/Segmentation lists them")
    assert as_trained(data, seed=0).splits == {"train": 3, "val": 2, "test": 1}  # nothing is drawn over them


def test_images_that_no_list_names(tmp_path):
    voc(tmp_path, "abcdefghi", without_mask="fhi")
    # g has a mask but is listed nowhere: nobody's split, as for objects; h and i were never meant for this task.
    assert (
        splits(tmp_path)
        == splits(tmp_path, objects=True)
        == {**dict.fromkeys("abc", "train"), "d": "val", "e": "val", "g": "all"}
    )
    line = find_pairs(tmp_path).line
    assert (
        "3 train, 2 val, 1 all; 1 test image without masks left out; 2 images without masks that no list names left out" in line
    )


def test_without_a_list_to_fit_on_the_rest_is(tmp_path):
    voc(tmp_path, lists={"val": "d\ne\n"})
    assert splits(tmp_path) == {**dict.fromkeys("abcf", "train"), "d": "val", "e": "val"}


@pytest.mark.parametrize("lists", [{}, {"trainval": "a\nb\n"}, {"default": "a\nb\n"}])
def test_lists_that_say_no_split(lists, tmp_path):
    voc(tmp_path, lists=lists)
    assert set(splits(tmp_path).values()) == {"all"}
    assert "ImageSets" not in find_pairs(tmp_path).line


def test_odd_lists_are_said(tmp_path):
    voc(tmp_path, lists={"train": "a\nb\nlost\n", "val": "c\nb\n"})
    assert splits(tmp_path)["b"] == "train"
    assert "lists them, 1 name listed twice by the first, 1 name without a mask" in find_pairs(tmp_path).line


def test_a_listed_image_without_its_mask_is_an_error(tmp_path):
    voc(tmp_path, without_mask="b")
    assert [(f.code, f.name) for f in check(tmp_path, classes="voc").findings if f.severity == "error"] == [("missing-mask", "b")]
