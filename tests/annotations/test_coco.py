"""COCO json: polygons and run lengths, splits, categories, and everything that can be wrong with one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskwright.annotations import coco
from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError

CATEGORIES = [{"id": 3, "name": "ship"}, {"id": 90, "name": "tug"}]
SQUARE = [1, 1, 4, 1, 4, 4, 1, 4]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(path)


def image(i: int, name: str, **more: Any) -> dict[str, Any]:
    return {"id": i, "file_name": name, "height": 6, "width": 8, **more}


def annotation(i: int, image_id: Any = 1, segmentation: Any = None, category: Any = 3, **more: Any) -> dict[str, Any]:
    return {"id": i, "image_id": image_id, "category_id": category, "segmentation": segmentation or [SQUARE], **more}


def write(path: Path, annotations: list[Any], images: list[Any] | None = None, categories: Any = CATEGORIES) -> Path:
    """A json with one image a.png beside it, if no others are given."""
    if images is None:
        images = [image(1, "a.png")]
        picture(path.parent / "a.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations, "categories": categories}))
    return path


def read_one(tmp_path: Path, *annotations: Any, **options: Any):
    found = coco.read(write(tmp_path / "set.json", list(annotations)), **options)
    return found, *found.objects(0)


def test_polygons_parts_and_numbers_that_have_gaps(tmp_path):
    parts = [[0, 0, 2, 0, 2, 2, 0, 2], [5, 3, 8, 3, 8, 6, 5, 6]]
    found, objects, remarks = read_one(tmp_path, annotation(17, segmentation=parts, category=90, bbox=[0, 0, 8, 6]))
    assert found.classes.ids == (0, 3, 90)
    assert found.classes.names == ("background", "ship", "tug")
    assert [(d.class_id, d.id, d.crowd, d.rule, d.where, d.box_xyxy) for d in objects] == [
        (90, 17, False, "coco", "annotation 17", (0, 0, 8, 6))
    ]
    np.testing.assert_array_equal(objects[0].rings[1], [(5, 3), (8, 3), (8, 6), (5, 6)])
    mask = objects[0].mask((6, 8)).to_mask()
    assert mask[0, 0]
    assert mask[5, 7]
    assert not mask[2, 3]
    assert remarks == []
    assert found.images[0].path == tmp_path / "a.png"
    assert found.images[0].hw == (6, 8)


@pytest.mark.parametrize(
    ("stated", "kept", "said"),
    [
        ({"area": 5000.5}, 5000.5, []),
        ({}, None, []),
        ({"area": -3}, None, ["its area is -3; expected a number of pixels; the pixels of its mask are counted."]),
        ({"area": "big"}, None, ["its area is the text 'big'; expected a number; the pixels of its mask are counted."]),
    ],
)
def test_the_stated_area_is_kept(stated, kept, said, tmp_path):
    given = {name: value for name, value in annotation(1).items() if name != "area"}
    _, objects, remarks = read_one(tmp_path, {**given, **stated})
    assert objects[0].area_px == kept
    assert [remark.text.partition("annotation 1: ")[2] for remark in remarks] == said


def test_a_polygon_inside_a_polygon_is_no_hole(tmp_path):
    whole, inner = [0, 0, 8, 0, 8, 6, 0, 6], [2, 2, 4, 2, 4, 4, 2, 4]
    _, objects, _ = read_one(tmp_path, annotation(1, segmentation=[whole, inner]))
    assert objects[0].mask((6, 8)).area_px == 48


@pytest.mark.parametrize("counts", [[2, 1, 3, 6, 36], "2135Q1"])
def test_both_forms_of_run_lengths(counts, tmp_path):
    # By hand, 6 rows, column by column: 2 of background, pixel (row 2, column 0), 3 more, then all of column 1.
    _, objects, remarks = read_one(tmp_path, annotation(5, segmentation={"size": [6, 8], "counts": counts}, iscrowd=1))
    assert remarks == []
    mask = objects[0].mask((6, 8)).to_mask()
    expected = np.zeros((6, 8), bool)
    expected[2, 0] = expected[:, 1] = True
    np.testing.assert_array_equal(mask, expected)
    assert objects[0].crowd
    assert objects[0].rings == ()


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (annotation(1, segmentation=[[1, 1, 4, 4]]), "two-points", r"annotation 1: its polygon has 2 vertices; an area needs three"),
        (annotation(1, segmentation=[[1, 1, 4, 4, 2]]), "bad-object", "holds 5 numbers; expected x and y in turns"),
        (annotation(1, segmentation=[[1, 1, "4", 4, 2, 2]]), "bad-object", "a value in its polygon is the text '4'"),
        (annotation(1, segmentation=[[0, 0, 9e9, 0, 9, 9]]), "bad-object", r"reaches to 9e\+09"),
        ({**annotation(1), "segmentation": []}, "bad-object", "holds no segmentation, only a box"),
        ({**annotation(1), "segmentation": None}, "bad-object", "holds no segmentation, only a box"),
        ({**annotation(1), "segmentation": 7}, "bad-object", "its segmentation is 7; expected a list"),
        (annotation(1, category=4), "unknown-class", r"category 4 is not among the file's categories \(known ids: 3, 90\)"),
        (annotation(1, category=None), "bad-object", "its category_id is null; expected a number"),
        (annotation(1, iscrowd="no"), "bad-object", "its iscrowd is the text 'no'"),
        (annotation(1, segmentation={"size": [6, 8], "counts": [1, 2]}), "bad-object", "the runs cover 3 pixels"),
        (annotation(1, segmentation={"size": [6, 8], "counts": "2135"}), "bad-object", "annotation 1: the runs cover"),
        (annotation(1, segmentation={"size": [6, 8], "counts": "2135Q"}), "bad-object", "are damaged or cut short"),
        (annotation(1, segmentation={"size": [6], "counts": [48]}), "bad-object", r"expected \[height, width\]"),
        (annotation(1, segmentation={"size": [None, None], "counts": [48]}), "bad-object", r"expected \[height, width\]"),
        (annotation(1, segmentation={"counts": [48]}), "bad-object", "the size of its run lengths is null"),
        (annotation(1, segmentation={"size": [6, 8], "counts": [48.5]}), "bad-object", "run lengths are whole numbers"),
        (annotation(1, segmentation={"size": [6, 8], "counts": None}), "bad-object", "its run lengths is null"),
    ],
)  # fmt: skip
def test_one_bad_object_is_left_out_and_said(given, code, said, tmp_path):
    _, objects, remarks = read_one(tmp_path, given, annotation(2))
    assert [d.id for d in objects] == [2]
    assert [(r.code, r.image, r.path) for r in remarks] == [(code, "a", tmp_path / "set.json")]
    assert remarks[0].text.endswith("; the object is left out.")
    with pytest.raises(FormatError, match=said):
        raise FormatError(remarks[0].text)


def test_a_bad_part_is_left_out_and_the_object_kept(tmp_path):
    _, objects, remarks = read_one(tmp_path, annotation(1, segmentation=[SQUARE, [1, 1, 2, 2]]))
    assert len(objects[0].rings) == 1
    assert [(r.code, "its polygon 2 of 2 has 2 vertices" in r.text) for r in remarks] == [("two-points", True)]


def test_a_bad_box_does_not_cost_the_mask(tmp_path):
    _, objects, remarks = read_one(tmp_path, annotation(1, bbox=[1, 2, 3]), annotation(2, bbox=[]))
    assert [d.box_xyxy for d in objects] == [None, None]
    assert ["its bbox holds 3 numbers" in r.text for r in remarks] == [True]


def test_one_flat_polygon_is_read(tmp_path):
    _, objects, _ = read_one(tmp_path, annotation(1, segmentation=SQUARE))
    assert len(objects[0].rings) == 1


def test_objects_without_an_id_are_named_by_their_place(tmp_path):
    _, objects, _ = read_one(tmp_path, {k: v for k, v in annotation(1).items() if k != "id"}, annotation(10**30))
    assert [(d.id, d.where) for d in objects] == [(None, "annotation 0"), (None, "annotation 1")]


def test_splits_from_files_and_images_from_their_folders(tmp_path):
    for split in ("train", "val"):
        picture(tmp_path / f"{split}2017" / "1.jpg")
        write(tmp_path / "annotations" / f"instances_{split}2017.json", [annotation(1)], [image(1, "1.jpg")])
    write(tmp_path / "annotations" / "captions_val2017.json", [{"image_id": 1, "caption": "x"}], [image(1, "1.jpg")])
    found = coco.read(tmp_path)
    assert [(i.name, i.split, i.path) for i in found.images] == [
        ("train2017/1", "train", tmp_path / "train2017/1.jpg"),
        ("val2017/1", "val", tmp_path / "val2017/1.jpg"),
    ]
    assert found.remarks == ()
    assert "annotations/instances_train2017.json (train), annotations/instances_val2017.json (val)" in found.line
    assert coco.looks_like(tmp_path) == "annotations/instances_train2017.json"
    # One file alone finds the images of its split as well; so does a folder that is named.
    one = coco.read(tmp_path / "annotations" / "instances_val2017.json")
    assert one.images[0].path == tmp_path / "val2017/1.jpg"
    assert coco.read(tmp_path / "annotations", images=tmp_path / "val2017").images[0].path == tmp_path / "val2017/1.jpg"


def test_json_beside_its_images(tmp_path):
    for split in ("train", "valid"):
        picture(tmp_path / split / "1.jpg")
        write(tmp_path / split / "_annotations.coco.json", [annotation(1)], [image(1, "1.jpg")])
    found = coco.read(tmp_path)
    assert [(i.name, i.split, i.path is not None) for i in found.images] == [("train/1", "train", True), ("valid/1", "val", True)]


def test_files_that_number_their_categories_otherwise(tmp_path):
    write(tmp_path / "a.json", [annotation(1)])
    write(tmp_path / "b.json", [annotation(1)], categories=[{"id": 3, "name": "car"}])
    with pytest.raises(FormatError, match=r"b\.json: category 3 is 'car', but 'ship' in .*a\.json; .* Read them one by one"):
        coco.read(tmp_path)


def test_a_class_map_that_is_given(tmp_path):
    given = ClassMap((0, 7), ("background", "tug"))
    found, objects, remarks = read_one(tmp_path, annotation(1), annotation(2, category=90), classes=given)
    assert found.classes is given
    assert [d.class_id for d in objects] == [7]
    assert [r.code for r in remarks] == ["unknown-class"]
    assert "class 'ship' is not in the class map (near ones: tug)" in remarks[0].text


def test_images_listed_twice_missing_and_unknown(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "c.png")
    images = [image(1, "a.png"), image(1, "a.png"), image(2, "a.png"), image(1, "z.png"), image(3, "b.png"), image(4, None), 5]
    annotations = [annotation(1), annotation(2, 2), annotation(3, 99), annotation(4, 99), annotation(5, None), None]
    found = coco.read(write(tmp_path / "set.json", annotations, images))
    assert [i.name for i in found.images] == ["a", "b"]
    assert [d.id for d in found.objects(0)[0]] == [1, 2]
    codes = [(r.code, r.text) for r in found.remarks]
    said = [
        ("image-listed-twice", "image 1 is listed before under the same id 1; kept once"),
        ("bad-object", "the id 1 of 'z.png' belongs to 'a.png'"),
        ("bad-object", "image 5: its file_name is null"),
        ("bad-object", "image 6: it is 5; expected a record"),
        ("bad-object", "annotation 4: its image_id is null"),
        ("bad-object", "annotation 5: it is null; expected a record"),
        ("bad-object", "2 annotations name images that it does not list (ids 99)"),
        ("image-listed-twice", "the image 'a.png' is listed twice; its objects are put together"),
        ("image-not-on-disk", "the image 'b.png' is not on disk"),
        ("image-not-annotated", "c.png: no annotation names this image"),
    ]
    assert [code for code, _ in codes] == [code for code, _ in said]
    assert all(part in text for (_, text), (_, part) in zip(codes, said, strict=True)), codes


def test_a_damaged_size_does_not_cost_the_image(tmp_path):
    picture(tmp_path / "a.png")
    found = coco.read(write(tmp_path / "set.json", [annotation(1)], [image(1, "a.png", height="six")]))
    assert found.images[0].hw is None
    assert "the height is the text 'six'" in found.remarks[0].text


def test_ids_of_images_may_be_texts(tmp_path):
    picture(tmp_path / "a.png")
    found = coco.read(write(tmp_path / "set.json", [annotation(1, "x")], [image(1, "a.png") | {"id": "x"}]))
    assert len(found.objects(0)[0]) == 1


def test_a_set_without_objects(tmp_path):
    found = coco.read(write(tmp_path / "set.json", [], categories=[]))
    assert found.objects(0) == ([], [])
    assert found.classes.names == ("background",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([{"image_id": 1, "category_id": 3, "score": 0.5, "bbox": [0, 0, 1, 1]}], r"is a list of detections \(COCO results\)"),
        ([], r"is a list of 0 without a list `images`"),
        ({"images": {}}, r"is a record without a list `images`"),
        ({"images": [], "annotations": 4, "categories": []}, r"`annotations` is 4; expected a list"),
        ({"images": [], "annotations": [1]}, r"`categories` is null; expected a list"),
        ({"images": [], "annotations": [], "categories": [{"id": "x", "name": "a"}]}, r"category 0: its id is the text 'x'"),
        ({"images": [], "annotations": [], "categories": [{"id": 1}]}, r"category 0: its name is null"),
        ({"images": [], "annotations": [{"segments_info": []}], "categories": []}, r"is a panoptic COCO json"),
    ],
)
def test_what_is_no_truth_in_coco_json(content, said, tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(FormatError, match=rf"x\.json: {said}"):
        coco.read(tmp_path / "x.json")


def test_a_folder_with_results_only(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps([{"image_id": 1, "category_id": 3, "score": 0.5}]))
    assert coco.looks_like(tmp_path) == ""
    with pytest.raises(FormatError, match=r"results\.json: is a list of detections"):
        coco.read(tmp_path)
    (tmp_path / "results.json").unlink()
    with pytest.raises(InputError, match="no COCO json here"):
        coco.read(tmp_path)


def test_annotations_may_come_before_images(tmp_path):
    content = {"annotations": [annotation(k) for k in range(2000)], "images": [image(1, "a.png")], "categories": CATEGORIES}
    (tmp_path / "x.json").write_text(json.dumps(content))
    assert coco.looks_like(tmp_path) == "x.json"


def test_real_masks_are_those_of_the_coco_api(shared_data, tmp_path):
    from pycocotools.coco import COCO

    root = shared_data("coco-tiny")
    shutil.copy(root / "annotations" / "instances_val2017.json", tmp_path / "instances_val2017.json")
    found = coco.read(tmp_path / "instances_val2017.json", images=root)
    assert found.remarks == ()
    assert all(image.path is not None for image in found.images)
    api = COCO(str(tmp_path / "instances_val2017.json"))
    objects = 0
    for k, image_ in enumerate(found.images[:20]):
        drawn, remarks = found.objects(k)
        assert remarks == []
        assert image_.hw is not None
        objects += len(drawn)
        for one in drawn:
            np.testing.assert_array_equal(one.mask(image_.hw).to_mask(), api.annToMask(api.anns[one.id]).astype(bool))
            assert one.class_id == api.anns[one.id]["category_id"]
    assert objects > 50


@pytest.mark.parametrize(
    ("stated", "taken"),
    [
        (([255, 128, 14], [0, 158, 224]), True),
        (([255, 128, 14], None), False),  # one alone: the palette stays whole
        (([255, 128, 14], [255, 128, 14]), False),
        (([255, 128, 14], [0, 158, 256]), False),
        (([255, 128, 14], "blue"), False),
    ],
)
def test_colours_that_categories_state(tmp_path, stated, taken):
    categories = [{**row, "color": colour} for row, colour in zip(CATEGORIES, stated, strict=True)]
    found = coco.read(write(tmp_path / "set.json", [annotation(1)], categories=categories))
    expected = tuple(map(tuple, stated)) if taken else ClassMap((0, 3, 90), ("background", "ship", "tug")).colours[1:]
    assert found.classes.colours[1:] == expected


def test_scores_of_answers_are_read_again(tmp_path):
    _, objects, remarks = read_one(tmp_path, annotation(1, score=0.25), annotation(2), annotation(3, score=7))
    assert [d.score for d in objects] == [0.25, None, None]
    assert [r.text for r in remarks] == [
        f"{tmp_path / 'set.json'}: annotation 3: its score is 7; expected a number from 0 to 1; it is passed over."
    ]
