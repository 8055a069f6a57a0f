"""Pictures for people: only what was found is tinted, ignored pixels are marked, legends name what is there."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.classes import ClassMap
from maskwright.ops import draw

CLASSES = ClassMap((0, 1, 2), ("background", "road", "car"), colours=((0, 0, 0), (200, 0, 0), (0, 0, 200)))


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A grey picture (24, 40, 3) with a road square in rows 4..12, columns 4..12, the rest background."""
    labels = np.zeros((24, 40), np.uint8)
    labels[4:13, 4:13] = 1
    return np.full((24, 40, 3), 100, np.uint8), labels


def test_only_the_classes_are_tinted():
    image, labels = scene()
    picture = draw.overlay(image, labels, CLASSES, contour=False)
    assert np.array_equal((picture != image).any(axis=2), labels == 1)
    # Half of (200, 0, 0) on 100: 150, 50, 50; alpha 0.5 is 128 of 255, hence the margin of 1.
    assert np.abs(picture[8, 8].astype(int) - (150, 50, 50)).max() <= 1


def test_contour_is_solid_and_on_the_inner_side():
    image, labels = scene()
    picture = draw.overlay(image, labels, CLASSES)
    assert picture[4, 4:13].tolist() == [[200, 0, 0]] * 9
    assert picture[8, 12].tolist() == [200, 0, 0]
    assert picture[8, 13].tolist() == [100, 100, 100]  # the background's side of the edge
    assert picture[5, 5].tolist() != [200, 0, 0]


@pytest.mark.parametrize(("alpha", "expected"), [(0.0, [100, 100, 100]), (1.0, [200, 0, 0])])
def test_ends_of_alpha(alpha, expected):
    image, labels = scene()
    assert draw.overlay(image, labels, CLASSES, alpha, contour=False)[8, 8].tolist() == expected


def test_without_a_background_every_class_is_tinted():
    image, labels = scene()
    classes = ClassMap((0, 1), ("sky", "road"), colours=((0, 200, 0), (200, 0, 0)), background=None)
    assert (draw.overlay(image, labels, classes, contour=False) != image).any(axis=2).all()


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_ignored_pixels_are_shaded_and_hatched(dtype):
    image, labels = scene()
    labels = labels.astype(dtype)
    labels[16:, 20:] = 255
    picture = draw.overlay(image, labels, CLASSES)
    marked = picture[16:, 20:, 0].astype(int)
    lines = np.add(*np.mgrid[16:24, 20:40]) % 8 == 0
    assert (marked[lines] > 100).all()
    assert (marked[~lines] < 100).all()
    assert (picture[..., 0] == picture[..., 1])[16:, 20:].all()
    assert (picture[14, 20:] == 100).all()


def test_inputs_stay_as_they_are():
    image, labels = scene()
    labels[20:] = 255
    before = image.copy(), labels.copy()
    picture = draw.overlay(image, labels, CLASSES)
    draw.with_legend(picture, CLASSES)
    draw.contact_sheet([(image, "a")])
    assert np.array_equal(image, before[0])
    assert np.array_equal(labels, before[1])


def test_edges_of_a_square_by_hand():
    labels = np.zeros((1, 6), np.uint8)
    labels[0, 2:5] = 1
    # Neighbours that differ: 1|2 and 4|5.
    assert draw.inner_edges(labels).tolist() == [[False, True, True, False, True, True]]
    assert draw.inner_edges(labels, 2).all()
    assert not draw.inner_edges(np.ones((3, 4))).any()
    assert draw.inner_edges(labels.T).ravel().tolist() == [False, True, True, False, True, True]


@pytest.mark.parametrize(("hw", "width"), [((10, 4000), 1), ((899, 2000), 1), ((1200, 5000), 2), ((6000, 6000), 10)])
def test_line_grows_with_the_picture(hw, width):
    assert draw.line_px(hw) == width  # shorter side / 600


def drawn_names(monkeypatch) -> list[str]:
    """The texts that are drawn from now on."""
    texts: list[str] = []
    real = draw.ImageDraw.ImageDraw.text

    def text(self, xy, text, *args, **kwargs):
        texts.append(text)
        return real(self, xy, text, *args, **kwargs)

    monkeypatch.setattr(draw.ImageDraw.ImageDraw, "text", text)
    return texts


@pytest.mark.parametrize(
    ("present", "names"),
    [
        ((2, 0), ["background", "car"]),
        ((1, 255), ["road", "ignored"]),
        ((), []),
        ((9,), []),
        ((0, 1, 2), ["background", "road", "car"]),
    ],
)
def test_legend_names_what_is_present(monkeypatch, present, names):
    texts = drawn_names(monkeypatch)
    strip = draw.legend(CLASSES, present, 400)
    assert texts == names
    assert strip.shape[1:] == (400, 3)
    colours = {tuple(c) for c in np.unique(strip.reshape(-1, 3), axis=0).tolist()}
    assert ((200, 0, 0) in colours) is (1 in present)
    assert (draw.GREY in colours) is (255 in present or 0 in present)  # the hatch, or the frame of the empty swatch


def test_legend_takes_rows_where_the_width_is_small():
    # Text of 13 px for both: lines of round(13 * 1.75) = 23 px below a margin of round(13 * 0.9) = 12 px.
    assert draw.legend(CLASSES, (0, 1, 2), 140).shape[0] == 12 + 3 * 23
    assert draw.legend(CLASSES, (0, 1, 2), 500).shape[0] == 12 + 23


def test_legend_below_a_picture(monkeypatch):
    texts = drawn_names(monkeypatch)
    image, _ = scene()
    found = draw.with_legend(image, CLASSES)
    assert texts == ["background", "road", "car"]
    # 40 px wide: eight times is the first whole step that reaches 320 px.
    assert found.shape[1] == 320
    assert np.array_equal(found[: 24 * 8], image.repeat(8, axis=0).repeat(8, axis=1))
    assert draw.with_legend(np.zeros((10, 400, 3), np.uint8), CLASSES, [1]).shape[1] == 400


def test_long_names_are_cut_with_an_ellipsis():
    face = draw.font(16)
    short = draw.shortened("a very long name of a class", face, 60)
    assert short.endswith("…")
    assert short.startswith("a ve")
    assert face.getlength(short) <= 60
    assert draw.shortened("car", face, 60) == "car"
    assert draw.shortened("car", face, 1) == "…"


@pytest.mark.parametrize(
    ("count", "columns", "grid"),
    [(1, 4, (1, 1)), (4, 4, (1, 4)), (5, 4, (2, 4)), (3, 2, (2, 2)), (0, 4, (1, 1))],
)
def test_contact_sheet_size(count, columns, grid):
    rows, across = grid
    sheet = draw.contact_sheet([(np.zeros((30, 50, 3), np.uint8), f"picture {i}") for i in range(count)], columns, cell_px=100)
    # Gaps of 8 px, titles of round(12 * 1.9) = 23 px: widths 8 + n * 108, heights 8 + n * (100 + 23 + 8).
    assert sheet.shape == (8 + rows * 131, 8 + across * 108, 3)
    assert bool((sheet == 0).all(axis=2).any()) is (count > 0)


@pytest.mark.parametrize(
    ("hw", "expected"),
    [((10, 20), (50, 100)), ((100, 40), (100, 40)), ((400, 200), (100, 50)), ((1000, 1), (100, 1))],  # cell of 100 px
)
def test_fit(hw, expected):
    picture = np.full((*hw, 3), 9, np.uint8)
    assert draw.fit(picture, 100).shape == (*expected, 3)
    assert (draw.fit(picture, 100) == 9).all()
