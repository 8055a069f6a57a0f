"""VIA json of all versions: shapes, regions as list or record, tables of VIA 3, and which attribute is the class."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskwright.annotations import via
from maskwright.classes import ClassMap
from maskwright.errors import FormatError

SQUARE = {"name": "polygon", "all_points_x": [1, 4, 4, 1], "all_points_y": [1, 1, 4, 4]}
HW = (6, 8)


def region(shape: Any = None, **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": SQUARE if shape is None else shape, "region_attributes": attributes}


def write(root: Path, content: Any, name: str = "via.json") -> Path:
    Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(root / "a (1).png")
    (root / name).write_text(json.dumps(content))
    return root / name


def export(*regions: Any, **more: Any) -> dict[str, Any]:
    return {"a (1).png1234": {"filename": "a (1).png", "size": 1234, "regions": list(regions), "file_attributes": {}, **more}}


def read(root: Path, *regions: Any, **options: Any):
    found = via.read(write(root, export(*regions)), **options)
    return found, *found.objects(0)


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        (SQUARE, 9),
        ({"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}, 12),
        ({"name": "polyline", "all_points_x": [1, 4, 4, 1, 1], "all_points_y": [1, 1, 4, 4, 2]}, 9),  # ends one pixel apart
        ({"name": "circle", "cx": 4, "cy": 3, "r": 2}, 12),  # 4 x 4 without its corners, whose centres are 2.12 away
        ({"name": "ellipse", "cx": 4, "cy": 3, "rx": 3, "ry": 1}, 12),  # rows 2 and 3, centres within 3 sqrt(3/4) = 2.6 of x = 4
    ],
)
def test_shapes_of_version_2(shape, area, tmp_path):
    _, objects, remarks = read(tmp_path, region(shape))
    assert remarks == []
    assert objects[0].mask(HW).area_px == area


def test_an_ellipse_is_turned_by_theta(tmp_path):
    ellipse = {"name": "ellipse", "cx": 4, "cy": 3, "rx": 3, "ry": 1}
    _, objects, _ = read(
        tmp_path, region(ellipse), region(ellipse | {"theta": math.pi / 2}), region(ellipse | {"theta": math.pi / 4})
    )
    assert [d.mask(HW).box_xyxy for d in objects[:2]] == [(1, 2, 7, 4), (3, 0, 5, 6)]
    mask = objects[2].mask(HW).to_mask()  # clockwise on the screen: its right end goes down
    assert mask[4, 5]
    assert not mask[1, 5]


@pytest.mark.parametrize(
    ("shape", "code", "said"),
    [
        ({"name": "point", "cx": 1, "cy": 1}, "bad-object", "is a point, which covers no area; draw it as a polygon"),
        (
            {"name": "polyline", "all_points_x": [0, 4, 4], "all_points_y": [0, 0, 3]},
            "bad-object",
            r"its ends are 5 pixels apart",
        ),
        ({"name": "polygon", "all_points_x": [0, 4], "all_points_y": [0, 0]}, "two-points", "the polygon has 2 vertices"),
        ({"name": "polygon", "all_points_x": [0, 4, 4], "all_points_y": [0, 0]}, "bad-object", "has 3 values of x but 2 of y"),
        (
            {"name": "star"},
            "bad-object",
            r"the shape 'star' is not known \(known: polygon, polyline, rect, circle, ellipse, point\)",
        ),
        ({"name": "rect", "x": 1, "y": 2, "width": 3}, "bad-object", "its height is null; expected a number"),
        ({"name": "circle", "cx": 1, "cy": 2, "r": "3"}, "bad-object", "its r is the text '3'"),
        ({"name": "circle", "cx": 1, "cy": 2, "r": 1e9}, "bad-object", r"the shape reaches to 1e\+09"),
        ([8.5, 1, 2], "bad-object", "its xy begins with 8.5; expected a shape's number, 1 to 9"),
        ([], "bad-object", "its xy begins with nothing"),
        ([2, 1, 2, 3], "bad-object", "its xy holds 3 numbers behind the shape 2; the list is damaged"),
        ([7, 1, 2, 3], "bad-object", "its xy holds 3 numbers behind the shape 7"),
        ([1, 5, 5], "bad-object", "is a point, which covers no area"),
        ([5, 0, 0, 5, 5], "bad-object", "is a line, which covers no area"),
        (7, "bad-object", "its shape_attributes is 7; expected a record"),
    ],
)
def test_shapes_that_are_left_out(shape, code, said, tmp_path):
    _, objects, remarks = read(tmp_path, region(shape), region())
    assert len(objects) == 1
    assert [r.code for r in remarks] == [code]
    with pytest.raises(FormatError, match=rf"via\.json: a \(1\)\.png, region 0: .*{said}.*; the object is left out\.$"):
        raise FormatError(remarks[0].text)


@pytest.mark.parametrize("regions", [[region(label="river")], {"0": region(label="river")}])
@pytest.mark.parametrize("project", [False, True])
def test_projects_exports_lists_and_records(regions, project, tmp_path):
    images = export(width=8, height=6) | {}
    images["a (1).png1234"]["regions"] = regions
    content = {"_via_settings": {}, "_via_img_metadata": images, "_via_attributes": {}} if project else images
    path = write(tmp_path, content)
    assert via.looks_like(tmp_path) == via.looks_like(path) == "via.json"
    found = via.read(tmp_path)
    assert found.classes.names == ("background", "river")
    assert "classes from the region attribute 'label': 1 value" in found.line
    assert [(i.name, i.hw, i.path) for i in found.images] == [("a (1)", HW, tmp_path / "a (1).png")]
    assert [(d.class_id, d.where) for d in found.objects(0)[0]] == [(1, "region 0")]


def test_without_an_attribute_all_are_one_class(tmp_path):
    found, objects, remarks = read(tmp_path, region(), region())
    assert found.classes.names == ("background", "object")
    assert "no region attribute holds a class: all regions are 'object'" in found.line
    assert len(objects) == 2
    assert remarks == []


def attributes(*rows: dict[str, str]) -> list[Any]:
    return [{"key": "0", "shape": None, "av": row} for row in rows]


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([{"label": f"c{k}"} for k in range(9)], "label"),  # its name says so, though all values differ
        ([{"id": f"{k}"} for k in range(9)], ""),  # as many values as regions: each has its own
        ([{"id": f"{k % 3}"} for k in range(9)], "id"),  # few values that come again
        ([{"quality": "good", "class": "a"}, {"quality": "bad", "class": "b"}], "class"),
        ([{"quality": "good", "size": "a"}, {"quality": "bad"}], "quality"),  # more regions have it
        ([{"label": f"c{k}"} for k in range(300)], ""),  # more values than a class map holds
        ([], ""),
    ],
)
def test_which_attribute_holds_the_class(rows, chosen):
    assert via.class_attribute(attributes(*rows))[0] == chosen


def test_the_line_names_attributes_that_are_not_taken():
    _, why = via.class_attribute(attributes({"class": "a", "note": "x"}, {"class": "b", "note": "y"}))
    assert why == "classes from the region attribute 'class' (not note): 2 values"
    _, why = via.class_attribute(attributes(*({"id": str(k)} for k in range(9))))
    assert "(attributes id name each region by itself)" in why


def test_check_boxes_numbers_and_regions_without_the_class(tmp_path):
    found, objects, remarks = read(
        tmp_path,
        region(kind={"ship": True, "tug": False}),
        region(kind={"ship": True, "tug": True}),
        region(kind=4),
        region(kind=" "),
    )
    assert found.classes.names == ("background", "4", "ship")
    assert [d.class_id for d in objects] == [2, 1]
    assert [r.code for r in remarks] == ["unknown-class"] * 2
    assert "region 1: has no value of the attribute 'kind', so that its class is not known" in remarks[0].text


def test_a_class_map_that_is_given(tmp_path):
    given = ClassMap((0, 9), ("background", "river"))
    found, objects, remarks = read(tmp_path, region(label="river"), region(label="lake"), classes=given)
    assert found.classes is given
    assert [d.class_id for d in objects] == [9]
    assert [r.code for r in remarks] == ["unknown-class"]


VIA_3 = {
    "project": {"pid": "x", "vid_list": ["1", "2"]},
    "config": {},
    "attribute": {
        "1": {"aname": "class", "anchor_id": "FILE1_Z0_XY1", "type": 4, "options": {"0": "ship", "1": "tug"}},
        "2": {"aname": "note", "anchor_id": "FILE1_Z0_XY0", "type": 1, "options": {}},
    },
    "file": {
        "f1": {"fid": "f1", "fname": "a (1).png", "type": 2, "loc": 1, "src": ""},
        "f2": {"fid": "f2", "fname": "b.mp4", "type": 4},
    },
    "metadata": {
        "m1": {"vid": "1", "flg": 0, "z": [], "xy": [7, 1, 1, 4, 1, 4, 4, 1, 4], "av": {"1": "1"}},
        "m2": {"vid": "1", "flg": 0, "z": [], "xy": [2, 1, 2, 3, 4], "av": {"1": "0"}},
        "m3": {"vid": "1", "flg": 0, "z": [], "xy": [], "av": {"2": "about the file"}},
        "m4": {"vid": "7", "flg": 0, "z": [], "xy": [2, 1, 2, 3, 4], "av": {"1": "0"}},
    },
    "view": {"1": {"fid_list": ["f1"]}, "2": {"fid_list": ["f2"]}},
}


def test_tables_of_version_3(tmp_path):
    path = write(tmp_path, VIA_3)
    assert via.looks_like(path) == "via.json"
    found = via.read(path)
    assert found.classes.names == ("background", "ship", "tug")
    objects, remarks = found.objects(0)
    assert [(d.class_id, d.mask(HW).area_px, d.where) for d in objects] == [(2, 9, "region m1"), (1, 12, "region m2")]
    assert remarks == []
    assert [r.code for r in found.remarks] == ["bad-object", "bad-object"]
    assert "file 'f2': is of type 4; only images (type 2) are read; the file is left out." in found.remarks[0].text
    assert "metadata 'm4': its view the text '7' is of no image that the file lists" in found.remarks[1].text


@pytest.mark.parametrize(
    ("xy", "area"),
    [
        ([3, 4, 3, 2], 12),
        ([4, 4, 3, 3, 1, math.pi / 2], 12),
        ([6, 1, 1, 4, 1, 4, 4, 1, 4, 1, 1], 9),
        ([8, 1, 3, 2, 2, 4, 4, 3, 6], 12),  # the box around (1, 3), (2, 2), (4, 4), (3, 6): x 1 to 4, y 2 to 6
        ([9, 2, 3, 4, 1, 6, 3], 12),  # through (2, 3), (4, 1), (6, 3): the circle about (4, 3) of radius 2
    ],
)
def test_flat_shapes_of_version_3(xy, area, tmp_path):
    content = VIA_3 | {"metadata": {"m": {"vid": "1", "xy": xy, "av": {"1": "0"}}}}
    objects, remarks = via.read(write(tmp_path, content)).objects(0)
    assert remarks == []
    assert objects[0].mask(HW).area_px == area


def test_damaged_images_and_regions_are_left_out(tmp_path):
    content = export(region(label="a"), 5) | {"x": 7, "y": {"filename": "y.png", "regions": 3}, "z": {"filename": None}}
    found = via.read(write(tmp_path, content))
    assert [i.name for i in found.images] == ["a (1)"]
    assert [r.code for r in found.remarks] == ["bad-object"] * 4
    assert "region 1 is 5; expected a record" in found.remarks[0].text
    assert "image 'y': its regions are 3; expected a list or a record" in found.remarks[2].text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "is a list of 0; expected VIA's record"),
        ({"a": 1}, "no record in it has a `filename`"),
        ({"_via_img_metadata": 1}, "is 1"),
    ],
)
def test_what_is_no_via_json(content, said, tmp_path):
    with pytest.raises(FormatError, match=rf"via\.json: .*{said}"):
        via.read(write(tmp_path, content))


def test_a_project_without_images(tmp_path):
    found = via.read(write(tmp_path, {"_via_settings": {}, "_via_img_metadata": {}}))
    assert found.images == ()


def test_real_rivers(shared_data):
    root = shared_data("rivers-via")
    assert via.looks_like(root) == "via_region_data.json"
    found = via.read(root)
    assert found.classes.names[0] == "background"
    assert "'label'" in found.line
    assert [image.hw for image in found.images] == [(922, 1348)] * len(found.images)
    assert all(image.path is not None for image in found.images)
    for k in range(len(found.images)):
        objects, remarks = found.objects(k)
        assert remarks == []
        assert objects
        assert all(one.mask((922, 1348)).area_px > 100 for one in objects)
