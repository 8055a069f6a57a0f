"""Sets of objects from which nothing can be learned: the doctor says so in one sentence, and training does not start."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskwright.data.check import check
from maskwright.errors import InputError
from maskwright.io.write import write_json, write_png
from maskwright.training import train
from maskwright.training.opening import Options, open_data

SQUARE = [2, 2, 9, 2, 9, 9, 2, 9]
Change = Callable[[dict[str, Any]], Any]


def coco(root: Path, **images_of: int) -> Path:
    """A COCO json a split with so many images of noise, each with one object."""
    rng = np.random.default_rng(0)
    for split, count in images_of.items():
        names = [f"{split}{k}.png" for k in range(count)]
        for name in names:
            write_png(root / split / name, rng.integers(0, 255, (16, 16, 3), np.uint8))
        images = [{"id": k, "file_name": name, "height": 16, "width": 16} for k, name in enumerate(names)]
        row = {"category_id": 1, "segmentation": [SQUARE], "bbox": [2, 2, 7, 7]}
        annotations = [{"id": k + 1, "image_id": k, **row} for k in range(count)]
        given = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "ship"}]}
        write_json(root / f"instances_{split}.json", given)
    return root


def change(root: Path, split: str, how: Change) -> None:
    path = root / f"instances_{split}.json"
    given = json.loads(path.read_text())
    for row in given["annotations"]:
        how(row)
    path.write_text(json.dumps(given))


def errors(root: Path) -> list[tuple[str, str]]:
    report = check(root)
    assert report.ok == (not report.count("error"))
    return [(f.code, f.message) for f in report.findings if f.severity == "error"]


def without_objects(root: Path, split: str) -> Path:
    path = root / f"instances_{split}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": []}))
    return root


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda row: row.pop("segmentation"), "holds no segmentation, only a box; expected polygons or run lengths; the object"),
        (
            lambda row: row.update(image_id=str(row["image_id"])),
            "5 annotations name images that it does not list (ids 0, 1, 2, 3, 4)",
        ),
        (lambda row: row.update(segmentation=[[1, 1, 2, 2]]), "its polygon has 2 vertices"),
        (lambda row: row.update(segmentation=[[30, 30, 40, 30, 40, 40]]), "covers no pixel of the image"),
    ],
    ids=["boxes alone", "ids as text", "two points", "beside the image"],
)
def test_a_set_whose_objects_are_all_refused_is_an_error(how, said, tmp_path):
    root = coco(tmp_path / "set", train=5, val=3)
    assert errors(root) == []
    change(root, "train", how)
    change(root, "val", how)
    [(code, message)] = errors(root)
    assert code == "all-refused"
    assert message.startswith("set: every object was refused, such as: ")
    assert said in message
    with pytest.raises(InputError, match="every object was refused"):
        train(root, out=tmp_path / "run", show_progress=False)


def test_a_train_split_without_objects_is_an_error(tmp_path):
    root = without_objects(coco(tmp_path / "set", train=5, val=3), "train")
    [(code, message)] = errors(root)
    assert code == "nothing-to-learn"
    assert message.startswith("set: none of the 5 images of the train split has an object, so there is nothing to learn.")
    for options in ({}, {"model": "mask_rcnn"}, {"checked": True}, {"skip_bad": True}):
        with pytest.raises(InputError, match="none of the 5 images of the train split has an object") as caught:
            train(root, out=tmp_path / "run", show_progress=False, **options)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_crowds_are_nothing_to_learn_from(tmp_path):
    root = coco(tmp_path / "set", train=5, val=3)
    change(root, "train", lambda row: row.update(iscrowd=1))
    assert [code for code, _ in errors(root)] == ["nothing-to-learn"]
    with pytest.raises(InputError, match="nothing to learn"):
        open_data(root, Options(None, task="instance"), None, checked=True, show=False)


def test_a_set_without_splits_and_objects(tmp_path):
    root = without_objects(coco(tmp_path / "set", all=5), "all")
    [(code, message)] = errors(root)
    assert code == "nothing-to-learn"
    assert message.startswith("set: none of the 5 images has an object,")


def test_other_splits_may_be_empty_and_a_network_of_classes_may_fit_to_background(tmp_path):
    root = without_objects(coco(tmp_path / "set", train=5, val=3), "val")
    assert errors(root) == []
    root = without_objects(coco(tmp_path / "other", train=5, val=3), "train")
    data, _ = open_data(root, Options(None, task="semantic"), None, checked=True, show=False)
    assert data.splits == {"train": 5, "val": 3}


def test_images_of_one_file_are_named(tmp_path):
    root = without_objects(coco(tmp_path / "set", train=6, val=4), "val")
    [line] = [line for line in check(root).lines() if "no-objects" in line]
    assert line.startswith("note no-objects: 4 images have no object: val0, val1, val2 and 1 more. ")


def test_an_image_with_many_findings_is_named_once(tmp_path):
    root = coco(tmp_path / "set", train=5, val=3)
    path = root / "instances_train.json"
    given = json.loads(path.read_text())
    given["annotations"] += [{**row, "id": 90 + k} for k, row in enumerate(given["annotations"][:2] * 2)]
    path.write_text(json.dumps(given))
    [line] = [line for line in check(root).lines() if "duplicate-object" in line]
    assert line.startswith("warning duplicate-object: 4 objects stand twice: train0, train1. ")


def test_a_list_without_images(tmp_path):
    root = coco(tmp_path / "set", train=5)
    write_json(root / "instances_train.json", {"images": [], "annotations": [], "categories": [{"id": 1, "name": "ship"}]})
    [(code, message)] = errors(root)
    assert code == "no-pairs"
    assert "the annotations list no images (COCO json: instances_train.json (train); 1 category)" in message


def test_images_that_are_all_somewhere_else(tmp_path):
    root = coco(tmp_path / "set", train=5)
    for path in (root / "train").iterdir():
        path.unlink()
    [(code, message)] = errors(root)
    assert code == "no-pairs"
    assert "none of the 5 annotated images is on disk; name their folder with --images." in message


def test_classes_that_are_missing_are_named_alone(tmp_path):
    root = coco(tmp_path / "set", train=5, val=3)
    for split in ("train", "val"):
        path = root / f"instances_{split}.json"
        given = json.loads(path.read_text())
        given["categories"] += [{"id": k, "name": name} for k, name in ((2, "raft"), (3, "tug"))]
        path.write_text(json.dumps(given))
    [line] = [line for line in check(root).lines() if "class-never-seen" in line]
    assert line.startswith("warning class-never-seen: 2 classes are in no mask: raft, tug. ")
