"""Folders as people have them: one row a layout, with what must be found in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from maskwright.data.layouts import LayoutError
from maskwright.data.names import bare, common_affixes
from maskwright.data.pairing import find_pairs
from maskwright.errors import InputError

# files -> (name, image, mask, split) of each pair, in order
LAYOUTS = {
    "images and masks": (
        ["images/a.png", "images/b.png", "masks/a.png", "masks/b.png"],
        [("a", "images/a.png", "masks/a.png", "all"), ("b", "images/b.png", "masks/b.png", "all")],
    ),
    "endings differ": (["images/a.jpg", "masks/a.tif"], [("a", "images/a.jpg", "masks/a.tif", "all")]),
    "split first": (
        ["train/images/a.jpg", "train/masks/a.png", "val/images/b.jpg", "val/masks/b.png"],
        [("a", "train/images/a.jpg", "train/masks/a.png", "train"), ("b", "val/images/b.jpg", "val/masks/b.png", "val")],
    ),
    "split last, valid for val": (
        ["images/train/a.jpg", "images/valid/b.jpg", "masks/train/a.png", "masks/valid/b.png"],
        [("a", "images/train/a.jpg", "masks/train/a.png", "train"), ("b", "images/valid/b.jpg", "masks/valid/b.png", "val")],
    ),
    "trainannot": (
        ["train/a.jpg", "trainannot/a.png", "test/b.jpg", "testannot/b.png"],
        [("b", "test/b.jpg", "testannot/b.png", "test"), ("a", "train/a.jpg", "trainannot/a.png", "train")],
    ),
    "image and label": (["image/1.png", "label/1.png"], [("1", "image/1.png", "label/1.png", "all")]),
    "one folder, mask ending": (
        ["x.jpg", "x_mask.png", "y.jpg", "y_mask.png"],
        [("x", "x.jpg", "x_mask.png", "all"), ("y", "y.jpg", "y_mask.png", "all")],
    ),
    "one folder, both with an ending": (["train/1_sat.jpg", "train/1_mask.png"], [("1_sat", "train/1_sat.jpg", "train/1_mask.png", "train")]),
    "one folder, word in front": (["image_1.png", "mask_1.png"], [("image_1", "image_1.png", "mask_1.png", "all")]),
    "one folder, jpg and png of one name": (["x.jpg", "x.png"], [("x", "x.jpg", "x.png", "all")]),
    "masks beside images": (["1.png", "masks/1.png"], [("1", "1.png", "masks/1.png", "all")]),
    "ending in its folder": (["images/a.jpg", "masks/A-Mask.png"], [("a", "images/a.jpg", "masks/A-Mask.png", "all")]),
    "unusual endings": (
        ["training/images/21_training.tif", "training/images/22_training.tif", "training/1st_manual/21_manual1.gif", "training/1st_manual/22_manual1.gif"],
        [
            ("21_training", "training/images/21_training.tif", "training/1st_manual/21_manual1.gif", "train"),
            ("22_training", "training/images/22_training.tif", "training/1st_manual/22_manual1.gif", "train"),
        ],
    ),
    "imagesTr": (
        ["imagesTr/x_0000.png", "labelsTr/x.png", "imagesTs/y_0000.png"],
        [("x_0000", "imagesTr/x_0000.png", "labelsTr/x.png", "train")],
    ),
    "VOC, pictures of masks left aside": (
        ["JPEGImages/a.jpg", "SegmentationClass/a.png", "SegmentationVisualization/a.jpg"],
        [("a", "JPEGImages/a.jpg", "SegmentationClass/a.png", "all")],
    ),
    "folder between": (["images/1.jpg", "annotations/trimaps/1.png"], [("1", "images/1.jpg", "annotations/trimaps/1.png", "all")]),
    "unpacked twice": (["data/images/1.jpg", "data/masks/1.png"], [("1", "data/images/1.jpg", "data/masks/1.png", "all")]),
    "same stem in two splits": (
        ["train/images/1.png", "train/masks/1.png", "val/images/1.png", "val/masks/1.png"],
        [("train/1", "train/images/1.png", "train/masks/1.png", "train"), ("val/1", "val/images/1.png", "val/masks/1.png", "val")],
    ),
    "patients": (
        ["images/p1/1.png", "images/p2/1.png", "masks/p1/1.png", "masks/p2/1.png"],
        [("p1/1", "images/p1/1.png", "masks/p1/1.png", "all"), ("p2/1", "images/p2/1.png", "masks/p2/1.png", "all")],
    ),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[list[str]], Path]:
    def make(files: list[str]) -> Path:
        root = tmp_path / "set"
        root.mkdir()
        for file in files:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).touch()
        return root

    return make


@pytest.mark.parametrize(("files", "expected"), LAYOUTS.values(), ids=list(LAYOUTS))
def test_layout(folder: Callable[..., Path], files: list[str], expected: list[tuple[str, str, str, str]]) -> None:
    root = folder(files)
    found = find_pairs(root)
    pairs = [
        (p.name, p.image.relative_to(root).as_posix(), p.mask and p.mask.relative_to(root).as_posix(), p.split)
        for p in found.pairs
    ]
    assert pairs == expected
    assert found.strays == ()


def test_explanation_names_folders_example_and_splits(folder: Callable[..., Path]) -> None:
    found = find_pairs(
        folder(["train/a.jpg", "trainannot/a.png", "train/b.jpg", "trainannot/b.png", "val/c.jpg", "valannot/c.png"])
    )
    assert found.line == "images in train/ and val/, masks in trainannot/ and valannot/, such as a.jpg + a.png: 2 train, 1 val"


def test_splits_without_masks_are_left_out_and_said(folder: Callable[..., Path]) -> None:
    found = find_pairs(folder(["train/images/a.png", "train/masks/a.png", "test/images/b.png", "test/images/c.png"]))
    assert [p.name for p in found.pairs] == ["a"]
    assert found.line.endswith("1 train; 2 test images without masks left out")


def test_train_without_masks_is_not_left_out(folder: Callable[..., Path]) -> None:
    found = find_pairs(folder(["train/images/a.png", "val/masks/b.png", "val/images/b.png"]))
    assert [(p.name, p.mask is None) for p in found.pairs] == [("a", True), ("b", False)]


def test_missing_partners_are_kept_apart(folder: Callable[..., Path]) -> None:
    # Patient 1 lacks mask 2 and patient 2 lacks image 2: they must not be given to each other.
    root = folder(["images/p1/1.png", "images/p1/2.png", "images/p2/1.png", "masks/p1/1.png", "masks/p2/1.png", "masks/p2/2.png"])
    found = find_pairs(root)
    assert [p.name for p in found.pairs if p.mask is None] == ["p1/2"]
    assert found.strays == (root / "masks/p2/2.png",)


def test_numbers_are_not_taken_for_endings(folder: Callable[..., Path]) -> None:
    # Mask 10 has no image and image 1 has no mask: "0" is no ending.
    root = folder(["images/1.png", "images/2.png", "masks/2.png", "masks/10.png"])
    found = find_pairs(root)
    assert [(p.name, p.mask is None) for p in found.pairs] == [("1", True), ("2", False)]
    assert [p.name for p in found.strays] == ["10.png"]


def test_folders_named_by_hand(folder: Callable[..., Path]) -> None:
    root = folder(["shots/1.png", "drawn/1.png", "masks/1.png", "old/drawn/1.png"])
    found = find_pairs(root, images="shots", masks="masks")
    assert [(p.image.parent.name, p.mask and p.mask.parent.name) for p in found.pairs] == [("shots", "masks")]
    found = find_pairs(root, images="shots", masks="old/drawn")
    assert [p.mask for p in found.pairs] == [root / "old/drawn/1.png"]


def test_folder_named_by_hand_in_each_split(folder: Callable[..., Path]) -> None:
    root = folder(["train/rgb/1.png", "train/v2/1.png", "train/masks/1.png", "val/rgb/2.png", "val/v2/2.png"])
    found = find_pairs(root, images="rgb", masks="v2")
    assert [(p.name, p.mask and p.mask.parent.name, p.split) for p in found.pairs] == [("1", "v2", "train"), ("2", "v2", "val")]


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        ([], {}, "no images here"),
        (["images/a.png"], {}, r"1 image but no masks \(in images/ \(1\)\)"),
        (["a.png", "b.png"], {}, "2 images but no masks"),
        (
            ["images/a.jpg", "notes.json"],
            {},
            r"1 image but no masks \(in images/ \(1\)\)\. .*notes\.json: the file is empty; .* Known layouts",
        ),
        (["masks/a.png"], {}, "1 mask but no images"),
        (
            ["images/a.png", "masks/b.png"],
            {},
            r"no mask has the name of an image \(images such as images/a.png, masks such as masks/b.png",
        ),
        (
            ["c1/images/x.png", "c1/masks/1.png", "c1/masks/2.png"],
            {},
            "not a layout I know: each image has a folder of several masks",
        ),
        (
            ["images/a.png", "masks/a.png", "labels/a.png"],
            {},
            r"several folders could hold the masks: labels/ \(1\), masks/ \(1\)",
        ),
        (["images/a.png", "images/a.jpg", "masks/a.png"], {}, "a.jpg and a.png share a name"),
        (
            ["images/a.png", "lab/a.png"],
            {"masks": "labs"},
            r"under the folder 'labs' \(--masks\); folders here: images/ \(1\), lab/ \(1\)",
        ),
    ],
)
def test_what_cannot_be_paired_gets_a_sentence(
    folder: Callable[..., Path], files: list[str], given: dict[str, str], message: str
) -> None:
    root = folder(files)
    with pytest.raises(LayoutError, match=message) as caught:
        find_pairs(root, **given)
    assert str(root) in str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        find_pairs(tmp_path / "nowhere")


def test_linked_folders_are_followed_once(folder: Callable[..., Path]) -> None:
    root = folder(["images/a.png", "masks/a.png"])
    (root / "images" / "loop").symlink_to(root / "images")
    assert [p.name for p in find_pairs(root).pairs] == ["a"]


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("x_mask", "x"),
        ("x-Label", "x"),
        ("Mask_7", "7"),
        ("mask7", "7"),
        ("x.gt", "x"),
        ("masked", "masked"),
        ("gt", "gt"),
        ("unmask", "unmask"),
    ],
)
def test_words_at_the_ends_of_names(stem: str, expected: str) -> None:
    assert bare(stem, ("mask", "label", "gt")) == expected


def test_common_affixes_are_cut_at_separators() -> None:
    assert common_affixes(["21_manual1", "22_manual1"]) == ("", "_manual1")
    assert common_affixes(["im_001", "im_002"]) == ("im_", "")
    assert common_affixes(["a_1", "b_1"]) == ("", "")
    assert common_affixes(["alone_x"]) == ("", "")


@pytest.mark.parametrize(
    ("name", "images", "masks", "split"),
    [
        ("lungs-shenzhen", "train/images/", "train/masks/", "396 train, 70 val"),
        ("camvid", "train/", "trainannot/", "367 train, 101 val"),
        ("em-membranes", "image/", "label/", "24 pairs, no split"),
        ("ships-sar-hrsid", "mini_test/images/", "mini_test/masks/", "36 pairs, no split"),
    ],
)
def test_real_sets(shared_data: Callable[[str], Path], name: str, images: str, masks: str, split: str) -> None:
    line = find_pairs(shared_data(name)).line
    assert line.startswith(f"images in {images}")
    assert f", masks in {masks}" in line
    assert line.endswith(split)
