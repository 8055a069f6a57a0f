"""Tiles cover every pixel."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.errors import InputError
from maskwright.ops.tiles import starts


def test_last_tile_is_moved_back():
    # Steps of 32: 0, 32; a third at 64 would end at 128, so it starts at 110 - 64 = 46.
    assert starts(110, 64, 32) == [0, 32, 46]


def test_exact_fit_has_no_double():
    assert starts(96, 32) == [0, 32, 64]
    assert starts(128, 64, 32) == [0, 32, 64]


def test_one_tile_where_the_side_is_short():
    assert starts(10, 64, 32) == [0]
    assert starts(64, 64) == [0]


@given(st.integers(1, 500), st.integers(1, 80), st.data())
def test_tiles_cover_every_pixel_and_overlap_enough(length, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    found = starts(length, tile, overlap)
    assert found[0] == 0
    assert found[-1] == max(length - tile, 0)
    assert all(0 < b - a <= tile - overlap for a, b in pairwise(found))


@pytest.mark.parametrize(("tile", "overlap"), [(8, 8), (8, -1)])
def test_overlap_without_a_step_is_refused(tile, overlap):
    with pytest.raises(InputError, match=rf"overlap of {overlap} px .* expected 0 to 7 px"):
        starts(20, tile, overlap)


def test_empty_side_is_refused():
    with pytest.raises(InputError, match="side of 0 px cannot be cut"):
        starts(0, 8)
