"""Splits: kept where they are, drawn by hash where not, stable under additions, and groups never cross."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, open_dataset
from maskwright.data.split import as_trained, carve, draw, ensure_splits, hold_out
from maskwright.errors import InputError

TWO = ClassMap((0, 1), ("background", "thing"))


def some(count: int, *, splits: list[str] | None = None, groups: list[str] | None = None) -> Dataset:
    image = np.zeros((2, 2), np.uint8)
    names = [f"n{k:03d}" for k in range(count)]
    return Dataset.in_memory([image] * count, [image] * count, classes=TWO, names=names, splits=splits, groups=groups)


def split_of(dataset: Dataset) -> dict[str, str]:
    return {p.name: p.split for p in dataset.pairs}


def test_shares_are_about_right() -> None:
    splits = ensure_splits(some(1000)).splits
    # Binomial, n = 1000, p = 0.15: standard deviation 11.3; four of them.
    assert abs(splits["val"] - 150) < 46
    assert abs(splits["test"] - 150) < 46
    assert sum(splits.values()) == 1000


def test_adding_images_moves_no_other() -> None:
    few, many = split_of(ensure_splits(some(200))), split_of(ensure_splits(some(230)))
    assert all(many[name] == split for name, split in few.items())


def test_seed_decides() -> None:
    assert split_of(ensure_splits(some(50), seed=1)) == split_of(ensure_splits(some(50), seed=1))
    assert split_of(ensure_splits(some(50), seed=1)) != split_of(ensure_splits(some(50), seed=2))


def test_groups_never_cross() -> None:
    found = ensure_splits(some(120, groups=[f"patient{k % 20}" for k in range(120)]))
    of_group: dict[str | None, set[str]] = {}
    for pair in found.pairs:
        of_group.setdefault(pair.group, set()).add(pair.split)
    assert all(len(splits) == 1 for splits in of_group.values())
    assert set(found.splits) == {"train", "val", "test"}
    assert "by group, 20 groups, seed 0" in found.layout


@pytest.mark.parametrize("count", range(2, 12))
def test_small_sets_have_a_val_and_something_to_fit_on(count: int) -> None:
    for seed in range(20):
        splits = ensure_splits(some(count), seed=seed).splits
        assert splits["train"] >= 1
        assert splits["val"] >= 1
        assert ("test" in splits) == (count > 2)


def test_no_test_split_where_none_is_wanted() -> None:
    assert set(ensure_splits(some(40), test=0).splits) == {"train", "val"}


def test_splits_that_are_there_are_kept() -> None:
    given = some(4, splits=["train", "train", "val", "test"])
    assert ensure_splits(given) is given


def test_val_is_drawn_from_train_and_test_stays() -> None:
    given = some(60, splits=["train"] * 50 + ["test"] * 10)
    found = ensure_splits(given)
    assert found.splits["test"] == 10
    assert all(split_of(found)[p.name] == "test" for p in given.split("test"))
    assert found.splits["val"] + found.splits["train"] == 50
    assert "split drawn from train seed 0" in found.layout


def test_carve_takes_only_from_train() -> None:
    given = some(100, splits=["train"] * 80 + ["val"] * 20)
    found = carve(given, 0.2, seed=3)
    assert found.splits["val"] == 20
    assert found.splits["train"] + found.splits["inner"] == 80
    assert 0 < found.splits["inner"] < 40
    assert given.splits == {"train": 80, "val": 20}, "the given data set is unchanged"


def test_carve_never_splits_a_group() -> None:
    given = some(30, splits=["train"] * 30, groups=["a"] * 10 + ["b"] * 10 + ["c"] * 10)
    found = carve(given, 0.1)
    # The smallest share that three groups allow is one of them.
    assert sorted(found.splits.values()) == [10, 20]


def test_hold_out_names_groups() -> None:
    given = some(30, splits=["train"] * 30, groups=["a"] * 10 + ["b"] * 15 + ["c"] * 5)
    found = hold_out(given, ["c"])
    assert found.splits == {"train": 25, "held-out": 5}
    assert {p.group for p in found.split("held-out")} == {"c"}
    assert found.layout.endswith("5 images of c held out")
    with pytest.raises(InputError, match="no group 'd'; there are a, b, c"):
        hold_out(given, ["d"])
    with pytest.raises(InputError, match="leaves nothing in train"):
        hold_out(given, ["a", "b", "c"])
    with pytest.raises(InputError, match="no group 'a'; no groups were named: say with --group"):
        hold_out(some(3), ["a"])


def test_held_out_groups_leave_val_too_but_never_test() -> None:
    given = some(12, splits=["train"] * 6 + ["val"] * 3 + ["test"] * 3, groups=["a", "b", "c"] * 4)
    # Each split holds every group alike: c is 2 of train, 1 of val and 1 of test, which stays.
    assert hold_out(given, ["c"]).splits == {"train": 4, "held-out": 3, "val": 2, "test": 3}


def test_without_splits_the_rest_is_there_to_fit_on() -> None:
    given = some(30, groups=["a"] * 10 + ["b"] * 15 + ["c"] * 5)
    assert hold_out(given, ["c"]).splits == {"train": 25, "held-out": 5}
    found = as_trained(given, seed=0, held_out=["c"])
    # val is one of the two groups left; no test is drawn: the held-out group is what is scored.
    assert sorted(found.splits) == ["held-out", "train", "val"]
    assert found.splits["held-out"] == 5
    assert {found.splits["train"], found.splits["val"]} == {10, 15}


def test_what_a_run_works_with_is_the_same_for_who_scores_it() -> None:
    given = some(60, splits=["train"] * 50 + ["val"] * 10, groups=[f"g{k % 10}" for k in range(60)])
    trained = as_trained(given, seed=4, holdout=0.2, held_out=["g3"])
    assert trained.splits["held-out"] == 6  # 5 of train, 1 of val
    assert set(trained.splits) == {"train", "inner", "val", "held-out"}
    scored = as_trained(hold_out(given, ["g3"]), seed=4, holdout=0.2)
    assert split_of(scored) == split_of(trained)


def test_train_and_val_are_fitted_to_together_and_test_is_left_alone() -> None:
    given = some(40, splits=["train"] * 24 + ["val"] * 10 + ["test"] * 6)
    found = as_trained(given, seed=0, holdout=0.1, fit=("train", "val"))
    assert found.splits["train"] + found.splits["inner"] == 34
    assert found.splits["test"] == 6
    # Without a holdout something must be left to choose by: val is drawn anew from all 34.
    drawn = as_trained(given, seed=0, fit=("train", "val"))
    assert drawn.splits["train"] + drawn.splits["val"] == 34


@pytest.mark.parametrize("split", ["test", "tset"])
def test_what_cannot_be_fitted_to(split: str) -> None:
    given = some(12, splits=["train"] * 6 + ["val"] * 3 + ["test"] * 3)
    with pytest.raises(InputError, match=rf"split '{split}' cannot be fitted to; there are train, val, and test is for scores"):
        as_trained(given, seed=0, fit=("train", split))


def test_draw_takes_the_units_of_its_stretch() -> None:
    units = [f"u{k}" for k in range(300)]
    first, second = draw(units, {"val": 0.2}, "train", 0), draw(units, {"test": 0.1, "val": 0.2}, "train", 0)
    # val moves up behind test: [0, .2) becomes [.1, .3), so nothing of val goes to train but what lay in neither.
    assert {u for u in units if second[u] == "test"} <= {u for u in units if first[u] == "val"}


@pytest.mark.parametrize(
    ("dataset", "kwargs", "message"),
    [
        (some(1), {}, "one image cannot be split"),
        (some(5, groups=["p1"] * 5), {}, r"one group \(p1\) cannot be split"),
        (some(4, splits=["test"] * 4), {}, r"there is no train split \(found: test\)"),
        (some(4), {"val": 0.6, "test": 0.5}, "together they must stay below 1"),
        (some(4), {"val": 0.0}, "shares must be in"),
    ],
)
def test_what_cannot_be_split(dataset: Dataset, kwargs: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ensure_splits(dataset, **kwargs)  # type: ignore[arg-type]


def test_a_train_file_that_is_empty_is_why_there_is_no_train_split(tmp_path: Path) -> None:
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]]}
    coco = {"images": [{"id": 1, "file_name": "0.png", "width": 8, "height": 8}], "annotations": [box]}
    text = json.dumps(coco | {"categories": [{"id": 1, "name": "thing"}]})
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    (tmp_path / "val.json").write_text(text)
    (tmp_path / "train.json").touch()
    with pytest.raises(InputError, match=r"no train split \(found: val\)\. \S*train\.json: the file is empty.* Name the folder"):
        ensure_splits(open_dataset(tmp_path, objects=True))


def test_carve_wants_a_share_and_two_groups() -> None:
    with pytest.raises(InputError, match="must lie between 0 and 1"):
        carve(some(4, splits=["train"] * 4), 1.0)
    with pytest.raises(InputError, match="one group"):
        carve(some(4, splits=["train"] * 4, groups=["g"] * 4), 0.5)


def test_films_hold_out_a_drive(shared_data) -> None:  # type: ignore[no-untyped-def]
    found = hold_out(open_dataset(shared_data("camvid"), group=r"^(\w{6})_"), ["0001TP"])
    # The honest inner protocol: 305 frames of two drives to fit on, 62 of the third to score.
    assert found.splits == {"train": 305, "held-out": 62, "val": 101}
