"""ClassMap: what may stand in it, the way to YAML and back, and the tables between ids and channels."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from maskwright.classes import ClassMap, default_colours
from maskwright.errors import InputError

ROADS = ClassMap(
    (0, 7, 300),
    ("background", "road: paved", "Fluß"),
    values=((0,), (7, 8), ((0, 0, 255), 40)),
    ignore_values=(9, (1, 2, 3)),
)


@pytest.mark.parametrize(
    "classes",
    [
        ROADS,
        ClassMap((0, 1), ("no", "null"), background=None),
        ClassMap((1, 2), ("a", "b"), colours=((1, 2, 3), (4, 5, 6)), background=2, ignore_id=0, ignore_values=()),
        ClassMap((0, 1), ("a", "b"), values=(tuple(range(200)), (1000,))),  # a row too long for one line
    ],
)
def test_yaml_there_and_back(tmp_path, classes):
    path = tmp_path / "classes.yaml"
    path.write_text(classes.to_yaml(), encoding="utf-8")
    found = ClassMap.load(path)
    assert found == classes
    assert found.source == str(path)


def test_a_list_of_names_is_enough():
    found = ClassMap.from_dict({"classes": ["background", "lung"]})
    assert (found.ids, found.values, found.background, found.ignore_values) == ((0, 1), ((0,), (1,)), 0, (255,))
    assert ClassMap.from_dict({"classes": ["road", "car"]}).background is None
    assert len(found) == 2


def test_background_is_found_by_name_whatever_its_id():
    assert ClassMap.from_dict({"classes": [{"id": 4, "name": "Background"}, {"id": 5, "name": "x"}]}).background == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": (), "names": ()}, "needs at least one class"),
        ({"ids": (1, 1)}, "class id 1 stands twice"),
        ({"names": ("a", "a")}, "class name 'a' stands twice"),
        ({"values": ((0, 5), (5,))}, "stored value 5 stands twice"),
        ({"values": (((1, 2, 3),), ((1, 2, 3),))}, r"stored value \(1, 2, 3\) stands twice"),
        ({"names": ("a",)}, "2 class ids but 1 names; give one a class"),
        ({"colours": ((0, 0, 0),)}, "2 class ids but 1 colours"),
        ({"ids": (0, 255)}, r"class ids \[255\] cannot be used \(allowed: 0..65534 except 255, which marks ignored"),
        ({"ids": (0, -1)}, r"class ids \[-1\] cannot be used"),
        ({"ids": (0, 65535)}, r"class ids \[65535\] cannot be used"),
        ({"ignore_id": 65536}, "ignore_id 65536 is out of range"),
    ],
)
def test_what_may_not_stand(change, message):
    with pytest.raises(InputError, match=message):
        ClassMap(**{"ids": (0, 1), "names": ("a", "b"), **change})


def test_too_many_classes():
    with pytest.raises(InputError, match="256 classes; at most 255"):
        ClassMap(tuple(range(300, 556)), tuple(map(str, range(256))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "expected a key `classes`"),
        ("names: [a]", "expected a key `classes`"),
        ("classes: road", "`classes` is 'road'; expected a list"),
        ("{classes: [a], clases: 1}", r"unknown keys \['clases'\]; known: \['background', 'classes'"),
        ("classes: [{name: a, color: [1, 2, 3]}]", r"unknown keys \['color'\] in a class; known: \['colour'"),
        ("classes: [{id: 1}]", "a class could not be read.*'name'"),
        ("classes: [{name: a, id: one}]", "a class could not be read"),
        ("classes: [{name: a, colour: [1, 2]}]", "a class could not be read"),
        ("classes: [{name: a, colour: [1, 2, 256]}]", "not three numbers in 0..255"),
        ("classes: [{name: a, values: 255}]", "a class could not be read"),
        ("classes: [5]", "a class could not be read"),
        ("{classes: [a, b], background: b}", r"background 'b' is no class id; expected one of \[0, 1\], or null"),
        ("{classes: [a, b], background: 7}", "background 7 is no class id"),
        ("classes: [a", "not a readable YAML class map"),
        ("classes: [2024-13-45]", "not a readable YAML class map"),
        ("classes: [a, a]", "class name 'a' stands twice"),
    ],
)
def test_bad_yaml_names_the_file(tmp_path, text, message):
    path = tmp_path / "classes.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"(?s)classes\.yaml: .*{message}"):
        ClassMap.load(path)


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(InputError, match=r"a\.yaml: not a readable YAML"):
        ClassMap.load(tmp_path / "a.yaml")
    with pytest.raises(InputError, match="no such class map; leave the option out"):
        ClassMap.load(tmp_path / "gone.yaml")
    with pytest.raises(InputError, match="not a readable YAML"):
        ClassMap.load(tmp_path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64"])
def test_labels_to_channels(dtype):
    classes = ClassMap((4, 2), ("road", "car"), background=None)
    labels = np.array([[4, 2, 255], [3, 2, 4]], dtype)
    # 255 is ignored and 3 no class: both count nowhere.
    assert classes.to_indices(labels).tolist() == [[0, 1, 255], [255, 1, 0]]
    assert classes.to_indices(labels).dtype == np.int64


def test_labels_beyond_the_table_are_unknown():
    assert ROADS.to_indices(np.array([-1, -300, 65535, 65536, 10**12, 300])).tolist() == [255, 255, 255, 255, 255, 2]


def test_channels_to_labels_and_their_type():
    assert ROADS.to_ids(np.array([2, 0, 1])).tolist() == [300, 0, 7]
    assert (ROADS.dtype, ROADS.to_ids(np.array([0])).dtype) == (np.uint16, np.uint16)
    assert ClassMap((0, 254), ("a", "b")).dtype == np.uint8
    assert ClassMap((0, 1), ("a", "b"), ignore_id=999).dtype == np.uint16


def test_names():
    assert [ROADS.name_of(i) for i in (0, 7, 300, 255)] == ["background", "road: paved", "Fluß", "ignored"]


def test_stored_255_may_be_a_class():
    lungs = ClassMap((0, 1), ("background", "lung"), values=((0,), (255,)))
    assert (lungs.ignore_id, lungs.ignore_values) == (255, ())


def test_default_background_is_dropped_where_no_class_has_the_id():
    assert ClassMap((1, 2), ("a", "b")).background is None


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("count", [1, 2, 16, 17, 100, 255])
def test_default_colours_are_distinct(count, background):
    colours = default_colours(count, background)
    assert len(set(colours)) == len(colours) == count
    assert (colours[0] == (0, 0, 0)) is background
    assert all(0 <= v <= 255 for c in colours for v in c)


def test_yaml_is_one_class_a_line():
    lines = ClassMap((0, 1), ("background", "lung"), values=((0,), (255,))).to_yaml().splitlines()
    assert lines[1:4] == [
        "classes:",
        "  - {id: 0, name: background, colour: [0, 0, 0]}",
        "  - {id: 1, name: lung, colour: [0, 158, 224], values: [255]}",
    ]
    assert yaml.safe_load("\n".join(lines))["ignore_id"] == 255


def test_label_sets_have_what_their_publishers_say():
    camvid, voc, cityscapes = (ClassMap.known(name) for name in ("camvid", "voc", "cityscapes"))
    assert [len(c) for c in (camvid, voc, cityscapes)] == [11, 21, 19]
    assert [c.ignore_id for c in (camvid, voc, cityscapes)] == [11, 255, 255]
    assert [c.background for c in (camvid, voc, cityscapes)] == [None, 0, None]
    assert (camvid.name_of(3), camvid.name_of(11), camvid.colours[3]) == ("Road", "ignored", (128, 64, 128))
    # 15 = 0b1111: bits 0, 1 and 2 are the top bits of red, green and blue, bit 3 the next one of red.
    assert (voc.name_of(15), voc.colours[15]) == ("person", (192, 128, 128))
    assert (cityscapes.name_of(13), cityscapes.colours[13]) == ("car", (0, 0, 142))


@pytest.mark.parametrize("name", ["camvid", "voc", "cityscapes"])
def test_label_sets_survive_their_file(name, tmp_path):
    known = ClassMap.known(name)
    (tmp_path / "classes.yaml").write_text(known.to_yaml(), encoding="utf-8")
    assert ClassMap.load(tmp_path / "classes.yaml") == known
