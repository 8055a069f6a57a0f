"""Objects over a picture: tint, outline, colours of neighbours, tags inside the picture and off each other."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.classes import BRIGHT_COLOURS
from maskwright.ops.draw_instances import Shown, distinct_colours, drawn, enlarged, overlay, with_counts, with_tags
from maskwright.ops.rle import Rle

GREY = np.full((20, 30, 3), 100, np.uint8)
RED, BLUE = (255, 0, 0), (0, 0, 255)
NONE = np.zeros(9, bool)


def box_mask(x0: int, y0: int, x1: int, y1: int, hw: tuple[int, int] = (20, 30)) -> Rle:
    return Rle.from_crop(np.ones((y1 - y0, x1 - x0)), (x0, y0), hw)


def test_tint_and_outline():
    picture = overlay(GREY, [box_mask(4, 5, 12, 10)], [RED], [0], NONE, alpha=0.5)
    assert picture[4, 4].tolist() == [100, 100, 100]
    assert picture[5, 4].tolist() == list(RED)
    assert picture[9, 11].tolist() == list(RED)
    assert np.abs(picture[7, 8].astype(int) - (178, 50, 50)).max() <= 1  # half grey 100, half red
    assert (picture != GREY).any(axis=2).sum() == 8 * 5


def test_who_lies_on_top():
    masks = [box_mask(0, 0, 10, 10), box_mask(5, 5, 15, 15)]
    assert overlay(GREY, masks, [RED, BLUE], [0, 1], NONE, alpha=1)[7, 7].tolist() == list(BLUE)
    assert overlay(GREY, masks, [RED, BLUE], [1, 0], NONE, alpha=1)[7, 7].tolist() == list(RED)


def test_touching_objects_show_two_lines():
    picture = overlay(GREY, [box_mask(0, 0, 10, 20), box_mask(10, 0, 20, 20)], [RED, BLUE], [0, 1], NONE, alpha=0)
    assert picture[10, 8:12].tolist() == [[100] * 3, list(RED), list(BLUE), [100] * 3]


def test_crowds_are_hatched_without_an_outline():
    picture = overlay(GREY, [box_mask(4, 4, 20, 16)], [RED], [0], np.array([True]))
    inside = picture[4:16, 4:20]
    assert (inside[..., 0] == inside[..., 2]).all()
    assert len(np.unique(inside[..., 0])) == 2


def test_an_empty_mask_is_no_trouble():
    assert np.array_equal(overlay(GREY, [Rle.from_mask(np.zeros((20, 30)))], [RED], [0], NONE), GREY)


def test_neighbours_have_different_colours():
    rng = np.random.default_rng(3)
    corners = rng.uniform(0, 1000, (300, 2))
    boxes = np.concatenate([corners, corners + 40], axis=1)
    colours = distinct_colours(boxes, (1000, 1000))
    assert set(colours) == set(BRIGHT_COLOURS)
    near = 20  # 2 % of the shorter side on each side of one of the two
    for k in range(300):
        for other in range(k):
            touch = (boxes[other, :2] - near <= boxes[k, 2:]).all() and (boxes[other, 2:] + near >= boxes[k, :2]).all()
            if touch and colours[k] == colours[other]:
                around = ((boxes[:k, :2] - near <= boxes[k, 2:]) & (boxes[:k, 2:] + near >= boxes[k, :2])).all(axis=1).sum()
                assert around >= len(BRIGHT_COLOURS)


def test_more_neighbours_than_colours():
    boxes = np.tile([0.0, 0.0, 5.0, 5.0], (20, 1))
    colours = distinct_colours(boxes, (50, 50))
    assert len(set(colours[:16])) == 16
    assert max(colours.count(c) for c in colours) == 2


def tag_areas(picture: np.ndarray, ground: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero((picture == colour).all(axis=2) & (ground != colour).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_a_tag_stands_above_its_box():
    ground = np.full((400, 600, 3), 100, np.uint8)
    picture = with_tags(ground, np.array([(200.0, 150.0, 300.0, 250.0)]), ["barge 0.93"], [RED])
    x0, y0, x1, y1 = tag_areas(picture, ground, RED)
    assert (x0, y1) == (200, 150)
    assert 40 < x1 - x0 < 120
    assert 12 < y1 - y0 < 30
    assert (picture[y0:y1, x0:x1] == (255, 255, 255)).all(axis=2).any()  # white text on red


@pytest.mark.parametrize("corner", [(0, 0), (560, 0), (0, 370), (560, 370)])
def test_tags_stay_inside(corner):
    ground = np.full((400, 600, 3), 100, np.uint8)
    x, y = corner
    picture = with_tags(ground, np.array([(x, y, x + 40.0, y + 30.0)]), ["a tanker with a long name 0.93"], [RED])
    x0, y0, x1, y1 = tag_areas(picture, ground, RED)
    assert x1 - x0 > 100
    assert 0 <= x0 < x1 <= 600
    assert 0 <= y0 < y1 <= 400


def test_tags_do_not_cover_each_other():
    ground = np.full((400, 600, 3), 100, np.uint8)
    boxes = np.array([(200.0, 150.0, 300.0, 250.0)] * 2)
    picture = with_tags(ground, boxes, ["barge", "barge"], [RED, BLUE])
    first, second = tag_areas(picture, ground, RED), tag_areas(picture, ground, BLUE)
    assert first[3] <= second[1] or second[3] <= first[1] or first[2] <= second[0] or second[2] <= first[0]


def test_hundreds_get_no_tags():
    ground = np.full((400, 600, 3), 100, np.uint8)
    boxes = np.array([(x, y, x + 8.0, y + 8.0) for x in range(0, 600, 40) for y in range(0, 400, 40)])
    assert np.array_equal(with_tags(ground, boxes, ["barge"] * len(boxes), [RED] * len(boxes)), ground)


def test_many_small_ones_leave_the_tags_to_the_large():
    ground = np.full((400, 600, 3), 100, np.uint8)
    boxes = np.array([(300.0, 100.0, 500.0, 300.0), *((x, 50.0, x + 6.0, 56.0) for x in range(0, 590, 30))])
    picture = with_tags(ground, boxes, ["barge 0.93"] * len(boxes), [RED] + [BLUE] * 20)
    assert (picture == RED).all(axis=2).any()
    assert not (picture == BLUE).all(axis=2).any()


def test_small_pictures_are_enlarged():
    assert enlarged(GREY)[0].shape == (220, 330, 3)  # 11 times 30 is the first to reach 320
    assert enlarged(GREY)[1] == 11
    assert enlarged(np.zeros((5, 320, 3), np.uint8))[1] == 1


def test_counts_below():
    ground = np.full((100, 400, 3), 100, np.uint8)
    picture = with_counts(ground, ["barge", "tanker", "barge"])
    assert picture.shape[1] == 400
    assert 110 < picture.shape[0] < 160
    assert np.array_equal(picture[:100], ground)
    assert (picture[100:] < 100).any()
    many = with_counts(ground, [f"a kind of ship {k}" for k in range(20)])
    assert many.shape[0] > picture.shape[0]
    assert with_counts(ground, []).shape == picture.shape


def test_all_together():
    shown = Shown([box_mask(4, 5, 12, 10)], np.array([(4.0, 5.0, 12.0, 10.0)]), ["barge"], np.array([0.5]), np.array([False]))
    order = np.array([0])
    assert np.array_equal(drawn(GREY, shown, order, counts=False), overlay(GREY, shown.masks, [BRIGHT_COLOURS[0]], order, NONE))
    assert drawn(GREY, shown, order).shape[1] == 330
