"""Cityscapes' polygons and instance ids."""

from __future__ import annotations

import json

import numpy as np
import pytest

from maskwright.annotations import cityscapes
from maskwright.annotations.formats import detect
from maskwright.classes import ClassMap
from maskwright.errors import FormatError
from maskwright.io.write import write_png, write_text


def box(x0, y0, x1, y1):
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def shape(label, *corners, **more):
    return {"label": label, "polygon": box(*corners), **more}


def make(root, *objects, ids=None, frame="ulm_000001_000019", split="train", whole=None):
    write_png(root / f"leftImg8bit/{split}/ulm/{frame}_leftImg8bit.png", np.zeros((4, 6, 3), np.uint8))
    truth = root / f"gtFine/{split}/ulm/{frame}_gtFine"
    if ids is None:
        text = json.dumps({"imgHeight": 4, "imgWidth": 6, "objects": list(objects)}) if whole is None else whole
        write_text(truth.with_name(truth.name + "_polygons.json"), text)
    else:
        write_png(truth.with_name(truth.name + "_instanceIds.png"), np.asarray(ids, np.uint16))
        write_png(truth.with_name(truth.name + "_labelIds.png"), np.zeros((4, 6), np.uint8))
    return root


def rows(read, k=0):
    return [(read.classes.name_of(d.class_id), d.crowd, d.rle.area_px) for d in read.objects(k)[0]]


def test_later_polygons_lie_over_earlier_ones(tmp_path):
    read = cityscapes.read(
        make(
            tmp_path,
            shape("road", 0, 0, 6, 4),
            shape("car", 0, 0, 4, 4),  # 16 pixels
            shape("person", 1, 0, 2, 4),  # takes 4 of them
            shape("pole", 0, 0, 1, 2),  # takes 2 more, and is no object
            shape("bicycle", 4, 0, 6, 1),
        )
    )
    assert rows(read) == [("car", False, 10), ("person", False, 4), ("bicycle", False, 2)]
    assert (read.objects(0)[1], read.remarks) == ([], ())
    assert read.line == "Cityscapes: 0 masks of instance ids, 1 file of polygons"


def test_classes_are_the_eight_scored_kinds_under_their_label_ids():
    classes = cityscapes.default_classes()
    assert dict(zip(classes.names, classes.ids, strict=True)) == {"background": 0, **cityscapes.THINGS}
    assert classes.colours[classes.names.index("car")] == (0, 0, 142)


def test_places_names_and_splits(tmp_path):
    make(tmp_path, shape("car", 0, 0, 1, 1))
    make(tmp_path, frame="ulm_000002_000019", split="val")
    assert detect(tmp_path) == [("cityscapes", "gtFine/")]
    read = cityscapes.read(tmp_path)
    assert [(i.name, i.split) for i in read.images] == [
        ("ulm_000001_000019_leftImg8bit", "train"),
        ("ulm_000002_000019_leftImg8bit", "val"),
    ]
    assert read.images[0].path == tmp_path / "leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png"
    assert cityscapes.looks_like(tmp_path / "gtFine") == "train/ulm/ulm_000001_000019_gtFine_polygons.json"
    apart = cityscapes.read(tmp_path / "gtFine", images=tmp_path / "leftImg8bit")
    assert [i.path for i in apart.images] == [i.path for i in read.images]


def test_sizes_are_stated_where_images_are_missing(tmp_path):
    make(tmp_path, shape("car", 0, 0, 1, 1))
    make(tmp_path, ids=np.zeros((5, 7)), frame="ulm_000002_000019")
    assert [i.hw for i in cityscapes.read(tmp_path / "gtFine").images] == [(4, 6), (5, 7)]


def test_groups_are_crowds_but_a_polegroup_is_not(tmp_path):
    read = cityscapes.read(
        make(tmp_path, shape("persongroup", 0, 0, 2, 2), shape("polegroup", 2, 2, 3, 3), shape("cargroup", 4, 0, 5, 1))
    )
    assert rows(read) == [("person", True, 4), ("car", True, 1)]


def test_what_is_deleted_or_a_license_plate_is_not_drawn(tmp_path):
    read = cityscapes.read(
        make(tmp_path, shape("car", 0, 0, 2, 2), shape("person", 0, 0, 2, 2, deleted=1), shape("license plate", 0, 0, 2, 1))
    )
    assert rows(read) == [("car", False, 4)]


def test_unscored_kinds_cover_but_are_objects_only_on_request(tmp_path):
    root = make(tmp_path, shape("car", 0, 0, 2, 2), shape("trailer", 0, 0, 2, 1))
    assert (rows(cityscapes.read(root)), cityscapes.read(root).objects(0)[1]) == ([("car", False, 2)], [])
    wanted = ClassMap((0, 1, 2), ("background", "trailer", "car"))
    assert rows(cityscapes.read(root, classes=wanted)) == [("car", False, 2), ("trailer", False, 2)]
    # Areas are never objects, even where the class map knows them.
    assert rows(cityscapes.read(make(tmp_path, shape("road", 0, 0, 2, 2)), classes=ClassMap.known("cityscapes"))) == []


def test_what_cannot_be_used_is_said(tmp_path):
    read = cityscapes.read(
        make(
            tmp_path,
            shape("car", 0, 0, 2, 2),
            shape("person", 0, 0, 2, 2),  # hides the car
            shape("spaceship", 4, 0, 6, 1),
            {"label": "car", "polygon": [[0, 0], [1, 1]]},
            {"label": "car", "polygon": [[0, 0], [1, "x"], [1, 2]]},
            {"label": "car", "polygon": [[-1e300, -1e300], [-1e299, -1e300], [-1e300, -1e299]]},
            {"label": "car"},
            {"polygon": []},
            None,
        )
    )
    drawn, remarks = read.objects(0)
    assert [d.where for d in drawn] == ["object 1 (person)"]
    codes = ["two-points", "bad-object", "bad-object", "bad-object", "bad-object", "unknown-class", "zero-area", "zero-area"]
    assert sorted(r.code for r in remarks) == sorted(codes)
    text = " ".join(r.text for r in remarks)
    assert "object 3 (car): its polygon has 2 points; expected 3 or more" in text
    assert "object 0 (car) is hidden by polygons that are drawn over it" in text
    assert "class 'spaceship' is not in the class map" in text


@pytest.mark.parametrize(
    ("whole", "reason"),
    [
        ('{"imgHeight": 4, "img', "not whole JSON .it is cut short"),
        ('{"imgHeight": 200000, "imgWidth": 200000, "objects": []}', "claims 200000x200000 pixels"),
        ("[]", "the file is a list of 0; expected a record"),
        ("{}", "states no imgHeight and imgWidth"),
        ('{"imgHeight": 4, "imgWidth": 0, "objects": []}', "its size is 0x4"),
        ('{"imgHeight": 4, "imgWidth": 6, "objects": null}', "`objects` is null; expected a list"),
    ],
)
def test_damaged_files_are_one_sentence(whole, reason, tmp_path):
    read = cityscapes.read(make(tmp_path, whole=whole))
    with pytest.raises(FormatError, match=rf"_polygons.json: .*{reason}"):
        read.objects(0)


def test_instance_ids(tmp_path):
    ids = [[26000, 26000, 26001, 7, 24, 24], [26000, 0, 26001, 7, 24, 8]] + [[29003, 33000, 0, 0, 0, 0]] * 2
    read = cityscapes.read(make(tmp_path, ids=ids))
    # 24: persons that nobody told apart; 29003: a caravan; 7 and 8: road and sidewalk.
    assert sorted(rows(read)) == [("bicycle", False, 2), ("car", False, 2), ("car", False, 3), ("person", True, 3)]
    assert [d.id for d in read.objects(0)[0]] == [24, 26000, 26001, 33000]
    assert read.line == "Cityscapes: 1 mask of instance ids, 0 files of polygons"


def test_instance_ids_are_taken_before_polygons(tmp_path):
    make(tmp_path, shape("car", 0, 0, 1, 1))
    make(tmp_path, ids=np.full((4, 6), 25001))
    assert rows(cityscapes.read(tmp_path)) == [("rider", False, 24)]


def test_colours_are_no_instance_ids(tmp_path):
    make(tmp_path, ids=np.zeros((4, 6)))
    path = next(tmp_path.rglob("*_instanceIds.png"))
    write_png(path, np.full((4, 6, 3), [1, 2, 3], np.uint8))
    with pytest.raises(FormatError, match="holds colours; expected instance ids"):
        cityscapes.read(tmp_path).objects(0)


def test_nothing_here(tmp_path):
    assert cityscapes.looks_like(tmp_path) == cityscapes.looks_like(tmp_path / "missing") == ""
    with pytest.raises(FormatError, match=r"no file \*_gtFine_instanceIds.png or \*_gtFine_polygons.json here"):
        cityscapes.read(tmp_path)
