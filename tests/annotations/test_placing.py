"""Where writers put images, and which objects they leave out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.annotations.drawn import AnnotatedImage
from maskwright.annotations.placing import copy_image, holdable, image_file, place_of, with_ending
from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.ops.rle import Rle

CLASSES = ClassMap((0, 3), ("background", "barge"))


def listed(name: str, as_: str = "", path: Path | None = None) -> AnnotatedImage:
    return AnnotatedImage(name, path, (2, 3), "all", Path("set.json"), as_)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a", "a"),
        ("train/a", "train/a"),
        ("img.v2", "img.v2"),
        ("../../etc/a", "_/_/etc/a"),
        ("/etc/a", "etc/a"),
        ("c:\\x\\a", "c:/x/a"),
        ("", "image"),
    ],
)
def test_a_name_never_leads_out_of_the_folder(name, place):
    assert str(place_of(listed(name))) == place


def test_endings_of_images():
    assert str(image_file(listed("a.b", path=Path("x/a.b.TIF")))) == "a.b.TIF"
    assert str(image_file(listed("a", "photos/a.jpeg"))) == "a.jpeg"
    assert str(image_file(listed("a", "a.v2"))) == "a.png"  # not on disk, and its ending is no picture's
    assert str(with_ending(place_of(listed("d/a.b")), ".txt")) == "d/a.b.txt"


def test_copy_is_the_very_file(tmp_path):
    Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3)).save(tmp_path / "a.png")
    assert copy_image(listed("a", path=tmp_path / "a.png"), tmp_path / "out/deep/a.png") == []
    assert (tmp_path / "out/deep/a.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_an_image_that_cannot_be_read_is_said(tmp_path):
    remarks = copy_image(listed("a", path=tmp_path / "gone.png"), tmp_path / "out" / "a.png")
    assert [r.code for r in remarks] == ["image-not-on-disk"]
    assert "gone.png: the image cannot be read (No such" in remarks[0].text
    # Of one that is not on disk its reader has told.
    assert copy_image(listed("a"), tmp_path / "out" / "a.png") == []
    assert not (tmp_path / "out" / "a.png").exists()


def test_a_target_that_cannot_be_written_ends_the_writing(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "out").write_text("a file where a folder should be")
    with pytest.raises(InputError, match=r"out.*cannot be written"):
        copy_image(listed("a", path=tmp_path / "a.png"), tmp_path / "out" / "a.png")


def test_what_a_format_does_not_hold_is_counted():
    full, empty = Rle.from_mask(np.ones((2, 3))), Rle.from_mask(np.zeros((2, 3)))
    found = Instances(
        (2, 3), CLASSES, np.array([3, 3, 3]), (full, empty, full),
        scores=np.array([0.25, 0.5, 1], np.float32), ids=np.array([7, 8, 9]), crowd=np.array([False, False, True]),
    )  # fmt: skip
    kept, remarks = holdable(listed("a"), found, "YOLO")
    assert kept.tolist() == [0]
    assert [(r.code, r.text) for r in remarks] == [
        ("scores-lost", "a: object 7 (barge): its score 0.25 is not written, YOLO holds none."),
        ("zero-area", "a: object 8 (barge) covers no pixel and is not written."),
        ("crowds-lost", "a: object 9 (barge) is a crowd, YOLO has no word for that; it is not written."),
    ]
    kept, remarks = holdable(listed("a"), found, "COCO", scores=True, crowds=True)
    assert kept.tolist() == [0, 2]
    assert [r.code for r in remarks] == ["zero-area"]
