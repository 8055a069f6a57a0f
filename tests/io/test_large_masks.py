"""Masks larger than memory: what GDAL does not say of a full disk is seen in the file that it left."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio.shutil
import tifffile
from rasterio._err import CPLE_AppDefinedError

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.io.georeference import Georeference
from maskwright.io.large_masks import write_large_tiff
from maskwright.io.write import disk_ends_it

CLASSES = ClassMap((0, 1, 2), ("ground", "house", "road"))
PLACE = Georeference(
    (2.0, 0.0, 500.0, 0.0, -2.0, 900.0), "EPSG:32632",
    tags=((33550, 12, 3, (2.0, 2.0, 0.0)), (33922, 12, 6, (0.0, 0.0, 0.0, 500.0, 900.0, 0.0))),
)  # fmt: skip
LABELS = np.random.default_rng(0).integers(0, 3, (700, 900), np.uint8)


def write(path: Path) -> None:
    write_large_tiff(path, lambda rows: LABELS[rows], LABELS.shape, CLASSES, PLACE)


@pytest.mark.parametrize("left", [0, 8, 600, 90_000, -1])
def test_a_file_that_gdal_cut_short_does_not_take_the_name(tmp_path, monkeypatch, left):
    copy = rasterio.shutil.copy

    def cut(source, target, **settings):
        copy(source, target, **settings)
        os.truncate(target, left if left >= 0 else Path(target).stat().st_size - 20)

    (tmp_path / "a.tif").write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(rasterio.shutil, "copy", cut)
        with pytest.raises(InputError, match=r"a\.tif: cannot be written, the disk is full \(the end .*kept as it was") as raised:
            write(tmp_path / "a.tif")
    assert disk_ends_it(raised.value)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.tif", b"old")]
    write(tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert [page.shape for page in tiff.pages] == [(700, 900), (350, 450)]
        assert np.array_equal(tiff.asarray(), LABELS)


def test_what_gdal_says_itself_is_explained(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise CPLE_AppDefinedError(3, 1, "Cannot read 63216 bytes at offset 4000")

    free = {"free": 1 << 40}
    monkeypatch.setattr(rasterio.shutil, "copy", fails)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(**free))
    with pytest.raises(InputError, match=r"/a\.tif: cannot be written as a cloud-optimised GeoTIFF \(Cannot read") as raised:
        write(tmp_path / "a.tif")
    assert not disk_ends_it(raised.value)
    free["free"] = LABELS.size // 4  # of three ids at random that is about the size of the file
    monkeypatch.setattr("maskwright.io.write.FULL_BELOW", 1000)
    with pytest.raises(InputError, match=r"is the disk full\?") as raised:
        write(tmp_path / "a.tif")
    assert disk_ends_it(raised.value)
    assert list(tmp_path.iterdir()) == []
