"""Windows of a file are the same values as the whole image, whatever its layout; what a file only claims is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from maskwright.errors import FormatError, InputError
from maskwright.io.measured import Measured
from maskwright.io.read import read_image
from maskwright.io.windows import has_windows, open_windows

RGB = np.random.default_rng(0).integers(0, 256, (300, 500, 3), np.uint8)
WINDOWS = [(slice(0, 300), slice(0, 500)), (slice(100, 201), slice(120, 390)), (slice(299, 300), slice(499, 500))]
LAYOUTS = {
    "tiles": {"tile": (128, 64), "compression": "zlib"},
    "strips": {"rowsperstrip": 64, "compression": "lzw", "predictor": True},
    "one strip": {"rowsperstrip": 300},
    "big": {"bigtiff": True, "tile": (64, 64)},
    "other end": {"byteorder": ">"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "pixels", [RGB, RGB[..., 0], RGB.astype(np.uint16) * 200, RGB[..., 1] / np.float32(7)], ids=["rgb", "grey", "16", "float"]
)
def test_windows_are_parts_of_the_whole(tmp_path, layout, pixels):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack", **LAYOUTS[layout])
    check_parts(path)


def check_parts(path):
    whole, found = read_image(path), open_windows(path)
    assert (found.hw, found.channels, found.dtype) == (whole.hw, whole.channels, whole.pixels.dtype)
    for rows, cols in WINDOWS:
        assert np.array_equal(found.read(rows, cols), whole.pixels[rows, cols])
    found.close()


@pytest.mark.parametrize("layout", ["tiles", "strips", "one strip"])
def test_planes_one_after_the_other(tmp_path, layout):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", **LAYOUTS[layout])
    check_parts(path)


def test_a_page_for_each_band_in_ome_tiff(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, RGB.transpose(2, 0, 1)[:2], photometric="minisblack", metadata={"axes": "CYX"}, ome=True)
    check_parts(path)


def with_one_page(path):
    """Cut the chain of pages after the first, as ImageJ writes files beyond 4 GB."""
    with tifffile.TiffFile(path) as tiff:
        order, first, count = tiff.byteorder, tiff.pages[0].offset, len(tiff.pages[0].tags)
    with path.open("r+b") as file:
        file.seek(first + 2 + 12 * count)
        file.write(struct.pack(order + "I", 0))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_imagej_states_the_first_channel_alone(tmp_path, kind):
    pixels = RGB.transpose(2, 0, 1).astype(kind) * kind(1 if kind == np.uint8 else 200)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": "CYX"})
    with_one_page(tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert len(tiff.pages) == 1
    assert open_windows(tmp_path / "a.tif").channels == 3
    check_parts(tmp_path / "a.tif")


def test_the_first_of_many_pages_alone_in_a_file_that_is_cut(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(RGB.transpose(2, 0, 1), photometric="minisblack", metadata={"axes": "CYX"}, truncate=True)
    check_parts(tmp_path / "a.tif")
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:-9])
    with pytest.raises(FormatError, match=r"a.tif: the TIFF file is cut short \(its data reach beyond"):
        open_windows(tmp_path / "a.tif")


@pytest.mark.parametrize("height", [300, 101])  # more than the bands that pages could be, and as many
def test_bands_last_in_a_page_for_each_row(tmp_path, height):
    pixels = RGB[:height]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig=None)
    whole, found = read_image(tmp_path / "a.tif").pixels, open_windows(tmp_path / "a.tif")
    assert np.array_equal(whole, pixels)
    assert found.hw == (height, 500)
    assert np.array_equal(found.read(slice(20, 90), slice(100, 400)), pixels[20:90, 100:400])
    found.close()


def test_compressed_rows_as_pages_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="minisblack", planarconfig=None, compression="zlib")
    with pytest.raises(FormatError, match=r"a.tif: .* in pages of \(500, 3\), compressed or apart; .* Write it again"):
        open_windows(tmp_path / "a.tif")


def test_an_ome_tiff_of_a_file_for_each_band(tmp_path):
    for compression in (None, "zlib"):
        uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{k}" for k in range(2)]
        planes = "".join(
            f'<TiffData FirstC="{k}" IFD="0"><UUID FileName="{k}.ome.tif">{uuids[k]}</UUID></TiffData>' for k in range(2)
        )
        channels = "".join(f'<Channel ID="Channel:0:{k}" SamplesPerPixel="1"/>' for k in range(2))
        for k in range(2):
            xml = (
                f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuids[k]}">'
                f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="500" SizeY="300" '
                f'SizeC="2" SizeZ="1" SizeT="1">{channels}{planes}</Pixels></Image></OME>'
            )
            tifffile.imwrite(
                tmp_path / f"{k}.ome.tif", RGB[..., k], photometric="minisblack", compression=compression, metadata=None,
                description=xml,
            )  # fmt: skip
        check_parts(tmp_path / "0.ome.tif")
        found = open_windows(tmp_path / "0.ome.tif")
        assert np.array_equal(found.read(*WINDOWS[1]), RGB[WINDOWS[1]][..., :2])
        found.close()


def test_bits_that_are_stored_the_other_way_round(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.tif", tiffinfo={266: 2})
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert (tiff.pages[0].fillorder, tiff.pages[0].compression) == (2, 1)
    check_parts(tmp_path / "a.tif")


def test_the_number_of_a_palette_that_is_void(tmp_path):
    colours = np.random.default_rng(1).integers(0, 65536, (3, 256), np.uint16)
    tags = [(33550, 12, 3, (2.0, 2.0, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 500.0, 900.0, 0.0), True)]
    tifffile.imwrite(
        tmp_path / "p.tif", RGB[..., 0], photometric="palette", colormap=colours, tile=(64, 64),
        extratags=[*tags, (42113, 2, 0, "7", True)],
    )  # fmt: skip
    whole, found = read_image(tmp_path / "p.tif"), open_windows(tmp_path / "p.tif")
    assert (found.nodata, found.covers) == (None, True)
    measured = Measured(found)
    for rows, cols in WINDOWS[:2]:
        assert np.array_equal(found.covered(rows, cols), RGB[rows, cols, 0] != 7)
        pixels, missing = measured.read(rows, cols)
        assert np.array_equal(missing, RGB[rows, cols, 0] == 7)
        assert np.array_equal(pixels, whole.pixels[rows, cols])
    assert np.array_equal(whole.missing, RGB[..., 0] == 7)
    found.close()


def test_palette_alpha_and_white_as_zero(tmp_path):
    colours = np.random.default_rng(1).integers(0, 65536, (3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "p.tif", RGB[..., 0], photometric="palette", colormap=colours, tile=(64, 64))
    tifffile.imwrite(
        tmp_path / "a.tif", np.dstack([RGB, RGB[..., 0]]), photometric="rgb", extrasamples=["unassalpha"], tile=(64, 64)
    )
    tifffile.imwrite(tmp_path / "w.tif", RGB[..., 0], photometric="miniswhite", compression="zlib")
    for name in "paw":
        check_parts(tmp_path / f"{name}.tif")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("order", ["yx", "yxc", "cyx"])
def test_zarr_arrays(tmp_path, version, order):
    pixels = {"yx": RGB[..., 0], "yxc": RGB, "cyx": RGB.transpose(2, 0, 1)}[order]
    zarr.save_array(str(tmp_path / "a.zarr"), pixels, zarr_format=version)
    found = open_windows(tmp_path / "a.zarr")
    expected = RGB[..., :1] if order == "yx" else RGB
    assert (found.hw, found.channels) == ((300, 500), expected.shape[2])
    rows, cols = WINDOWS[1]
    assert np.array_equal(found.read(rows, cols), expected[rows, cols])


@pytest.mark.parametrize("chunks", [(512, 512, 3), (1400, 200, 1), (600, 1300, 3)])
def test_a_large_chunk_of_zarr_is_decoded_once_for_its_neighbours(tmp_path, monkeypatch, chunks):
    pixels = np.random.default_rng(0).integers(0, 256, (1400, 1300, 3), np.uint8)
    zarr.create_array(str(tmp_path / "a.zarr"), shape=pixels.shape, chunks=chunks, dtype="uint8")[:] = pixels
    found, read = open_windows(tmp_path / "a.zarr"), []
    real = found._read
    monkeypatch.setattr(found, "_read", lambda rows, cols: read.append((rows.start, cols.start)) or real(rows, cols))
    for top in (0, 300, 700):
        for left in (0, 290, 800):
            rows, cols = slice(top, top + 600), slice(left, left + 500)
            assert np.array_equal(found.read(rows, cols), pixels[rows, cols])
    assert len(read) == len(set(read)) == -(-1300 // chunks[0]) * -(-1300 // chunks[1])


def test_the_largest_level_of_an_ome_zarr(tmp_path):
    group = zarr.open_group(str(tmp_path / "o.zarr"), mode="w", zarr_format=2)
    group.create_array("0", data=RGB.transpose(2, 0, 1)[None, :, None])
    axes = [{"name": name} for name in "tczyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}, {"path": "1"}]}]
    assert np.array_equal(open_windows(tmp_path / "o.zarr").read(slice(0, 9), slice(3, 9)), RGB[:9, 3:9])


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("axes", "pixels"),
    [
        (("y", "x"), RGB[..., 0]),
        (("x", "y"), RGB[..., 0].T),
        (("Band", "X", "Y"), RGB.transpose(2, 1, 0)),
        (("lat", "channel", "lon"), RGB.transpose(0, 2, 1)),
        (("time", "y", "x", "bands"), RGB[None]),
        (("y", "x", "rgb"), RGB),
        (("wavelength", "y", "x"), RGB.transpose(2, 0, 1)),
        (("y", "x", "c"), np.tile(RGB, 6)),  # 18 bands: more than an axis without a name may have
        ((None, "rows"), RGB[..., 0]),
    ],
)
def test_axes_of_zarr_that_have_names(tmp_path, version, axes, pixels):
    named = {"dimension_names": axes} if version == 3 else {"attributes": {"_ARRAY_DIMENSIONS": axes}}
    how = {"shape": pixels.shape, "chunks": tuple(min(n, 70) for n in pixels.shape), "dtype": "uint8", "zarr_format": version}
    zarr.create_array(str(tmp_path / "a.zarr"), **how, **named)[:] = pixels
    found = open_windows(tmp_path / "a.zarr")
    expected = RGB[..., :1] if pixels.ndim == 2 else pixels if pixels.shape[2] == 18 else RGB
    assert (found.hw, found.channels) == ((300, 500), expected.shape[2])
    for rows, cols in WINDOWS:
        assert np.array_equal(found.read(rows, cols), expected[rows, cols])


def test_a_named_stack_of_zarr_is_not_taken_for_bands(tmp_path):
    array = zarr.create_array(str(tmp_path / "a.zarr"), shape=(3, 30, 40), dtype="uint8", dimension_names=("time", "y", "x"))
    array[:] = 1
    with pytest.raises(FormatError, match=r"the shape \(3, 30, 40\) \(axes time, y, x\); expected \(Y, X\)"):
        open_windows(tmp_path / "a.zarr")


def test_zarr_of_another_shape(tmp_path):
    zarr.save_array(str(tmp_path / "a.zarr"), np.zeros((2, 3, 30, 40), np.uint8))
    with pytest.raises(FormatError, match=r"has the shape \(2, 3, 30, 40\); expected \(Y, X\)"):
        open_windows(tmp_path / "a.zarr")
    zarr.open_group(str(tmp_path / "g.zarr"), mode="w")
    with pytest.raises(FormatError, match=r"^\S*g\.zarr: the zarr folder holds no array and no OME-Zarr image; give"):
        open_windows(tmp_path / "g.zarr")


def test_a_strip_is_decoded_once_for_a_row_of_windows(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", rowsperstrip=50, compression="zlib")
    monkeypatch.setattr("maskwright.io.pieces.KEPT_BYTES", 0)
    found = open_windows(tmp_path / "a.tif")
    decoded, decode = [], found._page.decode
    monkeypatch.setattr(found._page, "decode", lambda data, index, **more: decoded.append(index) or decode(data, index, **more))
    found._samples._pieces.clear()
    for left in range(0, 500, 100):
        found.read(slice(60, 160), slice(left, left + 100))
    assert decoded == [1, 2, 3]  # rows 50 to 200


def test_nodata_and_georeference_are_known(tmp_path):
    tags = [
        (33550, 12, 3, (2.0, 2.0, 0.0), True),
        (33922, 12, 6, (0.0, 0.0, 0.0, 500.0, 900.0, 0.0), True),
        (42113, 2, 0, "7", True),
    ]
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", extratags=tags)
    found = open_windows(tmp_path / "a.tif")
    assert (found.voids, found.nodata) == (True, 7)
    assert found.place == read_image(tmp_path / "a.tif").georeference
    assert "no coordinate reference system" in found.remarks[0]


@pytest.mark.parametrize("packed", ["jpeg", "deflate"])
@pytest.mark.parametrize("tiled", [True, False])
def test_the_mask_page_says_where_there_is_a_picture(tmp_path, packed, tiled):
    rasterio = pytest.importorskip("rasterio")
    there = np.ones(RGB.shape[:2], bool)
    there[40:200, 90:] = False
    how = {"compress": packed, "crs": "EPSG:32632", "transform": rasterio.Affine(2.0, 0, 500, 0, -2.0, 900), "photometric": "rgb"}
    how |= {"tiled": True, "blockxsize": 64, "blockysize": 64} if tiled else {}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(tmp_path / "a.tif", "w", "GTiff", 500, 300, 3, dtype="uint8", **how) as file,
    ):
        file.write(RGB.transpose(2, 0, 1))
        file.write_mask(there)
    found = open_windows(tmp_path / "a.tif")
    assert found.covers
    assert found.remarks == ()
    for rows, cols in WINDOWS:
        assert np.array_equal(found.covered(rows, cols), there[rows, cols])
    found.close()


def test_a_file_that_is_cut_short(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", tile=(64, 64))
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:100_000])
    with pytest.raises(FormatError, match=r"a.tif: the TIFF file is cut short"):
        open_windows(tmp_path / "a.tif")


def claiming(path, **kw):
    """A TIFF file of 16 x 16 pixels whose header claims a million each way."""
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), photometric="minisblack", **kw)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for name in ("ImageWidth", "ImageLength"):
            tiff.pages[0].tags[name].overwrite(1_000_000, dtype=4)


@pytest.mark.parametrize("kw", [{}, {"tile": (16, 16)}, {"compression": "zlib"}, {"tile": (16, 16), "compression": "zlib"}])
def test_a_million_pixels_each_way_that_are_not_there(tmp_path, kw):
    claiming(tmp_path / "a.tif", **kw)
    with pytest.raises(FormatError, match=r"claims 1000000x1000000 pixels|cut short or damaged"):
        open_windows(tmp_path / "a.tif")


def test_what_is_stored_turned_or_as_a_stack(tmp_path):
    tifffile.imwrite(tmp_path / "t.tif", RGB, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    with pytest.raises(FormatError, match="stored turned"):
        open_windows(tmp_path / "t.tif")
    tifffile.imwrite(tmp_path / "s.tif", np.zeros((2, 5, 64, 64), np.uint8), photometric="minisblack")
    with pytest.raises(FormatError, match="holds a stack"):
        open_windows(tmp_path / "s.tif")


def test_values_that_are_no_pixels_are_not_called_damage(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB[..., 0].astype(np.uint64), photometric="minisblack")
    with pytest.raises(InputError, match=r"^\S*a\.tif: values of the type uint64 cannot be used as pixels"):
        open_windows(tmp_path / "a.tif")


def test_other_files_have_no_windows(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"\xff\xd8\xff\xe0 a jpeg")
    assert not has_windows(tmp_path / "a.tif")
    with pytest.raises(FormatError, match="cannot be read by windows"):
        open_windows(tmp_path / "a.tif")
    with pytest.raises((FormatError, InputError)):
        open_windows(tmp_path / "none.tif")
