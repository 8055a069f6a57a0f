"""Masks as people store them, read as class ids."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import tifffile

from maskwright.classes import ClassMap
from maskwright.errors import FormatError
from maskwright.io import read_labels, read_mask

THREE = ClassMap((0, 1, 2), ("background", "road", "car"))
LUNG = ClassMap((0, 1), ("background", "lung"), values=((0,), (255,)))
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
COLOURED = ClassMap((0, 1, 2), ("sky", "road", "car"), values=(((0, 0, 0),), (RED,), (BLUE,)), ignore_values=(WHITE,))
INDICES = np.array([[0, 1, 2, 255], [2, 1, 0, 0]], np.uint8)


@pytest.fixture
def stored(tmp_path):
    """Writes an array, or a Pillow picture, as a file and gives its path."""

    def write(pixels, suffix=".png", **options):
        path = tmp_path / f"mask{suffix}"
        if suffix == ".tif":
            tifffile.imwrite(path, pixels, **options)
        else:
            picture = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(pixels)
            picture.save(path, **options)
        return path

    return write


def palette_picture(indices: np.ndarray, *colours: tuple[int, int, int]) -> PIL.Image.Image:
    picture = PIL.Image.fromarray(indices, "P")
    picture.putpalette([v for colour in colours for v in colour])
    return picture


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".png", "uint8"),
        (".png", "uint16"),
        (".bmp", "uint8"),
        (".tif", "uint8"),
        (".tif", "int16"),
        (".tif", "int64"),
        (".tif", "uint32"),
        (".tif", "float32"),
    ],
)
def test_index_mask(stored, suffix, dtype):
    reading = read_labels(stored(INDICES.astype(dtype), suffix), THREE)
    assert reading.labels.tolist() == INDICES.tolist()
    assert (reading.labels.dtype, reading.snapped_px, reading.unknown, reading.lossy) == (np.uint8, 0, {}, False)


def test_grey_stored_as_rgb_is_an_index_mask(stored):
    path = stored(np.dstack([INDICES] * 3))
    assert read_mask(path).kind == "index"
    assert read_labels(path, THREE).labels.tolist() == INDICES.tolist()


@pytest.mark.parametrize("value", [1, 255])
def test_two_values(stored, value):
    # 0/255 by the class's stored value; in a 0/1 mask the same class map knows no 1.
    reading = read_labels(stored(np.array([[0, value]], np.uint8)), LUNG)
    assert reading.labels.tolist() == [[0, 1 if value == 255 else 255]]
    assert reading.unknown == ({} if value == 255 else {1: 1})


def test_one_bit_png_is_a_zero_one_mask(stored):
    reading = read_labels(stored(np.array([[False, True, True]])), ClassMap((0, 1), ("background", "lung")))
    assert reading.labels.tolist() == [[0, 1, 1]]


def test_palette_is_read_by_index(stored):
    path = stored(palette_picture(INDICES % 3, (9, 9, 9), RED, BLUE))
    mask = read_mask(path)
    assert (mask.kind, mask.palette[1].tolist(), mask.hw) == ("palette", list(RED), (2, 4))
    assert read_labels(path, THREE).labels.tolist() == (INDICES % 3).tolist()


def test_palette_index_may_be_an_id_where_values_are_others(stored):
    path = stored(palette_picture(np.array([[0, 1]], np.uint8), (0, 0, 0), RED))
    assert read_labels(path, LUNG).labels.tolist() == [[0, 1]]


def test_palette_is_read_by_colour_where_values_are_colours(stored):
    # Index 1 is blue here, which is class 2; index 4 is white, which is ignored.
    path = stored(palette_picture(np.array([[0, 1, 3, 4]], np.uint8), (0, 0, 0), BLUE, (1, 1, 1), RED, WHITE))
    assert read_labels(path, COLOURED).labels.tolist() == [[0, 2, 1, 255]]


@pytest.mark.parametrize("deep", [False, True])
def test_rgb_mask_with_a_colour_table(stored, deep):
    pixels = np.array([[(0, 0, 0), RED, BLUE], [WHITE, RED, RED]], np.uint8)
    path = stored(pixels.astype(np.uint16) * 257, ".tif", photometric="rgb") if deep else stored(pixels)
    mask = read_mask(path)
    assert mask.kind == "rgb"
    assert mask.counts == {(0, 0, 0): 1, BLUE: 1, RED: 3, WHITE: 1}
    assert read_labels(path, COLOURED).labels.tolist() == [[0, 1, 2], [255, 1, 1]]


def test_grey_file_by_colours(stored):
    # A file without any red or blue pixel is grey: 0 is (0, 0, 0), 255 is white, 300 no colour at all.
    assert read_labels(stored(np.array([[0, 255]], np.uint8)), COLOURED).labels.tolist() == [[0, 255]]
    reading = read_labels(stored(np.array([[0, 300]], np.uint16)), COLOURED)
    assert (reading.labels.tolist(), reading.unknown) == ([[0, 255]], {300: 1})


def test_sixteen_bit_colours_beyond_eight_bits_are_refused(stored):
    pixels = np.zeros((2, 3, 3), np.uint16)
    pixels[0, 0] = (1000, 0, 0)
    with pytest.raises(FormatError, match="a colour mask with values up to 1000; expected 8-bit colours"):
        read_mask(stored(pixels, ".tif", photometric="rgb"))
    pixels[0, 0] = (200, 0, 0)
    assert read_mask(stored(pixels, ".tif", photometric="rgb")).counts == {(0, 0, 0): 5, (200, 0, 0): 1}


def test_unknown_values_are_reported_and_ignored(stored):
    reading = read_labels(stored(np.array([[0, 7, 7], [9, 1, 255]], np.uint8)), THREE)
    assert reading.unknown == {7: 2, 9: 1}
    assert reading.labels.tolist() == [[0, 255, 255], [255, 1, 255]]
    colours = read_labels(stored(np.array([[RED, (250, 9, 9)]], np.uint8)), COLOURED)
    assert (colours.unknown, colours.labels.tolist()) == ({(250, 9, 9): 1}, [[1, 255]])


def test_snap_goes_to_the_nearest_stored_value(stored):
    # Between 0 and 255 the border is 127.5.
    path = stored(np.array([[0, 127, 128, 255]], np.uint8))
    reading = read_labels(path, LUNG, snap=True)
    assert (reading.labels.tolist(), reading.snapped_px, reading.unknown) == ([[0, 0, 1, 1]], 2, {})
    assert read_labels(path, LUNG).unknown == {127: 1, 128: 1}


def test_snap_may_go_to_ignored_and_takes_the_lower_of_two_as_near(stored):
    # 0, 1, 2 and ignored 255: 128 is nearer to 2 (126) than to 255 (127); 129 nearer to 255. With 0 and 2 stored, 1 is a tie.
    assert read_labels(stored(np.array([[128, 129]], np.uint8)), THREE, snap=True).labels.tolist() == [[2, 255]]
    gap = ClassMap((0, 1), ("a", "b"), values=((0,), (2,)))
    assert read_labels(stored(np.array([[1]], np.uint8)), gap, snap=True).labels.tolist() == [[0]]


def test_snap_by_colour(stored):
    # (200, 0, 60) to red: 55^2 + 60^2; to blue: 200^2 + 195^2; to black: 200^2 + 60^2.
    pixels = np.array([[(200, 0, 60), (10, 20, 200), (5, 5, 9)]], np.uint8)
    reading = read_labels(stored(pixels), COLOURED, snap=True)
    assert (reading.labels.tolist(), reading.snapped_px) == ([[1, 2, 0]], 3)
    grey = read_labels(stored(np.array([[3, 250]], np.uint8)), COLOURED, snap=True)
    assert grey.labels.tolist() == [[0, 255]]


@pytest.mark.parametrize(("suffix", "options"), [(".jpg", {"quality": 60}), (".webp", {"quality": 60})])
def test_lossy_mask_is_snapped_and_counted(stored, suffix, options):
    truth = np.zeros((32, 40), np.uint8)
    truth[5:21, 6:23] = 255  # off the 8 x 8 blocks, which would stay flat
    path = stored(PIL.Image.fromarray(truth).convert("RGB"), suffix, **options)
    reading = read_labels(path, LUNG)
    smeared = np.asarray(PIL.Image.open(path).convert("L"))
    assert reading.lossy
    assert reading.unknown == {}
    assert np.array_equal(reading.labels, truth // 255)
    if suffix == ".jpg":
        assert reading.snapped_px == np.count_nonzero((smeared > 0) & (smeared < 255)) > 0


def test_lossless_webp_is_not_lossy(stored):
    pixels = np.dstack([INDICES] * 3)
    assert not read_mask(stored(pixels, ".webp", lossless=True)).lossy
    frames = [PIL.Image.fromarray(pixels), PIL.Image.fromarray(pixels // 2)]
    assert not read_mask(stored(frames[0], ".webp", save_all=True, append_images=frames[1:], lossless=True)).lossy


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_ids_over_255(stored, suffix):
    many = ClassMap((0, 300, 40000), ("a", "b", "c"))
    reading = read_labels(stored(np.array([[0, 300, 40000, 255, 7]], np.uint16), suffix), many)
    assert reading.labels.tolist() == [[0, 300, 40000, 255, 255]]
    assert (reading.labels.dtype, reading.unknown) == (np.uint16, {7: 1})


def test_negative_and_huge_values(stored):
    classes = ClassMap((0, 1), ("a", "b"), values=((-1,), (70000,)))
    path = stored(np.array([[-1, 70000, 70000], [255, -1, 5]], np.int32), ".tif")
    reading = read_labels(path, classes)
    assert reading.labels.tolist() == [[0, 1, 1], [255, 0, 255]]
    assert reading.unknown == {5: 1}
    assert read_mask(path).counts == {-1: 2, 5: 1, 255: 1, 70000: 2}


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        (np.array([[0.0, 0.25]], np.float32), {}, r"1 mask values are no whole numbers \(such as 0.25\).*threshold them"),
        (np.array([[0.0, np.nan]], np.float32), {}, r"no whole numbers \(such as nan\)"),
        (
            np.zeros((4, 5, 2), np.uint8),
            {"planarconfig": "contig", "photometric": "minisblack"},
            "a mask with 2 bands; expected one band",
        ),
    ],
)
def test_file_that_is_no_mask(stored, pixels, options, message):
    with pytest.raises(FormatError, match=rf"mask\.tif: .*{message}"):
        read_mask(stored(pixels, ".tif", **options))
