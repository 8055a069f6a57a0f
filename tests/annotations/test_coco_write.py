"""COCO json out: polygons where COCO's rule gives the mask back, runs elsewhere; read again by pycocotools."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from maskwright.annotations.assemble import instances_of
from maskwright.annotations.coco_write import results, segmentation, write, write_results
from maskwright.annotations.drawn import AnnotatedImage
from maskwright.annotations.formats import read_annotations
from maskwright.classes import ClassMap
from maskwright.instances import Instances
from maskwright.ops.polygons import fill_coco
from maskwright.ops.rle import Rle

CLASSES = ClassMap((0, 3, 90), ("background", "barge", "tanker"))
SQUARE = np.zeros((6, 8), bool)
SQUARE[1:4, 2:6] = True
RING = SQUARE.copy()
RING[2, 3] = False


def image(name: str, split: str = "all") -> AnnotatedImage:
    return AnnotatedImage(name, None, (6, 8), split, None, f"{name}.jpg")


def objects(*masks: np.ndarray, **given: object) -> Instances:
    ids = np.array([3, 90, 3][: len(masks)], np.int64)
    return Instances((6, 8), CLASSES, ids, tuple(map(Rle.from_mask, masks)), **given)


def written(folder: Path, *images: tuple[AnnotatedImage, Instances], split: str = "all") -> dict:
    write(folder, images, copy_images=False)
    return json.loads((folder / f"annotations/instances_{split}.json").read_text())


def test_a_whole_file(tmp_path):
    top = written(tmp_path, (image("000000000139"), objects(SQUARE)), (image("b"), objects()))
    assert list(top) == ["info", "licenses", "categories", "images", "annotations"]
    assert top["categories"] == [
        {"id": 3, "name": "barge", "supercategory": "", "color": list(CLASSES.colours[1])},
        {"id": 90, "name": "tanker", "supercategory": "", "color": list(CLASSES.colours[2])},
    ]
    assert top["images"] == [
        {"id": 139, "file_name": "000000000139.jpg", "height": 6, "width": 8},
        {"id": 2, "file_name": "b.jpg", "height": 6, "width": 8},
    ]
    (square,) = top["annotations"]
    # Traced along pixel edges from the top left corner: columns 2 to 5, rows 1 to 3.
    assert square == {
        "id": 1,
        "image_id": 139,
        "category_id": 3,
        "segmentation": [[2, 1, 6, 1, 6, 4, 2, 4]],
        "area": 12,
        "bbox": [2.0, 1.0, 4.0, 3.0],
        "iscrowd": 0,
    }


def test_drawn_vertices_stay_where_cocos_rule_gives_the_mask():
    ring = np.array([(1.2, 0.7), (6.6, 1.1), (3.3, 5.2)])
    mask = fill_coco([ring], (6, 8))
    found = Instances((6, 8), CLASSES, np.array([3]), (mask,), rings=((ring,),))
    assert mask.area_px > 5
    assert segmentation(found, 0) == [ring.ravel().tolist()]
    # One pixel more than was drawn: the drawn vertices say something else and are not kept.
    more = mask.to_mask()
    more[5, 7] = True
    other = segmentation(Instances((6, 8), CLASSES, np.array([3]), (Rle.from_mask(more),), rings=((ring,),)), 0)
    assert isinstance(other, list)
    assert len(other) == 2
    assert fill_coco([np.reshape(r, (-1, 2)) for r in other], (6, 8)) == Rle.from_mask(more)


def test_holes_and_crowds_are_runs(tmp_path):
    top = written(tmp_path, (image("a"), objects(RING, SQUARE, crowd=np.array([False, True]))))
    ring, crowd = top["annotations"]
    assert ring["segmentation"] == {"size": [6, 8], "counts": Rle.from_mask(RING).to_text()}
    assert ring["area"] == 11
    assert (crowd["iscrowd"], crowd["segmentation"]["counts"]) == (1, Rle.from_mask(SQUARE).to_text())


def test_ids_are_kept_where_they_are_free(tmp_path):
    first = objects(SQUARE, RING, ids=np.array([7, 2]))
    again = objects(SQUARE, RING, ids=np.array([7, 9]))
    top = written(tmp_path, (image("a"), first), (image("b"), again))
    # The second 7 is taken: three ids are before it when it comes, so it is tried as 3.
    assert [(row["image_id"], row["id"]) for row in top["annotations"]] == [(1, 7), (1, 2), (2, 3), (2, 9)]


def test_splits_have_their_files_and_folders(tmp_path):
    source = tmp_path / "a.png"
    source.write_bytes(b"not looked into")
    entries = [AnnotatedImage(n, source, (6, 8), s, None, "x.png") for n, s in (("a", "train"), ("b", "val"), ("c", "all"))]
    assert write(tmp_path / "out", [(entry, objects()) for entry in entries]) == []
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*")) == [
        "annotations/instances_all.json",
        "annotations/instances_train.json",
        "annotations/instances_val.json",
        "images/c.png",
        "train/a.png",
        "val/b.png",
    ]


def test_nothing_is_left_where_an_image_breaks_the_writing(tmp_path):
    def images():
        yield image("a"), objects(SQUARE)
        raise RuntimeError("disk gone")

    with pytest.raises(RuntimeError, match="disk gone"):
        write(tmp_path, images(), copy_images=False)
    assert list(tmp_path.rglob("*.*")) == []


def test_pycocotools_reads_the_same_pixels(tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    parts = SQUARE.copy()
    parts[0, 7] = parts[5, 0] = True
    diagonal = np.eye(6, 8, dtype=bool)
    found = objects(parts, RING, diagonal, scores=np.array([0.9, 0.5, 0.1], np.float32))
    top = written(tmp_path, (image("a"), found))
    assert [row["score"] for row in top["annotations"]] == [0.9, 0.5, 0.1]
    truth = coco.COCO(str(tmp_path / "annotations/instances_all.json"))
    for row, mask in zip(truth.loadAnns(truth.getAnnIds()), (parts, RING, diagonal), strict=True):
        assert np.array_equal(truth.annToMask(row).astype(bool), mask)
    write_results(tmp_path / "found.json", [(1, found)])
    answers = truth.loadRes(str(tmp_path / "found.json"))
    assert [answers.anns[k]["score"] for k in sorted(answers.anns)] == [0.9, 0.5, 0.1]
    assert np.array_equal(answers.annToMask(answers.anns[2]).astype(bool), RING)


def test_result_rows():
    (row,) = results(5, objects(SQUARE))
    assert row == {
        "image_id": 5,
        "category_id": 3,
        "bbox": [2.0, 1.0, 4.0, 3.0],
        "segmentation": {"size": [6, 8], "counts": Rle.from_mask(SQUARE).to_text()},
        "score": 1.0,
    }


def test_stated_boxes_are_written_without_noise(tmp_path):
    box = np.array([[1.3, 0.7, 6.1, 4.3]], np.float32)
    top = written(tmp_path, (image("a"), objects(SQUARE, boxes_xyxy=box)))
    assert top["annotations"][0]["bbox"] == [1.3, 0.7, 4.8, 3.6]


def test_empty_masks_are_said(tmp_path):
    remarks = write(tmp_path, [(image("a"), objects(np.zeros((6, 8), bool)))], copy_images=False)
    assert [(r.code, r.image) for r in remarks] == [("zero-area", "a")]
    assert json.loads((tmp_path / "annotations/instances_all.json").read_text())["annotations"] == []


def test_scores_come_back(tmp_path):
    write(tmp_path, [(image("a"), objects(SQUARE, RING, scores=np.array([0.5, 0.25], np.float32)))], copy_images=False)
    read = read_annotations(tmp_path / "annotations" / "instances_all.json")
    found, _ = instances_of(read, 0, (6, 8))
    np.testing.assert_array_equal(found.scores, [0.5, 0.25])


def test_a_truth_has_no_scores_and_a_part_of_them_is_none(tmp_path):
    top = written(tmp_path, (image("a"), objects(SQUARE, RING, scores=np.array([0.5, 0.25], np.float32))))
    del top["annotations"][1]["score"]
    (tmp_path / "part.json").write_text(json.dumps(top))
    found, _ = instances_of(read_annotations(tmp_path / "part.json"), 0, (6, 8))
    assert found.scores is None
