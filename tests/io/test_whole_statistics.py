"""Statistics from windows equal those of the whole array."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from maskwright.io import measured, whole_statistics
from maskwright.io.measured import Measured
from maskwright.io.read import read_image
from maskwright.io.whole_statistics import statistics, value_range
from maskwright.io.windows import open_windows


@pytest.mark.parametrize("kind", ["int8", "uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("hw", [(90, 130), (700, 900)])
def test_the_same_as_of_the_whole(tmp_path, monkeypatch, kind, hw):
    monkeypatch.setattr(measured, "BLOCK_PX", 128)
    values = np.random.default_rng(0).normal(90, 20, (*hw, 2))
    pixels = (values if kind == "float32" else np.clip(values, 0, 227) - (100 if kind.startswith("int") else 0)).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig", tile=(64, 64))
    seen = []
    found = statistics(Measured(open_windows(tmp_path / "a.tif")), lambda done, total: seen.append((done, total)))
    step = 1 if hw[0] * hw[1] <= 1 << 18 else 4
    assert (found.low, found.high) == pytest.approx(
        np.percentile(pixels[::step, ::step].astype(np.float32), (0.5, 99.5)), rel=1e-6
    )
    assert (found.mean, found.std) == pytest.approx((pixels.mean(dtype=float), pixels.std(dtype=float)), rel=1e-9)
    assert seen[-1][0] == seen[-1][1] == -(-hw[0] // 128) * -(-hw[1] // 128)
    assert value_range(Measured(open_windows(tmp_path / "a.tif"))) == pytest.approx(read_image(tmp_path / "a.tif").value_range)


PLACE = [(33550, 12, 3, (2.0, 2.0, 0.0), True), (33922, 12, 6, (0.0,) * 6, True)]


@pytest.mark.parametrize(("kind", "nodata"), [("uint8", "0"), ("float32", "-9999"), ("float32", "nan"), ("uint8", "300")])
def test_what_was_not_measured_is_filled_as_in_the_whole(tmp_path, monkeypatch, kind, nodata):
    monkeypatch.setattr(measured, "BLOCK_PX", 32)
    pixels = np.random.default_rng(0).integers(1, 200, (70, 90, 3)).astype(kind)
    pixels[10:40, 20:50] = float(nodata) if nodata != "300" else 0
    pixels[60, :, 1] = pixels[10, 20, 1]  # one band alone
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", extratags=[*PLACE, (42113, 2, 0, nodata, True)])
    whole, found = read_image(path), Measured(open_windows(path))
    rows, cols = slice(5, 70), slice(15, 60)
    values, missing = found.read(rows, cols)
    assert np.allclose(values, whole.pixels[rows, cols], rtol=1e-6)
    assert (missing is None) if whole.missing is None else np.array_equal(missing, whole.missing[rows, cols])
    assert statistics(found).mean == pytest.approx(whole.pixels.mean(dtype=float), rel=1e-6)
    assert value_range(found) == pytest.approx(whole.value_range)


@pytest.mark.parametrize("layout", [{"tile": (32, 32)}, {"rowsperstrip": 7, "compression": "zlib"}, {"planarconfig": "separate"}])
def test_what_is_transparent_is_filled_as_in_the_whole(tmp_path, monkeypatch, layout):
    monkeypatch.setattr(measured, "BLOCK_PX", 32)
    pixels = np.random.default_rng(0).integers(1, 200, (70, 90, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[10:40, 20:50, 3] = 0
    stored = np.moveaxis(pixels, 2, 0) if "planarconfig" in layout else pixels
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored, photometric="rgb", extrasamples=["unassalpha"], extratags=PLACE, **layout)
    whole, found = read_image(path), Measured(open_windows(path))
    rows, cols = slice(5, 70), slice(15, 60)
    values, missing = found.read(rows, cols)
    assert np.array_equal(values, whole.pixels[rows, cols])
    assert np.array_equal(missing, whole.missing[rows, cols])
    assert missing.sum() == 30 * 30
    assert statistics(found).mean == pytest.approx(whole.pixels.mean(dtype=float), rel=1e-6)


@pytest.mark.parametrize(("one", "other"), [((-0.02, 0.4), (0.0, 0.6)), ((0.3, 0.9), (5.0, 50.0)), ((0.2, 0.9), (0.1, 0.4))])
def test_the_range_of_floats_is_that_of_all_blocks(tmp_path, monkeypatch, one, other):
    monkeypatch.setattr(measured, "BLOCK_PX", 32)
    pixels = np.concatenate([np.linspace(*ends, 32 * 32, dtype=np.float32).reshape(32, 32) for ends in (one, other)])
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    assert value_range(Measured(open_windows(tmp_path / "a.tif"))) == read_image(tmp_path / "a.tif").value_range


def test_large_floats_are_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr(whole_statistics, "MOST_SAMPLES", 1000)
    pixels = np.linspace(0, 1, 640 * 640, dtype=np.float32).reshape(640, 640)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    found = statistics(Measured(open_windows(tmp_path / "a.tif")))
    assert (found.low, found.high) == pytest.approx((0.005, 0.995), abs=0.06)


def test_stated_bits_are_the_range(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), bool), photometric="minisblack")
    assert value_range(Measured(open_windows(tmp_path / "a.tif"))) == (0, 1)
