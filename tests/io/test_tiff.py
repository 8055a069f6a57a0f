"""TIFF files: depths, bands, axis orders, alpha, palettes; damaged files and bombs."""

from __future__ import annotations

import logging

import numpy as np
import PIL.Image
import pytest
import tifffile

from maskwright.classes import ClassMap
from maskwright.errors import FormatError
from maskwright.io import read_image, read_mask, write_mask

RNG = np.random.default_rng(1)


def bands(count: int, dtype: str = "uint8") -> np.ndarray:
    """(20, 24, count): both sides longer than any number of bands."""
    return RNG.integers(0, 200, (20, 24, count)).astype(dtype)


@pytest.fixture(autouse=True)
def _quiet_tifffile():
    log = logging.getLogger("tifffile")
    log.disabled = True
    yield
    log.disabled = False


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "int32", "float32", "float64", ">u2"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_every_depth(tmp_path, dtype, compression):
    grey = bands(1, dtype)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", grey, photometric="minisblack", compression=compression)
    image = read_image(tmp_path / "a.tif")
    assert np.array_equal(image.pixels[..., 0], grey)
    assert (image.pixels.dtype, image.container, image.channels) == (np.dtype(dtype).newbyteorder("="), "tiff", 1)


@pytest.mark.parametrize(
    ("count", "options", "kept"),
    [
        (3, {"photometric": "rgb"}, 3),
        (3, {"photometric": "rgb", "planarconfig": "separate"}, 3),
        (4, {"photometric": "rgb", "extrasamples": ["unassalpha"]}, 3),
        (4, {"photometric": "rgb", "extrasamples": ["unspecified"]}, 4),
        (2, {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["assocalpha"]}, 1),
        (4, {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unspecified"] * 3}, 4),
        (5, {"photometric": "minisblack", "planarconfig": "contig"}, 5),
        (5, {"photometric": "minisblack", "planarconfig": "separate"}, 5),
        (3, {"photometric": "rgb", "tile": (16, 16), "compression": "lzw"}, 3),
    ],
)
def test_bands(tmp_path, count, options, kept):
    pixels = bands(count)
    planar = options.get("planarconfig") == "separate"
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(pixels, 2, 0) if planar else pixels, **options)
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, pixels[..., :kept])


@pytest.mark.parametrize("axes", ["CYX", "YXC", "QYX", "SYX"])
def test_axes_as_stated(tmp_path, axes):
    pixels = bands(7)
    stored = pixels if axes == "YXC" else np.moveaxis(pixels, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", metadata={"axes": axes})
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, pixels)


@pytest.mark.parametrize("depth", [8, 16])
def test_colours_of_a_palette(tmp_path, depth):
    colours = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16)
    stored = colours if depth == 8 else colours * 257
    numbers = bands(1)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", numbers, photometric="palette", colormap=stored)
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, colours.T[numbers])


def test_volume_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 24, 30), np.uint8), photometric="minisblack")
    with pytest.raises(FormatError, match=r"a stack of the shape \(20, 24, 30\) \(axes QYX\); expected one image"):
        read_image(tmp_path / "a.tif")


def test_colour_map_is_read_while_the_file_is_open(tmp_path, recwarn):
    write_mask(tmp_path / "a.tif", np.ones((4, 5), np.uint8), ClassMap((0, 1), ("a", "b")), "tiff")
    read_mask(tmp_path / "a.tif")
    assert [str(w.message) for w in recwarn] == []


def test_no_pixel(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, bands(3), photometric="rgb")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["ImageWidth"].overwrite(0)
    with pytest.raises(FormatError, match=r"a\.tif: the TIFF file is .*damaged \(.*Copy or download it again"):
        read_mask(path)


def test_several_images_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.zeros((8, 9), np.uint8), metadata=None)
        writer.write(np.zeros((4, 5), np.uint16), metadata=None)
    with pytest.raises(FormatError, match=r"holds 2 images \(8x9, 4x5\); expected one"):
        read_image(tmp_path / "a.tif")


def test_unnamed_axis_that_is_last_and_short(tmp_path):
    # Pages along rows (axes QYX, 20 x 24 x 5): the last axis is the short one, so it holds the bands.
    pixels = bands(5)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", metadata={"axes": "QYX"})
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, pixels)


def test_axes_that_mean_something_else(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", bands(5), photometric="minisblack", metadata={"axes": "TYX"})
    with pytest.raises(FormatError, match=r"a stack of the shape \(20, 24, 5\) \(axes TYX\)"):
        read_image(tmp_path / "a.tif")


def test_thumbnail_is_left_aside(tmp_path):
    pixels = bands(1)[..., 0]
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(pixels, metadata=None)
        writer.write(pixels[::2, ::2], metadata=None, subfiletype=1)
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels[..., 0], pixels)


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (19, 23)), (6, (0, 19)), (8, (23, 0))])
def test_orientation(tmp_path, orientation, corner):
    # Where the first stored pixel is shown: 3 bottom right; 6: row 0 is the right side; 8: row 0 is the left, from below.
    pixels = np.zeros((20, 24), np.uint8)
    pixels[0, 0] = 255
    tifffile.imwrite(tmp_path / "a.tif", pixels, extratags=[(274, "H", 1, orientation, True)], metadata=None)
    image = read_image(tmp_path / "a.tif")
    assert np.argwhere(image.pixels[..., 0]).tolist() == [list(corner)]
    assert image.orientation == orientation


def test_palette(tmp_path):
    colormap = np.zeros((3, 256), np.uint16)
    colormap[:, 2] = (65535, 257 * 128, 0)
    tifffile.imwrite(tmp_path / "a.tif", np.full((20, 24), 2, np.uint8), photometric="palette", colormap=colormap)
    assert read_image(tmp_path / "a.tif").pixels[3, 4].tolist() == [255, 128, 0]
    mask = read_mask(tmp_path / "a.tif")
    assert (mask.kind, mask.counts) == ("palette", {2: 480})


def test_white_is_zero(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 55]], np.uint8), photometric="miniswhite")
    assert read_image(tmp_path / "a.tif").pixels.ravel().tolist() == [255, 200]  # 255 - stored


@pytest.mark.parametrize(("photometric", "expected"), [("minisblack", [0, 1]), ("miniswhite", [1, 0])])
def test_one_bit(tmp_path, photometric, expected):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[False, True]]), photometric=photometric)
    image = read_image(tmp_path / "a.tif")
    assert image.pixels.ravel().tolist() == expected
    assert image.value_range == (0, 1)


def test_twelve_bits_state_their_range(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 4095]], np.uint16), photometric="minisblack", bitspersample=12)
    assert read_image(tmp_path / "a.tif").value_range == (0, 4095)


def test_cmyk_becomes_rgb(tmp_path):
    PIL.Image.new("CMYK", (9, 6), (0, 255, 255, 0)).save(tmp_path / "a.tif")  # no cyan: red
    assert np.unique(read_image(tmp_path / "a.tif").pixels.reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


def test_unknown_colour_space(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", bands(3), photometric="cielab")
    with pytest.raises(FormatError, match=r"has the colour space.*; expected grey, RGB, palette or plain bands"):
        read_image(tmp_path / "a.tif")


def test_jpeg_inside_is_lossy(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", bands(1)[..., 0], compression="jpeg")
    tifffile.imwrite(tmp_path / "b.tif", bands(1)[..., 0], compression="zlib")
    assert (read_mask(tmp_path / "a.tif").lossy, read_mask(tmp_path / "b.tif").lossy) == (True, False)


def test_sixty_four_bits_are_refused_as_picture(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), np.uint64))
    with pytest.raises(ValueError, match=r"a\.tif: values of the type uint64 cannot be used as pixels"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_cut_file_says_so(tmp_path, compression, share):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, bands(3), photometric="rgb", compression=compression)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(FormatError, match=r"a\.tif: the TIFF file (is cut short|holds 0 images)"):
        read_image(path)


def test_damaged_files_are_explained_or_read(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, bands(3), photometric="rgb", compression="zlib")
    sound, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(150):
        damaged = bytearray(sound)
        for place in rng.integers(0, 300, 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read_image(path)
        except FormatError:
            refused += 1
    assert refused > 30


@pytest.mark.parametrize(
    ("limit", "shape", "message"),
    [
        (100, (20, 24), r"a\.tif: claims 24x20 pixels, more than the 200 .*MASKWRIGHT_MAX_IMAGE_PIXELS"),
        (300, (20, 24, 6), "claims 2880 values, more than the 600"),  # 480 pixels pass, 20 * 24 * 6 > 4 * 600
    ],
)
def test_decompression_bomb(tmp_path, monkeypatch, limit, shape, message):
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros(shape, np.uint8), photometric="minisblack", planarconfig="contig" if len(shape) > 2 else None
    )
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(FormatError, match=message):
        read_image(tmp_path / "a.tif")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", None)
    assert read_image(tmp_path / "a.tif").hw == (20, 24)
