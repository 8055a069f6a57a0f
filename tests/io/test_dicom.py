"""DICOM files to images: units, brightness, colours, windows, compressions, and what is no picture."""

from __future__ import annotations

import sys

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SegmentationStorage,
)

from maskwright.errors import FormatError, InputError, MissingExtraError
from maskwright.io.dicom import _frames_lie_apart, read_header
from maskwright.io.dicom_codecs import CODECS, is_available
from maskwright.io.dicom_series import series_in
from maskwright.io.read import read_image
from maskwright.io.volumes import open_volume

RAW = np.array([[0, 1024, 1064], [2000, 4095, 24]], np.uint16)  # 2 rows of 3


def test_ct_is_read_in_hounsfield_units_without_loss(tmp_path, draw_dicom):
    path = draw_dicom(
        tmp_path / "a.dcm", RAW, BitsStored=12, RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU",
        WindowCenter=40, WindowWidth=400, PixelSpacing=[0.5, 0.75],
    )  # fmt: skip
    image = read_image(path)
    assert image.pixels.dtype == np.int16
    assert image.pixels[..., 0].tolist() == [[-1024, 0, 40], [976, 3071, -1000]]
    assert image.value_range == (-1024, 3071)
    assert image.window == (-160, 239)  # PS3.3 C.11.2.1.2: 40 - 0.5 - 399 / 2 and 40 - 0.5 + 399 / 2
    assert image.spacing_mm == (0.5, 0.75)
    assert (image.container, image.name) == ("dicom", "a")


def test_a_broken_slope_gives_floats(tmp_path, draw_dicom):
    path = draw_dicom(tmp_path / "a.dcm", RAW, BitsStored=12, Modality="PT", RescaleSlope=0.25, RescaleIntercept=-1)
    image = read_image(path)
    assert image.pixels.dtype == np.float32
    assert image.pixels[..., 0].tolist() == [[-1, 255, 265], [499, 1022.75, 5]]
    assert image.value_range == (-1, 1022.75)


def test_values_that_leave_16_bits_are_widened(tmp_path, draw_dicom):
    path = draw_dicom(tmp_path / "a.dcm", RAW, Modality="MR", RescaleSlope=100, RescaleIntercept=0)
    assert read_image(path).pixels.dtype == np.int32
    assert read_image(path).pixels.max() == 409500


def test_monochrome1_is_inverted_and_said(tmp_path, draw_dicom):
    path = draw_dicom(
        tmp_path / "a.dcm", RAW, BitsStored=12, Modality="DX", PhotometricInterpretation="MONOCHROME1", WindowCenter=1000.5,
        WindowWidth=2001,
    )  # fmt: skip
    image = read_image(path)
    assert image.pixels[..., 0].tolist() == [[4095, 3071, 3031], [2095, 0, 4071]]
    assert image.value_range == (0, 4095)
    assert image.window == (2095, 4095)  # 0..2000 seen from the other end
    assert image.remarks == ("MONOCHROME1: values are inverted, so that bright is high.",)
    assert image.to_uint8()[1, 1, 0] == 0


def test_unused_bits_do_not_count(tmp_path, draw_dicom):
    overlay = draw_dicom(tmp_path / "a.dcm", RAW | 0x8000, BitsStored=12)  # an overlay in bit 15
    assert np.array_equal(read_image(overlay).pixels[..., 0], RAW)
    unextended = np.array([[0x0FFF, 5]], np.int16)  # -1 in 12 bits, whose sign was not spread over the others
    signed = draw_dicom(tmp_path / "b.dcm", unextended, BitsStored=12)
    assert read_image(signed).pixels[..., 0].tolist() == [[-1, 5]]


def test_colours(tmp_path, draw_dicom):
    rgb = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    elements = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "Modality": "US"}
    path = draw_dicom(tmp_path / "a.dcm", rgb, PhotometricInterpretation="RGB", **elements)
    assert np.array_equal(read_image(path).pixels, rgb)
    grey = np.full((4, 6, 3), 128, np.uint8)  # luma 128, no colour difference: grey in RGB as well
    path = draw_dicom(tmp_path / "b.dcm", grey, PhotometricInterpretation="YBR_FULL", **elements)
    assert np.array_equal(read_image(path).pixels, grey)
    hsv = draw_dicom(tmp_path / "c.dcm", RAW, PhotometricInterpretation="HSV")
    with pytest.raises(FormatError, match=r"c\.dcm: photometric interpretation 'HSV'; expected grey, RGB, YBR or palette"):
        read_image(hsv)


def test_a_palette_becomes_rgb(tmp_path, draw_dicom):
    tables = {}
    for colour, values in {"Red": [0, 255], "Green": [10, 20], "Blue": [7, 9]}.items():
        tables[f"{colour}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        tables[f"{colour}PaletteColorLookupTableData"] = (np.array(values, np.uint16) << 8).tobytes()
    path = draw_dicom(tmp_path / "a.dcm", np.array([[0, 1]], np.uint8), PhotometricInterpretation="PALETTE COLOR", **tables)
    assert read_image(path).pixels.tolist() == [[[0, 10, 7], [255, 20, 9]]]


def test_a_modality_table_is_looked_up(tmp_path, draw_dicom):
    table = Dataset()
    table.LUTDescriptor, table.LUTData, table.ModalityLUTType = [3, 0, 16], np.array([5, 50, 500], np.uint16).tobytes(), "US"
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    path = draw_dicom(
        tmp_path / "a.dcm", np.array([[0, 1, 2, 9]], np.uint8), Modality="CR", ModalityLUTSequence=Sequence([table])
    )
    assert read_image(path).pixels[0, :, 0].tolist() == [5, 50, 500, 500]


def test_the_range_of_a_display_table_is_the_window(tmp_path, draw_dicom):
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [1000, 20, 8], bytes(1000)
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    path = draw_dicom(tmp_path / "a.dcm", RAW, Modality="MG", VOILUTSequence=Sequence([table]))
    assert read_image(path).window == (20, 1019)


def test_spacing_on_the_detector_where_the_patient_has_none(tmp_path, draw_dicom):
    path = draw_dicom(tmp_path / "a.dcm", RAW, Modality="DX", ImagerPixelSpacing=[0.1, 0.2])
    assert read_image(path).spacing_mm == (0.1, 0.2)
    assert read_image(draw_dicom(tmp_path / "b.dcm", RAW)).spacing_mm is None


def test_frames_are_named(tmp_path, draw_dicom):
    frames = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    path = draw_dicom(tmp_path / "us.dcm", frames, Rows=4, Columns=5, NumberOfFrames=3, Modality="US")
    with pytest.raises(FormatError, match=r"us\.dcm: holds 3 frames; expected one image.*us\.dcm/slice-000"):
        read_image(path)
    second = read_image(path / "slice-001")
    assert np.array_equal(second.pixels[..., 0], frames[1])
    assert (second.statistics.mean, second.container) == (29.5, "png")  # of 0..59, all frames
    with pytest.raises(InputError, match=r"us\.dcm: has no slice 3; there are 3, counted from 0"):
        read_image(path / "slice-003")


FRAMES = np.random.default_rng(2).integers(0, 4096, (3, 8, 12), np.uint16)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless, DeflatedExplicitVRLittleEndian]
)
def test_a_frame_is_read_without_the_others(tmp_path, draw_dicom, syntax, monkeypatch):
    data = {"PixelData": encapsulate([imagecodecs.jpegls_encode(a) for a in FRAMES])} if syntax == JPEGLSLossless else {}
    path = draw_dicom(tmp_path / "us.dcm", FRAMES, Rows=8, Columns=12, NumberOfFrames=3, Modality="US", syntax=syntax, **data)
    volume = open_volume(path)
    if syntax != DeflatedExplicitVRLittleEndian:  # of which no part can be read alone
        monkeypatch.setattr("maskwright.io.dicom.read_header", lambda *_, **__: pytest.fail("the file was read whole"))
    assert all(np.array_equal(volume.decoded(k).pixels.squeeze(), FRAMES[k]) for k in (2, 0, 1))
    path.write_bytes(path.read_bytes()[:-150])
    with pytest.raises(FormatError, match=r"us\.dcm: .*cut short or damaged"):
        volume.decoded(2)


@pytest.mark.parametrize("syntax", ["1.2.840.113619.5.2", "", "1.2.840.10008.1.1", "no uid"])
def test_frames_of_a_syntax_that_nobody_knows_are_read_whole(tmp_path, draw_dicom, syntax):
    header = read_header(draw_dicom(tmp_path / "us.dcm", FRAMES, Rows=8, Columns=12, NumberOfFrames=3, Modality="US"))
    assert _frames_lie_apart(header)
    header.file_meta.TransferSyntaxUID = UID(syntax, validation_mode=0)
    assert not _frames_lie_apart(header)


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_file_that_is_cut_anywhere_is_said(tmp_path, draw_dicom):
    whole = draw_dicom(tmp_path / "a.dcm", FRAMES[0]).read_bytes()
    for end in range(132, len(whole) - FRAMES[0].nbytes):
        (tmp_path / "a.dcm").write_bytes(whole[:end])
        with pytest.raises((FormatError, InputError), match=r"a\.dcm: "):
            read_image(tmp_path / "a.dcm")
        _, failed = series_in(tmp_path, [tmp_path / "a.dcm"])
        assert all(path == tmp_path / "a.dcm" for path, _ in failed)


PIXELS = np.random.default_rng(1).integers(0, 4096, (16, 24), np.uint16)
ENCODED = {
    JPEGLosslessSV1: lambda a: imagecodecs.ljpeg_encode(a, bitspersample=16),
    JPEG2000Lossless: lambda a: imagecodecs.jpeg2k_encode(a, reversible=True, codecformat="j2k"),
    JPEGLSLossless: imagecodecs.jpegls_encode,
}


@pytest.mark.parametrize("syntax", ENCODED)
def test_lossless_compressions(tmp_path, draw_dicom, syntax):
    data = encapsulate([ENCODED[syntax](PIXELS)])
    path = draw_dicom(tmp_path / "a.dcm", PIXELS, syntax=syntax, PixelData=data)
    assert np.array_equal(read_image(path).pixels[..., 0], PIXELS)


def test_run_lengths_and_lossy_jpeg(tmp_path, draw_dicom):
    from pydicom import dcmread

    plain = dcmread(draw_dicom(tmp_path / "a.dcm", PIXELS))
    plain.compress(RLELossless)
    plain.save_as(tmp_path / "b.dcm")
    assert np.array_equal(read_image(tmp_path / "b.dcm").pixels[..., 0], PIXELS)
    grey = np.full((16, 24), 90, np.uint8)
    data = encapsulate([imagecodecs.jpeg8_encode(grey, level=95)])
    assert np.array_equal(
        read_image(draw_dicom(tmp_path / "c.dcm", grey, syntax=JPEGBaseline8Bit, PixelData=data)).pixels[..., 0], grey
    )


def test_every_codec_is_there():
    assert [name for uid, name in CODECS.items() if not (hasattr(imagecodecs, name) and is_available(uid))] == []


def test_a_compression_without_decoder_names_the_packages(tmp_path, draw_dicom, monkeypatch):
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    path = draw_dicom(tmp_path / "a.dcm", PIXELS, syntax=JPEGLSLossless, PixelData=encapsulate([b"\0" * 8]))
    monkeypatch.setattr(get_decoder(UID(JPEGLSLossless)), "_available", {})
    with pytest.raises(FormatError, match=r"compressed as JPEG-LS Lossless.*pip install pylibjpeg"):
        read_image(path)


def test_files_without_a_suffix(tmp_path, draw_dicom):
    for name in ("IM0001", "1.2.840.7", "scan.ima"):
        assert read_image(draw_dicom(tmp_path / name, RAW)).hw == (2, 3)
    (tmp_path / "README").write_text("no image")
    with pytest.raises(FormatError, match="suffix '' is not known"):
        read_image(tmp_path / "README")


def test_what_is_no_picture(tmp_path, draw_dicom):
    report = draw_dicom(tmp_path / "report.dcm", None, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    with pytest.raises(FormatError, match=r"report\.dcm: holds no pixels, it is a DICOM file of the kind 'Basic Text SR"):
        read_image(report)
    masks = draw_dicom(tmp_path / "seg.dcm", RAW, SOPClassUID=SegmentationStorage)
    with pytest.raises(FormatError, match=r"seg\.dcm: holds masks \(DICOM-SEG\), not an image"):
        read_image(masks)
    directory = draw_dicom(tmp_path / "dir.dcm", None, SOPClassUID="1.2.840.10008.1.3.10")
    with pytest.raises(FormatError, match=r"dir\.dcm: is a DICOMDIR, a list of files"):
        read_image(directory)
    header = draw_dicom(tmp_path / "header.dcm", RAW, PixelData=None)
    with pytest.raises(FormatError, match=r"header\.dcm: its pixels are missing"):
        read_image(header)
    (tmp_path / "text.dcm").write_text("this is a letter, not an image, and a long one, too")
    with pytest.raises(FormatError, match=r"text\.dcm: not a DICOM file"):
        read_image(tmp_path / "text.dcm")
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "absent.dcm")


def test_a_cut_file_says_so(tmp_path, draw_dicom):
    path = draw_dicom(tmp_path / "a.dcm", PIXELS)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FormatError, match=r"a\.dcm: .*cut short or damaged"):
        read_image(path)


def test_a_bomb_is_refused(tmp_path, draw_dicom, monkeypatch):
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 2)
    with pytest.raises(FormatError, match="claims 3x2 pixels"):
        read_image(draw_dicom(tmp_path / "a.dcm", RAW))


def test_without_pydicom_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    (tmp_path / "a.dcm").write_bytes(b"x")
    with pytest.raises(
        MissingExtraError, match=r"a\.dcm: a DICOM file needs the package 'pydicom': pip install 'maskwright\[medical\]'"
    ):
        read_image(tmp_path / "a.dcm")
