"""Which file on disk a listed name means, and which split a name says."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from maskwright.annotations.image_files import ImageFiles, split_of, split_word, unique_names
from maskwright.errors import InputError


def folder(root: Path, *names: str) -> ImageFiles:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return ImageFiles(root)


def found(files: ImageFiles, listed: str, **options) -> list[str]:
    return [path.relative_to(files.folder).as_posix() for path in files.find(listed, **options)]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("a.png", ["one/a.png", "two/a.png"]),
        ("two/a.png", ["two/a.png"]),
        ("..\\photos\\two\\a.png", ["two/a.png"]),
        ("C:\\two\\a.png", ["two/a.png"]),
        ("https://host/two/a.png?size=9", ["two/a.png"]),
        ("/etc/passwd", []),
        ("b.png", ["one/b.jpg"]),  # kept as another format
        ("b", ["one/b.jpg"]),
        ("B.JPG", ["one/b.jpg"]),
        ("c.png", []),
        ("", []),
        ("..", []),
    ],
)
def test_longest_shared_ending_decides(listed, expected, tmp_path):
    assert found(folder(tmp_path, "one/a.png", "two/a.png", "one/b.jpg", "one/notes.txt"), listed) == expected


def test_folder_of_the_json_and_its_name_decide(tmp_path):
    files = folder(tmp_path, "train2017/a.jpg", "val2017/a.jpg", "val/b.jpg", "train/b.jpg")
    assert found(files, "a.jpg", near=tmp_path / "annotations/instances_val2017.json") == ["val2017/a.jpg"]
    assert found(files, "b.jpg", near=tmp_path / "train/x.json") == ["train/b.jpg"]
    assert found(files, "b.jpg", near=tmp_path / "x.json", split="val") == ["val/b.jpg"]
    assert len(found(files, "b.jpg", near=tmp_path / "x.json")) == 2


@pytest.mark.parametrize("json", ["ann.json", "a.json"])
def test_a_file_that_lies_exactly_there_is_meant(json, tmp_path):
    files = folder(tmp_path, "images/x.png", "images/a/x.png", "images/b/x.png")
    names = ["x.png", "a/x.png", "b/x.png"]
    known, near = files.known(names), tmp_path / json
    assert [found(files, name, near=near, known=known) for name in names] == [[f"images/{name}"] for name in names]


def test_a_file_that_another_entry_names_is_not_meant(tmp_path):
    # Two beginnings, so none counts; but one/x.png is named already.
    files = folder(tmp_path, "one/x.png", "two/x.png", "deep/two/y.png")
    known = files.known(["x.png", "one/x.png", "two/y.png"])
    assert known.begin is None
    assert found(files, "x.png", near=tmp_path / "one.json", known=known) == ["two/x.png"]


def test_a_path_without_folder_begins_above_all_others(tmp_path):
    files = folder(tmp_path, "images/x.png", "images/a/x.png", "images/b/x.png", "c/y.png", "d/y.png")
    assert found(files, "x.png") == ["images/x.png"]
    assert found(files, "x.png", near=tmp_path / "instances_a.json") == ["images/a/x.png"]  # nothing speaks against its name
    assert found(files, "y.png") == ["c/y.png", "d/y.png"]


def test_exact_capitals_win(tmp_path):
    files = folder(tmp_path, "a.png", "A.PNG")
    assert found(files, "A.PNG") == ["A.PNG"]


def test_hidden_files_are_left_out_and_links_followed_once(tmp_path):
    folder(tmp_path, ".trash/a.png", "__MACOSX/a.png", "real/a.png")
    (tmp_path / "real" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert found(ImageFiles(tmp_path), "a.png") == ["real/a.png"]


def test_no_such_folder(tmp_path):
    with pytest.raises(InputError, match="none: no such folder of images"):
        ImageFiles(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("instances_train2017", "train"), ("valid", "val"), ("my-test", "test"), ("Validation", "val"), ("trainval", ""),
        ("latest", ""), ("train_and_test", ""), ("constrained", ""), ("via_region_data", ""),
    ],
)  # fmt: skip
def test_words_for_splits(name, split):
    assert split_word(name) == split


def test_innermost_folder_says_the_split(tmp_path):
    assert split_of(tmp_path / "test" / "train" / "x.json", tmp_path) == "train"
    assert split_of(tmp_path / "train" / "x_val.json", tmp_path) == "val"
    root = tmp_path / "test"
    assert split_of(root / "x.json", root) == "all"  # what the root is called says nothing
    assert split_of(root / "x.json", root / "x.json") == "all"


def test_names_grow_only_where_they_must():
    places = [PurePosixPath(p) for p in ("a/x.png", "b/x.png", "b/y.png", "z.jpg", "z.png")]
    assert unique_names(places) == ["a/x", "b/x", "y", "z.jpg", "z.png"]
    assert unique_names([]) == []
