"""Run lengths in a CSV."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.annotations import airbus
from maskwright.classes import ClassMap
from maskwright.errors import FormatError
from maskwright.io.write import write_png, write_text


def make(tmp_path, lines, header="ImageId,EncodedPixels", names="a"):
    for name in names:
        write_png(tmp_path / f"train_v2/{name}.png", np.zeros((3, 4, 3), np.uint8))
    write_text(tmp_path / "train.csv", "\n".join([header, *lines]) + "\n")
    return tmp_path


def masks(read, k=0):
    return [d.rle.to_mask().astype(int).tolist() for d in read.objects(k)[0]]


def test_runs_go_down_the_columns_from_1_on(tmp_path):
    # Rows 3: pixels 2 and 3 are rows 1 and 2 of column 0; 4 to 6 are column 1 whole; 12 is the last.
    root = make(tmp_path, ["a.png,2 2 12 1", "a.png,4 3"])
    assert airbus.looks_like(root) == "train.csv"
    read = airbus.read(root)
    assert masks(read) == [[[0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 1]], [[0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]]
    assert read.line == 'run lengths: 2 objects in train.csv, classes one, "object"'
    assert [(i.name, i.path, i.split) for i in read.images] == [("a", root / "train_v2/a.png", "train")]
    assert (read.remarks, [d.where for d in read.objects(0)[0]]) == ((), ["line 2", "line 3"])


@pytest.mark.parametrize("empty", ["a.png,", 'a.png,""', "a.png,nan", "a.png, "])
def test_an_empty_field_is_no_object(empty, tmp_path):
    read = airbus.read(make(tmp_path, [empty]))
    assert (len(read.images), read.objects(0)) == (1, ([], []))


def test_runs_in_any_order_that_overlap_are_one_object(tmp_path):
    assert masks(airbus.read(make(tmp_path, ["a.png,5 2 1 5 2 1"]))) == [[[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]]


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        ("1 2 3", "holds 3 numbers; expected pairs"),
        ("0 2", r"a run is not within the 12 pixels of the image \(4x3\), counted from 1 on"),
        ("12 2", "a run is not within the 12 pixels"),
        ("1 0", "a run is not within the 12 pixels"),
        ("1 -3", "a run is not within the 12 pixels"),
        ("1 9223372036854775807", "a run is not within the 12 pixels"),
        ("1 99999999999999999999", "expected whole numbers"),
        ("1 x", "holds the text '1 x'; expected whole numbers"),
        ("1.5 2", "expected whole numbers"),
    ],
)
def test_damaged_runs_lose_that_object_only(pixels, reason, tmp_path):
    read = airbus.read(make(tmp_path, [f"a.png,{pixels}", "a.png,1 1"]))
    drawn, [remark] = read.objects(0)
    assert ([d.where for d in drawn], remark.code) == (["line 3"], "bad-object")
    with pytest.raises(AssertionError, match=rf"train.csv: line 2: .*{reason}"):
        raise AssertionError(remark.text)


def test_a_line_that_is_cut_short(tmp_path):
    [remark] = airbus.read(make(tmp_path, ["a.png"])).objects(0)[1]
    assert "line 2: has no column EncodedPixels; the line is cut short" in remark.text


def test_a_line_that_is_cut_before_its_class(tmp_path):
    # An image without objects needs no class.
    read = airbus.read(make(tmp_path, ["a.png,1 1,ship", "a.png,2 1", "b.png,"], "ImageId,EncodedPixels,ClassId", names="ab"))
    drawn, [remark] = read.objects(0)
    assert ([d.where for d in drawn], remark.code) == (["line 2"], "bad-object")
    assert "train.csv: line 3: has no column ClassId; the line is cut short; the object is left out." in remark.text
    assert read.objects(1) == ([], [])


def test_classes_by_number(tmp_path):
    read = airbus.read(make(tmp_path, ["a.png,3,1 1", "a.png,4,2 1"], "ImageId,ClassId,EncodedPixels"))
    assert (read.classes.ids, read.classes.names) == ((0, 3, 4), ("background", "class 3", "class 4"))
    assert [d.class_id for d in read.objects(0)[0]] == [3, 4]


def test_classes_from_0_on_are_moved_by_one(tmp_path):
    read = airbus.read(make(tmp_path, ["a.png,0,1 1", "a.png,1,2 1"], "ImageId,ClassId,EncodedPixels"))
    assert [read.classes.name_of(d.class_id) for d in read.objects(0)[0]] == ["class 0", "class 1"]


def test_classes_by_name_and_given(tmp_path):
    root = make(tmp_path, ["a.png,ship,1 1", "a.png,tanker,2 1"], "ImageId,ClassId,EncodedPixels")
    assert airbus.read(root).classes.names == ("background", "ship", "tanker")
    drawn, [remark] = airbus.read(root, classes=ClassMap((0, 1), ("background", "tanker"))).objects(0)
    assert [d.where for d in drawn] == ["line 3"]
    assert remark.code == "unknown-class"


def test_the_only_class_may_be_named(tmp_path):
    read = airbus.read(make(tmp_path, ["a.png,1 1"]), classes=ClassMap((0, 6), ("background", "ship")))
    assert [d.class_id for d in read.objects(0)[0]] == [6]


def test_images_that_are_not_there_and_not_named(tmp_path):
    read = airbus.read(make(tmp_path, ["a.png,1 1", "gone.png,1 1"], names="ab"))
    assert [r.code for r in read.remarks] == ["image-not-on-disk", "image-not-annotated"]
    with pytest.raises(FormatError, match=r"does not say how large gone.png is, and the image is not on disk"):
        read.objects(1)


def test_a_very_long_field(tmp_path):
    pixels = " ".join(f"{1 + 2 * k} 1" for k in range(40_000))
    assert len(pixels) > 131_072
    make(tmp_path, [f"a.png,{pixels}"])
    write_png(tmp_path / "train_v2/a.png", np.zeros((400, 200), np.uint8))
    assert airbus.read(tmp_path).objects(0)[0][0].rle.area_px == 40_000


def test_other_csvs_are_passed_over(tmp_path):
    write_text(tmp_path / "scores.csv", "name,score\na,1\n")
    assert airbus.looks_like(tmp_path) == ""
    with pytest.raises(FormatError, match="no CSV with the columns ImageId and EncodedPixels here"):
        airbus.read(tmp_path)
    with pytest.raises(FormatError, match=r"scores.csv: its first line is 'name, score'; expected the columns"):
        airbus.read(tmp_path / "scores.csv")
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(FormatError, match=r"empty.csv: its first line is 'nothing'"):
        airbus.read(tmp_path / "empty.csv")
    (tmp_path / "bytes.csv").write_bytes(b"ImageId,EncodedPixels\n\xff\xfe")
    with pytest.raises(FormatError, match=r"bytes.csv: is not UTF-8 text"):
        airbus.read(tmp_path / "bytes.csv")


def test_a_file_alone_and_windows_line_ends(tmp_path):
    make(tmp_path, [])
    (tmp_path / "train.csv").write_bytes(b"\xef\xbb\xbfImageId,EncodedPixels\r\na.png,1 3\r\n")
    assert airbus.looks_like(tmp_path / "train.csv") == "train.csv"
    assert masks(airbus.read(tmp_path / "train.csv"))[0] == [[1, 0, 0, 0]] * 3
