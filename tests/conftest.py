"""Fixtures for all tests: the shared real data where it is there, and threads that leave the machine usable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from maskwright.annotations import coco_write
from maskwright.annotations.drawn import AnnotatedImage
from maskwright.classes import ClassMap
from maskwright.cli import app
from maskwright.instances import Instances
from maskwright.io.write import write_png
from maskwright.ops.rle import Rle

SHARED = Path(os.environ.get("MASKWRIGHT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests convert and measure goes into a folder of their own, and never into the user's cache."""
    os.environ["MASKWRIGHT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """The folder of a real data set; skips the test with a reason where it is missing."""

    def folder(name: str) -> Path:
        path = SHARED / name
        if not path.is_dir():
            pytest.skip(f"real data set {name!r} is not here ({SHARED}; set MASKWRIGHT_DATA)")
        return path

    return folder


def sea(number: int, hw: tuple[int, int] = (64, 80)) -> tuple[np.ndarray, Instances]:
    """Noise with one to three bright squares ("box") and dark bars ("bar") that do not overlap; every fifth picture is empty."""
    rng = np.random.default_rng(number)
    image, used = rng.normal(120, 12, (*hw, 3)), np.zeros(hw, bool)
    masks, class_ids = [], []
    for _ in range(0 if number % 5 == 4 else int(rng.integers(1, 4))):
        kind = int(rng.integers(1, 3))
        tall, wide = (int(rng.integers(14, 22)),) * 2 if kind == 1 else (8, int(rng.integers(20, 30)))
        top, left = (int(rng.integers(0, n - side)) for n, side in zip(hw, (tall, wide), strict=True))
        mask = np.zeros(hw, bool)
        mask[top : top + tall, left : left + wide] = True
        if (mask & used).any():
            continue
        used |= mask
        image[mask] += 90 if kind == 1 else -90
        masks.append(Rle.from_mask(mask))
        class_ids.append(kind)
    found = Instances(hw, OBJECTS, np.array(class_ids, np.int64), tuple(masks), name=f"{number:02}")
    return np.clip(image, 0, 255).astype(np.uint8), found


OBJECTS = ClassMap((0, 1, 2), ("background", "box", "bar"))


@pytest.fixture(scope="session")
def objects_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen drawn pictures with their objects as COCO json: ten to fit, four to validate."""
    root = tmp_path_factory.mktemp("data") / "sea"

    def images() -> Iterator[tuple[AnnotatedImage, Instances]]:
        for number in range(14):
            pixels, found = sea(number)
            split = "train" if number < 10 else "val"
            path = root / split / f"{found.name}.png"
            write_png(path, pixels)
            yield AnnotatedImage(found.name, path, found.hw, split), found

    coco_write.write(root, images(), copy_images=False)
    return root


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process, in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def command(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            app([str(word) for word in words], prog_name="maskwright")
        out, err = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), out, err

    return command


@pytest.fixture
def draw_dicom() -> Callable[..., Path]:
    """Write a DICOM file as a scanner would: draw_dicom(path, pixels, PixelSpacing=[2, 3], ...); None leaves an element out."""

    def draw(path: Path, pixels: np.ndarray | None, **elements: object) -> Path:
        from pydicom.dataset import FileDataset, FileMetaDataset
        from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

        meta = FileMetaDataset()
        meta.TransferSyntaxUID = elements.pop("syntax", ExplicitVRLittleEndian)
        file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        given: dict[str, object] = {
            "SOPClassUID": CTImageStorage, "SOPInstanceUID": generate_uid(), "StudyInstanceUID": "1.2.3",
            "SeriesInstanceUID": "1.2.3.4", "FrameOfReferenceUID": "1.2.3.5", "Modality": "CT", "PatientName": "SECRET^NAME",
            "PatientID": "SECRET-ID",
        }  # fmt: skip
        if pixels is not None:
            given |= {
                "Rows": pixels.shape[0], "Columns": pixels.shape[1], "SamplesPerPixel": 1,
                "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 8 * pixels.itemsize,
                "BitsStored": 8 * pixels.itemsize, "PixelRepresentation": int(pixels.dtype.kind == "i"),
                "PixelData": pixels.tobytes(),
            }  # fmt: skip
        given |= elements
        for keyword, value in given.items():
            if value is not None:
                setattr(file, keyword, value)
        if "BitsStored" in file:
            file.HighBit = file.BitsStored - 1
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = file.SOPClassUID, file.SOPInstanceUID
        if "PixelData" in file:
            file["PixelData"].VR = "OW" if file.BitsAllocated > 8 else "OB"
        file.save_as(path, enforce_file_format=True)
        return path

    return draw


@pytest.fixture
def draw_series(draw_dicom: Callable[..., Path]) -> Callable[..., Path]:
    """A folder of axial slices z mm apart, written in an order that is neither that of the names nor of the numbers."""

    def draw(folder: Path, pixels: np.ndarray, z: float = 2.5, **elements: object) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for k in range(len(pixels)):
            given = {
                "ImagePositionPatient": [-10, -20, 5 + z * k], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                "PixelSpacing": [0.5, 0.75], "SliceThickness": 2, "InstanceNumber": 7 * k % 5, "SOPInstanceUID": f"1.2.3.4.{k + 1}",
            }  # fmt: skip
            draw_dicom(folder / f"IM{(3 * k + 2) % len(pixels):03d}.dcm", pixels[k], **given, **elements)
        return folder

    return draw
