"""Formats that may hold masks of classes beside the objects: what is opened, what the doctor looks at, what training takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskwright.data.check import check
from maskwright.data.convert import convert
from maskwright.data.dataset import open_dataset
from maskwright.data.layouts import LayoutError
from maskwright.io.write import write_png
from maskwright.training.opening import Options, open_data

DRAWN = {"train": 10, "val": 4}


@pytest.fixture
def as_format(objects_folder, tmp_path):
    """The drawn pictures and objects, written in another format."""

    def write(name: str) -> Path:
        convert(objects_folder, tmp_path / name, to=name)
        return tmp_path / name

    return write


def codes(report) -> list[str]:
    """What was found, but for the pictures that are drawn empty."""
    return [f.code for f in report.findings if f.severity != "note" and f.code != "all-background"]


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def cityscapes(root: Path) -> Path:
    """Three frames of noise with a car each, as the data set is unpacked: label ids, colours and instance ids beside each other."""
    rng = np.random.default_rng(0)
    for k, split in enumerate(("train", "train", "val")):
        place, frame = f"{split}/ulm", f"ulm_00000{k}_000019"
        ids = np.zeros((40, 60), np.uint16)
        ids[5 + k : 20, 8:30] = 26001
        write_png(root / "leftImg8bit" / place / f"{frame}_leftImg8bit.png", rng.integers(0, 255, (40, 60, 3), np.uint8))
        write_png(root / "gtFine" / place / f"{frame}_gtFine_instanceIds.png", ids)
        write_png(root / "gtFine" / place / f"{frame}_gtFine_labelIds.png", np.where(ids, 26, 7).astype(np.uint8))
        (root / "gtFine" / place / f"{frame}_gtFine_polygons.json").write_text("{}")
    return root


@pytest.mark.parametrize("objects", [None, True])
def test_id_masks_without_masks_of_classes_are_read_as_objects(as_format, objects):
    root = as_format("instance_png")
    data = open_dataset(root, objects=objects)
    assert (data.annotations is not None, data.splits) == (True, DRAWN)
    report = check(root, objects=objects)
    assert report.ok, report.lines()
    assert report.class_objects["box"] > 0


@pytest.mark.parametrize("objects", [None, True])
def test_cityscapes_as_it_is_unpacked_is_read_as_objects(objects, tmp_path):
    report = check(cityscapes(tmp_path / "city"), objects=objects)
    assert report.ok, report.lines()
    assert (report.splits, report.class_objects["car"]) == ({"train": 2, "val": 1}, 3)


def test_masks_alone_are_asked_for(as_format):
    with pytest.raises(LayoutError, match="images but no masks"):
        open_dataset(as_format("instance_png"), objects=False)


def test_which_of_two_folders_is_meant_stays_a_question(as_format):
    root = as_format("voc")
    (root / "labels").mkdir()
    write_png(root / "labels" / "00.png", np.eye(64, 80, dtype=np.uint8))
    with pytest.raises(LayoutError, match="several folders could hold the masks"):
        open_dataset(root)


@pytest.mark.parametrize("task", [None, "semantic", "instance"])
def test_training_opens_what_the_doctor_passed(as_format, task):
    for name in ("instance_png", "voc"):
        data, _ = open_data(as_format(name), Options(None, task=task), None, checked=False, show=False)
        # What no model decides: masks of classes where they are there, else objects.
        assert (data.annotations is None) == (name == "voc" and task != "instance")
        assert data.splits == DRAWN


def test_objects_beside_masks_of_classes_are_looked_at(as_format):
    root = as_format("voc")
    assert codes(check(root)) == []
    broken = cut(root / "SegmentationObject" / "07.png")
    report = check(root)
    assert report.ok  # training of classes takes the other masks
    [found] = [f for f in report.findings if f.code == "objects-beside"]
    assert (found.code, found.value) == ("objects-beside", "1 error")
    assert str(broken) in found.message
    assert found.message.endswith("that of objects would stop: check them with --objects.")
    report = check(root, objects=True)
    assert [(f.code, f.file) for f in report.findings if f.severity == "error"] == [("unreadable", broken)]


def test_an_image_that_cannot_be_read_is_said_once(as_format):
    root = as_format("voc")
    cut(root / "JPEGImages" / "07.png")
    assert codes(check(root)) == ["unreadable"]


def test_masks_that_are_named_are_all_that_is_looked_at(as_format):
    root = as_format("voc")
    cut(root / "SegmentationObject" / "07.png")
    for named in ({"masks": "SegmentationClass"}, {"objects": False}):
        assert codes(check(root, **named)) == []
