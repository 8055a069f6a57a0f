"""The cache: made once, damaged means missing, never more than its limit, never needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maskwright.inference import cache
from maskwright.inference.cache import cache_folder, kept, key_of, trim, whole


def maker(counted: list[int], text: str = "x"):
    def make(folder: Path) -> None:
        counted.append(1)
        (folder / "model.bin").write_text(text)

    return make


def test_an_entry_is_made_once(tmp_path):
    made: list[int] = []
    first, second = (kept("a", maker(made), folder=tmp_path) for _ in range(2))
    assert first == second == tmp_path / "a"
    assert (len(made), sorted(os.listdir(tmp_path))) == (1, ["a"])


@pytest.mark.parametrize("damage", ["shorter", "missing", "no sums"])
def test_a_damaged_entry_is_made_again(tmp_path, damage):
    made: list[int] = []
    place = kept("a", maker(made), folder=tmp_path)
    if damage == "shorter":
        (place / "model.bin").write_text("")
    else:
        (place / ("model.bin" if damage == "missing" else "sums.json")).unlink()
    assert not whole(place)
    assert (kept("a", maker(made), folder=tmp_path) / "model.bin").read_text() == "x"
    assert len(made) == 2


def test_a_failing_maker_leaves_nothing(tmp_path):
    def fails(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        kept("a", fails, folder=tmp_path)
    assert os.listdir(tmp_path) == []


def test_the_least_recently_used_go_first(tmp_path):
    for age, name in enumerate(("new", "middle", "old")):
        kept(name, maker([], "0123456789"), folder=tmp_path)
        os.utime(tmp_path / name, (10**9 - age, 10**9 - age))
    size = sum(f.stat().st_size for f in (tmp_path / "new").iterdir())
    trim(tmp_path, most_bytes=2 * size)
    assert sorted(os.listdir(tmp_path)) == ["middle", "new"]
    trim(tmp_path, most_bytes=0)  # the last one stays: it is in use
    assert os.listdir(tmp_path) == ["new"]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="the cache cannot be written"):
        assert kept("a", maker([]), folder=tmp_path / "file") is None


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.delenv("MASKWRIGHT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "maskwright"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "maskwright"
    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("MASKWRIGHT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.warns(
        UserWarning, match="^the cache cannot be written .this user has no home folder, name one in MASKWRIGHT_CACHE"
    ):
        assert kept("a", maker([])) is None


def test_keys_differ_by_every_part():
    assert len({key_of("a", 1), key_of("a", 2), key_of("b", 1), key_of("a")}) == 4
    assert key_of("a", 1) == key_of("a", 1)
    assert cache.MOST_BYTES > 1 << 30
