"""The commands on data whose truth tells objects apart: check, convert, train, evaluate, predict."""

from __future__ import annotations

import json
import re

import pytest

from maskwright.models.mask_rcnn.model import TINY


@pytest.fixture(scope="module")
def trained(objects_folder, tmp_path_factory):
    from maskwright.training import train

    settings = {"model_args": {**TINY, "least_score": 0.0}, "batch": 2, "steps": 2, "precision": "fp32", "channels_last": False}
    out = tmp_path_factory.mktemp("run") / "run"
    return train(objects_folder, out=out, settings=settings, workers=0, show_progress=False, checked=True).folder


def test_check_counts_the_objects(run, objects_folder, tmp_path):
    code, said, _ = run("check", objects_folder, "--out", tmp_path / "check")
    assert code == 0
    assert "objects, in" in said
    assert json.loads((tmp_path / "check" / "check.json").read_text())["class_objects"]["box"] > 0
    assert (tmp_path / "check" / "contact_sheet.png").is_file()


def test_check_looks_at_the_objects_beside_masks_of_classes_where_asked_to(run, objects_folder, tmp_path):
    run("convert", objects_folder, tmp_path / "voc", "--to", "voc")
    broken = tmp_path / "voc" / "SegmentationObject" / "07.png"
    broken.write_bytes(broken.read_bytes()[:60])
    code, said, _ = run("check", tmp_path / "voc", "--out", tmp_path / "classes")
    assert code == 0
    assert "warning objects-beside" in said
    code, said, _ = run("check", tmp_path / "voc", "--objects", "--out", tmp_path / "objects")
    assert code == 1
    assert "error unreadable" in said


def test_convert_says_what_was_read_and_written(run, objects_folder, tmp_path):
    code, said, _ = run("convert", objects_folder, tmp_path / "yolo", "--to", "yolo")
    assert code == 0
    assert "14 images" in said
    assert "coco to yolo" in said
    assert (tmp_path / "yolo" / "data.yaml").is_file()


def test_convert_as_json_counts_what_is_lost(run, objects_folder, tmp_path):
    code, said, _ = run("convert", objects_folder, tmp_path / "voc", "--to", "voc", "--json")
    assert code == 0
    assert json.loads(said)["failures"] == []


def test_convert_that_loses_objects_ends_with_1_and_counts_them(run, objects_folder, tmp_path):
    (tmp_path / "classes.yaml").write_text("classes: [background, box]\n")
    code, said, err = run("convert", objects_folder, tmp_path / "yolo", "--to", "yolo", "--classes", tmp_path / "classes.yaml")
    assert code == 1
    assert "unknown-class: " in said
    assert "failed: not all that the source holds is in" in err


def test_convert_of_a_file_that_cannot_be_read_ends_with_1_and_names_it(run, objects_folder, tmp_path):
    run("convert", objects_folder, tmp_path / "labelme", "--to", "labelme")
    (tmp_path / "labelme" / "train" / "01.json").write_text('{"version": "5.0", "sha')
    code, said, err = run("convert", tmp_path / "labelme", tmp_path / "coco", "--to", "coco")
    assert code == 1
    assert "13 images" in said
    assert re.search(r"failed: .*01\.json: is not whole JSON", err)


def test_convert_of_no_image_is_bad_input(run, tmp_path):
    (tmp_path / "set.json").write_text('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "box"}]}')
    code, said, err = run("convert", tmp_path / "set.json", tmp_path / "out", "--to", "yolo")
    assert (code, said) == (2, "")
    assert "names no image" in err
    assert not (tmp_path / "out").exists()


def test_convert_to_a_format_that_does_not_exist(run, objects_folder, tmp_path):
    code, _, err = run("convert", objects_folder, tmp_path / "out", "--to", "cocoo")
    assert code == 2
    assert "did you mean coco" in err
    assert not (tmp_path / "out").exists()


def test_evaluate_prints_scores_of_objects_and_writes_a_report(run, objects_folder, trained, tmp_path):
    code, said, _ = run("evaluate", trained, objects_folder, "--split", "val", "--out", tmp_path / "e")
    assert code == 0
    assert "mask AP50" in said
    assert "COCO's AP of masks" in said
    assert "Mask AP" in (tmp_path / "e" / "report.html").read_text()


def test_predict_writes_objects_and_their_counts(run, objects_folder, trained, tmp_path):
    code, said, _ = run(
        "predict", trained, objects_folder / "val", "--out", tmp_path / "p", "--format", "labels,coco", "--min-score", "0",
        "--blur-background", "5",
    )  # fmt: skip
    assert code == 0, said
    names = {p.name for p in (tmp_path / "p").iterdir()}
    assert {"10.png", "10_coco.json", "10_blurred.png", "counts.csv"} <= names


def test_what_predict_wrote_is_scored_as_objects(run, objects_folder, trained, tmp_path):
    formats, val = "ids,coco,labels", objects_folder / "val"
    assert run("predict", trained, val, "--out", tmp_path / "p", "--format", formats, "--min-score", "0")[0] == 0
    code, said, err = run("evaluate", tmp_path / "p", objects_folder, "--split", "val", "--json", tmp_path / "p.json")
    assert code == 0, err
    assert "mask AP50" in said
    assert "- Predictions: COCO json: 10_coco.json (all), 11_coco.json (all)" in said
    found = sum(len(json.loads(file.read_text())["annotations"]) for file in (tmp_path / "p").glob("*_coco.json"))
    assert sum(row["found"] for row in json.loads((tmp_path / "p.json").read_text())["classes"]) == found > 0


def test_photos_are_no_predictions(run, objects_folder):
    code, said, err = run("evaluate", objects_folder / "val", objects_folder, "--split", "val")
    assert (code, said) == (2, "")
    assert "hold no value of a class, as in a photo" in err


def test_objects_of_a_network_of_classes_cannot_be_written(run, objects_folder, tmp_path):
    from maskwright.training import train

    settings = {"model_args": {"width": 4, "depth": 2}, "steps": 1, "batch": 2, "precision": "fp32", "channels_last": False}
    made = train(
        objects_folder, model="unet", out=tmp_path / "run", settings=settings, workers=0, show_progress=False, checked=True
    )
    code, _, err = run("predict", made.folder, objects_folder / "val", "--out", tmp_path / "p", "--format", "coco")
    assert code == 2
    assert "this model finds classes only" in err


def test_probabilities_of_objects_are_refused_before_any_work(run, objects_folder, trained, tmp_path):
    code, _, err = run("predict", trained, objects_folder / "val", "--out", tmp_path / "p", "--probabilities")
    assert code == 2
    assert "this model scores objects" in err
    assert not (tmp_path / "p").exists()


def test_a_damaged_annotation_file_is_unreadable_not_without_classes(run, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "instances_train.json").write_text('{"images": [{"id": 1, "file_name": "a.png"')
    code, said, _ = run("check", tmp_path / "d", "--out", tmp_path / "c")
    assert code == 1
    assert "error unreadable" in said
    assert "cut short" in said


def test_compare_refuses_a_network_of_objects(run, objects_folder, trained):
    code, _, err = run("compare", objects_folder, "--runs", trained)
    assert code == 2
    assert "finds objects; compare takes models that give each pixel a class" in err
