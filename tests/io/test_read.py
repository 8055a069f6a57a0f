"""read_image: every format, depth and channel count, turned upright; files that are no image say so."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import torch

from maskwright.errors import FormatError, InputError
from maskwright.io import IMAGE_SUFFIXES, read_image
from maskwright.io.decoded import LIMIT_VARIABLE
from maskwright.io.dicom import DICOM_SUFFIXES

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 9, 3), np.uint8)
GREY = RNG.integers(0, 256, (6, 9), np.uint8)


def png(width: int, height: int, bits: int, colour_type: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file by hand: rows hold the packed pixels, each row after its filter byte."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    body = b"".join(chunk(*c) for c in ((b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".ppm"])
def test_lossless_colour(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    PIL.Image.fromarray(RGB).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    image = read_image(path)
    assert np.array_equal(image.pixels, RGB)
    assert (image.path, image.name, image.container, image.value_range) == (path, "a", "png", (0, 255))


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".jfif"])
def test_jpeg(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    PIL.Image.new("RGB", (9, 6), (200, 100, 50)).save(path, "JPEG", quality=95)
    image = read_image(str(path))
    assert image.hw == (6, 9)
    assert np.abs(image.pixels.astype(int) - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize(("name", "options"), [("a.gif", {}), ("a.webp", {"lossless": True}), ("a.png", {})])
def test_the_first_frame_of_an_animation_is_said_to_be_the_first(tmp_path, name, options):
    first, *more = (PIL.Image.fromarray(np.roll(RGB, k, axis=0)) for k in range(3))
    first.save(tmp_path / name, save_all=True, append_images=more, **options)
    image = read_image(tmp_path / name)
    assert image.remarks == ("holds 3 frames; the first of them is answered.",)
    if name != "a.gif":
        assert np.array_equal(image.pixels, RGB)
    first.save(tmp_path / name)
    assert read_image(tmp_path / name).remarks == ()


def test_a_gif_that_is_cut_behind_its_first_frame(tmp_path):
    first, second = (PIL.Image.fromarray(np.roll(GREY, k, axis=0)) for k in range(2))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    whole = read_image(tmp_path / "a.gif").pixels
    data = (tmp_path / "a.gif").read_bytes()
    for cut in (5, 20, 60):
        (tmp_path / "a.gif").write_bytes(data[:-cut])
        assert np.array_equal(read_image(tmp_path / "a.gif").pixels, whole)


def test_previews_of_a_camera_are_no_frames(tmp_path):
    PIL.Image.fromarray(RGB).save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[PIL.Image.fromarray(RGB[:2, :3])])
    with PIL.Image.open(tmp_path / "a.jpg") as picture:
        assert (picture.format, picture.n_frames) == ("MPO", 2)
    assert read_image(tmp_path / "a.jpg").remarks == ()


@pytest.mark.parametrize(
    ("array", "mode", "expected"),
    [
        (GREY, "L", GREY[..., None]),
        (np.dstack([GREY, GREY // 2]), "LA", GREY[..., None]),
        (np.dstack([RGB, GREY]), "RGBA", RGB),
        (GREY.astype(np.uint16) * 257, "I;16", GREY.astype(np.uint16)[..., None] * 257),
    ],
)
def test_channels_of_png(tmp_path, array, mode, expected):
    picture = PIL.Image.fromarray(array)
    assert picture.mode == mode
    picture.save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png").pixels
    assert pixels.dtype == expected.dtype
    assert np.array_equal(pixels, expected)


@pytest.mark.parametrize(("bands", "kept"), [(2, 1), (3, 3), (4, 3)])
def test_sixteen_bit_colour_png_keeps_its_depth(tmp_path, bands, kept):
    deep = RNG.integers(0, 65536, (4, 5, bands), np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(deep))
    image = read_image(tmp_path / "a.png")
    assert np.array_equal(image.pixels, deep[..., :kept])
    assert image.value_range == (0, 65535)


@pytest.mark.parametrize(
    ("bits", "row", "expected"),
    [
        (1, 0b01100000, [0, 1, 1]),
        (2, 0b00011100, [0, 1, 3]),  # 00 01 11
        (4, None, [0, 9, 15]),
    ],
)
def test_few_bits_keep_their_stored_values(tmp_path, bits, row, expected):
    packed = bytes([0, 0x09, 0xF0]) if row is None else bytes([0, row])
    (tmp_path / "a.png").write_bytes(png(3, 1, bits, 0, packed))
    image = read_image(tmp_path / "a.png")
    assert image.pixels.ravel().tolist() == expected
    assert image.value_range == (0, 2**bits - 1)


def test_palette_picture_becomes_rgb_and_indices_beyond_it_black(tmp_path):
    # Index 7 has no entry in a palette of two.
    palette = (b"PLTE", bytes([255, 0, 0, 0, 0, 255]))
    (tmp_path / "a.png").write_bytes(png(3, 1, 8, 3, bytes([0, 0, 1, 7]), palette))
    assert read_image(tmp_path / "a.png").pixels.tolist() == [[[255, 0, 0], [0, 0, 255], [0, 0, 0]]]


def test_gif(tmp_path):
    PIL.Image.new("RGB", (3, 2), (255, 0, 0)).save(tmp_path / "a.gif")
    assert read_image(tmp_path / "a.gif").pixels.tolist() == [[[255, 0, 0]] * 3] * 2


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    PIL.Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)  # no cyan: red
    assert np.abs(read_image(tmp_path / "a.jpg").pixels.astype(int) - (255, 0, 0)).max() <= 3


def test_sixteen_bit_pgm_keeps_its_range(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 65535\n" + struct.pack(">HH", 513, 65535))
    image = read_image(tmp_path / "a.pgm")
    assert image.pixels.ravel().tolist() == [513, 65535]
    assert (image.pixels.dtype, image.value_range) == (np.uint16, (0, 65535))


# The stored picture is [[1, 2, 3], [4, 5, 6]]; what each orientation shows, from the TIFF definition of where row 0 and
# column 0 lie: 1 top left, 2 top right, 3 bottom right, 4 bottom left, 5 left top, 6 right top, 7 right bottom, 8 left bottom.
UPRIGHT = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
    9: [[1, 2, 3], [4, 5, 6]],  # no such orientation: as stored
}


@pytest.mark.parametrize(("orientation", "expected"), UPRIGHT.items())
def test_exif_orientation(tmp_path, orientation, expected):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(np.array([[1, 2, 3], [4, 5, 6]], np.uint8)).save(tmp_path / "a.png", exif=exif)
    image = read_image(tmp_path / "a.png")
    assert image.pixels[..., 0].tolist() == expected
    assert image.pixels.flags.c_contiguous
    assert image.orientation == (orientation if orientation < 9 else 1)


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff", b"Exif\0\0II*\0", b"Exif\0\0no TIFF header"])
def test_damaged_exif_is_shown_as_stored(tmp_path, exif):
    PIL.Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    assert read_image(tmp_path / "a.png").orientation == 1


def test_arrays_and_images_are_taken(tmp_path):
    image = read_image(RGB)
    assert np.array_equal(image.pixels, RGB)
    assert read_image(image) is image
    with pytest.raises(InputError, match="given as list; expected a path, an array"):
        read_image([[1]])


def pillows(tmp_path) -> list[Path]:
    """Files of every kind that Pillow opens otherwise than we read arrays."""
    rng = np.random.default_rng(3)
    colours = PIL.Image.fromarray(rng.integers(0, 256, (12, 9, 3), np.uint8))
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    colours.quantize(7).save(tmp_path / "palette.png")
    colours.convert("CMYK").save(tmp_path / "cmyk.jpg")
    colours.convert("RGBA").save(tmp_path / "rgba.png")
    colours.convert("LA").save(tmp_path / "la.png")
    colours.convert("1").save(tmp_path / "bits.png")
    colours.save(tmp_path / "turned.png", exif=turned)
    PIL.Image.fromarray(rng.integers(0, 65536, (12, 9)).astype(np.uint16)).save(tmp_path / "deep.png")
    return sorted(tmp_path.iterdir())


def test_pillows_image_is_what_its_file_is(tmp_path):
    for file in pillows(tmp_path):
        with PIL.Image.open(file) as picture:
            found, expected = read_image(picture), read_image(file)
        assert np.array_equal(found.pixels, expected.pixels), file
        assert (found.value_range, found.orientation) == (expected.value_range, expected.orientation), file
        assert found.path is None
    wide = read_image(PIL.Image.fromarray(np.array([[70000, -5]], np.int32)))
    assert wide.pixels.ravel().tolist() == [70000, -5]


def test_a_deep_pgm_that_pillow_has_opened_keeps_its_range(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 65535\n" + np.array([500, 60000], ">u2").tobytes())
    with PIL.Image.open(tmp_path / "a.pgm") as picture:
        found = read_image(picture)
    assert (found.pixels.dtype, found.value_range) == (np.uint16, (0, 65535))
    assert found.pixels.ravel().tolist() == [500, 60000]


def test_what_is_no_picture_says_what_to_give(tmp_path):
    with pytest.raises(InputError, match=r"given as Tensor: give tensor.permute\(1, 2, 0\).cpu\(\).numpy\(\); expected a path"):
        read_image(torch.zeros(3, 4, 5))
    (tmp_path / "drive.mp4").write_bytes(b"x")
    with pytest.raises(FormatError, match=r"Videos are read by maskwright\.frames"):
        read_image(tmp_path / "drive.mp4")


def test_suffix_that_lies_between_formats(tmp_path):
    PIL.Image.fromarray(RGB).save(tmp_path / "a.tif", "PNG")
    PIL.Image.fromarray(RGB).save(tmp_path / "a.png", "TIFF")
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, RGB)
    image = read_image(tmp_path / "a.png")
    assert np.array_equal(image.pixels, RGB)
    assert image.container == "tiff"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"hello there", r"a\.png: not an image \(it starts with b'hello th'\); expected one of PNG, JPEG"),
        ("a.tif", b"hello there", "a.tif: not an image"),
        ("a.png", b"", "a.png: the file is empty; expected an image"),
        ("a.xyz", b"x", r"suffix '.xyz' is not known; images end in .png, .jpg"),
        ("folder", b"x", "suffix '' is not known"),
    ],
)
def test_file_that_is_no_image(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=message):
        read_image(tmp_path / name)


def test_folder_and_missing_file(tmp_path):
    with pytest.raises(FormatError, match="is a folder; expected an image file"):
        read_image(tmp_path)
    with pytest.raises(InputError, match=r"gone\.png: no such file"):
        read_image(tmp_path / "gone.png")


def test_unreadable_file_names_the_reason(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"x")

    def refused(self, *args):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.open", refused)
    with pytest.raises(InputError, match=r"a\.png: cannot be read \(Permission denied\). Check the permissions"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", sorted({*IMAGE_SUFFIXES} - {".tif", ".tiff", *DICOM_SUFFIXES}))
def test_cut_file_says_so(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    picture = PIL.Image.fromarray(RNG.integers(0, 256, (40, 40), np.uint8))
    picture.save(path, "JPEG" if suffix == ".jfif" else None)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(FormatError, match=r"a\.\w+: the image is cut short or damaged \(.*Copy or download it again"):
        read_image(path)


def test_cut_sixteen_bit_colour_png(tmp_path):
    data = imagecodecs.png_encode(RNG.integers(0, 65536, (20, 20, 3), np.uint16))
    (tmp_path / "a.png").write_bytes(data[:-300])
    with pytest.raises(FormatError, match="cut short or damaged"):
        read_image(tmp_path / "a.png")


def test_decompression_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 20)  # refused from twice that on: 54 > 40
    PIL.Image.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(FormatError, match=r"a\.png: claims 54 pixels, more than the 40 .*MASKWRIGHT_MAX_IMAGE_PIXELS"):
        read_image(tmp_path / "a.png")


def test_limit_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 20)
    PIL.Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setenv(LIMIT_VARIABLE, "200")
    assert read_image(tmp_path / "a.png").hw == (6, 9)
    monkeypatch.setenv(LIMIT_VARIABLE, "many")
    with pytest.raises(InputError, match="MASKWRIGHT_MAX_IMAGE_PIXELS='many': expected a number of pixels"):
        read_image(tmp_path / "a.png")
