"""Anybody's objects: every format that can be read, what predict writes, which image an answer is for, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskwright.annotations.saving import save_objects
from maskwright.annotations.writers import WRITERS
from maskwright.data.convert import convert
from maskwright.data.dataset import open_dataset
from maskwright.errors import FormatError, InputError
from maskwright.evaluation import Evaluation, ObjectEvaluation, evaluate
from maskwright.evaluation.object_predictions import kind_of
from maskwright.instances import Instances
from maskwright.io.write import write_mask
from maskwright.result import Segmentation

Change = Callable[[Instances], Instances]


def scored(predictions: Path, data: Path, **settings: object) -> ObjectEvaluation:
    found = evaluate(predictions, data, split="all", resamples=0, **settings)
    assert isinstance(found, ObjectEvaluation)
    return found


def sure(found: Instances) -> Instances:
    return replace(found, scores=np.linspace(0.9, 0.6, len(found)).astype(np.float32))


def answers(folder: Path, data: Path, formats: list[str], change: Change = sure, labels: bool = False) -> Path:
    """Every true object as predict writes what it finds."""
    dataset = open_dataset(data)
    for pair in dataset.pairs:
        found = change(dataset.read(pair).instances)
        save_objects(folder, found, formats, file_name=f"{pair.name}.png")
        if labels:
            write_mask(folder / f"{pair.name}.png", found.to_labels(), found.classes)
    return folder


@pytest.mark.parametrize("name", sorted(WRITERS.keys() - {"labels"}))
def test_every_format_that_is_written_is_scored_as_objects(name, objects_folder, tmp_path):
    convert(objects_folder, tmp_path / "c", to=name)
    found = scored(tmp_path / "c", objects_folder)
    assert found.masks.ap == 1.0
    assert found.panoptic.to_dict()["pq"] == 1.0
    counts = found.counts()
    assert counts["missed"] == counts["extra"] == 0 < counts["true objects"]
    assert any("found objects state no score and count as sure" in line for line in found.conventions)


def test_a_data_folder_is_perfect_against_itself(objects_folder):
    assert scored(objects_folder, objects_folder).masks.ap == 1.0


@pytest.mark.parametrize("formats", [["ids", "coco"], ["coco", "labelme", "yolo"]])
def test_what_predict_writes_is_scored_with_its_scores(formats, objects_folder, tmp_path):
    found = scored(answers(tmp_path / "p", objects_folder, formats, labels=True), objects_folder)
    assert found.masks.ap == 1.0
    assert not any("state no score" in line for line in found.conventions)
    unsure = lambda one: replace(one, scores=np.full(len(one), 0.2, np.float32))  # noqa: E731
    low = scored(answers(tmp_path / "q", objects_folder, formats, unsure, labels=True), objects_folder)
    assert (low.masks.ap, low.counts()["found objects"]) == (1.0, 0)


def test_numbers_of_objects_take_their_classes_from_the_masks_beside_them(objects_folder, tmp_path):
    found = scored(answers(tmp_path / "p", objects_folder, ["ids"], labels=True), objects_folder)
    assert found.masks.ap == 1.0
    assert any(line.startswith("Predictions: numbers of objects: 14 files such as 00_ids.png") for line in found.conventions)
    bare = answers(tmp_path / "bare", objects_folder, ["ids"])
    with pytest.raises(FormatError, match=r"00_ids.png: no class mask beside it, and several classes are known"):
        scored(bare, objects_folder)


def test_numbers_in_folders_go_to_the_images_of_those_folders(objects_folder, tmp_path):
    for split in ("train", "val"):
        dataset = open_dataset(objects_folder)
        for pair in dataset.split(split):
            found = dataset.read(pair).instances
            save_objects(tmp_path / "p" / split, found, ["ids"], file_name=f"{pair.name}.png")
            write_mask(tmp_path / "p" / split / f"{pair.name}.png", found.to_labels(), found.classes)
    assert scored(tmp_path / "p", objects_folder).masks.ap == 1.0


def test_a_coco_record_is_scored_beside_lists_of_results(objects_folder, tmp_path):
    convert(objects_folder, tmp_path / "c", to="coco")
    for split in ("train", "val"):
        file = tmp_path / "c" / "annotations" / f"instances_{split}.json"
        assert evaluate(file, objects_folder, split=split, resamples=0).masks.ap == 1.0


def test_one_answer_of_many_images(objects_folder, tmp_path):
    one = answers(tmp_path / "p", objects_folder, ["coco"]) / "01_coco.json"
    with pytest.raises(InputError, match=r"01_coco.json: no prediction for 13 of 14 images \(00, 02, .*--missing-as-wrong"):
        scored(one, objects_folder)
    found = scored(one, objects_folder, missing_as_wrong=True)
    assert [row.name for row in found.per_image if row.found] == ["01"]
    assert found.counts()["missed"] > 0
    assert any(line.startswith("13 images have no prediction and count as empty: 00, 02") for line in found.conventions)


def test_answers_to_other_images_are_said(objects_folder, tmp_path):
    folder = answers(tmp_path / "p", objects_folder, ["coco"])
    other = json.loads((folder / "01_coco.json").read_text())
    other["images"][0]["file_name"] = "cat.png"
    (folder / "cat_coco.json").write_text(json.dumps(other))
    said = scored(folder, objects_folder).conventions
    assert "1 answers are to no image of the data and were not scored: cat." in said


def test_two_answers_to_one_image_are_refused(objects_folder, tmp_path):
    folder = answers(tmp_path / "p", objects_folder, ["coco"])
    (folder / "again_coco.json").write_bytes((folder / "01_coco.json").read_bytes())
    with pytest.raises(InputError, match=r"'01.png' is listed twice.* Predictions have to answer each image once"):
        scored(folder, objects_folder)


def test_images_of_one_name_are_told_apart_by_their_folders(objects_folder, tmp_path):
    sea = open_dataset(objects_folder)
    record = json.loads((objects_folder / "annotations" / "instances_val.json").read_text())
    taken, annotations = record["images"][:2], record["annotations"]
    for image, patient in zip(taken, ("p1", "p2"), strict=True):
        picture = tmp_path / "data" / patient / "5.png"
        picture.parent.mkdir(parents=True)
        picture.write_bytes((objects_folder / "val" / Path(image["file_name"]).name).read_bytes())
        image["file_name"] = f"{patient}/5.png"
    kept = [row for row in annotations if row["image_id"] in [image["id"] for image in taken]]
    (tmp_path / "data" / "ann.json").write_text(json.dumps(record | {"images": taken, "annotations": kept}))
    dataset = open_dataset(tmp_path / "data")
    for pair in dataset.pairs:
        found = replace(sure(dataset.read(pair).instances), name="5")
        save_objects(tmp_path / "p" / pair.image.parent.name, found, ["coco"], file_name="5.png")
        write_mask(tmp_path / "p" / pair.image.parent.name / "5.png", found.to_labels(), sea.classes)
    assert scored(tmp_path / "p", tmp_path / "data").counts()["extra"] == 0
    for mask in (tmp_path / "p").rglob("5.png"):
        mask.unlink()
    with pytest.raises(InputError, match=r"'5.png' is listed twice.* write the masks beside the objects"):
        scored(tmp_path / "p", tmp_path / "data")


def test_objects_of_other_classes_are_said(objects_folder, tmp_path):
    folder = answers(tmp_path / "p", objects_folder, ["coco"])
    record = json.loads((folder / "00_coco.json").read_text())
    record["categories"][0]["name"] = record["categories"][1]["name"] = "boxx"
    (folder / "00_coco.json").write_text(json.dumps(record))
    with pytest.raises(FormatError, match="files of one set must number their categories alike"):
        scored(folder, objects_folder)
    alone = tmp_path / "alone" / "00_coco.json"
    alone.parent.mkdir()
    alone.write_text(json.dumps(record))
    said = scored(alone, objects_folder, missing_as_wrong=True).conventions
    assert any("class 'boxx' is not in the class map (near ones: box)" in line for line in said)


def test_answers_of_another_size_are_refused(objects_folder, tmp_path):
    folder = answers(tmp_path / "p", objects_folder, ["coco"])
    record = json.loads((folder / "02_coco.json").read_text())
    record["images"][0] |= {"height": 128, "width": 160}
    (folder / "02_coco.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"says that 02 is 160x128, the image is 80x64.* write predictions of that size"):
        scored(folder, objects_folder)


def test_masks_of_classes_are_scored_as_classes_with_a_word(objects_folder, tmp_path):
    folder = answers(tmp_path / "p", objects_folder, [], labels=True)
    found = evaluate(folder, objects_folder, split="all", resamples=0)
    assert isinstance(found, Evaluation)
    assert found.scores.mean_iou == 1
    assert f"{folder}: no objects here: scored as classes." in found.conventions


def test_objects_beside_masks_do_not_matter_where_the_truth_has_none(objects_folder, tmp_path):
    folder = answers(tmp_path / "p", objects_folder, ["coco"], labels=True)
    dataset = open_dataset(objects_folder)
    for pair in dataset.pairs:
        sample = dataset.read(pair)
        write_mask(tmp_path / "data" / "masks" / f"{pair.name}.png", sample.labels, sample.classes)
        (tmp_path / "data" / "images").mkdir(exist_ok=True)
        (tmp_path / "data" / "images" / f"{pair.name}.png").write_bytes(pair.image.read_bytes())
    found = evaluate(folder, tmp_path / "data", classes=dataset.classes, resamples=0)
    assert isinstance(found, Evaluation)
    assert found.scores.mean_iou == 1
    assert not any("no objects here" in line for line in found.conventions)


def test_a_truth_of_objects_and_of_classes_is_taken_as_the_predictions_are(objects_folder, tmp_path):
    """Pascal VOC holds both."""
    convert(objects_folder, tmp_path / "voc", to="voc")
    objects = answers(tmp_path / "p", objects_folder, ["coco"], labels=True)
    masks = answers(tmp_path / "q", objects_folder, [], labels=True)
    assert scored(objects, tmp_path / "voc").masks.ap == 1.0
    found = evaluate(masks, tmp_path / "voc", split="all", resamples=0)
    assert isinstance(found, Evaluation)
    assert found.scores.mean_iou == 1
    opened = open_dataset(objects_folder)
    assert scored(objects, opened).masks.ap == 1.0


def test_several_formats_and_none(objects_folder, tmp_path):
    both = answers(tmp_path / "p", objects_folder, ["labelme", "yolo"])
    with pytest.raises(InputError, match=r"p: holds objects in several formats: labelme \(.*\), yolo \(.*\); give the file"):
        scored(both, objects_folder)
    (tmp_path / "words.txt").write_text("hello")
    with pytest.raises(
        FormatError, match=r"words.txt: holds neither weights nor objects that I know; expected COCO results or one of coco"
    ):
        scored(tmp_path / "words.txt", objects_folder)
    (tmp_path / "record.json").write_text('{"a": 1}')
    with pytest.raises(FormatError, match=r"record.json: its content .* is a record; expected a list"):
        scored(tmp_path / "record.json", objects_folder)


def test_a_cut_file_is_named_before_the_truth_is_asked_for_ids(objects_folder, tmp_path):
    convert(objects_folder, tmp_path / "voc", to="voc")
    (tmp_path / "cut.json").write_text('[{"image_id": 1, "categ')
    with pytest.raises(FormatError, match=r"cut.json: is not whole JSON \(it is cut short\)"):
        scored(tmp_path / "cut.json", tmp_path / "voc")
    (tmp_path / "whole.json").write_text("[]")
    with pytest.raises(InputError, match=r"whole.json: COCO results need a COCO json as their truth; .*voc holds voc"):
        scored(tmp_path / "whole.json", tmp_path / "voc")


def test_areas_as_polygons_are_no_objects(objects_folder, tmp_path):
    """As a model of classes writes them beside its masks."""
    dataset = open_dataset(objects_folder)
    for number in (4, 0):  # the first is empty
        sample = dataset.read(dataset.pairs[number])
        Segmentation(sample.labels, sample.classes, sample.image).save(tmp_path / "areas", formats=["labels", "geojson"])
        Segmentation.of_instances(sure(sample.instances), sample.image).save(tmp_path / "objects", formats=["labels", "geojson"])
    assert kind_of(tmp_path / "areas") == ""
    assert kind_of(tmp_path / "objects") == "geojson"
