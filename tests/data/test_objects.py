"""Data sets whose truth tells objects apart: opened, checked, read, and made into training batches."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from maskwright.classes import ClassMap
from maskwright.data.check import check
from maskwright.data.convert import convert
from maskwright.data.dataset import open_dataset
from maskwright.data.loader import PreparedPairs, training_batches
from maskwright.data.truths import truth_of_layers
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.io.write import write_png
from maskwright.models.mask_rcnn.truth import Truth, truth_of
from maskwright.ops.rle import Rle
from maskwright.transforms import Preprocess
from maskwright.transforms.augmentation import Augmentation, augmenter
from maskwright.transforms.objects import layered

STILL = dict.fromkeys(Augmentation.__dataclass_fields__, 0.0)


def test_a_folder_of_annotations_is_a_data_set(objects_folder):
    data = open_dataset(objects_folder)
    assert data.splits == {"train": 10, "val": 4}
    assert data.classes.names == ("background", "box", "bar")
    assert "COCO json" in data.layout
    assert all(p.labelled and p.mask is None for p in data.pairs)


def test_samples_have_objects_and_the_class_map_painted_from_them(objects_folder):
    data = open_dataset(objects_folder)
    sample = data.read(data.pairs[0])
    assert len(sample.instances) > 0
    assert np.array_equal(sample.labels, sample.instances.to_labels())
    assert sample.labels.shape == sample.image.hw


def test_the_fingerprint_follows_the_objects(objects_folder, tmp_path):
    copy = tmp_path / "sea"
    shutil.copytree(objects_folder, copy)
    before = open_dataset(copy).fingerprint()
    assert before == open_dataset(objects_folder).fingerprint()
    file = copy / "annotations" / "instances_val.json"
    given = json.loads(file.read_text())
    given["annotations"] = given["annotations"][1:]
    file.write_text(json.dumps(given))
    assert open_dataset(copy).fingerprint() != before


def test_masks_of_classes_do_not_serve_where_objects_are_asked_for(tmp_path):
    for folder in ("images", "masks"):
        for name in "ab":
            (tmp_path / folder).mkdir(exist_ok=True)
            write_png(tmp_path / folder / f"{name}.png", np.eye(8, dtype=np.uint8) * 255)
    with pytest.raises(InputError, match=r"which class a pixel has, not which object.*convert .* --to coco --components"):
        open_dataset(tmp_path, objects=True)


def test_the_doctor_counts_objects_and_says_which_images_have_none(objects_folder):
    report = check(objects_folder)
    assert report.ok
    data = open_dataset(objects_folder)
    truth = [data.read(p).instances for p in data.pairs]
    assert report.class_objects == {name: sum(i.names.count(name) for i in truth) for name in ("box", "bar")}
    assert [f.name for f in report.findings if f.code == "no-objects"] == ["04", "09"]
    assert any("objects, in" in line for line in report.lines())


def test_the_doctor_finds_what_a_file_says_wrongly(objects_folder, tmp_path):
    copy = tmp_path / "sea"
    shutil.copytree(objects_folder, copy)
    file = copy / "annotations" / "instances_train.json"
    given = json.loads(file.read_text())
    given["annotations"].append({**given["annotations"][0], "id": 900})  # the same object again
    given["annotations"].append({**given["annotations"][0], "id": 901, "category_id": 77})
    given["images"].append({"id": 900, "file_name": "gone.png", "width": 80, "height": 64})
    file.write_text(json.dumps(given))
    codes = {f.code for f in check(copy).findings}
    assert {"duplicate-object", "unknown-class", "image-not-on-disk"} <= codes


def test_layers_become_the_truth_that_masks_become():
    masks = []
    for x0, y0, x1, y1 in ((0, 0, 6, 5), (4, 3, 9, 8), (10, 2, 14, 9)):
        mask = np.zeros((12, 14), bool)
        mask[y0:y1, x0:x1] = True
        mask[y0, x0] = False
        masks.append(Rle.from_mask(mask))
    classes = ClassMap((0, 1, 2), ("background", "a", "b"))
    given = Instances((12, 14), classes, np.array([1, 2, 1]), tuple(masks), crowd=np.array([False, False, True]))
    ours, theirs = truth_of_layers(layered(given)), truth_of(masks, [1, 2, 1], crowd=[False, False, True])
    for name in ("boxes", "classes", "windows", "starts", "pixels", "crowds"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name


def test_batches_hold_one_truth_an_image(objects_folder):
    data = open_dataset(objects_folder)
    prepared = PreparedPairs(data, data.split("train"), Preprocess(3), memory_bytes=1 << 30, objects=True)
    batches = training_batches(
        prepared, augmenter((64, 96), Augmentation(**STILL)), batch=5, first_step=0, stop_step=2, seed=0, workers=0
    )
    counted = 0
    for images, truths in batches:
        assert images.shape == (5, 3, 64, 96)
        assert all(isinstance(t, Truth) for t in truths)
        counted += sum(len(t) for t in truths)
    # Two steps of five are every training image once; without augmentation every object is there.
    assert counted == sum(len(data.read(p).instances) for p in data.split("train"))


def test_pasted_objects_come_from_the_seed_alone(objects_folder):
    data = open_dataset(objects_folder)
    prepared = PreparedPairs(data, data.split("train"), Preprocess(3), memory_bytes=0, objects=True)

    def first(copy_paste):
        augment = augmenter((64, 96), Augmentation(**STILL))
        return next(
            training_batches(prepared, augment, batch=10, first_step=0, stop_step=1, seed=3, workers=0, copy_paste=copy_paste)
        )

    plain, once, again = first(0.0), first(1.0), first(1.0)
    assert torch.equal(once[0], again[0])
    assert sum(map(len, once[1])) > sum(map(len, plain[1]))
    assert not torch.equal(plain[0], once[0])


def test_an_empty_annotation_file_is_named(objects_folder, tmp_path):
    copy = tmp_path / "sea"
    shutil.copytree(objects_folder, copy)
    val, train = (copy / "annotations" / f"instances_{split}.json" for split in ("val", "train"))
    val.write_text("")
    # The other file is read; without a word the images of val would be missing.
    [found] = [f for f in check(copy).findings if f.code == "unreadable"]
    assert (found.severity, found.file) == ("error", val)
    val.rename(copy / "notes.json")  # nobody's annotations, perhaps
    [found] = [f for f in check(copy).findings if f.code == "unreadable"]
    assert (found.severity, found.file) == ("warning", copy / "notes.json")
    (copy / "notes.json").rename(val)
    train.unlink()
    report = check(copy)
    assert [f.code for f in report.findings] == ["no-pairs"]
    assert f"14 images but no masks (in train/ (10), val/ (4)). {val}: the file is empty" in report.findings[0].message


def test_an_annotation_file_that_cannot_be_read_is_an_error_and_can_be_left_out(objects_folder, tmp_path):
    convert(objects_folder, tmp_path / "set", to="labelme")
    file = tmp_path / "set" / "train" / "01.json"
    file.write_text(file.read_text()[:40])
    data = open_dataset(tmp_path / "set")
    report = check(data)
    assert [(f.code, f.file) for f in report.findings if f.severity == "error"] == [("unreadable", file)]
    assert len(data.without(report.bad_names).pairs) == 13  # what --skip-bad trains on
