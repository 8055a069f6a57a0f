"""Same pictures, near pictures, and pictures that only look alike to a hash."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pillow

from maskwright.data.duplicates import look_at, near_pictures, same_pictures
from maskwright.io.image import Image


def scene(seed: int, side: int = 96) -> np.ndarray:
    rng = np.random.default_rng(seed)
    soft = Pillow.fromarray(rng.integers(0, 255, (7, 9), np.uint8)).resize((side, side), Pillow.Resampling.BICUBIC)
    return np.asarray(soft)


def as_jpeg(array: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Pillow.fromarray(array).save(buffer, "JPEG", quality=60)
    return np.asarray(Pillow.open(buffer))


def near(arrays: list[np.ndarray], sides: list[str]) -> list[tuple[int, int]]:
    return list(near_pictures([look_at(Image.from_array(a)) for a in arrays], sides))


def test_same_pictures_are_grouped() -> None:
    looks = [look_at(Image.from_array(scene(s))) for s in (1, 2, 1, 3, 2, 1)]
    assert same_pictures(looks) == [[0, 2, 5], [1, 4]]
    assert same_pictures([None, *looks[:2], None]) == []


def test_one_pixel_makes_another_picture() -> None:
    other = scene(1).copy()
    other[5, 5] ^= 1
    assert same_pictures([look_at(Image.from_array(a)) for a in (scene(1), other)]) == []


def test_saved_again_smaller_or_brighter_is_near() -> None:
    array = scene(4)
    smaller = np.asarray(Pillow.fromarray(array).resize((64, 64)))
    brighter = np.clip(array * 1.1 + 6, 0, 255).astype(np.uint8)
    assert near([array, as_jpeg(array), smaller, brighter, scene(5)], ["train", "val", "val", "val", "val"]) == [
        (0, 1),
        (0, 2),
        (0, 3),
    ]


def test_only_other_sides_count_where_there_are_sides() -> None:
    array = scene(4)
    assert near([array, as_jpeg(array)], ["train", "train"]) == [(0, 1)], "one side: the split is yet to be drawn"
    assert near([array, as_jpeg(array), scene(6)], ["train", "train", "val"]) == []


def test_plain_pictures_with_different_small_objects_are_not_near() -> None:
    arrays = []
    for k in range(12):
        array = np.full((96, 96), 60, np.uint8)
        array[8 * (k % 4) * 2 : 8 * (k % 4) * 2 + 8, 30 * (k // 4) : 30 * (k // 4) + 8] = 200
        arrays.append(array)
    assert near(arrays, ["train", "val"] * 6) == []


def test_blank_pictures_are_not_near() -> None:
    assert near([np.zeros((32, 32), np.uint8), np.full((32, 32), 9, np.uint8)], ["train", "val"]) == []


def test_many_rows_are_compared_in_blocks() -> None:
    # More than one block of 512 rows; the copy lies in another block than its picture.
    arrays = [scene(s, 24) for s in range(600)] + [as_jpeg(scene(3, 24))]
    assert (3, 600) in near(arrays, ["train"] * 600 + ["val"])
    assert all(j == 600 for _, j in near(arrays, ["train"] * 600 + ["val"]))
