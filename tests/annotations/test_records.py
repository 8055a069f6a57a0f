"""Safe reading of JSON: damaged files and values of the wrong type end in one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from maskwright.annotations import records
from maskwright.errors import FormatError, InputError

WHOLE = '{"images": [{"id": 1, "file_name": "ä.png"}], "scale": 1.5}'


def test_whole_file_with_byte_order_mark(tmp_path):
    (tmp_path / "a.json").write_text(WHOLE, encoding="utf-8-sig")
    assert records.load_json(tmp_path / "a.json") == json.loads(WHOLE)


@pytest.mark.parametrize("length", range(1, len(WHOLE), 4))
def test_file_cut_short_says_so(length, tmp_path):
    (tmp_path / "a.json").write_text(WHOLE[:length], encoding="utf-8")
    with pytest.raises(FormatError, match=r"a\.json: is not whole JSON.* in line 1, column \d+\. Copy or export it again"):
        records.load_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b'{"a": "\xff"}', r"is not UTF-8 text \(byte 7\)"),
        (b"\0\0\0\0", "holds zero bytes"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1" + b"0" * 5000 + b"]", "cannot be read"),  # Python refuses numbers of so many digits
        (b"{,}", "is not whole JSON: Expecting property name"),
    ],
)
def test_what_is_no_json_is_explained(content, said, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(FormatError, match=rf"a\.json: .*{said}"):
        records.load_json(tmp_path / "a.json")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        records.load_json(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("check", "value", "said"),
    [
        (records.record, [1], r"x: it is a list of 1; expected a record"),
        (records.rows, None, r"x: it is null; expected a list"),
        (records.text, " ", r"x: it is the text ' '; expected a text"),
        (records.text, 7, r"x: it is 7; expected a text"),
        (records.number, True, r"x: it is True; expected a number"),
        (records.number, float("nan"), r"x: it is nan; expected a number"),
        (records.number, 10**400, r"x: it is a number beyond all use; expected a number"),
        (records.whole, 1.5, r"x: it is 1\.5; expected a whole number"),
        (records.numbers, [1, "2"], r"x: a value in it is the text '2'; expected numbers only"),
        (records.numbers, [1, False], r"x: a value in it is False; expected numbers only"),
        (records.numbers, [1, float("inf")], r"x: a value in it is inf"),
        (records.pairs, [1, 2, 3], r"x: it holds 3 numbers; expected x and y in turns"),
        (records.points, [[1, 2], [3]], r"x: a point of it is a list of 1; expected \[x, y\]"),
        (records.points, [[1, 2], None], r"x: a point of it is null"),
    ],
)
def test_wrong_values_are_named(check, value, said):
    with pytest.raises(FormatError, match=said):
        check(value, "x", "it")


def test_right_values_pass():
    assert records.whole(3.0, "x", "it") == 3
    assert records.text("\ud800a", "x", "it") == "?a"  # half a surrogate pair
    assert records.numbers([], "x", "it").shape == (0,)
    np.testing.assert_array_equal(records.pairs([1, 2, 3, 4.5], "x", "it"), [(1, 2), (3, 4.5)])
    np.testing.assert_array_equal(records.points([[1, 2]], "x", "it"), [(1, 2)])
    assert records.points([], "x", "it").shape == (0, 2)


def test_size_of_an_image():
    assert records.size_hw(2, 3.0, "x") == (2, 3)
    assert records.size_hw(None, None, "x") is None
    for height, width, said in [(0, 3, "its size is 3x0"), (1 << 19, 3, "expected 1 to 262144"), (None, 3, "the height is null")]:
        with pytest.raises(FormatError, match=said):
            records.size_hw(height, width, "x")


def test_head_knows_names_by_depth_without_the_end(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"info": {"a\\"b": 1}, "images": [{"file_name": "x{[", "id"')
    head = records.head_of(path)
    assert head.opens == "{"
    assert head.keys[0] == {"info", "images"}
    assert head.keys[1] == {'a\\"b'}
    assert head.has(2, "file_name")
    assert not head.has(2, "id")  # a name only where its colon is there
    assert not head.has(9, "id")


def test_head_of_other_files_is_empty(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\x89PNG")
    assert records.head_of(tmp_path / "a.json").opens == ""
    assert records.head_of(tmp_path / "none.json").opens == ""
