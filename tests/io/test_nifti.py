"""NIfTI volumes: slices as shown, channels, scaling, and masks in exactly the geometry of their source."""

from __future__ import annotations

import gzip
import sys

import nibabel
import numpy as np
import pytest

from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError, MissingExtraError
from maskwright.io.masks import read_labels
from maskwright.io.nifti import NiftiVolume
from maskwright.io.read import read_image
from maskwright.io.volumes import open_volume

CLASSES = ClassMap((0, 3, 700), ("background", "edema", "core"))
LPS = np.diag([-1.0, -2.0, 3.0, 1.0])  # first axis to the left, second to the back, third to the head


def write(path, array, affine=LPS, kind=nibabel.Nifti1Image, **fields):
    image = kind(array, affine, dtype=array.dtype)
    for key, value in fields.items():
        image.header[key] = value
    image.to_filename(path)
    return path


def counted(*shape, dtype=np.int16):
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape, order="F")


def test_slices_of_a_volume_stored_as_dicom_lies_are_only_transposed(tmp_path):
    array = counted(2, 3, 4)
    volume = NiftiVolume(write(tmp_path / "a.nii.gz", array))
    assert (len(volume), volume.hw, volume.spacing_mm, volume.voxel_ml) == (4, (3, 2), (3, 2, 1), 0.006)
    assert np.array_equal(volume.decoded(1).pixels[..., 0], array[:, :, 1].T)
    image = read_image(tmp_path / "a.nii.gz" / "slice-001")
    assert np.array_equal(image.pixels[..., 0], array[:, :, 1].T)
    assert (image.name, image.spacing_mm, image.statistics.mean) == ("slice-001", (2, 1), 11.5)


@pytest.mark.parametrize("code", ["RAS", "LAS", "SPL", "ILA", "PSR"])
@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_the_same_head_gives_the_same_slices_however_it_is_stored(tmp_path, code, axis):
    head = nibabel.Nifti1Image(counted(2, 3, 4), LPS)
    turned = head.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.io_orientation(LPS), nibabel.orientations.axcodes2ornt(code))
    )
    turned.to_filename(tmp_path / "turned.nii")
    head.to_filename(tmp_path / "head.nii")
    one, other = NiftiVolume(tmp_path / "head.nii", axis), NiftiVolume(tmp_path / "turned.nii", axis)
    found = sorted(other.decoded(k).pixels.tobytes() for k in range(len(other)))
    assert found == sorted(one.decoded(k).pixels.tobytes() for k in range(len(one)))
    assert (one.hw, one.spacing_mm) == (other.hw, other.spacing_mm)


def test_coronal_and_sagittal_slices_stand_upright(tmp_path):
    path = write(tmp_path / "a.nii", counted(2, 3, 4))
    coronal, sagittal = NiftiVolume(path, "coronal"), NiftiVolume(path, "sagittal")
    head, left = 3, 1  # last index of the axis to the head, of the axis to the left
    assert coronal.decoded(0).pixels[0, 1, 0] == counted(2, 3, 4)[left, 0, head]  # top right: head, left
    assert sagittal.decoded(0).pixels[0, 2, 0] == counted(2, 3, 4)[0, 2, head]  # top right: head, back


def test_the_axis_is_that_of_the_thickest_slices(tmp_path):
    thick_first = write(tmp_path / "a.nii", counted(4, 5, 6), np.diag([5.0, 1, 1, 1]))
    assert len(NiftiVolume(thick_first)) == 4
    assert len(NiftiVolume(thick_first, "2")) == 6
    cube = write(tmp_path / "b.nii", counted(4, 5, 6), np.eye(4))
    assert len(NiftiVolume(cube)) == 6
    with pytest.raises(InputError, match=r"--slice-axis 'z': expected one of auto, sagittal, coronal, axial, 0, 1, 2"):
        NiftiVolume(cube, "z")


def test_without_an_orientation_it_is_shown_as_stored(tmp_path):
    path = write(tmp_path / "a.nii", counted(2, 3, 4), None)
    assert np.array_equal(NiftiVolume(path).decoded(2).pixels[..., 0], counted(2, 3, 4)[:, :, 2].T)
    with pytest.raises(InputError, match=r"a\.nii: states no orientation, so axial is not known; give the number"):
        NiftiVolume(path, "axial")


@pytest.mark.parametrize("code", ["LPS", "RAS", "SAR"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_mask_has_the_geometry_of_its_source_to_the_bit(tmp_path, code, kind, suffix):
    oblique = LPS.copy()
    oblique[:3, :3] = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]) @ oblique[:3, :3]
    oblique[:3, 3] = 0.1, 20, -33
    source = kind(counted(3, 4, 5, dtype=np.float32), oblique)
    source = source.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.io_orientation(oblique), nibabel.orientations.axcodes2ornt(code))
    )
    source.set_qform(source.affine, 1)
    source.set_sform(source.affine, 4)
    source.header.set_xyzt_units("micron", "sec")
    source.header["descrip"] = b"of patient X"
    source.to_filename(tmp_path / f"a{suffix}")
    volume = NiftiVolume(tmp_path / f"a{suffix}")
    # The mask that marks where the source is above 30, slice by slice as shown.
    labels = np.stack([np.where(volume.decoded(k).pixels[..., 0] > 30, 700, 0) for k in range(len(volume))])
    volume.save_labels(tmp_path / f"m{suffix}", labels, CLASSES)
    found = nibabel.load(tmp_path / f"m{suffix}")
    stored = nibabel.load(tmp_path / f"a{suffix}")
    assert np.array_equal(np.asanyarray(found.dataobj), np.where(np.asanyarray(stored.dataobj) > 30, 700, 0))
    assert (found.get_data_dtype(), type(found)) == (np.uint16, kind)
    same = ["pixdim", "qform_code", "sform_code", "quatern_b", "qoffset_x", "srow_x", "srow_y", "srow_z", "xyzt_units", "dim"]
    assert [key for key in same if not np.array_equal(found.header[key], stored.header[key])] == []
    assert found.header["descrip"].item() == b"maskwright: class ids"
    assert volume.spacing_mm[0] == pytest.approx(0.003)  # in millimetres
    assert np.array_equal(read_labels(tmp_path / f"m{suffix}" / "slice-000", CLASSES).labels, labels[0])


def test_channels_and_flat_files(tmp_path):
    path = write(tmp_path / "a.nii.gz", counted(2, 3, 4, 5))
    volume = NiftiVolume(path)
    assert volume.decoded(1).pixels.shape == (3, 2, 5)
    volume.save_labels(tmp_path / "m.nii.gz", np.zeros((4, 3, 2), np.uint8), CLASSES)
    assert nibabel.load(tmp_path / "m.nii.gz").shape == (2, 3, 4)
    flat = read_image(write(tmp_path / "flat.nii", counted(4, 6)))
    assert (flat.hw, flat.container) == ((6, 4), "nifti")
    vector = NiftiVolume(write(tmp_path / "v.nii", counted(2, 3, 4, 1, 3)))
    assert vector.decoded(0).pixels.shape == (3, 2, 3)
    with pytest.raises(FormatError, match=r"t\.nii: a volume of the shape \(2, 3, 4, 17\); a fourth axis is taken as channels"):
        NiftiVolume(write(tmp_path / "t.nii", counted(2, 3, 4, 17))).decoded(0)


def test_numbered_files_are_channels(tmp_path):
    for k in range(3):
        write(tmp_path / f"case_{k:04d}.nii.gz", counted(2, 3, 4) + k)
    volume = open_volume(tmp_path / "case_0000.nii.gz")
    assert volume.name == "case"
    assert volume.decoded(0).pixels[0, 0].tolist() == [0, 1, 2]
    volume.save_labels(tmp_path / "case.nii.gz", np.zeros((4, 3, 2), np.uint8), CLASSES)
    write(tmp_path / "case_0001.nii.gz", counted(2, 3, 4), np.eye(4))
    with pytest.raises(InputError, match=r"case_0001\.nii\.gz: lies elsewhere than case_0000\.nii\.gz"):
        open_volume(tmp_path / "case_0000.nii.gz")


def scaled(path, array, slope, inter):
    image = nibabel.Nifti1Image(array, LPS)
    image.header.set_slope_inter(slope, inter)
    nibabel.Nifti1Image.to_filename(image, path)
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([slope, inter], "<f4").tobytes()  # scl_slope, scl_inter; nibabel would choose its own
    raw[352:] = array.tobytes("F")
    path.write_bytes(raw)
    return path


def test_slope_and_intercept(tmp_path):
    array = counted(2, 3, 2)
    broken = NiftiVolume(scaled(tmp_path / "a.nii", array, 0.5, -1)).decoded(0).pixels
    assert (broken.dtype, broken[0, 1, 0]) == (np.float32, -0.5)
    whole = NiftiVolume(scaled(tmp_path / "b.nii", array, 2, -1000)).decoded(0).pixels
    assert (whole.dtype, whole[0, 1, 0]) == (np.int32, -998)
    noise = NiftiVolume(scaled(tmp_path / "c.nii", array, 0.99999997, 0)).decoded(0).pixels
    assert noise[0, 1, 0] == 1


def test_the_range_is_that_of_the_stored_type_scaled(tmp_path):
    array = counted(2, 3, 2, dtype=np.uint8)
    assert NiftiVolume(write(tmp_path / "plain.nii", array)).image(0).value_range == (0, 255)
    assert NiftiVolume(scaled(tmp_path / "a.nii", array, 2, -10)).image(0).value_range == (-10, 500)  # 0 and 255, scaled
    assert NiftiVolume(scaled(tmp_path / "b.nii", array, -2, 0)).image(0).value_range == (-510, 0)
    assert NiftiVolume(write(tmp_path / "c.nii", array.astype(np.int8))).image(0).value_range == (-128, 127)
    wide = write(tmp_path / "d.nii", array.astype(np.int64))
    assert NiftiVolume(wide).image(0).value_range == (-(2**31), 2**31 - 1)


def test_channels_share_a_range_that_holds_each(tmp_path):
    array = counted(2, 3, 2, dtype=np.uint8)
    write(tmp_path / "case_0000.nii", array)
    scaled(tmp_path / "case_0001.nii", array, 2, -10)
    assert open_volume(tmp_path / "case_0000.nii").image(0).value_range == (-10, 500)
    write(tmp_path / "case_0001.nii", array.astype(np.float32) - 3)  # 0 to 11 and -3 to 8, measured
    assert open_volume(tmp_path / "case_0000.nii").image(0).value_range == (-3, 11)


def test_tiny_slopes_are_no_zeros(tmp_path):
    found = NiftiVolume(scaled(tmp_path / "a.nii", counted(2, 3, 2), 4.6e-8, 1e-7)).decoded(0).pixels
    assert found.dtype == np.float32
    assert found[0, 1, 0] == pytest.approx(4.6e-8 + 1e-7, rel=1e-5)


def test_wide_whole_numbers(tmp_path):
    assert NiftiVolume(write(tmp_path / "a.nii", counted(2, 3, 2, dtype=np.uint64))).decoded(0).pixels.dtype == np.int32
    with pytest.raises(FormatError, match="whole numbers beyond 32 bits"):
        NiftiVolume(write(tmp_path / "b.nii", counted(2, 3, 2, dtype=np.uint64) + 2**40)).decoded(0)


def test_floats_have_the_range_of_the_volume(tmp_path):
    array = counted(2, 3, 4, dtype=np.float32) - 5
    array[0, 0, 0] = np.nan
    volume = NiftiVolume(write(tmp_path / "a.nii", array, cal_min=-2, cal_max=9))
    assert volume.image(3).value_range == (-4, 18)
    assert volume.image(3).window == (-2, 9)
    parts = NiftiVolume(write(tmp_path / "b.nii", array / 100 + 0.1))
    assert parts.image(0).value_range == (0, 1)
    with pytest.raises(InputError, match="no value of the volume is finite"):
        NiftiVolume(write(tmp_path / "c.nii", array * np.nan)).image(0)


def test_what_is_no_volume(tmp_path):
    path = write(tmp_path / "a.nii.gz", counted(20, 30, 4))
    with pytest.raises(FormatError, match=r"a\.nii\.gz: a volume of 4 slices; expected one image.*a\.nii\.gz/slice-000"):
        read_image(path)
    (tmp_path / "cut.nii.gz").write_bytes(path.read_bytes()[:-900])
    with pytest.raises(FormatError, match=r"cut\.nii\.gz: the NIfTI file is cut short or damaged"):
        NiftiVolume(tmp_path / "cut.nii.gz").decoded(0)
    (tmp_path / "short.nii.gz").write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-100]))
    with pytest.raises(FormatError, match=r"100 of 5152 bytes are missing"):
        NiftiVolume(tmp_path / "short.nii.gz").decoded(0)
    plain = write(tmp_path / "b.nii", counted(20, 30, 4))
    plain.write_bytes(plain.read_bytes()[:-100])
    with pytest.raises(FormatError, match=r"b\.nii: the NIfTI file is cut short"):
        NiftiVolume(plain).decoded(0)
    (tmp_path / "text.nii").write_text("no volume")
    with pytest.raises(FormatError, match=r"text\.nii: not a NIfTI file"):
        NiftiVolume(tmp_path / "text.nii")
    with pytest.raises(InputError, match=r"none\.nii: no such file"):
        NiftiVolume(tmp_path / "none.nii")
    with pytest.raises(FormatError, match="of the type complex64"):
        NiftiVolume(write(tmp_path / "c.nii", counted(2, 3, 4).astype(np.complex64)))
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path / "gone.nii" / "slice-000")


def test_a_volume_that_changes_is_read_anew(tmp_path):
    path = write(tmp_path / "a.nii", counted(2, 3, 4))
    assert read_image(path / "slice-000").pixels[0, 0, 0] == 0
    write(path, counted(2, 3, 4) + 50)
    assert read_image(path / "slice-000").pixels[0, 0, 0] == 50


def test_without_nibabel_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'nibabel': pip install 'maskwright\[medical\]'"):
        NiftiVolume(tmp_path / "a.nii")


def test_the_truth_lies_on_the_real_tumour(shared_data):
    folder = shared_data("brain-nifti")
    flair, truth = (NiftiVolume(folder / f"{n}.nii.gz") for n in ("Flair_subtrMeanDivStd", "OTMultiClass"))
    assert flair.same_geometry(truth)
    k = max(range(len(truth)), key=lambda k: int(truth.decoded(k).pixels.astype(bool).sum()))
    picture, edema = flair.decoded(k).pixels[..., 0], truth.decoded(k).pixels[..., 0] == 2
    brain = picture > picture.min()
    assert picture[edema].mean() > picture[brain].mean() + 0.5  # edema is bright in FLAIR; flipped it would lie in healthy tissue
    assert picture[edema[:, ::-1] & brain].mean() < picture[edema].mean() - 0.5
