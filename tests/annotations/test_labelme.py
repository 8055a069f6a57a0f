"""LabelMe json: a file an image, shapes of every type, groups, masks as PNG."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskwright.annotations import labelme
from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError

HW = (6, 8)
SQUARE = [[1, 1], [4, 1], [4, 4], [1, 4]]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(path)


def shape(points: Any = None, label: Any = "ship", kind: Any = "polygon", **more: Any) -> dict[str, Any]:
    return {
        "label": label,
        "points": SQUARE if points is None else points,
        "shape_type": kind,
        "group_id": None,
        "flags": {},
        **more,
    }


def write(root: Path, *shapes: Any, name: str = "a", **more: Any) -> Path:
    picture(root / f"{name}.png")
    top = {"version": "5.2.1", "flags": {}, "shapes": list(shapes), "imagePath": f"{name}.png", "imageData": None}
    (root / f"{name}.json").write_text(json.dumps(top | {"imageHeight": 6, "imageWidth": 8} | more))
    return root / f"{name}.json"


def read(root: Path, *shapes: Any, **options: Any):
    found = labelme.read(write(root, *shapes), **options)
    return found, *found.objects(0)


def png(rows: list[list[int]]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.array(rows, np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    ("given", "area"),
    [
        (shape(), 9),
        ({"label": "ship", "points": SQUARE}, 9),  # old files state no type
        (shape([[4, 6], [1, 2]], kind="rectangle"), 12),  # corners in any order
        (shape(SQUARE, kind="rectangle"), 9),
        (shape([[4, 0], [8, 3], [4, 6], [0, 3]], kind="rotation"), 24),  # half of 8 x 6
        (shape([[4, 3], [4, 5]], kind="circle"), 12),  # radius 2: 4 x 4 without its corners
    ],
)
def test_shapes(given, area, tmp_path):
    found, objects, remarks = read(tmp_path, given)
    assert remarks == []
    assert [(d.class_id, d.where, d.mask(HW).area_px) for d in objects] == [(1, "shape 1", area)]
    assert found.classes.names == ("background", "ship")
    assert [(i.name, i.hw, i.path, i.file) for i in found.images] == [("a", HW, tmp_path / "a.png", tmp_path / "a.json")]


def test_a_mask_fills_its_box_with_both_corners(tmp_path):
    _, objects, remarks = read(tmp_path, shape([[2, 1], [4, 2]], kind="mask", mask=png([[1, 0, 1], [0, 1, 1]])))
    assert remarks == []
    expected = np.zeros(HW, bool)
    expected[1, [2, 4]] = expected[2, [3, 4]] = True
    np.testing.assert_array_equal(objects[0].mask(HW).to_mask(), expected)


@pytest.mark.parametrize("stated", [None, HW])
def test_size_comes_from_the_image_where_the_file_states_none(stated, tmp_path):
    size = {"imageHeight": None, "imageWidth": None} if stated is None else {}
    found = labelme.read(write(tmp_path, shape([[2, 1], [3, 1]], kind="mask", mask=png([[1, 1]])), **size))
    assert found.images[0].hw == stated
    assert found.objects(0)[0][0].rle.hw == HW


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (shape([[1, 1], [2, 2]]), "two-points", "the polygon has 2 vertices; an area needs three"),
        (shape([[1, 1], [2, 2]], kind="line"), "bad-object", "is a line, which covers no area"),
        (shape([[1, 1], [2, 2], [3, 1]], kind="linestrip"), "bad-object", "is a linestrip, which covers no area"),
        (shape([[1, 1]], kind="point"), "bad-object", "is a point, which covers no area"),
        (shape(kind="spline"), "bad-object", r"the shape the text 'spline' is not known"),
        (shape(kind=[1]), "bad-object", "the shape a list of 1 is not known"),
        (shape([[1, 1]], kind="circle"), "bad-object", "its circle has 1 point; expected its centre"),
        (shape([[1, None], [2, 2]]), "bad-object", "a value in its points is null"),
        (shape(label=None), "bad-object", "its label is null; expected a text"),
        (shape([[2, 1], [4, 2]], kind="mask"), "bad-object", "its mask is null; expected a text"),
        (shape([[2, 1], [4, 2]], kind="mask", mask="%"), "bad-object", "its mask is no base64 text"),
        (shape([[2, 1], [4, 2]], kind="mask", mask="aaaa"), "bad-object", "its mask is no whole PNG"),
        (shape([[2, 1], [4, 2]], kind="mask", mask=png([[1, 1]])), "bad-object", "its mask is 2x1 pixels, but its box is 3x2"),
        (shape([[2, 1]], kind="mask", mask=png([[1, 1]])), "bad-object", "its mask has 1 point; expected the first and the last"),
        (shape([[2, 1], [1e300, 1]], kind="mask", mask=png([[1, 1]])), "bad-object", r"the box of its mask reaches to 1e\+300"),
        (7, "bad-object", "it is 7; expected a record"),
    ],
)
def test_one_bad_shape_is_left_out_and_said(given, code, said, tmp_path):
    _, objects, remarks = read(tmp_path, given, shape())
    assert [d.where for d in objects] == ["shape 2"]
    assert [(r.code, r.image) for r in remarks] == [(code, "a")]
    with pytest.raises(FormatError, match=rf"a\.json: shape 1: .*{said}.*; the object is left out\.$"):
        raise FormatError(remarks[0].text)


def test_groups_join_shapes_of_one_label(tmp_path):
    far = [[5, 4], [8, 4], [8, 6], [5, 6]]
    _, objects, remarks = read(tmp_path, shape(group_id=1), shape(label="tug", group_id=1), shape(far, group_id=1), shape(far))
    assert remarks == []
    assert [(d.class_id, len(d.rings), d.mask(HW).area_px, d.id) for d in objects] == [
        (1, 2, 15, 1),
        (2, 1, 9, 1),
        (1, 1, 6, None),
    ]


def test_overlapping_shapes_of_a_group_make_no_hole(tmp_path):
    _, objects, _ = read(tmp_path, shape(group_id=0), shape(group_id=0))
    assert [d.mask(HW).area_px for d in objects] == [9]


def test_paths_of_another_machine_and_renamed_images(tmp_path):
    write(tmp_path / "json" / "train", shape(), name="a", imagePath="..\\images\\train\\a.png")
    write(tmp_path / "json" / "train", shape(), name="b", imagePath="old name.png")
    for name in "ab":
        (tmp_path / "json" / "train" / f"{name}.png").unlink()
        picture(tmp_path / "images" / "train" / f"{name}.png")
    found = labelme.read(tmp_path)
    assert [(i.name, i.split, i.path) for i in found.images] == [
        (name, "train", tmp_path / "images" / "train" / f"{name}.png") for name in "ab"
    ]
    assert found.remarks == ()
    assert found.line == "LabelMe json: 2 files, classes from 1 label"
    assert labelme.looks_like(tmp_path) == "json/train/a.json"


def test_a_damaged_file_of_several_costs_its_image_only(tmp_path):
    write(tmp_path, shape())
    text = write(tmp_path, shape(), name="b").read_text()
    (tmp_path / "b.json").write_text(text[: len(text) // 2])
    found = labelme.read(tmp_path)
    assert [i.name for i in found.images] == ["a"]
    assert [(r.code, r.path) for r in found.remarks] == [("unreadable", tmp_path / "b.json")]
    assert "is not whole JSON" in found.remarks[0].text
    assert found.remarks[0].text.endswith("; its image is left out.")
    with pytest.raises(FormatError, match=r"b\.json: is not whole JSON"):
        labelme.read(tmp_path / "b.json")


def test_a_file_that_is_damaged_later_is_said(tmp_path):
    found = labelme.read(write(tmp_path, shape()))
    (tmp_path / "a.json").write_text("{")
    objects, remarks = found.objects(0)
    assert objects == []
    assert [r.code for r in remarks] == ["unreadable"]


def test_class_map_that_is_given(tmp_path):
    given = ClassMap((0, 4), ("background", "tug"))
    _, objects, remarks = read(tmp_path, shape(label="tug "), shape(), classes=given)
    assert [d.class_id for d in objects] == [4]
    assert [r.code for r in remarks] == ["unknown-class"]


def test_a_group_whose_size_nobody_knows(tmp_path):
    write(tmp_path, shape(group_id=1), shape(group_id=1), imageHeight=None, imageWidth=None)
    (tmp_path / "a.png").unlink()
    objects, remarks = labelme.read(tmp_path).objects(0)
    assert objects == []
    assert "parts of one object overlap" in remarks[0].text


def test_other_json_is_no_labelme(tmp_path):
    (tmp_path / "a.json").write_text('{"shapes": 3}')
    assert labelme.looks_like(tmp_path) == ""
    with pytest.raises(InputError, match="no LabelMe json here; expected files with a list `shapes`"):
        labelme.read(tmp_path)
    with pytest.raises(FormatError, match=r"a\.json: is a record without a list `shapes`"):
        labelme.read(tmp_path / "a.json")
