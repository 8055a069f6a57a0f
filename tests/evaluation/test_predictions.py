"""Prediction files: which answers which image, in what values, and what is said about odd ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError
from maskwright.evaluation import Evaluation, evaluate
from maskwright.evaluation.predictions import bare
from maskwright.io.write import write_mask

from .conftest import HW, LUNGS, truth, write

Make = Callable[..., Path]


def scored(folder: Path, data: Path, **settings: bool) -> Evaluation:
    return evaluate(folder, data, resamples=0, **settings)


@pytest.mark.parametrize(
    "name",
    [
        "{:02d}.png",
        "{:02d}_mask.png",
        "{:02d}-Pred.png",
        "deep/er/{:02d}.png",
        "{:02d}.png.png",
        "{:02d}.tif",
        "{:02d}_label.bmp",
    ],
)
def test_any_usual_name(make_data: Make, tmp_path: Path, name: str) -> None:
    for k in range(12):
        write(tmp_path / "masks" / name.format(k), truth(k))
    found = scored(tmp_path / "masks", make_data("."))
    assert found.scores.mean_iou == 1
    assert not any("not scored" in c or "Values" in c for c in found.conventions)


@pytest.mark.parametrize("values", ["stored", "ids", "palette"])
def test_stored_values_and_ids_are_both_understood(make_data: Make, tmp_path: Path, values: str) -> None:
    for k in range(12):
        path = tmp_path / "masks" / f"{k:02d}.png"
        if values == "palette":
            write_mask(path, truth(k) // 255, LUNGS)
        else:
            write(path, truth(k) if values == "stored" else truth(k) // 255)
    assert scored(tmp_path / "masks", make_data(".")).scores.mean_iou == 1


def test_colours(tmp_path: Path) -> None:
    classes = ClassMap((0, 1), ("ground", "road"), values=(((0, 0, 0),), ((128, 64, 128),)))
    rgb = np.zeros((*HW, 3), np.uint8)
    rgb[:, 10:] = (128, 64, 128)
    write(tmp_path / "data" / "images" / "a.png", np.zeros((*HW, 3), np.uint8))
    write(tmp_path / "data" / "masks" / "a.png", rgb)
    rgb[0, 0] = (1, 2, 3)
    write(tmp_path / "masks" / "a.png", rgb)
    found = evaluate(tmp_path / "masks", tmp_path / "data", classes=classes, resamples=0)
    assert found.scores.void_px == 1
    assert any("in a.png 1 pixels hold values that are no class ((1, 2, 3)) and count as wrong." in c for c in found.conventions)


def test_values_that_are_no_class_count_as_wrong_and_are_said(make_data: Make, tmp_path: Path) -> None:
    for k in range(12):
        odd = truth(k)
        odd[0, :3] = 7
        write(tmp_path / "masks" / f"{k:02d}.png", odd)
    found = scored(tmp_path / "masks", make_data("."))
    assert found.scores.void_px == 12 * 3
    assert found.scores.pixel_accuracy == 1 - 3 / (HW[0] * HW[1])
    assert any("3 pixels hold values that are no class (7) and count as wrong, and 11 files more" in c for c in found.conventions)


def test_jpeg_predictions_are_moved_and_said(make_data: Make, tmp_path: Path) -> None:
    for k in range(12):
        write(tmp_path / "masks" / f"{k:02d}.jpg", truth(k))
    found = scored(tmp_path / "masks", make_data("."))
    assert found.scores.pixel_accuracy > 0.99
    assert any("pixels were moved to the nearest class value" in c for c in found.conventions)


def test_missing_predictions(make_data: Make, tmp_path: Path) -> None:
    data = make_data(".")
    for k in range(10):
        write(tmp_path / "masks" / f"{k:02d}.png", truth(k))
    with pytest.raises(InputError, match=r"no prediction for 2 of 12 images \(10, 11\)\. .*--missing-as-wrong"):
        scored(tmp_path / "masks", data)
    found = scored(tmp_path / "masks", data, missing_as_wrong=True)
    # Every pixel of the two images is wrong: their lung and their background alike.
    assert found.scores.pixel_accuracy == 10 / 12
    assert found.scores.void_px == 2 * HW[0] * HW[1]
    assert found.mean_image_dice == 10 / 12
    assert "2 images have no prediction and count as wrong: 10, 11." in found.conventions


def test_extra_files_are_named_but_not_those_of_other_splits_or_overlays(make_data: Make, tmp_path: Path) -> None:
    data = make_data("train", "val")
    for k in range(12):
        write(tmp_path / "masks" / f"{k:02d}.png", truth(k))
        write(tmp_path / "masks" / f"{k:02d}_overlay.png", truth(k))
    write(tmp_path / "masks" / "other.png", truth(0))
    found = scored(tmp_path / "masks", data)
    assert len(found.per_image) == 6
    assert [c for c in found.conventions if "not scored" in c] == [
        "1 files answer no image of the data and were not scored: other.png."
    ]


def test_same_names_in_other_folders_are_told_apart_by_them(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for patient, k in (("p1", 3), ("p2", 9)):
        write(data / "images" / patient / "5.png", np.zeros(HW, np.uint8))
        write(data / "masks" / patient / "5.png", truth(k))
        write(tmp_path / "found" / patient / "5.png", truth(k))
    (data / "classes.yaml").write_text(LUNGS.to_yaml(), encoding="utf-8")
    assert scored(tmp_path / "found", data).scores.mean_iou == 1
    (tmp_path / "found" / "p1" / "5.png").unlink()
    with pytest.raises(InputError, match=r"no prediction for 1 of 2 images \(p1/5\)"):  # and not p2's for p1
        scored(tmp_path / "found", data)
    write(tmp_path / "flat" / "5.png", truth(3))
    with pytest.raises(InputError, match=r"flat/5.png: fits the images p1/5 and p2/5; put predictions into the folders"):
        scored(tmp_path / "flat", data)


def test_two_files_for_one_image(make_data: Make, tmp_path: Path) -> None:
    for model in ("a", "b"):
        write(tmp_path / "masks" / model / "00.png", truth(0))
    with pytest.raises(InputError, match=r"a/00.png and .*b/00.png both fit the image 00; remove or rename one"):
        scored(tmp_path / "masks", make_data("."))


def test_wrong_size_and_broken_files_are_named(make_data: Make, tmp_path: Path) -> None:
    data = make_data(".")
    for k in range(12):
        write(tmp_path / "masks" / f"{k:02d}.png", truth(k))
    write(tmp_path / "masks" / "04.png", truth(4)[::2, ::2])
    with pytest.raises(
        InputError, match=r"masks/04.png: the prediction is 15x10, the truth of 04 30x20; scores are taken at the truth's"
    ):
        scored(tmp_path / "masks", data)
    (tmp_path / "masks" / "04.png").write_bytes((tmp_path / "masks" / "05.png").read_bytes()[:60])
    with pytest.raises(FormatError, match=r"masks/04.png"):
        scored(tmp_path / "masks", data)


def test_a_folder_that_holds_no_prediction(make_data: Make, tmp_path: Path) -> None:
    data = make_data(".")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match=r"empty: no prediction for any of the 12 images \(such as 00\); it holds no image files"
    ):
        scored(tmp_path / "empty", data, missing_as_wrong=True)
    write(tmp_path / "others" / "cat.png", truth(0))
    with pytest.raises(InputError, match=r"it holds files such as cat.png"):
        scored(tmp_path / "others", data)


def test_exif_of_predictions_is_applied_like_that_of_images(tmp_path: Path) -> None:
    data = tmp_path / "data"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # stored lying, displayed upright
    lying = np.zeros(HW, np.uint8)
    lying[2:6, 3:9] = 255
    for folder in (data / "images", data / "masks", tmp_path / "found"):
        folder.mkdir(parents=True)
        PIL.Image.fromarray(lying).save(folder / "a.png", exif=exif)
    (data / "classes.yaml").write_text(LUNGS.to_yaml(), encoding="utf-8")
    found = scored(tmp_path / "found", data)
    assert found.scores.mean_iou == 1


@pytest.mark.parametrize(
    ("stem", "left"), [("7_mask", "7"), ("A-Pred", "a"), ("mask", "mask"), ("unmask", "unmask"), ("x_0_gt", "x_0")]
)
def test_bare(stem: str, left: str) -> None:
    assert bare(stem) == left
