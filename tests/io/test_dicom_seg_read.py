"""DICOM-SEG read back: what we wrote, what dcmqi and others wrote, and files that do not fit."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from pydicom import dcmread

from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError
from maskwright.io.dicom_seg_read import read_segments
from maskwright.io.volumes import open_volume

CLASSES = ClassMap((0, 3, 7), ("background", "liver", "thing"))
PIXELS = np.zeros((4, 5, 6), np.int16)
LABELS = np.random.default_rng(1).choice([0, 3, 7], (4, 5, 6)).astype(np.uint8)
LABELS[1] = 0


@pytest.fixture
def written(tmp_path, draw_series):
    """(volume, path of a segmentation of it)"""
    volume = open_volume(draw_series(tmp_path / "scan", PIXELS))
    volume.save_labels(tmp_path / "m.dcm", LABELS, CLASSES)
    return volume, tmp_path / "m.dcm"


def nrrd(path):
    """Slices (D, H, W) of a gzipped NRRD of 16-bit labels."""
    head, body = path.read_bytes().split(b"\n\n", 1)
    fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
    shape = [int(n) for n in fields["sizes"].split()]
    return np.frombuffer(gzip.decompress(body), "<i2").reshape(shape, order="F").transpose(2, 1, 0)


def test_what_was_written_is_read_back(written):
    volume, path = written
    found = read_segments(path)
    assert found.names == {1: "liver", 2: "thing"}
    assert found.series == ("1.2.3.4",)
    assert np.array_equal(found.on(volume, {1: 3, 2: 7}, 0, 255), LABELS)


def test_frames_without_a_source_are_found_by_their_position(written, tmp_path):
    volume, path = written
    file = dcmread(path)
    for frame in file.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence
    file.save_as(tmp_path / "anonymous.dcm")
    assert np.array_equal(read_segments(tmp_path / "anonymous.dcm").on(volume, {1: 3, 2: 7}, 0, 255), LABELS)


def test_references_that_are_not_there_are_said(written, tmp_path, draw_series):
    _, path = written
    other = draw_series(tmp_path / "other", PIXELS)
    for k, file in enumerate(sorted(other.iterdir())):
        header = dcmread(file)
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"9.9.{k}"
        header.ImagePositionPatient = [0, 0, 100 + k]
        header.save_as(file)
    with pytest.raises(InputError, match=r"m\.dcm: frame 0 lies on no slice: neither the image it names nor its position"):
        read_segments(path).on(open_volume(other), {1: 3, 2: 7}, 0, 255)


def test_other_sizes_and_planes_are_refused(written, tmp_path, draw_series, draw_dicom):
    _, path = written
    small = open_volume(draw_series(tmp_path / "small", PIXELS[:, :4]))
    with pytest.raises(InputError, match=r"masks are 6x5, the slices of .*small 6x4"):
        read_segments(path).on(small, {1: 3, 2: 7}, 0, 255)
    elements = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "PixelSpacing": [1, 1]}
    turned = open_volume(draw_dicom(tmp_path / "turned.dcm", PIXELS[0], **elements))
    with pytest.raises(InputError, match="masks lie in another plane"):
        read_segments(path).on(turned, {1: 3, 2: 7}, 0, 255)


def test_a_cut_file_and_another_kind_are_said(written, tmp_path):
    volume, path = written
    (tmp_path / "cut.dcm").write_bytes(path.read_bytes()[:-12])
    with pytest.raises(FormatError, match=r"cut\.dcm: .*cut short or damaged"):
        read_segments(tmp_path / "cut.dcm").on(volume, {1: 3, 2: 7}, 0, 255)
    with pytest.raises(FormatError, match=r"is no DICOM-SEG; expected masks"):
        read_segments(volume.files[0])


def test_fractions_count_from_a_half_on(written, tmp_path):
    volume, path = written
    file = dcmread(path)
    bits = file.pixel_array
    file.SegmentationType, file.MaximumFractionalValue = "FRACTIONAL", 200
    file.BitsAllocated, file.BitsStored, file.HighBit = 8, 8, 7
    file.PixelData = np.where(bits, 100, 99).astype(np.uint8).tobytes()
    file.save_as(tmp_path / "fractions.dcm")
    assert np.array_equal(read_segments(tmp_path / "fractions.dcm").on(volume, {1: 3, 2: 7}, 0, 255), LABELS)


def test_files_of_dcmqi_equal_their_label_maps(shared_data):
    folder = shared_data("dicom-seg")
    scan = open_volume(folder / "ct-3slice")
    liver = read_segments(folder / "liver.dcm")
    assert liver.series == (scan.headers[0].SeriesInstanceUID,)
    found = liver.on(scan, {1: 1}, 0, 255)
    assert np.array_equal(found, nrrd(folder / "liver_seg.nrrd") > 0)
    for size in ("23x38x3", "24x38x3"):
        truth = nrrd(folder / size / "nrrd" / "label.nrrd") > 0
        for images in ("image", "multiframe/mf.dcm"):
            scan_of = open_volume(folder / size / images)
            assert np.array_equal(read_segments(folder / size / "seg" / "label.seg").on(scan_of, {1: 1}, 0, 255), truth)
    # The truth lies on the liver, which is brighter than fat and air and darker than bone; mirrored it would not.
    values = np.stack([image.pixels[..., 0] for image in scan.images()])
    assert 30 < np.median(values[found > 0]) < 70  # without contrast
    assert values[found > 0].std() < 0.5 * values[found[:, :, ::-1] > 0].std()


def test_label_maps_and_overlaps(shared_data):
    folder = shared_data("dicom-seg")
    scan = open_volume(folder / "24x38x3" / "image")
    plain, padded = (read_segments(folder / f"sparse-labelmap-{n}.dcm").on(scan, {1: 1}, 0, 255) for n in ("noppv", "ppv5"))
    assert np.array_equal(plain, nrrd(folder / "sparse_labelmap_noppv_seg.nrrd"))
    expected = nrrd(folder / "sparse_labelmap_ppv5_seg.nrrd")[1] == 5  # outside the two slices it holds dcmqi writes the padding
    assert expected.any()
    assert (padded[1] == 255).all()
    assert np.array_equal(padded[[0, 2]], plain[[0, 2]])
    overlapping = read_segments(folder / "partial_overlaps.dcm")
    with pytest.raises(FormatError, match=r"segment 'ORANGE' overlaps another in 3017 pixels of frame 1"):
        overlapping.on(open_volume(folder / "ct-3slice"), {n: n for n in overlapping.names}, 0, 255)


def test_our_file_has_the_parts_that_dcmqi_writes(shared_data, tmp_path):
    folder = shared_data("dicom-seg")
    theirs = dcmread(folder / "liver.dcm")
    scan = open_volume(folder / "ct-3slice")
    labels = 3 * read_segments(folder / "liver.dcm").on(scan, {1: 1}, 0, 255).astype(np.uint8)
    scan.save_labels(tmp_path / "ours.dcm", labels, CLASSES)
    ours = dcmread(tmp_path / "ours.dcm")
    optional = ("ClinicalTrial", "SeriesDate", "SeriesTime", "ContentCreatorName", "BitsAllocated")
    missing = [e.keyword for e in theirs if e.keyword not in ours and not e.keyword.startswith(optional)]
    assert missing == []
    per_frame = {e.keyword for e in theirs.PerFrameFunctionalGroupsSequence[0]}
    assert per_frame <= {e.keyword for e in ours.PerFrameFunctionalGroupsSequence[0]}
    # Its frames may stand in another order.
    assert sorted(f.tobytes() for f in ours.pixel_array) == sorted(f.tobytes() for f in theirs.pixel_array)
