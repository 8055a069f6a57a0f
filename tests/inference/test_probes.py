"""Probes: what is written is read, to the bit; never too many, never too large, never unpickled."""

from __future__ import annotations

import os

import numpy as np
import pytest

from maskwright.errors import CheckpointError
from maskwright.inference import probes
from maskwright.inference.probes import Probe, cut, read_probes, spread, write_probes
from maskwright.io.image import Image


def probe(height=6, width=9, dtype=np.uint16, **image):
    rng = np.random.default_rng(height)
    return Probe(Image(rng.integers(0, 4000, (height, width, 2)).astype(dtype), **image), rng.integers(0, 3, (height, width)))


def test_what_is_written_is_read(tmp_path):
    given = [probe(6, value_range=(0.0, 4095.0)), probe(7)]
    assert write_probes(tmp_path, given) == 2
    for before, after in zip(given, read_probes(tmp_path), strict=True):
        np.testing.assert_array_equal(before.image.pixels, after.image.pixels)
        np.testing.assert_array_equal(before.labels, after.labels)
        assert before.image.value_range == after.image.value_range
        assert after.image.pixels.dtype == np.uint16


def test_no_more_than_the_limits(tmp_path, monkeypatch):
    assert write_probes(tmp_path, (probe() for _ in range(40))) == 16
    size = os.path.getsize(tmp_path / "probes" / "00.npz")
    monkeypatch.setattr(probes, "MOST_BYTES", int(2.5 * size))
    assert write_probes(tmp_path, (probe() for _ in range(40))) == 2
    assert len(read_probes(tmp_path)) == 2  # those of before are gone
    monkeypatch.setattr(probes, "MOST_BYTES", 1)
    assert write_probes(tmp_path, [probe(), probe()]) == 1  # one there is always


def test_a_large_image_gives_its_middle():
    large = probe(800, 7)
    found = cut(large)
    assert found.image.hw == found.labels.shape == (768, 7)
    np.testing.assert_array_equal(found.image.pixels, large.image.pixels[16:784])
    assert cut(found) is found


@pytest.mark.parametrize(("items", "most", "chosen"), [(3, 16, [0, 1, 2]), (11, 3, [0, 5, 10]), (1, 4, [0]), (0, 4, [])])
def test_spread_evenly(items, most, chosen):
    assert spread(items, most) == chosen


def test_a_run_without_probes_has_none(tmp_path):
    assert read_probes(tmp_path) == []


@pytest.mark.parametrize("damage", [b"", b"no archive", "objects", "shapes"])
def test_a_damaged_probe_is_named(tmp_path, damage):
    write_probes(tmp_path, [probe()])
    file = tmp_path / "probes" / "00.npz"
    whole = {"pixels": np.zeros((2, 3, 1), np.uint8), "labels": np.zeros((2, 3)), "value_range": np.zeros(2)}
    if damage == "objects":
        np.savez(file, **whole | {"pixels": np.array([print], object)})
    elif damage == "shapes":
        np.savez(file, **whole | {"labels": np.zeros((9, 9))})
    else:
        file.write_bytes(damage)
    with pytest.raises(CheckpointError, match=r"00\.npz: damaged .* delete it, the run works without it"):
        read_probes(tmp_path)
