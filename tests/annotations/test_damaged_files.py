"""Files that nobody recognises because they are empty or cut short are named, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskwright.annotations.damaged_files import damaged_files, damaged_text
from maskwright.annotations.formats import detect, read_annotations
from maskwright.errors import FormatError
from maskwright.io.write import write_text

FULL = '{"images": [], "annotations": [], "categories": []}'


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("ann.json", b"", "ann.json: the file is empty; expected JSON"),
        ("ann.json", b" \n", "ann.json: the file is empty; expected JSON"),
        ("ann.json", b'{"ima', "ann.json: is not whole JSON (it is cut short)"),
        ("ann.json", b"\xff\xfe\x00", "ann.json: is not UTF-8 text"),
        ("ann.xml", b"", "ann.xml: the file is empty; expected XML"),
        ("ann.xml", b"<annota", "ann.xml: is not whole XML"),
        ("ann.csv", b"", "ann.csv: the file is empty; expected CSV"),
        ("ann.csv", b"ImageId\0", "ann.csv: holds zero bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert [path for path, _ in damaged_files(tmp_path)] == [tmp_path / name]
    assert said in damaged_text(tmp_path)
    assert detect(tmp_path) == []
    with pytest.raises(FormatError) as caught:
        read_annotations(tmp_path)
    assert f"no annotations here that I know. {tmp_path / name}: " in str(caught.value)
    assert "If they are others, say what they are with --from FORMAT: coco (" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ann.json", FULL),
        ("notes.json", "[1, 2]"),
        ("ann.xml", "<annotation/>"),
        ("ann.xml", '<!DOCTYPE a [<!ENTITY b "c">]><a'),  # not parsed: declared entities could grow without end
        ("scores.csv", "name,score\n"),
        ("empty.txt", ""),
    ],
)
def test_files_that_can_be_read_or_are_none_of_these(name, content, tmp_path):
    write_text(tmp_path / name, content)
    assert damaged_files(tmp_path) == []
    assert damaged_text(tmp_path) == ""


def test_those_that_a_format_has_read_are_passed_over_and_the_nearest_come_first(tmp_path):
    for name in ("z.json", "a/b.json", "known.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path) for path, _ in damaged_files(tmp_path, {tmp_path / "known.json"})]
    assert found == [Path("z.json"), Path("a/b.json")]


def test_many_are_counted(tmp_path):
    for k in range(5):
        (tmp_path / f"{k}.json").touch()
    said = damaged_text(tmp_path)
    assert said.count("the file is empty") == 3
    assert said.endswith("There are 2 more of such files.")


def test_a_file_that_is_given_itself(tmp_path):
    (tmp_path / "ann.json").touch()
    with pytest.raises(FormatError, match=r"ann\.json: the file is empty"):
        read_annotations(tmp_path / "ann.json")
