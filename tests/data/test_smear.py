"""Telling smear from values that mean something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from maskwright.data.orientation import FITS, TURNED, UNSURE, fit_of
from maskwright.data.smear import ANTI_ALIASED, SMEARED, UNKNOWN, kind_of_unknown, solid
from maskwright.io.image import Image as Picture
from maskwright.io.masks import StoredMask


def blob(value: int = 255, size: int = 96) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    wavy = size / 3 + 6 * np.sin(np.arctan2(rows - size / 2, columns - size / 2) * 5)
    return np.where(np.hypot(rows - size / 2, columns - size / 2) < wavy, value, 0).astype(np.uint8)


def kind(array: np.ndarray, known: set[int]) -> str:
    mask = StoredMask(array.astype(np.int32), "index", None, False, Path("mask.png"))
    return kind_of_unknown(mask, set(np.unique(array).tolist()) - known)


def test_solid_needs_all_eight_neighbours() -> None:
    array = np.zeros((5, 5), np.int32)
    array[2, 2] = 1
    # The 3x3 around the odd pixel is not solid; beyond the border the border goes on, so the corners are.
    expected = np.ones((5, 5), bool)
    expected[1:4, 1:4] = False
    assert np.array_equal(solid(array), expected)


@pytest.mark.parametrize("how", ["half", "larger", "blur"])
def test_smoothing_is_anti_aliasing(how: str) -> None:
    picture = Image.fromarray(blob())
    smooth = {
        "half": lambda: picture.resize((48, 48), Image.Resampling.BOX),
        "larger": lambda: picture.resize((150, 150), Image.Resampling.BILINEAR),
        "blur": lambda: picture.filter(ImageFilter.GaussianBlur(1)),
    }[how]()
    assert kind(np.asarray(smooth), {0, 255}) == ANTI_ALIASED


@pytest.mark.parametrize("quality", [40, 75, 95])
def test_jpeg_is_smear(quality: int, tmp_path: Path) -> None:
    Image.fromarray(blob()).save(tmp_path / "a.jpg", quality=quality)
    assert kind(np.asarray(Image.open(tmp_path / "a.jpg")), {0, 255}) == SMEARED


@pytest.mark.parametrize("side", [1, 2, 3, 8])
@pytest.mark.parametrize("at", [(4, 4), (48, 48), (48, 14)])
def test_a_patch_of_another_value_is_unknown(side: int, at: tuple[int, int]) -> None:
    """Outside, inside and on the edge of the blob, though 100 lies between its 0 and 255."""
    array = blob()
    array[at[0] : at[0] + side, at[1] : at[1] + side] = 100
    assert kind(array, {0, 255}) == UNKNOWN


def test_a_photo_is_unknown() -> None:
    assert kind(np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8), {0, 255}) == UNKNOWN


def test_colours_are_smoothed_in_every_channel() -> None:
    array = np.zeros((96, 96, 3), np.uint8)
    array[blob() > 0] = (250, 20, 0)
    smooth = np.asarray(Image.fromarray(array).filter(ImageFilter.GaussianBlur(1)))
    mask = StoredMask(smooth, "rgb", None, False, Path("mask.png"))
    assert kind_of_unknown(mask, set(mask.counts) - {(0, 0, 0), (250, 20, 0)}) == ANTI_ALIASED


def lopsided() -> np.ndarray:
    labels = np.zeros((40, 40), np.uint8)
    labels[4:14, 6:30] = 1
    return labels


@pytest.mark.parametrize("orientation", range(2, 9))
def test_orientation_is_seen_in_the_picture(orientation: int) -> None:
    from maskwright.io.decoded import upright

    stored = lopsided()
    displayed = np.ascontiguousarray(upright(stored, orientation))
    image = Picture((60 + 120 * displayed)[..., None].astype(np.uint8), orientation=orientation)
    assert fit_of(image, displayed) == FITS
    # A mask drawn on the stored pixels is given as it was stored.
    assert fit_of(image, stored) == (FITS if np.array_equal(stored, displayed) else TURNED)


def test_orientation_of_a_plain_picture_is_unsure() -> None:
    image = Picture(np.full((40, 40, 1), 90, np.uint8), orientation=3)
    assert fit_of(image, lopsided()) == UNSURE
    assert fit_of(Picture(image.pixels), lopsided()) == FITS, "no tag, no doubt"
