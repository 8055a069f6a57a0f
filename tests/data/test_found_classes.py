"""Classes found in masks: one row a habit of storing them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.classes import ClassMap
from maskwright.data.found_classes import class_map_of, find_classes
from maskwright.errors import InputError

# values of each mask -> ids, stored values, background, ignored values
NUMBERS = {
    "0/1": ([[0, 1], [0]], (0, 1), ((0,), (1,)), 0, (255,)),
    "0/255": ([[0, 255], [0]], (0, 1), ((0,), (255,)), 0, ()),
    "0/65535": ([[0, 65535], [0]], (0, 1), ((0,), (65535,)), 0, (255,)),
    "0/1 here, 0/255 there": ([[0, 1], [0, 255]], (0, 1), ((0,), (1, 255)), 0, ()),
    "index with void": ([[0, 1, 2, 255], [0, 2]], (0, 1, 2), ((0,), (1,), (2,)), 0, (255,)),
    "two classes with void": ([[0, 1, 255], [0, 1, 255]], (0, 1), ((0,), (1,)), 0, (255,)),
    "index with gaps": ([[0, 3, 9], [0, 9, 3]], (0, 3, 9), ((0,), (3,), (9,)), 0, (255,)),
    "no background": ([[1, 2, 0], [2, 3], [3, 1]], (0, 1, 2, 3), ((0,), (1,), (2,), (3,)), None, (255,)),
    "from 1": ([[1, 2], [2, 1]], (1, 2), ((1,), (2,)), None, (255,)),
    "greys": ([[0, 128, 255], [0, 128]], (0, 1, 2), ((0,), (128,), (255,)), 0, ()),
    "16-bit ids": ([[0, 400, 401], list(range(20, 40))], (0, *range(20, 40), 400, 401), None, None, (255,)),
}


def mask_of(values: list[int]) -> np.ndarray:
    """Stripes: the first value 20 rows high, the others 10."""
    return np.repeat(np.array(values, np.uint16), [20] + [10] * (len(values) - 1))[:, None] * np.ones((1, 20), np.uint16)


@pytest.mark.parametrize(("masks", "ids", "values", "background", "ignored"), NUMBERS.values(), ids=list(NUMBERS))
def test_numbers(masks, ids, values, background, ignored) -> None:  # type: ignore[no-untyped-def]
    classes, line = find_classes([mask_of(m) for m in masks], "set")
    assert classes.ids == ids
    assert classes.values == (values or tuple((i,) for i in ids))
    assert classes.background == background
    assert classes.ignore_values == ignored
    assert line.startswith(f"{len(ids)} classes found in {len(masks)} masks: ")


def test_lines_say_how_it_was_taken() -> None:
    assert find_classes([mask_of([0, 255])], "set")[1] == "2 classes found in 1 mask: 0 background, 255 foreground"
    line = find_classes([mask_of([0, 1, 2, 255])], "set")[1]
    assert line == "3 classes found in 1 mask: values [0, 1, 2]; 0 taken as background, [255] ignored"


def test_sky_is_not_background() -> None:
    """0 is in every mask but not the largest; then it is the largest but not in nearly every mask."""
    assert find_classes([mask_of([1, 0, 2])] * 3, "set")[0].background is None
    assert find_classes([mask_of([0, 1, 2])] * 4 + [mask_of([1, 2])], "set")[0].background is None
    assert find_classes([mask_of([0, 1, 2])] * 3, "set")[0].background == 0


def test_value_of_one_mask_among_many_is_no_class() -> None:
    masks = [mask_of([0, 1, 2])] * 11
    assert find_classes([*masks, mask_of([0, 7])], "set")[0].ids == (0, 1, 2)
    assert find_classes([*masks, mask_of([0, 3])], "set")[0].ids == (0, 1, 2, 3), "the next number is a rare class"
    assert find_classes([*masks[:3], mask_of([0, 7])], "set")[0].ids == (0, 1, 2, 7), "among four masks it may well be a class"


def test_one_odd_mask_among_binary_ones_makes_no_class() -> None:
    # Without the rule 255 beside 0 and 7 would be taken as ignored, and the foreground lost.
    classes, _ = find_classes([mask_of([0, 255])] * 5 + [mask_of([0, 7, 255])], "set")
    assert classes.values == ((0,), (255,))


def png(path: Path, array: np.ndarray, palette: list[int] | None = None) -> Path:
    picture = Image.fromarray(array)
    if palette is not None:
        picture.putpalette(palette)
    picture.save(path)
    return path


def test_palette_colours_are_kept(tmp_path: Path) -> None:
    array = mask_of([0, 1, 2]).astype(np.uint8)
    paths = [png(tmp_path / f"{k}.png", array, [0, 0, 0, 200, 10, 10, 10, 200, 10]) for k in range(2)]
    classes, _ = find_classes(paths, "set")
    assert classes.ids == (0, 1, 2)
    assert classes.colours == ((0, 0, 0), (200, 10, 10), (10, 200, 10))


def test_palettes_that_differ_mean_their_colours(tmp_path: Path) -> None:
    array = mask_of([0, 1]).astype(np.uint8)
    red, green = [0, 0, 0, 200, 10, 10], [0, 0, 0, 10, 200, 10]
    classes, _ = find_classes([png(tmp_path / "a.png", array, red), png(tmp_path / "b.png", array, green)], "set")
    assert classes.values == (((0, 0, 0),), ((10, 200, 10),), ((200, 10, 10),))


def test_colours_are_numbered_black_first() -> None:
    array = np.zeros((20, 20, 3), np.uint8)
    array[:5, :5], array[10:14, :5] = (255, 0, 0), (0, 255, 0)
    classes, _ = find_classes([array, np.zeros((20, 20), np.uint8)], "set")
    assert classes.ids == (0, 1, 2)
    assert classes.values == (((0, 0, 0),), ((0, 255, 0),), ((255, 0, 0),))
    assert classes.colours == ((0, 0, 0), (0, 255, 0), (255, 0, 0))
    assert classes.background == 0


def disc(size: int = 64) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return np.where((rows - size / 2) ** 2 + (columns - size / 2) ** 2 < (size / 3) ** 2, 255, 0).astype(np.uint8)


def test_jpeg_masks_have_their_main_values(tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.jpg" for k in range(3)]
    for path, array in zip(paths, (disc(), disc() // 2, disc()), strict=True):
        Image.fromarray(array).save(path, quality=60)
    found = [values[0] for values in find_classes(paths, "set")[0].values]
    assert len(found) == 3
    assert np.abs(np.subtract(found, [0, 127, 255])).max() <= 3  # type: ignore[arg-type]


def test_smoothed_masks_have_their_main_values() -> None:
    smooth = np.asarray(Image.fromarray(disc(128)).resize((64, 64), Image.Resampling.BILINEAR))
    assert len(np.unique(smooth)) > 5
    assert find_classes([smooth] * 3, "set")[0].values == ((0,), (255,))


def test_colours_saved_as_jpeg_have_their_main_values(tmp_path: Path) -> None:
    array = np.zeros((64, 64, 3), np.uint8)
    array[disc() > 0] = (0, 0, 250)
    array[:16, :16] = (250, 250, 0)
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=90, subsampling=0)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    classes, _ = find_classes([tmp_path / "a.jpg"], "set")
    assert len(classes) == 3
    assert np.abs(np.subtract([v[0] for v in classes.values], [(0, 0, 0), (0, 0, 250), (250, 250, 0)])).max() <= 6


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ([np.zeros((4, 4), np.uint8)], r"every mask holds the single value \[0\]; there is nothing to learn"),
        (
            [np.arange(900, dtype=np.uint16).reshape(30, 30)],
            "the masks hold 900 values .* numbered objects or photos, not classes",
        ),
        ([np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)], "colours. That many are photos"),
        ([], "there are no masks"),
        ([np.zeros((4, 4), np.float32)], "no mask can be read; the first: mask of set: float32"),
    ],
)
def test_what_holds_no_classes(masks: list[np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_classes(masks, "set")


def camvid_masks(root: Path, stems: list[str], folder: str = "trainannot", values: range = range(12)) -> list[Path]:
    (root / folder).mkdir(parents=True)
    return [png(root / folder / f"{stem}.png", mask_of(list(values)).astype(np.uint8)) for stem in stems]


def test_camvid_is_known_by_folder_names_and_values(tmp_path: Path) -> None:
    classes, line = find_classes(camvid_masks(tmp_path, ["0001TP_006690", "Seq05VD_f00000"]), "set")
    assert classes == ClassMap.known("camvid")
    assert (classes.ignore_id, classes.ignore_values, classes.background) == (11, (11,), None)
    assert line == "masks in trainannot/ named as CamVid's drives hold its values [0..11]: taken as its 11 classes, 11 as void"


@pytest.mark.parametrize(
    ("stems", "folder", "values", "hint"),
    [
        (["a", "b"], "trainannot", range(12), True),
        (["0001TP_1", "b"], "trainannot", range(12), True),
        (["0001TP_1"], "masks", range(12), False),
        (["0001TP_1"], "trainannot", range(11), False),
        (["0001TP_1"], "trainannot", range(13), False),
    ],
    ids=["other names", "mixed names", "other folder", "without void", "more values"],
)
def test_what_is_not_camvid_for_sure_keeps_its_numbers(
    tmp_path: Path, stems: list[str], folder: str, values: range, hint: bool
) -> None:
    classes, line = find_classes(camvid_masks(tmp_path, stems, folder, values), "set")
    assert classes.ids == tuple(values)
    assert ("--classes camvid names them" in line) == hint


@pytest.mark.parametrize("name", ["camvid", "voc", "cityscapes"])
def test_label_sets_are_given_by_name(name: str) -> None:
    assert class_map_of(name) == class_map_of(Path(name)) == ClassMap.known(name)


def test_a_wrong_name_of_a_label_set_shows_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no label set named 'camvit'; did you mean camvid, or the path of a classes\.yaml"):
        class_map_of("camvit")
    with pytest.raises(InputError, match="no such class map"):
        class_map_of(tmp_path / "camvid")  # a path, not a name
