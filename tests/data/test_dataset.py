"""Opening, reading, fingerprinting and cutting data sets."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, open_dataset
from maskwright.errors import FormatError, InputError

THREE = ClassMap((0, 1, 2), ("background", "disc", "box"))


def test_read_gives_class_ids(draw_set: Callable[..., Path]) -> None:
    dataset = open_dataset(draw_set())
    sample = dataset.read(dataset.pairs[0])
    stored = np.asarray(Image.open(dataset.pairs[0].mask))  # type: ignore[arg-type]
    assert sample.labels is not None
    for value, class_id in ((0, 0), (100, 1), (180, 2), (255, 255)):
        assert np.array_equal(stored == value, sample.labels == class_id)
    assert sample.image.hw == (48, 64)
    assert sample.name == "scene11", "test comes first in the order of paths"
    assert dataset.classes_found == ""


def test_splits_are_listed_and_unknown_ones_named(draw_set: Callable[..., Path]) -> None:
    dataset = open_dataset(draw_set())
    assert dataset.splits == {"test": 3, "train": 8, "val": 3}
    assert [p.name for p in dataset.split("val")] == ["scene08", "scene09", "scene10"]
    assert len(dataset.split("all")) == 14
    with pytest.raises(InputError, match=r"no split 'dev'; there are: test \(3\), train \(8\), val \(3\)"):
        dataset.split("dev")


def bad_mask(dataset: Dataset, array: np.ndarray) -> Path:
    path = dataset.pairs[0].mask
    assert isinstance(path, Path)
    Image.fromarray(array).save(path)
    return path


def test_unknown_value_names_file_value_and_way_out(draw_set: Callable[..., Path]) -> None:
    dataset = open_dataset(draw_set())
    array = np.zeros((48, 64), np.uint8)
    array[3, 4:6] = 7
    path = bad_mask(dataset, array)
    with pytest.raises(
        InputError, match=r"values \[7\] are not in the class map \(known: \[0, 100, 180\], ignored: \[255\]\)"
    ) as caught:
        dataset.read(dataset.pairs[0])
    assert str(path) in str(caught.value)
    assert "2 pixels" in str(caught.value)
    assert "--classes" in str(caught.value)


def test_snap_moves_to_the_nearest(draw_set: Callable[..., Path]) -> None:
    dataset = open_dataset(draw_set(), snap=True)
    array = np.zeros((48, 64), np.uint8)
    array[0] = 51  # nearer to 100 than to 0
    bad_mask(dataset, array)
    labels = dataset.read(dataset.pairs[0]).labels
    assert labels is not None
    assert (labels[0] == 1).all()
    assert not labels[1:].any()


@pytest.mark.parametrize(
    ("shape", "message"),
    [((40, 64), "the mask is 64x40, its image 64x48; they must be alike"), ((64, 48), "height and width are exchanged")],
)
def test_sizes_must_agree(draw_set: Callable[..., Path], shape: tuple[int, int], message: str) -> None:
    dataset = open_dataset(draw_set())
    path = bad_mask(dataset, np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match=message) as caught:
        dataset.read(dataset.pairs[0])
    assert str(path) in str(caught.value)


def test_truncated_file_is_named(draw_set: Callable[..., Path]) -> None:
    dataset = open_dataset(draw_set())
    path = dataset.pairs[0].image
    assert isinstance(path, Path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FormatError, match=path.name):
        dataset.read(dataset.pairs[0])


def test_sixteen_bit_masks_are_read(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    values = np.array([[0, 1000], [2000, 0]], np.uint16)
    for k in range(3):
        Image.fromarray(np.full((2, 2), k, np.uint8)).save(tmp_path / "images" / f"{k}.png")
        Image.fromarray(values).save(tmp_path / "masks" / f"{k}.png")
    dataset = open_dataset(tmp_path)
    # Greys over a wide range are numbered.
    assert dataset.classes.values == ((0,), (1000,), (2000,))
    labels = dataset.read(dataset.pairs[0]).labels
    assert labels is not None
    assert labels.tolist() == [[0, 1], [2, 0]]


def test_groups_by_expression(draw_set: Callable[..., Path]) -> None:
    dataset = open_dataset(draw_set(), group=r"scene(\d)\d")
    assert {p.name: p.group for p in dataset.pairs}["scene10"] == "1"
    assert dataset.layout.endswith(r"2 groups by 'scene(\\d)\\d'")
    with pytest.raises(InputError, match=r"finds no group in the name 'scene\d\d'; it must match every name"):
        open_dataset(draw_set(name="again"), group="patient_(.)")
    with pytest.raises(InputError, match="is not a regular expression"):
        open_dataset(dataset, group="(")


def test_without_leaves_out_by_name(draw_set: Callable[..., Path]) -> None:
    root = draw_set()
    (root / "train" / "images" / "scene00.png").unlink()
    dataset = open_dataset(root)
    assert dataset.strays == (root / "train" / "masks" / "scene00.png",)
    rest = dataset.without(["scene03", "scene09"])
    assert rest.splits == {"test": 3, "train": 6, "val": 2}
    assert rest.strays == ()
    assert rest.layout.endswith("; 2 pairs left out")
    with pytest.raises(InputError, match="no pair named 'scene77'"):
        dataset.without(["scene77"])
    with pytest.raises(InputError, match="leaves none"):
        dataset.without([p.name for p in dataset.pairs])


def test_fingerprint_is_of_the_contents(draw_set: Callable[..., Path], tmp_path: Path) -> None:
    root = draw_set()
    first = open_dataset(root).fingerprint()
    shutil.copytree(root, tmp_path / "elsewhere")
    assert open_dataset(tmp_path / "elsewhere").fingerprint() == first
    mask = root / "train" / "masks" / "scene00.png"
    array = np.asarray(Image.open(mask)).copy()
    array[20, 20] = 100 if array[20, 20] != 100 else 0
    Image.fromarray(array).save(mask)
    changed = open_dataset(root).fingerprint()
    assert changed != first
    (root / "classes.yaml").write_text((root / "classes.yaml").read_text().replace("box", "crate"))
    assert open_dataset(root).fingerprint() not in (first, changed)


def test_arrays_and_lists() -> None:
    images = [np.full((3, 4), k, np.uint8) for k in range(3)]
    masks = [np.eye(3, 4, k, dtype=np.uint8) for k in range(3)]
    dataset = open_dataset((images, masks), classes=THREE)
    assert [p.name for p in dataset.pairs] == ["0000", "0001", "0002"]
    assert dataset.splits == {"all": 3}
    labels = dataset.read(dataset.pairs[1]).labels
    assert labels is not None
    assert np.array_equal(labels, masks[1])
    assert len(dataset.fingerprint()) == 64


def test_bool_arrays_are_background_and_foreground() -> None:
    dataset = Dataset.in_memory([np.zeros((3, 4, 3), np.uint8)] * 2, [np.eye(3, 4, dtype=bool), np.zeros((3, 4), bool)])
    assert dataset.classes.names == ("background", "foreground")
    assert dataset.classes_found == "2 classes found in 2 masks: 0 background, 1 foreground"


def test_arrays_hold_ids_or_stored_values() -> None:
    lungs = ClassMap((0, 1), ("background", "lung"), values=((0,), (255,)))
    image = np.zeros((2, 2), np.uint8)
    # 1 is stored by no class, so these are ids, and 255 is ignored; 0 and 255 alone are stored values.
    arrays = [np.array([[0, 1], [1, 255]]), np.array([[0, 255], [0, 0]])]
    dataset = Dataset.in_memory([image, image], arrays, classes=lungs)
    read = [dataset.read(p).labels for p in dataset.pairs]
    assert [r.tolist() for r in read if r is not None] == [[[0, 1], [1, 255]], [[0, 1], [0, 0]]]


def test_lists_of_paths(draw_set: Callable[..., Path]) -> None:
    root = draw_set()
    images = [str(p) for p in sorted(root.glob("*/images/*"))]
    masks = [str(p) for p in sorted(root.glob("*/masks/*"))]
    given = open_dataset((images, masks), classes=str(root / "classes.yaml"))
    whole = open_dataset(root)
    assert [p.name for p in given.pairs] == [p.name for p in whole.pairs]
    assert given.fingerprint() == whole.fingerprint()


def test_bad_lists() -> None:
    image = np.zeros((2, 2), np.uint8)
    with pytest.raises(InputError, match="2 images but 1 masks"):
        Dataset.in_memory([image, image], [image], classes=THREE)
    with pytest.raises(InputError, match="no images"):
        Dataset.in_memory([], [], classes=THREE)
    with pytest.raises(InputError, match="the name 'a' stands twice"):
        Dataset.in_memory([image, image], [image, image], classes=THREE, names=["a", "a"])
    dataset = Dataset.in_memory([image], [np.zeros((2, 2), np.float32)], classes=THREE)
    with pytest.raises(InputError, match=r"mask of 0000: float32 of the shape \(2, 2\); expected whole numbers"):
        dataset.read(dataset.pairs[0])


def test_a_dataset_is_handed_back_with_the_arguments_applied(draw_set: Callable[..., Path]) -> None:
    dataset = open_dataset(draw_set())
    assert open_dataset(dataset).pairs == dataset.pairs
    assert open_dataset(dataset, classes=THREE).classes == THREE
    assert open_dataset(dataset, snap=True).snap
    with pytest.raises(InputError, match="name folders below a data folder"):
        open_dataset(([], []), masks="masks")


def test_class_map_that_is_not_there(draw_set: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="no such class map"):
        open_dataset(draw_set(), classes="nowhere.yaml")


def test_real_sets_read(shared_data: Callable[[str], Path]) -> None:
    for name, ids in (("lungs-shenzhen", {0, 1}), ("em-membranes", {0, 1}), ("ships-sar-hrsid", {0, 1})):
        dataset = open_dataset(shared_data(name))
        sample = dataset.read(dataset.pairs[-1])
        assert sample.labels is not None
        assert set(np.unique(sample.labels)) == ids
