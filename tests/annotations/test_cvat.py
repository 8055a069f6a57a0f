"""CVAT for images 1.1: shapes, groups, labels with colours, and files that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.annotations import cvat
from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError

HW = (6, 8)
POLYGON = '<polygon label="ship" source="manual" occluded="0" points="1.0,1.0;4.0,1.0;4.0,4.0;1.0,4.0" z_order="0"></polygon>'
META = """<version>1.1</version><meta><job><labels>
<label><name>tug</name><color>#0a0b0c</color><type>any</type><attributes></attributes></label>
<label><name>ship</name><color>#ff0080</color></label>
</labels></job></meta>"""


def document(*shapes: str, meta: str = META, attributes: str = 'width="8" height="6"') -> str:
    image = f'<image id="0" name="a.png" {attributes}>{"".join(shapes)}</image>'
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{meta}{image}</annotations>\n'


def write(root: Path, text: str) -> Path:
    (root / "images").mkdir(exist_ok=True)
    Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(root / "images" / "a.png")
    (root / "annotations.xml").write_text(text, encoding="utf-8")
    return root / "annotations.xml"


def read(root: Path, *shapes: str, **options):
    write(root, document(*shapes))
    found = cvat.read(root, **options)
    return found, *found.objects(0)


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        (POLYGON, 9),
        ('<box label="ship" xtl="1" ytl="2" xbr="4" ybr="6"/>', 12),
        ('<box label="ship" xtl="1" ytl="2" xbr="7" ybr="4" rotation="90.0"/>', 12),
        ('<ellipse label="ship" cx="4" cy="3" rx="2" ry="2"/>', 12),  # 4 x 4 without its corners
        ('<ellipse label="ship" cx="4" cy="3" rx="3" ry="1" rotation="90"/>', 12),
        ('<mask label="ship" rle="1, 1, 1, 3" left="2" top="1" width="3" height="2"/>', 4),
    ],
)
def test_shapes(shape, area, tmp_path):
    found, objects, remarks = read(tmp_path, shape)
    assert remarks == []
    assert [(d.class_id, d.mask(HW).area_px) for d in objects] == [(1, area)]
    assert [(i.name, i.hw, i.path) for i in found.images] == [("a", HW, tmp_path / "images/a.png")]
    assert found.remarks == ()


def test_a_box_turns_about_its_centre(tmp_path):
    _, objects, _ = read(tmp_path, '<box label="ship" xtl="1" ytl="2" xbr="7" ybr="4" rotation="90"/>')
    assert objects[0].mask(HW).box_xyxy == (3, 0, 5, 6)  # about (4, 3): 6 x 2 becomes 2 x 6


def test_a_mask_runs_row_by_row_in_its_box(tmp_path):
    _, objects, _ = read(tmp_path, '<mask label="ship" rle="1, 1, 1, 3" left="2" top="1" width="3" height="2"/>')
    expected = np.zeros(HW, bool)
    expected[1, 3] = expected[2, 2:5] = True  # .1. and 111
    np.testing.assert_array_equal(objects[0].mask(HW).to_mask(), expected)


def test_labels_and_their_colours(tmp_path):
    found, _, _ = read(tmp_path, POLYGON.replace("ship", "raft"))
    assert found.classes.names == ("background", "raft", "ship", "tug")  # declared or not
    assert len(set(found.classes.colours)) == 4
    found, _, _ = read(tmp_path, POLYGON)
    assert found.classes.colours == ((0, 0, 0), (255, 0, 128), (10, 11, 12))
    assert found.line == "CVAT for images: annotations.xml; 2 labels"


def test_a_label_that_is_not_declared_is_said(tmp_path):
    found, objects, _ = read(tmp_path, POLYGON, POLYGON.replace("ship", "shipp"), POLYGON.replace("ship", "shipp"))
    [remark] = found.remarks
    assert (remark.code, remark.path) == ("undeclared-class", tmp_path / "annotations.xml")
    assert "a.png: the label 'shipp' is not declared in <labels> (near ones: ship); it is a class of its own." in remark.text
    assert len(objects) == 3
    # A file that declares nothing, and a class map that is given, say nothing of slips.
    write(tmp_path, document(POLYGON, meta="<version>1.1</version>"))
    assert cvat.read(tmp_path).remarks == ()
    found, _, remarks = read(tmp_path, POLYGON.replace("ship", "shipp"), classes=ClassMap((0, 1), ("background", "ship")))
    assert (found.remarks, [r.code for r in remarks]) == ((), ["unknown-class"])


def test_groups_join_shapes_of_one_label(tmp_path):
    grouped, far = (
        POLYGON.replace("<polygon", '<polygon group_id="3"'),
        '<box label="ship" xtl="5" ytl="4" xbr="8" ybr="6" group_id="3"/>',
    )
    alone = POLYGON.replace("<polygon", '<polygon group_id="0"')
    _, objects, _ = read(tmp_path, grouped, far, grouped, alone)
    assert [d.mask(HW).area_px for d in objects] == [9 + 6, 9]


@pytest.mark.parametrize(
    ("shape", "code", "said"),
    [
        ('<polyline label="ship" points="1,1;2,2"/>', "bad-object", "is a line, which covers no area"),
        ('<points label="ship" points="1,1"/>', "bad-object", "is points, which covers no area"),
        ('<cuboid label="ship"/>', "bad-object", "is a cuboid"),
        ('<blob label="ship"/>', "bad-object", "the shape <blob> is not known"),
        ('<polygon label="ship" points="1,1;2,2"/>', "two-points", "the polygon has 2 vertices"),
        ('<polygon label="ship" points="1,1;2,x;3,3"/>', "bad-object", "a value in its points is the text 'x'"),
        ('<polygon label="ship" points="1,1;2;3,3"/>', "bad-object", "a point of its points is a list of 1"),
        ('<polygon label="ship"/>', "bad-object", "its points is null"),
        ('<polygon points="1,1;2,2;3,4"/>', "bad-object", "its label is null"),
        ('<box label="ship" xtl="1" ytl="2" xbr="4"/>', "bad-object", "its ybr is null"),
        ('<box label="ship" xtl="1" ytl="2" xbr="4" ybr="nan"/>', "bad-object", "its ybr is nan"),
        ('<box label="ship" xtl="1" ytl="2" xbr="4" ybr="5" rotation="up"/>', "bad-object", "its rotation is the text 'up'"),
        (
            '<mask label="ship" rle="1, 1" left="0" top="0" width="3" height="2"/>',
            "bad-object",
            "cover 2 pixels, but its box is 3x2",
        ),
        (
            '<mask label="ship" rle="1,x" left="0" top="0" width="3" height="2"/>',
            "bad-object",
            "a run of its rle is the text 'x'",
        ),
        ('<mask label="ship" rle="-1, 7" left="0" top="0" width="3" height="2"/>', "bad-object", "cover 6 pixels"),
        ('<mask label="ship" rle="0" left="0" top="0" width="0" height="2"/>', "bad-object", "the box of its mask is 0x2"),
        (
            '<mask label="ship" rle="9e9" left="0" top="0" width="1e5" height="9e4"/>',
            "bad-object",
            "the box of its mask is 100000x90000",
        ),
    ],
)
def test_one_bad_shape_is_left_out_and_said(shape, code, said, tmp_path):
    _, objects, remarks = read(tmp_path, shape, POLYGON)
    assert [d.where for d in objects] == ["polygon 2"]
    assert [(r.code, r.image) for r in remarks] == [(code, "a")]
    with pytest.raises(FormatError, match=rf"annotations\.xml: a\.png, \w+ 1: .*{said}.*; the object is left out\.$"):
        raise FormatError(remarks[0].text)


def test_class_map_that_is_given(tmp_path):
    _, objects, remarks = read(tmp_path, POLYGON, POLYGON.replace("ship", "tug"), classes=ClassMap((0, 8), ("background", "tug")))
    assert [d.class_id for d in objects] == [8]
    assert [r.code for r in remarks] == ["unknown-class"]


def test_splits_and_sizes(tmp_path):
    write(tmp_path, document(POLYGON, attributes='subset="Validation"'))
    found = cvat.read(tmp_path)
    assert [(i.split, i.hw) for i in found.images] == [("val", None)]
    assert len(found.objects(0)[0]) == 1
    write(tmp_path, document('<mask label="ship" rle="6" left="0" top="0" width="3" height="2"/>', attributes=""))
    assert "does not state the size of its image" in cvat.read(tmp_path).objects(0)[1][0].text
    write(tmp_path, document(POLYGON, attributes='width="many" height="6"'))
    assert "the width is the text 'many'; expected a number; the image is left out." in cvat.read(tmp_path).remarks[0].text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "declares a document type or entities"),
        ("<annotations><track id='0'/></annotations>", r"holds tracks \(CVAT for video\); export it as 'CVAT for images 1\.1'"),
        ("<annotation/>", "its outermost element is <annotation>; expected CVAT's <annotations>"),
        ("<annotations>", "is not whole XML"),
        ("", "is not whole XML"),
    ],
)
def test_files_that_are_refused(text, said, tmp_path):
    with pytest.raises(FormatError, match=rf"annotations\.xml: {said}"):
        cvat.read(write(tmp_path, text))


def test_a_file_cut_short_says_so(tmp_path):
    text = document(POLYGON).strip()
    for length in range(0, len(text) - 1, 37):
        with pytest.raises(FormatError, match=r"annotations\.xml: is not whole XML"):
            cvat.read(write(tmp_path, text[:length]))


def test_looks_like(tmp_path):
    assert cvat.looks_like(tmp_path / "none") == ""
    write(tmp_path, document(POLYGON))
    (tmp_path / "a.xml").write_text("<annotation><folder>x</folder></annotation>")  # Pascal VOC
    assert cvat.looks_like(tmp_path) == "annotations.xml"
    assert cvat.looks_like(tmp_path / "a.xml") == ""
    (tmp_path / "annotations.xml").unlink()
    with pytest.raises(InputError, match="no CVAT XML here"):
        cvat.read(tmp_path)
