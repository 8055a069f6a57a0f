"""The size of an image from its first bytes, the same as that of the image that is read."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from maskwright.annotations import imagesize
from maskwright.annotations.imagesize import image_hw
from maskwright.errors import FormatError, InputError
from maskwright.io import read_image

PIXELS = np.zeros((4, 7, 3), np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.gif", "a.ppm", "a.tif", "a.webp"])
def test_size_is_that_of_the_image(name, tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / name)
    assert image_hw(tmp_path / name) == (4, 7) == read_image(tmp_path / name).pixels.shape[:2]


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize(("orientation", "hw"), [(1, (4, 7)), (3, (4, 7)), (6, (7, 4))])
def test_orientation_is_applied(name, orientation, hw, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(tmp_path / name, exif=exif)
    assert image_hw(tmp_path / name) == hw == read_image(tmp_path / name).pixels.shape[:2]


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_pixels_are_not_decoded(name, tmp_path, monkeypatch):
    Image.fromarray(PIXELS).save(tmp_path / name)
    monkeypatch.setattr(imagesize, "decode", lambda path: pytest.fail("decoded"))
    assert image_hw(tmp_path / name) == (4, 7)


def test_damaged_and_missing_files_are_explained(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(FormatError, match=r"a\.png: "):
        image_hw(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"b\.png: no such file"):
        image_hw(tmp_path / "b.png")
