"""GeoTIFF in and out: the georeference stays, nodata is void, and other programs read the masks at the same place."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile

from maskwright.classes import ClassMap
from maskwright.errors import InputError, MissingExtraError
from maskwright.io import Image, geotiff, read_image, write_mask
from maskwright.io.georeference import Georeference, filled, missing_pixels
from maskwright.io.measured import Measured
from maskwright.io.windows import open_windows
from maskwright.io.write import disk_ends_it
from maskwright.result import Segmentation
from maskwright.sample import Sample

CLASSES = ClassMap((0, 1, 2), ("ground", "house", "road"))
UTM = rasterio.Affine(0.5, 0, 733601, 0, -0.5, 3725139)
ROTATED = rasterio.Affine.translation(500000, 4000000) @ rasterio.Affine.rotation(30) @ rasterio.Affine.scale(2, -3)
DEGREES = rasterio.Affine(1e-5, 0, -115.2, 0, -1e-5, 36.1)
CUSTOM = "+proj=aea +lat_0=23 +lon_0=-96 +lat_1=29.5 +lat_2=45.5 +datum=WGS84 +units=m"


def raster(path: Path, pixels: np.ndarray, transform=UTM, crs: str | None = "EPSG:32616", mask=None, **profile) -> Path:
    """pixels (C, H, W) as GeoTIFF, written by rasterio."""
    bands, h, w = pixels.shape
    given = {
        "driver": "GTiff",
        "count": bands,
        "height": h,
        "width": w,
        "dtype": pixels.dtype,
        "transform": transform,
        "crs": crs,
    }
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **(given | profile)) as file:
        file.write(pixels)
        if mask is not None:
            file.write_mask(mask)
    return path


def drawn(dtype: str = "uint8", bands: int = 3) -> np.ndarray:
    return np.arange(bands * 6 * 8).reshape(bands, 6, 8).astype(dtype)


@pytest.mark.parametrize("container", ["tiff", "cog"])
@pytest.mark.parametrize(
    ("transform", "crs"), [(UTM, "EPSG:32616"), (ROTATED, "EPSG:32633"), (DEGREES, "EPSG:4326"), (UTM, CUSTOM)],
    ids=["utm", "rotated", "degrees", "custom"],
)  # fmt: skip
def test_a_mask_lies_where_its_image_does(tmp_path, transform, crs, container):
    image = read_image(raster(tmp_path / "a.tif", drawn(), transform, crs))
    labels = np.arange(48).reshape(6, 8) % 3
    write_mask(tmp_path / "m.tif", labels, CLASSES, container, image.georeference)
    with rasterio.open(tmp_path / "a.tif") as before, rasterio.open(tmp_path / "m.tif") as after:
        assert after.crs == before.crs
        assert after.transform.almost_equals(before.transform, 1e-12)
        assert after.nodata == 255
        assert (after.read(1) == labels).all()
        assert after.colormap(1)[1][:3] == CLASSES.colours[1]


def test_a_cog_has_overviews_of_whole_ids(tmp_path):
    image = read_image(raster(tmp_path / "a.tif", drawn()))
    labels = np.where(np.arange(1200)[:, None] < 700, 2, 0) * np.ones((1, 1100), int)
    write_mask(tmp_path / "m.tif", labels, CLASSES, "cog", image.georeference)
    with rasterio.open(tmp_path / "m.tif") as file:
        assert file.overviews(1) == [2, 4]
        assert set(np.unique(file.read(1, out_shape=(300, 275)))) == {0, 2}
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_a_disk_that_is_full_leaves_no_cog(tmp_path, monkeypatch):
    image = read_image(raster(tmp_path / "a.tif", drawn()))
    write_mask(tmp_path / "m.tif", np.ones((6, 8), int), CLASSES, "cog", image.georeference)
    before = (tmp_path / "m.tif").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"m\.tif: cannot be written, the disk is full .*kept as it was") as raised:
        write_mask(tmp_path / "m.tif", np.zeros((6, 8), int), CLASSES, "cog", image.georeference)
    assert disk_ends_it(raised.value)
    assert (tmp_path / "m.tif").read_bytes() == before


def test_the_transform_is_that_of_rasterio(tmp_path):
    for name, transform in {"utm": UTM, "rotated": ROTATED, "degrees": DEGREES}.items():
        path = raster(tmp_path / f"{name}.tif", drawn(), transform)
        place = read_image(path).georeference
        assert place is not None
        with rasterio.open(path) as file:
            assert np.allclose(place.transform, tuple(file.transform)[:6], rtol=0, atol=1e-9)
        points = np.array([[0.0, 0.0], [3.5, 2.0]])
        assert np.allclose(place.to_map(points)[1], transform @ (3.5, 2.0))
        assert np.allclose(place.to_pixels(place.to_map(points)), points, atol=1e-5)
        assert np.allclose(place.moved((3, 2)).to_map(points[:1]), place.to_map(np.array([[3, 2]])))


def test_pixel_is_point_is_shifted_by_half_a_pixel(tmp_path):
    path = raster(tmp_path / "a.tif", drawn())
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    place = read_image(path).georeference
    with rasterio.open(path) as file:
        assert place is not None
        assert place.transform == pytest.approx(tuple(file.transform)[:6])


@pytest.mark.parametrize("scale", [(0.5, 0.25, 0), (0.5, -0.25, 0)], ids=["south", "negative"])
@pytest.mark.parametrize("more", [(), (8, 6, 0, 733605, 3725137.5, 0)], ids=["one tie point", "two"])
def test_a_scale_and_tie_points_are_read_as_gdal_reads_them(tmp_path, scale, more):
    ties = (2, 1, 0, 733602, 3725138.75, 0, *more)
    tags = [(33550, 12, 3, scale, True), (33922, 12, len(ties), ties, True)]
    tifffile.imwrite(tmp_path / "a.tif", drawn()[0], photometric="minisblack", extratags=tags)
    place = read_image(tmp_path / "a.tif").georeference
    with rasterio.open(tmp_path / "a.tif") as file:
        assert place is not None
        assert place.transform == pytest.approx(tuple(file.transform)[:6])
    assert place.transform == (0.5, 0, 733601, 0, -0.25, 3725139)  # pixel (2, 1) is 1 m east and 0.25 m south of the corner


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_nodata_is_filled_with_the_mean_of_its_band_and_void_in_answers(tmp_path, dtype):
    pixels = drawn(dtype)
    pixels[:, 0, 0] = 250
    pixels[1, 0, 1] = 250  # one band alone: filled, but still a measured pixel
    image = read_image(raster(tmp_path / "a.tif", pixels, nodata=250))
    assert image.missing is not None
    assert np.argwhere(image.missing).tolist() == [[0, 0]]
    # Band 0 holds 1..47 beside the hole: mean 24. Band 1 holds 50..95: mean 72.5, which numpy rounds to 72.
    expected = 72.5 if dtype == "float32" else 72
    assert image.pixels[0, 0, 0] == 24
    assert image.pixels[0, 0, 1] == image.pixels[0, 1, 1] == expected
    labels = np.ones((6, 8), np.uint8)
    found = Segmentation(labels, CLASSES, image)
    assert found.areas()["house"] == 47
    assert found.labels[0, 0] == 255
    assert Sample(image, labels, CLASSES, "a").ignored_px == 1
    (path,) = found.save(tmp_path / "out")
    with rasterio.open(path) as file:
        assert (file.dataset_mask() == 0).sum() == 1


@pytest.mark.parametrize(("void", "bits"), [(0, 8), (250, 8), (1, 1)])
def test_nodata_is_a_stored_value_where_white_is_zero(tmp_path, void, bits):
    stored = np.where(np.arange(48).reshape(1, 6, 8) % 5 == 2, void, 1 - void if bits == 1 else drawn(bands=1) + 20)
    how = {"photometric": "MINISWHITE", "nodata": void} | ({"nbits": 1} if bits == 1 else {})
    path = raster(tmp_path / "a.tif", stored.astype(np.uint8), **how)
    image, windows = read_image(path), open_windows(path)
    assert np.array_equal(image.missing, stored[0] == void)
    pixels, missing = Measured(windows).read(slice(0, 6), slice(0, 8))
    assert np.array_equal(missing, stored[0] == void)
    assert np.array_equal(pixels, image.pixels)
    assert np.array_equal(pixels[~missing][:, 0], (1 << bits) - 1 - stored[0][~missing])
    assert windows.place == image.georeference
    windows.close()


def test_nan_is_no_measurement(tmp_path):
    pixels = drawn("float32", 1)
    pixels[0, 2, 3] = np.nan
    image = read_image(raster(tmp_path / "a.tif", pixels))
    assert image.missing is not None
    assert image.missing.sum() == 1
    assert np.isfinite(image.pixels).all()
    assert image.value_range == (0.0, 47.0)


def test_masks_in_the_file_and_transparent_bands_are_void(tmp_path):
    seen = np.full((6, 8), 255, np.uint8)
    seen[5] = 0
    inside = read_image(raster(tmp_path / "a.tif", drawn(), mask=seen))
    alpha = read_image(raster(tmp_path / "b.tif", np.concatenate([drawn(), seen[None]]), photometric="RGB", ALPHA="YES"))
    for image in (inside, alpha):
        assert image.channels == 3
        assert image.missing is not None
        assert (image.missing == (seen == 0)).all()


def both_ways(path: Path) -> tuple[Image, np.ndarray]:
    """The image, and which of its pixels windows find missing; their pixels and remarks are the same."""
    image, windows = read_image(path), open_windows(path)
    pixels, missing = Measured(windows).read(slice(0, 6), slice(0, 8))
    assert np.array_equal(pixels, image.pixels)
    assert windows.place == image.georeference
    assert windows.remarks == image.remarks
    windows.close()
    return image, np.zeros((6, 8), bool) if missing is None else missing


@pytest.mark.parametrize("bands", [3, 4])
def test_a_mask_file_beside_the_image_is_void(tmp_path, bands):
    seen = np.full((6, 8), 255, np.uint8)
    seen[4:, 1:] = 0
    path = raster(tmp_path / "a.tif", drawn(bands=bands), photometric="RGB")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(seen)
    assert (tmp_path / "a.tif.msk").is_file()
    image, missing = both_ways(path)
    assert image.remarks == ()
    assert np.array_equal(image.missing, seen == 0)
    assert np.array_equal(missing, seen == 0)


@pytest.mark.parametrize("what", ["cut", "another size", "no TIFF", "three bands"])
def test_a_mask_file_of_no_use_is_said(tmp_path, what):
    path, beside = raster(tmp_path / "a.tif", drawn()), tmp_path / "a.tif.msk"
    tifffile.imwrite(beside, {"another size": drawn()[0, :5], "three bands": drawn().transpose(1, 2, 0)}.get(what, drawn()[0]))
    beside.write_bytes({"cut": beside.read_bytes()[:-1], "no TIFF": b"what?"}.get(what, beside.read_bytes()))
    image, missing = both_ways(path)
    assert not missing.any()
    assert "a mask file beside it (.msk) that is damaged, or not one band of the image's size" in image.remarks[0]


def test_a_mask_file_of_damaged_values_does_not_damage_the_image(tmp_path):
    path, beside = raster(tmp_path / "a.tif", drawn()), tmp_path / "a.tif.msk"
    tifffile.imwrite(beside, np.random.default_rng(0).integers(0, 256, drawn()[0].shape, np.uint8), compression="zlib")
    with tifffile.TiffFile(beside) as tiff:
        at, count = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    data = bytearray(beside.read_bytes())
    data[at : at + count] = b"\xff" * count
    beside.write_bytes(data)
    image = read_image(path)
    assert image.missing is None
    assert "a mask file beside it (.msk) that is damaged" in image.remarks[0]


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_a_fourth_band_that_is_hardly_transparency_is_said(tmp_path, interleave):
    infrared = np.concatenate([drawn(), drawn(bands=1) + 40])
    path = raster(tmp_path / "a.tif", infrared, interleave=interleave)
    image, _ = both_ways(path)
    assert image.channels == 3
    assert image.remarks == (
        "states that band 4 is transparency, and it is left out; if it is a measurement, gdal_edit.py -colorinterp_4 undefined "
        "keeps it.",
    )
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [*file.colorinterp[:3], rasterio.enums.ColorInterp.undefined]
    image, _ = both_ways(path)
    assert (image.channels, image.remarks) == (4, ())


def test_transparency_with_soft_edges_is_nothing_to_say(tmp_path):
    seen = np.full((1, 6, 8), 255, np.uint8)
    seen[0, 2:] = np.array([0, 90, 170, 255])[:, None]
    image, missing = both_ways(raster(tmp_path / "a.tif", np.concatenate([drawn(), seen])))
    assert (image.channels, image.remarks) == (3, ())
    assert np.array_equal(missing, seen[0] == 0)


@pytest.mark.parametrize("name", ["a.tfw", "a.TFW", "a.tifw", "a.wld"])
def test_a_world_file_gives_the_place(tmp_path, name):
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(drawn(), 0, 2), photometric="rgb")
    a, b, c, d, e, f = tuple(ROTATED)[:6]
    (tmp_path / name).write_text("\n".join(map(repr, (a, d, b, e, c + (a + b) / 2, f + (d + e) / 2))))
    image, _ = both_ways(tmp_path / "a.tif")
    assert image.georeference.transform == pytest.approx((a, b, c, d, e, f))
    assert "states no coordinate reference system" in image.remarks[0]
    write_mask(tmp_path / "m.tif", np.zeros((6, 8), int), CLASSES, "tiff", image.georeference)
    with rasterio.open(tmp_path / "a.tif") as before, rasterio.open(tmp_path / "m.tif") as after:
        assert after.transform.almost_equals(before.transform, 1e-6)
        assert after.transform.almost_equals(ROTATED, 1e-6)


def test_the_place_of_the_file_goes_before_a_world_file_and_a_bad_one_is_said(tmp_path):
    path = raster(tmp_path / "a.tif", drawn())
    (tmp_path / "a.tfw").write_text("1 0 0 -1 7 7")
    assert both_ways(path)[0].georeference.transform == tuple(UTM)[:6]
    tifffile.imwrite(path, np.moveaxis(drawn(), 0, 2), photometric="rgb")
    for text in ("1 0 0 -1 7", "1 0 0 -1 seven 7", "0 0 0 0 7 7"):
        (tmp_path / "a.tfw").write_text(text)
        image, _ = both_ways(path)
        assert image.georeference is None
        assert "a world file beside it that does not hold the six numbers" in image.remarks[0]


def test_nodata_that_the_type_cannot_hold_marks_nothing():
    pixels = np.zeros((2, 3, 1), np.uint8)
    assert not missing_pixels(pixels, -9999.0)[0].any()
    assert not missing_pixels(pixels, 0.5)[0].any()
    assert (filled(pixels + np.uint8(7), np.ones((2, 3, 1), bool)) == 0).all()


def test_a_plain_tiff_has_no_place_and_one_without_crs_says_so(tmp_path):
    tifffile.imwrite(tmp_path / "plain.tif", drawn()[0])
    assert read_image(tmp_path / "plain.tif").georeference is None
    image = read_image(raster(tmp_path / "a.tif", drawn(), crs=None))
    assert image.georeference is not None
    assert image.georeference.crs is None
    assert "states no coordinate reference system" in image.remarks[0]


def test_control_points_alone_are_no_place(tmp_path):
    points = [
        rasterio.control.GroundControlPoint(row, col, x, y) for row, col, x, y in [(0, 0, 1, 2), (5, 0, 1, 9), (0, 7, 8, 2)]
    ]
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", count=1, height=6, width=8, dtype="uint8") as file:
        file.write(drawn()[:1])
        file.gcps = (points, rasterio.CRS.from_epsg(32616))
    image = read_image(path)
    assert image.georeference is None
    assert "control points alone" in image.remarks[0]


def test_without_rasterio_codes_are_read_and_masks_keep_projections_in_words(tmp_path, monkeypatch):
    plain, custom = raster(tmp_path / "a.tif", drawn()), raster(tmp_path / "b.tif", drawn(), crs=CUSTOM)

    def missing(purpose: str) -> None:
        raise MissingExtraError("rasterio", "geo", purpose)

    monkeypatch.setattr(geotiff, "rasterio_for", missing)
    place = read_image(plain).georeference
    assert place is not None
    assert place.crs == "EPSG:32616"
    image = read_image(custom)
    assert image.georeference is not None
    assert image.georeference.crs is None
    assert "pip install 'maskwright[geo]'" in image.remarks[0]
    write_mask(tmp_path / "m.tif", np.zeros((6, 8), int), CLASSES, "tiff", image.georeference)
    with rasterio.open(custom) as before, rasterio.open(tmp_path / "m.tif") as after:
        assert after.crs == before.crs
    with pytest.raises(MissingExtraError, match=r"cloud-optimised GeoTIFF needs the package 'rasterio'"):
        write_mask(tmp_path / "c.tif", np.zeros((6, 8), int), CLASSES, "cog", place)


def test_a_cog_without_a_place_is_refused(tmp_path):
    with pytest.raises(InputError, match="needs an image that states its place"):
        write_mask(tmp_path / "m.tif", np.zeros((6, 8), int), CLASSES, "cog")


def test_a_cog_on_a_full_disk_is_refused(tmp_path, monkeypatch):
    def full(file: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    place = read_image(raster(tmp_path / "a.tif", drawn())).georeference
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"m\.tif: cannot be written, the disk is full") as raised:
        write_mask(tmp_path / "m.tif", np.zeros((6, 8), int), CLASSES, "cog", place)
    assert disk_ends_it(raised.value)
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


def test_a_cog_in_a_projection_that_nobody_knows_is_refused(tmp_path):
    place = Georeference((0.5, 0, 100, 0, -0.5, 200), "EPSG:30000")
    with pytest.raises(
        InputError, match=r"m\.tif: cannot be written as a cloud-optimised GeoTIFF .*30000.*; write labels instead"
    ):
        write_mask(tmp_path / "m.tif", np.zeros((6, 8), int), CLASSES, "cog", place)
    assert list(tmp_path.iterdir()) == []


def test_a_cut_geotiff_is_named(tmp_path):
    path = raster(tmp_path / "a.tif", np.zeros((3, 200, 300), np.uint16))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"a\.tif: the TIFF file is cut short"):
        read_image(path)


def test_a_georeference_is_read_from_real_scenes(shared_data):
    folder = shared_data("geotiff-spacenet")
    for name in ("sample_geotiff.tif", "sample_geotiff_custom_proj.tif", "road_mask_input.tif"):
        place = read_image(folder / name).georeference
        assert isinstance(place, Georeference)
        with rasterio.open(folder / name) as file:
            assert rasterio.CRS.from_user_input(place.crs) == file.crs
            assert place.transform == pytest.approx(tuple(file.transform)[:6])
            assert place.nodata == file.nodata
