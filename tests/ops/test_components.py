"""Id maps and masks to the masks of their objects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays

from maskwright.ops.components import components, masks_of_ids
from maskwright.ops.rle import Rle


@settings(max_examples=60, deadline=None)
@given(arrays(np.int32, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8), elements={"min_value": -1, "max_value": 3}))
def test_each_number_has_its_own_pixels(ids):
    found = masks_of_ids(ids)
    assert list(found) == [v for v in sorted(set(ids.ravel().tolist())) if v != 0]
    assert all((found[v].to_mask() == (ids == v)).all() for v in found)
    assert all(found[v] == Rle.from_mask(ids == v) for v in found)


def test_an_object_may_be_in_several_places_and_numbers_may_be_large():
    found = masks_of_ids(np.array([[26003, 0, 26003], [0, 7, 0]], np.uint16))
    assert {k: m.area_px for k, m in found.items()} == {7: 1, 26003: 2}


@pytest.mark.parametrize(("connectivity", "areas"), [(4, [1, 3, 1]), (8, [2, 3])])
def test_parts_that_touch_at_a_corner(connectivity, areas):
    mask = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 1]])
    # Reading order: the pixel at the left, the bar of three at the right, then the pixel below the first.
    assert [m.area_px for m in components(mask, connectivity)] == areas


def test_nothing_has_no_parts():
    assert components(np.zeros((2, 3), bool)) == []
    assert masks_of_ids(np.zeros((2, 3), np.uint8)) == {}


def test_other_connectivities_are_refused():
    with pytest.raises(ValueError, match="connectivity is 6; expected 4 or 8"):
        components(np.ones((2, 2)), 6)
