"""DICOM series to volumes: order, gaps, doubles, several series, and answers as DICOM-SEG and NIfTI."""

from __future__ import annotations

import shutil
import warnings

import highdicom
import nibabel
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, SegmentationStorage

from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError, MissingExtraError
from maskwright.io import dicom_series
from maskwright.io.dicom_seg import codes_of
from maskwright.io.read import read_image
from maskwright.io.volumes import open_volume, volumes_among
from maskwright.result import Segmentation

CLASSES = ClassMap((0, 3, 7), ("background", "liver", "thing"), ((0, 0, 0), (255, 0, 0), (0, 0, 255)))
PIXELS = np.random.default_rng(0).integers(0, 2000, (4, 5, 6)).astype(np.int16)  # not a whole number of bytes a mask: 30 bits
LABELS = np.random.default_rng(1).choice([0, 3, 7, 255], (4, 5, 6)).astype(np.uint8)


def test_slices_are_sorted_as_they_lie(tmp_path, draw_series):
    volume = open_volume(draw_series(tmp_path / "scan", PIXELS, RescaleIntercept=-1000, RescaleSlope=1))
    assert (len(volume), volume.hw, volume.spacing_mm, volume.name) == (4, (5, 6), (2.5, 0.5, 0.75), "scan")
    assert volume.voxel_ml == pytest.approx(2.5 * 0.5 * 0.75 / 1000)
    found = np.stack([image.pixels[..., 0] for image in volume.images()])
    assert np.array_equal(found, PIXELS - 1000)
    assert volume.statistics.mean == pytest.approx((PIXELS - 1000.0).mean())
    # x and y turn round: DICOM counts to the left and the back, NIfTI to the right and the front.
    assert volume.affine.tolist() == [[-0.75, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 2.5, 5], [0, 0, 0, 1]]
    assert volume.remarks == ()
    assert np.array_equal(read_image(volume.slice_path(2)).pixels[..., 0], PIXELS[2] - 1000)


def test_slices_with_slopes_of_their_own_have_one_range(tmp_path, draw_dicom):
    for k in range(3):
        draw_dicom(
            tmp_path / f"{k}.dcm", (60 * PIXELS[0] // (k + 1)).astype(np.uint16), ImagePositionPatient=[0, 0, k], Modality="PT",
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], RescaleSlope=k + 1, RescaleIntercept=0, BitsStored=16,
        )  # fmt: skip
    images = list(open_volume(tmp_path).images(measured=False))
    assert {image.value_range for image in images} == {(0, 3 * 65535)}


def test_a_slope_that_is_no_number_is_damage_of_its_file(tmp_path, draw_series, monkeypatch):
    volume = open_volume(draw_series(tmp_path / "scan", PIXELS))

    def refused(header, frame):
        if header is volume.headers[1]:
            raise ValueError("could not convert string to float: '1,0'")
        return 0.0, 1.0

    monkeypatch.setattr(dicom_series, "range_of", refused)
    with pytest.raises(FormatError, match=rf"{volume.files[1].stem}\.dcm: the DICOM file is cut short or damaged"):
        volume.decoded(0)


def test_slices_that_are_looked_up_have_the_range_of_the_volume(tmp_path, draw_dicom):
    for k, values in enumerate(([5, 50, 500], [10, 20, 30])):
        table = Dataset()
        table.LUTDescriptor, table.LUTData, table.ModalityLUTType = [3, 0, 16], np.array(values, np.uint16).tobytes(), "US"
        table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
        draw_dicom(
            tmp_path / f"{k}.dcm", np.array([[0, 1, 2]], np.uint8), ImagePositionPatient=[0, 0, k], Modality="MR",
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ModalityLUTSequence=Sequence([table]),
        )  # fmt: skip
    assert [image.value_range for image in open_volume(tmp_path).images()] == [(5, 500)] * 2


def test_an_oblique_series_runs_along_its_normal(tmp_path, draw_dicom):
    rows, columns = np.array([1.0, 0, 0]), np.array([0, 0.6, -0.8])
    normal = np.cross(rows, columns)  # (0, 0.8, 0.6)
    for k in range(3):
        draw_dicom(
            tmp_path / f"{9 - k}.dcm", PIXELS[k], ImagePositionPatient=[round(float(v), 6) for v in 4 * k * normal],
            ImageOrientationPatient=[1, 0, 0, 0, 0.6, -0.8], PixelSpacing=[1, 2],
        )  # fmt: skip
    volume = open_volume(tmp_path)
    assert np.array_equal(volume.image(2).pixels[..., 0], PIXELS[2])
    assert volume.affine[:3, 2] == pytest.approx([0, -3.2, 2.4])


def test_a_gap_is_named_and_keeps_nifti_away(tmp_path, draw_series):
    folder = draw_series(tmp_path / "scan", PIXELS)
    (folder / "IM001.dcm").unlink()  # holds the second slice
    kept = [0, 2, 3]
    volume = open_volume(folder)
    assert np.array_equal(np.stack([i.pixels[..., 0] for i in volume.images()]), PIXELS[kept])
    assert volume.remarks == ("slices are 2.5 mm apart, but 5 mm between IM002.dcm and IM000.dcm (1 such places).",)
    assert volume.spacing_mm[0] == 2.5
    with pytest.raises(InputError, match=r"scan: cannot be answered as NIfTI, which knows even steps only: slices are"):
        volume.save_nifti(tmp_path / "m.nii.gz", LABELS[:3], CLASSES)
    volume.save_labels(tmp_path / "m.dcm", LABELS[:3], CLASSES)


def test_a_slice_that_states_no_position_is_named(tmp_path, draw_series):
    folder = draw_series(tmp_path / "scan", PIXELS)
    second = dcmread(folder / "IM001.dcm")
    del second.ImagePositionPatient
    second.save_as(folder / "IM001.dcm")
    found, failed = volumes_among(sorted(folder.iterdir()))
    assert ([(v.name, len(v)) for v in found], failed) == ([("scan-1", 3), ("IM001", 1)], [])
    assert found[0].remarks == (
        "IM001.dcm states no position in the patient (1 such files in the series); it is answered alone.",
        "slices are 2.5 mm apart, but 5 mm between IM002.dcm and IM000.dcm (1 such places).",
    )
    assert found[1].remarks == ()


def test_doubles_are_named(tmp_path, draw_series, draw_dicom):
    folder = draw_series(tmp_path / "scan", PIXELS)
    shutil.copy(folder / "IM000.dcm", folder / "copy.dcm")  # the same file twice counts once
    assert len(open_volume(folder)) == 4
    again = dcmread(folder / "IM001.dcm")
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.99"
    again.save_as(folder / "later.dcm")
    with pytest.raises(FormatError, match=r"IM001\.dcm and later\.dcm: lie at one place in the patient \(1 such pairs"):
        open_volume(folder)


def test_mixed_series_are_told_apart_and_bad_ones_named(tmp_path, draw_series, draw_dicom):
    folder = draw_series(tmp_path / "mix", PIXELS)
    draw_dicom(folder / "xray.dcm", PIXELS[0], SeriesInstanceUID="9.1", Modality="DX")
    draw_dicom(folder / "seg.dcm", PIXELS[0], SOPClassUID=SegmentationStorage)
    for k, directions in enumerate(([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1])):
        draw_dicom(
            folder / f"scout{k}.dcm", PIXELS[k], SeriesInstanceUID="9.2", ImagePositionPatient=[0, 0, k],
            ImageOrientationPatient=directions,
        )  # fmt: skip
    for k in range(2):
        draw_dicom(
            folder / f"odd{k}.dcm", PIXELS[0][: 4 + k], SeriesInstanceUID="9.3", ImagePositionPatient=[0, 0, k],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        )  # fmt: skip
    (folder / "cut.dcm").write_bytes(b"DICOM it is not")
    found, failed = volumes_among(sorted(folder.iterdir()))
    assert sorted((v.name, len(v)) for v in found) == [("mix-1", 4), ("xray", 1)]
    said = " ".join(reason for _, reason in failed)
    assert "mixed orientations (scout0.dcm and scout1.dcm lie in different planes)" in said
    assert "slices of 6x4 (odd0.dcm) and of 6x5 pixels (odd1.dcm)" in said
    assert "cut.dcm: not a DICOM file" in said
    assert len(failed) == 3
    with pytest.raises(InputError, match=r"mix: holds 2 DICOM series; expected one"):
        open_volume(folder)
    (tmp_path / "none").mkdir()
    with pytest.raises(FormatError, match="no DICOM files here"):
        open_volume(tmp_path / "none")


def by_highdicom(path, volume):
    """Label map of a DICOM-SEG as highdicom reads it, in the order of the volume's slices; numbers of segments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return highdicom.seg.segread(path).get_pixels_by_source_instance(
            [h.SOPInstanceUID for h in volume.headers], combine_segments=True, assert_missing_frames_are_empty=True
        )


def test_highdicom_reads_what_was_written(tmp_path, draw_series):
    volume = open_volume(draw_series(tmp_path / "scan", PIXELS))
    volume.save_labels(tmp_path / "m.dcm", LABELS, CLASSES)
    found = by_highdicom(tmp_path / "m.dcm", volume)
    assert np.array_equal(found, np.select([LABELS == 3, LABELS == 7], [1, 2]))
    file = dcmread(tmp_path / "m.dcm")
    assert [s.SegmentLabel for s in file.SegmentSequence] == ["liver", "thing"]
    assert {s.SegmentAlgorithmType for s in file.SegmentSequence} == {"AUTOMATIC"}
    assert [s.SegmentedPropertyTypeCodeSequence[0].CodeValue for s in file.SegmentSequence] == ["10200004", "85756007"]
    red = file.SegmentSequence[0].RecommendedDisplayCIELabValue
    assert red == pytest.approx([34843, 53430, 50171], rel=0.01)  # L 53.2, a 80.1, b 67.2 in 0..100 and -128..127
    source = volume.headers[0]
    same = ["PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"]
    assert [key for key in same if file[key].value != source[key].value] == []
    assert file.SeriesInstanceUID != source.SeriesInstanceUID
    referred = {i.ReferencedSOPInstanceUID for i in file.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referred == {h.SOPInstanceUID for h in volume.headers}


def test_an_empty_answer_is_a_file_too(tmp_path, draw_series):
    volume = open_volume(draw_series(tmp_path / "scan", PIXELS))
    volume.save_labels(tmp_path / "m.dcm", LABELS * 0, CLASSES)
    assert not by_highdicom(tmp_path / "m.dcm", volume).any()


def test_frames_of_one_file_are_a_volume(tmp_path, shared_data):
    for size in ("23x38x3", "24x38x3"):
        folder = shared_data("dicom-seg") / size
        several, single = open_volume(folder / "image"), open_volume(folder / "multiframe" / "mf.dcm")
        assert (len(single), single.hw, single.spacing_mm) == (len(several), several.hw, several.spacing_mm)
        assert np.array_equal(single.affine, several.affine)
        assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(single.images(), several.images(), strict=True))
        labels = np.zeros((3, *single.hw), np.uint8)
        labels[1, 3:9, 5] = 3
        single.save_labels(tmp_path / f"{size}.dcm", labels, CLASSES)
        found = highdicom.seg.segread(tmp_path / f"{size}.dcm").get_pixels_by_source_frame(
            single.headers[0].SOPInstanceUID, [1, 2, 3], combine_segments=True, assert_missing_frames_are_empty=True
        )
        assert np.array_equal(found, labels == 3)


@pytest.mark.parametrize("still", [False, True])
def test_frames_run_either_way_or_stand_still(tmp_path, shared_data, still):
    header = dcmread(shared_data("dicom-seg") / "24x38x3" / "multiframe" / "mf.dcm")
    frames = header.PerFrameFunctionalGroupsSequence
    places = [list(frame.PlanePositionSequence[0].ImagePositionPatient) for frame in frames]
    for frame, place in zip(frames, [places[0]] * 3 if still else places[::-1], strict=True):
        frame.PlanePositionSequence[0].ImagePositionPatient = place
    header.save_as(tmp_path / "mf.dcm")
    volume = open_volume(tmp_path / "mf.dcm")
    assert volume.spacing_mm is None or volume.spacing_mm[0] > 0
    if still:
        assert (volume.affine, volume.voxel_ml) == (None, None)
        return
    assert volume.remarks == ()
    assert np.allclose(volume.affine[:3, 3], np.array(places[-1], float) * (-1, -1, 1))
    volume.save_nifti(tmp_path / "m.nii.gz", np.zeros((3, *volume.hw), np.uint8), CLASSES)


AXIAL, CORONAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]


@pytest.fixture
def draw_frames(draw_dicom):
    """An enhanced CT of one file, frame k at the height heights[k]: draw_frames(path, heights, planes)."""

    def draw(path, heights, planes=None):
        plain = dict.fromkeys(("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"), "")
        return draw_dicom(
            path, PIXELS[: len(heights)], Rows=5, Columns=6, NumberOfFrames=len(heights), SOPClassUID=EnhancedCTImageStorage,
            SharedFunctionalGroupsSequence=[
                groups(PixelMeasures={"PixelSpacing": [0.5, 0.75], "SliceThickness": 2}, **({} if planes else orientation(AXIAL)))
            ],
            PerFrameFunctionalGroupsSequence=[
                groups(
                    PlanePosition={"ImagePositionPatient": [-10, -20, z]}, FrameContent={"DimensionIndexValues": [k + 1]},
                    **(orientation(planes[k]) if planes else {}),
                )
                for k, z in enumerate(heights)
            ],
            **plain,
        )  # fmt: skip

    return draw


def orientation(plane):
    return {"PlaneOrientation": {"ImageOrientationPatient": plane}}


def groups(**named):
    """A functional group: each name a sequence of one item with these elements."""
    found = Dataset()
    for name, elements in named.items():
        item = Dataset()
        for keyword, value in elements.items():
            setattr(item, keyword, value)
        setattr(found, f"{name}Sequence", [item])
    return found


def test_frames_in_any_order_are_a_volume(tmp_path, draw_frames):
    volume = open_volume(draw_frames(tmp_path / "mf.dcm", [0, 4, 2, 6]))
    assert (volume.spacing_mm, volume.remarks) == ((2, 0.5, 0.75), ())
    assert np.array_equal(volume.image(1).pixels[..., 0], PIXELS[1])  # shown in the order of the file
    volume.save_nifti(tmp_path / "m.nii", LABELS, CLASSES)
    found = nibabel.load(tmp_path / "m.nii")
    assert np.array_equal(np.asanyarray(found.dataobj), LABELS[[0, 2, 1, 3]].transpose(2, 1, 0))
    assert found.affine.tolist() == [[-0.75, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 2, 0], [0, 0, 0, 1]]
    volume.save_labels(tmp_path / "m.dcm", LABELS, CLASSES)
    answered = highdicom.seg.segread(tmp_path / "m.dcm").get_pixels_by_source_frame(
        volume.headers[0].SOPInstanceUID, [1, 2, 3, 4], combine_segments=True, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(answered, np.select([LABELS == 3, LABELS == 7], [1, 2]))


def test_a_gap_between_frames_in_any_order_is_named(tmp_path, draw_frames):
    volume = open_volume(draw_frames(tmp_path / "mf.dcm", [0, 10, 2, 4]))
    assert volume.remarks == ("slices are 2 mm apart, but 6 mm between frames 3 and 1 (1 such places).",)


@pytest.mark.parametrize(
    ("heights", "planes", "why"),
    [
        ([0, 2, 4], [AXIAL, AXIAL, CORONAL], "frames 0 and 2 lie in different planes"),
        ([0, 2, 0, 2], None, r"frames 0 and 2 lie at one place in the patient (2 such pairs)"),
    ],
)
def test_frames_that_are_no_volume_have_no_place_and_no_millilitres(tmp_path, draw_frames, heights, planes, why):
    volume = open_volume(draw_frames(tmp_path / "mf.dcm", heights, planes))
    assert volume.remarks == (f"{why}: they make up no volume, so no millilitres are given.",)
    assert (volume.voxel_ml, volume.affine) == (None, None)
    assert volume.image(0).spacing_mm == (0.5, 0.75)
    volume.save_nifti(tmp_path / "m.nii", LABELS[: len(heights)], CLASSES)
    assert_placeless(tmp_path / "m.nii", LABELS[: len(heights)], (0.75, 0.5, 0.75))


def assert_placeless(path, labels, zooms):
    found = nibabel.load(path)
    assert np.array_equal(np.asanyarray(found.dataobj), labels.transpose(2, 1, 0))
    assert (int(found.header["qform_code"]), int(found.header["sform_code"])) == (0, 0)
    assert found.header.get_zooms() == zooms


@pytest.mark.parametrize(("spacing", "zooms"), [(None, (1, 1, 1)), ([0.5, 0.75], (0.75, 0.5, 0.75))])
def test_nifti_of_what_states_no_position_has_none(tmp_path, draw_dicom, spacing, zooms):
    film = draw_dicom(
        tmp_path / "film.dcm", PIXELS, Rows=5, Columns=6, NumberOfFrames=4, ImagerPixelSpacing=spacing, Modality="XA"
    )
    open_volume(film).save_nifti(tmp_path / "m.nii", LABELS, CLASSES)
    assert_placeless(tmp_path / "m.nii", LABELS, zooms)
    picture = open_volume(draw_dicom(tmp_path / "xray.dcm", PIXELS[0], Modality="DX", PixelSpacing=spacing))
    picture.save_nifti(tmp_path / "x.nii", LABELS[:1], CLASSES)
    assert_placeless(tmp_path / "x.nii", LABELS[:1], zooms)


# Counted from the first frame, or heights in the patient; then a normal to the feet does not count.
@pytest.mark.parametrize(
    ("offsets", "plane", "step"), [([0, 3, 6, 9], AXIAL, 3), ([5, 8, 11, 14], AXIAL, 3), ([5, 8, 11, 14], [1, 0, 0, 0, -1, 0], 3),
                                   ([0, 3, 6, 9], [1, 0, 0, 0, -1, 0], -3)],
)  # fmt: skip
def test_a_dose_grid_says_where_its_frames_lie(tmp_path, draw_dicom, offsets, plane, step):
    volume = open_volume(
        draw_dicom(
            tmp_path / "dose.dcm", PIXELS, Rows=5, Columns=6, NumberOfFrames=4, GridFrameOffsetVector=offsets, Modality="RTDOSE",
            ImagePositionPatient=[-10, -20, 5], ImageOrientationPatient=plane, PixelSpacing=[0.5, 0.75],
        )
    )  # fmt: skip
    assert (volume.spacing_mm, volume.remarks) == ((3, 0.5, 0.75), ())
    assert volume.affine[:3, 2:].tolist() == [[0, 10], [0, 20], [step, 5]]


def test_nifti_of_a_series_lies_where_the_series_lies(tmp_path, draw_series):
    volume = open_volume(draw_series(tmp_path / "scan", PIXELS))
    volume.save_nifti(tmp_path / "m.nii.gz", LABELS, CLASSES)
    found = nibabel.load(tmp_path / "m.nii.gz")
    assert np.array_equal(np.asanyarray(found.dataobj), LABELS.transpose(2, 1, 0))
    assert np.allclose(found.affine, volume.affine)
    assert "SECRET" not in str(found.header)
    back = open_volume(tmp_path / "m.nii.gz", "axial")
    assert np.array_equal(np.stack([back.decoded(k).pixels[..., 0] for k in range(4)]), LABELS)


def test_old_files_lack_what_a_segmentation_repeats(tmp_path, draw_series, capsys):
    volume = open_volume(draw_series(tmp_path / "scan", PIXELS, SpecificCharacterSet="", PatientName="SECRET", PatientID=None))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        volume.save_labels(tmp_path / "m.dcm", LABELS, CLASSES)
    assert "SECRET" not in " ".join(str(w.message) for w in said) + capsys.readouterr().err
    bare = open_volume(draw_series(tmp_path / "bare", PIXELS, StudyInstanceUID=None))
    with pytest.raises(InputError, match=r"n\.dcm: the source cannot be answered as DICOM-SEG .*Give --format nifti"):
        bare.save_labels(tmp_path / "n.dcm", LABELS, CLASSES)
    assert not (tmp_path / "n.dcm").exists()


def test_what_cannot_be_answered_is_known_before_the_work(tmp_path, draw_series, draw_frames):
    series = open_volume(draw_series(tmp_path / "scan", PIXELS))
    series.check_labels(CLASSES)
    assert (series.headers[0].Rows, series.headers[0].Columns) == (5, 6)
    bare = open_volume(draw_series(tmp_path / "bare", PIXELS, StudyInstanceUID=None))
    with pytest.raises(InputError, match=r"bare: the source cannot be answered as DICOM-SEG .*Give --format nifti"):
        bare.check_labels(CLASSES)
    twice = open_volume(draw_frames(tmp_path / "mf.dcm", [0, 2, 0, 2]))
    with pytest.raises(InputError, match=r"mf\.dcm: the source cannot be answered as DICOM-SEG .*Give --format nifti"):
        twice.check_labels(CLASSES)
    open_volume(draw_frames(tmp_path / "mf.dcm", [0, 4, 2, 6])).check_labels(CLASSES)


def test_one_picture_is_answered_as_dicom(tmp_path, draw_dicom):
    image = read_image(draw_dicom(tmp_path / "xray.dcm", PIXELS[0], Modality="DX", ImagerPixelSpacing=[0.2, 0.2]))
    written = Segmentation(LABELS[0], CLASSES, image).save(tmp_path / "out")
    assert [p.name for p in written] == ["xray.dcm"]
    file = dcmread(written[0])
    assert (file.SOPClassUID, file.Rows, file.Columns) == (SegmentationStorage, 5, 6)
    volume = open_volume(tmp_path / "xray.dcm")
    assert np.array_equal(by_highdicom(written[0], volume)[0], np.select([LABELS[0] == 3, LABELS[0] == 7], [1, 2]))


def test_without_highdicom_the_command_is_named(tmp_path, draw_series, monkeypatch):
    volume = open_volume(draw_series(tmp_path / "scan", PIXELS))
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    with pytest.raises(
        MissingExtraError, match=r"writing DICOM-SEG needs the package 'highdicom': pip install 'maskwright\[medical\]'"
    ):
        volume.save_labels(tmp_path / "m.dcm", LABELS, CLASSES)


@pytest.mark.parametrize(
    ("name", "category", "kind"),
    [
        ("lungs", "Anatomical Structure", "Lung"),
        ("Left kidney", "Tissue", "Tissue"),
        ("edema", "Morphologically Abnormal Structure", "Edema"),
        ("spine", "Anatomical Structure", "Spine"),
        ("???", "Tissue", "Tissue"),
    ],
)
def test_codes_by_name(name, category, kind):
    assert tuple(code.meaning for code in codes_of(name)) == (category, kind)
