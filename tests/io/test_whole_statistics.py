"""Statistics from windows equal those of the whole array."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from maskwright.io import whole_statistics
from maskwright.io.image import Image
from maskwright.io.whole_statistics import statistics, value_range
from maskwright.io.windows import open_windows


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("hw", [(90, 130), (700, 900)])
def test_the_same_as_of_the_whole(tmp_path, monkeypatch, kind, hw):
    monkeypatch.setattr(whole_statistics, "BLOCK_PX", 128)
    values = np.random.default_rng(0).normal(90, 20, (*hw, 2))
    pixels = (values if kind == "float32" else np.clip(values, 0, 255) - (100 if kind == "int16" else 0)).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig", tile=(64, 64))
    seen = []
    found = statistics(open_windows(tmp_path / "a.tif"), lambda done, total: seen.append((done, total)))
    step = 1 if hw[0] * hw[1] <= 1 << 18 else 4
    assert (found.low, found.high) == pytest.approx(np.percentile(pixels[::step, ::step].astype(np.float32), (0.5, 99.5)), rel=1e-6)
    assert (found.mean, found.std) == pytest.approx((pixels.mean(dtype=float), pixels.std(dtype=float)), rel=1e-9)
    assert seen[-1][0] == seen[-1][1] == -(-hw[0] // 128) * -(-hw[1] // 128)
    assert value_range(open_windows(tmp_path / "a.tif")) == pytest.approx(Image.from_array(pixels).value_range)


def test_what_was_not_measured_does_not_count(tmp_path):
    pixels = np.full((64, 64), -9999, np.float32)
    pixels[:2, :3] = [[1, 2, 3], [4, 5, 6]]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", extratags=[(42113, 2, 0, "-9999", True)])
    found = statistics(open_windows(tmp_path / "a.tif"))
    assert found.mean == pytest.approx(3.5)  # 21 / 6
    assert found.low == pytest.approx(1.025)  # 1 + 0.005 * 5
    assert value_range(open_windows(tmp_path / "a.tif")) == (1, 6)


def test_large_floats_are_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr(whole_statistics, "MOST_SAMPLES", 1000)
    pixels = np.linspace(0, 1, 640 * 640, dtype=np.float32).reshape(640, 640)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    found = statistics(open_windows(tmp_path / "a.tif"))
    assert (found.low, found.high) == pytest.approx((0.005, 0.995), abs=0.06)


def test_stated_bits_are_the_range(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), bool), photometric="minisblack")
    assert value_range(open_windows(tmp_path / "a.tif")) == (0, 1)
