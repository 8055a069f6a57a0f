"""Tiles cover every pixel; mirrored borders repeat the right ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.errors import InputError
from maskwright.ops.tiles import mirrored, starts


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
    with pytest.raises(InputError, match="side of 0 px has nothing to mirror"):
        mirrored(-1, 1, 0)


def test_mirror_does_not_repeat_the_border_pixel():
    assert mirrored(-2, 5, 3).tolist() == [2, 1, 0, 1, 2, 1, 0]


def test_mirror_is_mirrored_again_where_the_border_is_wider():
    # Two pixels alternate; one pixel has only itself.
    assert mirrored(-3, 4, 2).tolist() == [1, 0, 1, 0, 1, 0, 1]
    assert mirrored(-3, 3, 1).tolist() == [0] * 6


@given(st.integers(2, 12), st.integers(0, 11), st.integers(0, 11))
def test_mirror_is_numpys_reflect(length, before, after):
    side = np.arange(length)
    assert mirrored(-before, length + after, length).tolist() == np.pad(side, (before, after), mode="reflect").tolist()
