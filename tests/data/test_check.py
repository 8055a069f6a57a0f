"""The doctor finds every planted defect, with its file and value, and nothing else; and nothing at all on clean sets."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.classes import ClassMap
from maskwright.data.check import check
from maskwright.data.dataset import open_dataset
from maskwright.errors import InputError

SEEDS = (0, 1, 2)
Planted = tuple[str, Path, str]


def a_file(root: Path, folder: str, rng: np.random.Generator, split: str = "*") -> Path:
    return rng.choice(sorted(root.glob(f"{split}/{folder}/*")))  # type: ignore[no-any-return, arg-type]


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def jpeg(array: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def image_of(mask: Path) -> Path:
    return mask.parent.parent / "images" / mask.name


def mask_of(image: Path) -> Path:
    return image.parent.parent / "masks" / image.name


def missing_mask(root: Path, rng: np.random.Generator) -> Planted:
    mask = a_file(root, "masks", rng)
    mask.unlink()
    return "missing-mask", image_of(mask), mask.stem


def missing_image(root: Path, rng: np.random.Generator) -> Planted:
    image = a_file(root, "images", rng)
    image.unlink()
    return "missing-image", mask_of(image), image.stem


def truncated_mask(root: Path, rng: np.random.Generator) -> Planted:
    mask = a_file(root, "masks", rng)
    size = mask.stat().st_size // 2
    mask.write_bytes(mask.read_bytes()[:size])
    return "unreadable", mask, f"{size} bytes"


def truncated_image(root: Path, rng: np.random.Generator) -> Planted:
    image = a_file(root, "images", rng)
    size = image.stat().st_size // 2
    image.write_bytes(image.read_bytes()[:size])
    return "unreadable", image, f"{size} bytes"


def text_named_png(root: Path, rng: np.random.Generator) -> Planted:
    image = a_file(root, "images", rng)
    image.write_text("not a picture")
    return "unreadable", image, "13 bytes"


def other_size(root: Path, rng: np.random.Generator) -> Planted:
    mask = a_file(root, "masks", rng)
    Image.open(mask).resize((32, 24), Image.Resampling.NEAREST).save(mask)
    return "size-mismatch", mask, "32x24, image 64x48"


def turned_mask(root: Path, rng: np.random.Generator) -> Planted:
    mask = a_file(root, "masks", rng)
    Image.fromarray(np.rot90(read(mask))).save(mask)
    return "orientation-mismatch", mask, "48x64, image 64x48"


def exif_quarter_turn(root: Path, rng: np.random.Generator) -> Planted:
    """A phone picture: stored 64x48 with the order to turn it; the mask was drawn on the stored pixels."""
    image = a_file(root, "images", rng)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(image).save(image, exif=exif)
    return "orientation-mismatch", mask_of(image), "64x48, image 48x64"


def exif_half_turn(root: Path, rng: np.random.Generator) -> Planted:
    """The same with a half turn: sizes agree, only the pictures tell."""
    image = a_file(root, "images", rng)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(image).save(image, exif=exif)
    return "orientation-mismatch", mask_of(image), "EXIF orientation 3"


def unknown_id(root: Path, rng: np.random.Generator) -> Planted:
    mask = a_file(root, "masks", rng)
    values = read(mask).copy()
    y, x = rng.integers(4, 40), rng.integers(4, 56)
    values[y : y + 5, x : x + 5] = 7
    Image.fromarray(values).save(mask)
    return "unknown-value", mask, "[7]"


def one_unknown_pixel(root: Path, rng: np.random.Generator) -> Planted:
    mask = a_file(root, "masks", rng)
    values = read(mask).copy()
    values[rng.integers(4, 40), rng.integers(4, 56)] = 201
    Image.fromarray(values).save(mask)
    return "unknown-value", mask, "[201]"


def sixteen_bit(root: Path, rng: np.random.Generator) -> Planted:
    mask = a_file(root, "masks", rng)
    values = read(mask).astype(np.uint16)
    values[20:30, 30:36] = 3000
    Image.fromarray(values).save(mask)
    return "unknown-value", mask, "[3000]"


def drawn_large_and_shrunk(root: Path, rng: np.random.Generator) -> Planted:
    """Anti-aliased edges: the outlines of an export at three times the size, averaged down."""
    mask = a_file(root, "masks", rng)
    large = Image.open(mask).resize((WIDTH * 3 - 5, HEIGHT * 3 - 5), Image.Resampling.NEAREST)
    large.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR).save(mask)
    return "anti-aliased", mask, ""


def was_a_jpeg(root: Path, rng: np.random.Generator) -> Planted:
    mask = a_file(root, "masks", rng)
    Image.open(io.BytesIO(jpeg(read(mask), 60))).save(mask)
    return "smeared-mask", mask, ""


def jpeg_mask(root: Path, rng: np.random.Generator) -> Planted:
    mask = a_file(root, "masks", rng)
    named = mask.with_suffix(".jpg")
    named.write_bytes(jpeg(read(mask), 90))
    mask.unlink()
    return "jpeg-mask", named, ".."


def all_background(root: Path, rng: np.random.Generator) -> Planted:
    mask = a_file(root, "masks", rng)
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(mask)
    return "all-background", mask, "background"


def all_ignored(root: Path, rng: np.random.Generator) -> Planted:
    mask = a_file(root, "masks", rng)
    Image.fromarray(np.full((HEIGHT, WIDTH), 255, np.uint8)).save(mask)
    return "all-ignored", mask, "[255]"


def class_never_seen(root: Path, rng: np.random.Generator) -> Planted:
    path = root / "classes.yaml"
    name = str(rng.choice(["fox", "hen", "owl"]))
    path.write_text(path.read_text().replace("background: 0", f"  - {{id: 3, name: {name}, values: [33]}}\nbackground: 0"))
    return "class-never-seen", root, name


def copied_to_val(root: Path, rng: np.random.Generator) -> Planted:
    image = a_file(root, "images", rng, "train")
    copy = root / "val" / "images" / "copy.png"
    shutil.copy(image, copy)
    shutil.copy(mask_of(image), mask_of(copy))
    return "duplicate-across-splits", copy, str(image)


def copied_in_train(root: Path, rng: np.random.Generator) -> Planted:
    image = a_file(root, "images", rng, "train")
    copy = root / "train" / "images" / "zz.png"
    shutil.copy(image, copy)
    shutil.copy(mask_of(image), mask_of(copy))
    return "duplicate-image", copy, str(image)


def copied_to_test_as_jpeg(root: Path, rng: np.random.Generator) -> Planted:
    image = a_file(root, "images", rng, "train")
    copy = root / "test" / "images" / "copy.jpg"
    copy.write_bytes(jpeg(read(image), 75))
    shutil.copy(mask_of(image), root / "test" / "masks" / "copy.png")
    return "near-duplicate", copy, "1 image"


HEIGHT, WIDTH = 48, 64
DEFECTS = (
    missing_mask, missing_image, truncated_mask, truncated_image, text_named_png, other_size, turned_mask, exif_quarter_turn,
    exif_half_turn, unknown_id, one_unknown_pixel, sixteen_bit, drawn_large_and_shrunk, was_a_jpeg, jpeg_mask, all_background,
    all_ignored, class_never_seen, copied_to_val, copied_in_train, copied_to_test_as_jpeg,
)  # fmt: skip
WARNINGS = ("near-duplicate", "duplicate-image", "jpeg-mask", "all-background", "all-ignored", "class-never-seen")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("plant", DEFECTS, ids=lambda f: f.__name__)
def test_planted_defect_is_found_and_nothing_else(
    draw_set: Callable[..., Path], plant: Callable[..., Planted], seed: int
) -> None:
    root = draw_set(seed)
    code, file, value = plant(root, np.random.default_rng(100 + seed))
    report = check(root)
    assert [(f.code, f.file) for f in report.findings] == [(code, file)], report.lines()
    found = report.findings[0]
    assert value in found.value
    assert str(file) in found.message or file.name in found.message or file.stem in found.message
    assert found.message.rstrip(".") != found.message, "a sentence"
    assert report.ok == (code in WARNINGS)
    assert found.severity == ("warning" if code in WARNINGS else "error")


@pytest.mark.parametrize("seed", SEEDS)
def test_clean_set_has_no_findings(draw_set: Callable[..., Path], seed: int) -> None:
    report = check(draw_set(seed))
    assert report.findings == ()
    assert report.ok
    assert report.images == 14
    assert report.splits == {"train": 8, "val": 3, "test": 3}


@pytest.fixture(scope="module")
def demo_lungs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Three clean demo sets of 14 scenes, drawn once."""
    lungs = pytest.importorskip("maskwright.demo.lungs")
    return {seed: lungs.make(tmp_path_factory.mktemp("demo") / "lungs", 14, seed, size_hw=(96, 112)) for seed in SEEDS}


@pytest.mark.parametrize("seed", SEEDS)
def test_clean_demo_lungs_have_no_findings(demo_lungs: dict[int, Path], seed: int) -> None:
    assert check(demo_lungs[seed]).findings == ()


def smoothed(mask: Path) -> None:
    """Exported as 0 and 255 with soft edges, while classes.yaml says 0 and 1."""
    picture = Image.fromarray((read(mask) * 255).astype(np.uint8))
    picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.BILINEAR).resize(
        picture.size, Image.Resampling.BILINEAR
    ).save(mask)


def saved_as_jpeg(mask: Path) -> None:
    mask.with_suffix(".jpg").write_bytes(jpeg((read(mask) * 255).astype(np.uint8), 85))
    mask.unlink()


def once_a_jpeg(mask: Path) -> None:
    Image.open(io.BytesIO(jpeg((read(mask) * 255).astype(np.uint8), 70))).save(mask)


def grey_edge(mask: Path) -> None:
    """Ids 0 and 1 with 128 drawn along the outline."""
    values = read(mask).copy()
    edge = np.zeros(values.shape, bool)
    edge[1:] |= values[1:] != values[:-1]
    edge[:, 1:] |= values[:, 1:] != values[:, :-1]
    values[edge] = 128
    Image.fromarray(values).save(mask)


def another_id(mask: Path) -> None:
    values = read(mask).copy()
    values[40:46, 50:58] = 7
    Image.fromarray(values).save(mask)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (smoothed, "anti-aliased"),
        (grey_edge, "anti-aliased"),
        (saved_as_jpeg, "jpeg-mask"),
        (once_a_jpeg, "smeared-mask"),
        (another_id, "unknown-value"),
    ],
)
def test_spoilt_demo_mask_is_an_error(
    demo_lungs: dict[int, Path], tmp_path: Path, spoil: Callable[[Path], None], code: str, seed: int
) -> None:
    root = shutil.copytree(demo_lungs[seed], tmp_path / "lungs")
    mask = a_file(root, "masks", np.random.default_rng(seed))
    spoil(mask)
    report = check(root)
    assert [(f.severity, f.code, f.name) for f in report.findings] == [("error", code, mask.stem)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "plant", [unknown_id, drawn_large_and_shrunk, was_a_jpeg, jpeg_mask, truncated_mask], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("binary", [False, True])
def test_one_bad_mask_does_not_spoil_classes_found_in_the_others(
    draw_set: Callable[..., Path], plant: Callable[..., Planted], seed: int, binary: bool
) -> None:
    root = draw_set(seed, classes=None, binary=binary)
    expected = open_dataset(root).classes
    code, file, _ = plant(root, np.random.default_rng(200 + seed))
    report = check(root)
    assert report.classes == expected
    assert [(f.code, f.file) for f in report.findings] == [(code, file), ("classes-found", root)]


def test_classes_that_train_does_not_show_are_told_from_those_that_nothing_shows(draw_set: Callable[..., Path]) -> None:
    root = draw_set()
    for mask in (root / "train" / "masks").glob("*.png"):
        values = read(mask).copy()
        values[values == 180] = 0
        Image.fromarray(values).save(mask)
    class_never_seen(root, np.random.default_rng(0))
    found = {f.code: f for f in check(root).findings}
    assert set(found) == {"class-not-in-train", "class-never-seen"}
    assert "class 'box' (id 2) is not in any mask of the train split." in found["class-not-in-train"].message
    assert "(id 3) is not in any mask." in found["class-never-seen"].message


def test_snap_turns_smear_into_a_warning(draw_set: Callable[..., Path]) -> None:
    root = draw_set()
    _, file, _ = drawn_large_and_shrunk(root, np.random.default_rng(0))
    report = check(root, snap=True)
    assert [(f.severity, f.code, f.file) for f in report.findings] == [("warning", "anti-aliased", file)]
    assert report.ok


def test_set_without_bad_pairs_is_clean(draw_set: Callable[..., Path]) -> None:
    root = draw_set()
    rng = np.random.default_rng(5)
    for plant in (missing_mask, missing_image, unknown_id, truncated_image):
        plant(root, rng)
    report = check(root)
    dataset = open_dataset(root)
    assert not report.ok
    rest = dataset.without(report.bad_names)
    assert check(rest).findings == ()
    assert len(rest.pairs) == len(dataset.pairs) - len(report.bad_names)


def test_findings_of_a_kind_are_one_line(draw_set: Callable[..., Path]) -> None:
    root = draw_set()
    for mask in sorted((root / "train" / "masks").glob("*.png")):
        mask.unlink()
    lines = check(root).lines()
    (line,) = [text for text in lines if "missing-mask" in text]
    assert line.startswith(
        "error missing-mask: 8 images have no mask: images/scene00.png, images/scene01.png, images/scene02.png and 5 more. Add the masks"
    )
    assert lines[-1] == "Training must not start yet (8 errors, 0 warnings)."


def test_class_balance_counts_pixels(tmp_path: Path) -> None:
    for folder, array in (("images", np.arange(80, dtype=np.uint8).reshape(8, 10)), ("masks", np.zeros((8, 10), np.uint8))):
        (tmp_path / folder).mkdir()
        for k in range(2):
            array = array.copy() + k
            Image.fromarray(array).save(tmp_path / folder / f"{k}.png")
    # Mask 0 holds 80 pixels of 0, mask 1 holds 80 pixels of 1.
    report = check(tmp_path)
    assert report.class_pixels == {"background": 80, "foreground": 80}
    assert report.class_images == {"background": 1, "foreground": 1}
    assert any("50.00 % of the pixels, in 1 image" in line for line in report.lines())


def test_outputs_and_data_folder_untouched(draw_set: Callable[..., Path], tmp_path: Path) -> None:
    root = draw_set(classes=None)
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    calls: list[tuple[int, int]] = []
    report = check(root, out=tmp_path / "out", progress=lambda done, total: calls.append((done, total)))
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before
    assert calls[-1] == (14, 14)
    assert len(calls) == 14
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["check.json", "classes.yaml", "contact_sheet.png"]
    saved = json.loads((tmp_path / "out" / "check.json").read_text())
    assert saved["ok"] is True
    assert saved["class_pixels"] == report.class_pixels
    # The classes.yaml that was written means the same as the classes that were found.
    assert open_dataset(root, classes=tmp_path / "out" / "classes.yaml").classes == report.classes
    sheet = read(tmp_path / "out" / "contact_sheet.png")
    assert sheet.ndim == 3
    assert sheet.shape[1] > 1000


def test_out_in_the_data_folder_is_refused(draw_set: Callable[..., Path]) -> None:
    root = draw_set()
    with pytest.raises(InputError, match="lies in the data folder"):
        check(root, out=root / "report")


def test_group_that_crosses_splits_is_named(draw_set: Callable[..., Path]) -> None:
    # scene00..07 train, 08..10 val, 11..13 test: tens digit 0 is in train and val, 1 in val and test.
    report = check(draw_set(), group=r"scene(\d)")
    assert [(f.code, f.value) for f in report.findings] == [("group-across-splits", "0"), ("group-across-splits", "1")]
    assert "'0' stands in the splits train, val" in report.findings[0].message


def test_one_image_may_not_start(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.tri(8, dtype=np.uint8)).save(tmp_path / folder / "a.png")
    report = check(tmp_path)
    assert [f.code for f in report.findings] == ["few-images", "classes-found"]
    assert not report.ok
    assert "only 1 image" in report.findings[0].message


@pytest.mark.parametrize(
    ("files", "code", "text"),
    [
        ([], "no-pairs", "no images here"),
        (["images/a.png"], "no-pairs", "1 image but no masks"),
        (["masks/a.png"], "no-pairs", "1 mask but no images"),
        (["images/a.png", "masks/a.png"], "no-classes", "single value"),
    ],
)
def test_folder_that_is_no_data_set(tmp_path: Path, files: list[str], code: str, text: str) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / file)
    report = check(tmp_path)
    assert [f.code for f in report.findings] == [code]
    assert text in report.findings[0].message
    assert not report.ok


def test_missing_folder_raises() -> None:
    with pytest.raises(InputError, match="no such folder"):
        check("no/where")


def test_real_xrays_get_the_jpeg_finding_and_no_duplicates(shared_data: Callable[[str], Path]) -> None:
    report = check(shared_data("lungs-shenzhen"))
    assert report.ok
    assert {f.code for f in report.findings} == {"jpeg-mask", "classes-found"}
    assert sum(f.code == "jpeg-mask" for f in report.findings) == report.images == 466
    assert report.classes is not None
    assert report.classes.values == ((0,), (255,))


def test_real_films_are_no_errors(shared_data: Callable[[str], Path]) -> None:
    report = check(shared_data("camvid"))
    assert report.ok
    assert len(report.findings) <= 2
    assert report.classes == ClassMap.known("camvid")
    assert report.ignored_px > 0


@pytest.mark.parametrize("name", ["em-membranes", "ships-sar-hrsid"])
def test_real_clean_sets_have_no_findings(shared_data: Callable[[str], Path], name: str) -> None:
    assert [f.code for f in check(shared_data(name)).findings] == ["classes-found"]


def test_real_folders_of_several_masks_tell_objects_apart(shared_data: Callable[[str], Path]) -> None:
    report = check(shared_data("nuclei-dsb2018"))
    assert report.ok
    assert report.images == 150
    assert sum(report.class_objects.values()) > 5000
