"""Writing: complete or not there, the old file kept, reasons explained, masks that read back as they were."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.io import atomic, fresh_folder, read_labels, read_mask, write_bytes, write_json, write_mask, write_png, write_text
from maskwright.io.write import encode_png
from maskwright.ops.colour import palette_of

SMALL = ClassMap((0, 3), ("ground", "road"))
LARGE = ClassMap((0, 300), ("ground", "road"))


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_folders_are_made_and_the_old_file_replaced(tmp_path):
    path = tmp_path / "a" / "b" / "x.txt"
    write_text(path, "one")
    write_text(str(path), "zwei ü\r\n")
    assert path.read_bytes() == "zwei ü\r\n".encode()
    assert files(path.parent) == ["x.txt"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt(), OSError(errno.EIO, "input/output error")])
def test_failure_keeps_the_old_file_and_leaves_nothing(tmp_path, error):
    path = tmp_path / "x.bin"
    write_bytes(path, b"old")

    def fail_halfway():
        with atomic(path) as temporary:
            temporary.write_bytes(b"half")
            assert (temporary.parent, temporary.suffix) == (tmp_path, ".bin")
            raise error

    with pytest.raises(type(error)):
        fail_halfway()
    assert path.read_bytes() == b"old"
    assert files(tmp_path) == ["x.bin"]


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("old", [True, False])
def test_full_disk(tmp_path, monkeypatch, call, old):
    path = tmp_path / "x.bin"
    if old:
        write_bytes(path, b"old")

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(InputError, match=r"x\.bin: cannot be written, the disk is full.*Free some space") as caught:
        write_bytes(path, b"new")
    assert ("kept as it was" in str(caught.value)) is old
    assert files(tmp_path) == (["x.bin"] if old else [])
    assert not old or path.read_bytes() == b"old"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_forbidden_place(tmp_path, monkeypatch, code):
    def forbidden(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", forbidden)
    with pytest.raises(InputError, match=rf"x\.bin: may not be written \({os.strerror(code)}\). Check the permissions"):
        write_bytes(tmp_path / "x.bin", b"new")
    assert files(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    with pytest.raises(InputError, match=r"x\.bin: may not be written"):
        write_bytes(folder / "x.bin", b"new")


def test_places_that_are_no_place(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"x\.txt: cannot be written .*Choose another folder"):
        write_text(tmp_path / "file" / "x.txt", "a")
    with pytest.raises(InputError, match=r"folder: cannot be written \(Is a directory\)"):
        write_text(tmp_path / "folder", "a")
    assert files(tmp_path) == ["file", "folder"]


def test_error_about_another_file_passes(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "x.txt"):
        (tmp_path / "folder" / "gone").read_text()


def test_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "x.txt"
    target.write_text("old")
    (tmp_path / "x.txt").symlink_to(target)
    write_text(tmp_path / "x.txt", "new")
    assert (tmp_path / "x.txt").is_symlink()
    assert target.read_text() == "new"


def test_json_is_strict_and_plain(tmp_path):
    given = {
        "nan": float("nan"),
        "inf": [np.float32("inf"), -1.5],
        "array": np.array([[1, 2]], np.uint8),
        "number": np.int64(7),
        "path": Path("a") / "b",
        3: (True, None, "ü"),
        "nans": np.array([np.nan, 1.0]),
    }
    write_json(tmp_path / "x.json", given)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    expected = {
        "nan": None,
        "inf": [None, -1.5],
        "array": [[1, 2]],
        "number": 7,
        "path": str(Path("a/b")),
        "3": [True, None, "ü"],
        "nans": [None, 1.0],
    }
    assert json.loads(text) == expected
    assert "ü" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize(("shape", "dtype"), [((4, 5), "uint8"), ((4, 5), "uint16"), ((4, 5, 3), "uint8")])
def test_png(tmp_path, shape, dtype):
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    write_png(tmp_path / "a.png", array)
    found = np.asarray(PIL.Image.open(tmp_path / "a.png"))
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def test_encoded_palette_and_part_of_an_array():
    palette = np.array([[1, 2, 3], [4, 5, 6]])
    data = encode_png(np.eye(4, dtype=np.uint8)[:, ::2], palette)
    assert data.startswith(b"\x89PNG")
    assert b"PLTE\x01\x02\x03\x04\x05\x06" in data


@pytest.mark.parametrize(("container", "suffix"), [("png", ".png"), ("tiff", ".tif")])
@pytest.mark.parametrize(("classes", "road"), [(SMALL, 3), (LARGE, 300)])
def test_mask_reads_back(tmp_path, container, suffix, classes, road):
    labels = np.array([[0, road, 255], [road, road, 0]], np.int64)
    path = tmp_path / f"m{suffix}"
    write_mask(path, labels, classes, container)
    assert read_labels(path, classes).labels.tolist() == labels.tolist()
    mask = read_mask(path)
    assert mask.holds_ids
    assert mask.kind == ("palette" if classes is SMALL else "index")
    if classes is SMALL:
        assert np.array_equal(mask.palette, palette_of(classes))
    assert files(tmp_path) == [path.name]


@pytest.mark.parametrize(("container", "suffix"), [("png", ".png"), ("tiff", ".tif")])
def test_written_mask_is_read_by_id_whatever_other_masks_store(tmp_path, container, suffix):
    # Id 1 is stored as 2 in other people's masks, and 1 stands for class 0 there.
    swapped = ClassMap((0, 1), ("a", "b"), values=((1,), (2,)))
    write_mask(tmp_path / f"m{suffix}", np.array([[0, 1, 255]]), swapped, container)
    reading = read_labels(tmp_path / f"m{suffix}", swapped)
    assert (reading.labels.tolist(), reading.unknown) == ([[0, 1, 255]], {})


def test_tiff_of_a_mask_is_a_plain_one(tmp_path):
    write_mask(tmp_path / "m.tif", np.array([[0, 3]]), SMALL, "tiff")
    with tifffile.TiffFile(tmp_path / "m.tif") as tiff:
        assert (tiff.pages[0].photometric.name, tiff.pages[0].dtype) == ("PALETTE", np.uint8)


def test_unknown_container(tmp_path):
    with pytest.raises(InputError, match="no mask container 'gif'; known: png, tiff"):
        write_mask(tmp_path / "m.gif", np.zeros((2, 2), np.uint8), SMALL, "gif")
    assert files(tmp_path) == []


def test_fresh_folders_are_numbered(tmp_path):
    path = tmp_path / "runs" / "lungs"
    assert fresh_folder(path) == path
    assert fresh_folder(str(path)) == path  # still empty
    (path / "x").touch()
    second = fresh_folder(path)
    assert second == tmp_path / "runs" / "lungs-2"
    (second / "x").touch()
    assert fresh_folder(path).name == "lungs-3"
    (tmp_path / "file").touch()
    assert fresh_folder(tmp_path / "file").name == "file-2"
    with pytest.raises(InputError, match=r"x: cannot be written \(Not a directory\)"):
        fresh_folder(tmp_path / "file" / "x")
