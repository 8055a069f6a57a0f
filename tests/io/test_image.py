"""Image: arrays taken as they are, scaled by their nominal range, shown to people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskwright.errors import InputError
from maskwright.io.image import SAMPLED_PX, Image


@pytest.mark.parametrize(
    ("given", "stored", "value_range"),
    [
        ("uint8", "uint8", (0, 255)),
        ("uint16", "uint16", (0, 65535)),
        ("int16", "int16", (-32768, 32767)),
        ("int32", "int32", (-(2**31), 2**31 - 1)),
        ("uint32", "uint32", (0, 2**32 - 1)),
        ("float32", "float32", (0, 1)),
        ("float64", "float64", (0, 1)),
        ("float16", "float32", (0, 1)),
        ("int8", "int16", (-128, 127)),
        ("bool", "uint8", (0, 1)),
        (">u2", "uint16", (0, 65535)),
    ],
)
def test_array_types_and_their_ranges(given, stored, value_range):
    image = Image.from_array(np.array([[0, 1, 1], [1, 0, 0]], given))
    assert image.pixels.dtype == np.dtype(stored)
    assert image.pixels[..., 0].tolist() == [[0, 1, 1], [1, 0, 0]]
    assert image.value_range == value_range
    assert (image.hw, image.channels, image.name, image.container) == ((2, 3), 1, "image", "png")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(5), r"shape \(5,\); expected \(height, width\)"),
        (np.zeros((0, 4)), r"shape \(0, 4\).*none 0"),
        (np.zeros((3, 20, 30)), r"looks like \(channels, height, width\); give array.transpose\(1, 2, 0\)"),
        (np.array([[0.0, np.nan], [np.inf, 1]]), "array: 2 of 4 values are NaN or infinite; replace them"),
        (np.zeros((2, 2), np.int64), r"type int64 cannot be used as pixels.*astype\(numpy.uint8\)"),
        (np.zeros((2, 2), complex), "type complex128 cannot be used"),
    ],
)
def test_array_that_is_no_picture(array, message):
    with pytest.raises(InputError, match=message):
        Image.from_array(array)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((2, 2), np.uint8), r"x.png: pixels of shape \(2, 2\); expected \(height, width, channels\)"),
        (np.zeros((2, 2, 1), np.int64), "x.png: pixels of type int64; expected uint8"),
    ],
)
def test_image_checks_itself(pixels, message):
    with pytest.raises(InputError, match=message):
        Image(pixels, Path("x.png"))


def test_contiguous_array_is_not_copied():
    array = np.zeros((2, 3, 3), np.uint8)
    assert np.shares_memory(Image.from_array(array).pixels, array)


def test_eight_bit_is_shown_as_it_is():
    rgb = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert np.array_equal(Image(rgb).to_uint8(), rgb)


def test_grey_is_repeated_and_many_channels_show_the_first_three():
    grey = np.array([[[10], [20]]], np.uint8)
    assert Image(grey).to_uint8().tolist() == [[[10] * 3, [20] * 3]]
    five = np.arange(10, dtype=np.uint8).reshape(1, 2, 5)
    assert Image(five).to_uint8().tolist() == [[[0, 1, 2], [5, 6, 7]]]
    two = np.array([[[10, 99]]], np.uint8)
    assert Image(two).to_uint8().tolist() == [[[10] * 3]]


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float64"])
def test_deep_values_are_stretched(dtype):
    # 0..1000: the 0.5 and 99.5 percentiles are 5 and 995, so 500 is the middle: 0.5 * 255 rounds up to 128.
    shown = Image(np.arange(1001).astype(dtype).reshape(7, 143, 1)).to_uint8()[..., 0].ravel()
    assert (shown[0], shown[5], shown[500], shown[995], shown[1000]) == (0, 0, 128, 255, 255)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.array([0, 1], np.uint8), [0, 255]),  # 1-bit file, see value_range below
        (np.array([3, 3], np.uint8), [255, 255]),
    ],
)
def test_few_bits_are_shown_over_their_range(pixels, expected):
    assert Image(pixels.reshape(1, 2, 1), value_range=(0.0, 1.0)).to_uint8()[0, :, 0].tolist() == expected


@pytest.mark.parametrize("fill", [7.0, np.nan])
def test_flat_deep_picture_is_black(fill):
    assert not Image(np.full((3, 4, 1), fill, np.float32)).to_uint8().any()


def test_rare_values_still_give_a_contrast():
    # 1 of 1000 pixels differs: both percentiles are 0, so lowest and highest are used.
    pixels = np.zeros((10, 100, 1), np.uint16)
    pixels[3, 4] = 900
    shown = Image(pixels).to_uint8()
    assert (shown[3, 4, 0], shown[0, 0, 0]) == (255, 0)


def test_large_scene_is_sampled_for_its_contrast():
    # Four times SAMPLED_PX: every second row and column is looked at, so odd rows do not set the range.
    side = 2 * int(SAMPLED_PX**0.5)
    pixels = np.zeros((side, side, 1), np.uint16)
    pixels[1::2] = 60000
    pixels[::2, ::4] = 100
    shown = Image(pixels).to_uint8()
    assert (shown[0, 0, 0], shown[0, 1, 0], shown[1, 0, 0]) == (255, 0, 255)


def test_the_files_own_window_is_what_people_see():
    image = Image(np.array([[[-1000], [-160], [40], [240], [3000]]], np.int16), window=(-160.0, 240.0))
    assert image.to_uint8()[0, :, 0].tolist() == [0, 0, 128, 255, 255]  # (40 + 160) / 400 is the middle


def test_masked_values_are_not_measured():
    pixels = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    pixels[0, 0], pixels[1, 1, 0] = np.nan, 1e6
    gone = np.zeros(pixels.shape, bool)
    gone[0, 0], gone[1, 1, 0] = True, True
    image = Image.from_array(np.ma.MaskedArray(pixels, gone))
    assert np.argwhere(image.missing).tolist() == [[0, 0]]
    band = np.delete(pixels[:, :, 0].ravel(), [0, 4])
    assert image.pixels[1, 1, 0] == image.pixels[0, 0, 0] == pytest.approx(band.mean())
    assert Image.from_array(np.ma.MaskedArray(np.zeros((2, 2), np.uint8))).missing is None


def test_a_stack_is_several_pictures():
    with pytest.raises(InputError, match="is a stack of pictures; give list\\(stack\\)"):
        Image.from_array(np.zeros((5, 4, 4, 3), np.uint8))
