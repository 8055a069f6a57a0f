"""Which images are scored by default, and that images a model was fitted to are never scored unnoticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskwright.classes import ClassMap
from maskwright.data.dataset import open_dataset
from maskwright.data.split import carve, ensure_splits
from maskwright.errors import InputError
from maskwright.evaluation import Evaluation, evaluate

from .conftest import HW, LUNGS, truth, write

Make = Callable[..., Path]


def by_arrays(data: Path, count: int, split: str | None = None) -> Evaluation:
    return evaluate([np.zeros(HW, int)] * count, data, split=split, resamples=0)


def options_of(run: Path, data: Path, **changed: Any) -> None:
    (run / "state").mkdir()
    given = {
        "data": str(data),
        "images": None,
        "masks": None,
        "group": None,
        "snap": False,
        "seed": 0,
        "holdout": None,
        **changed,
    }
    (run / "state" / "options.json").write_text(json.dumps(given), encoding="utf-8")


def names(evaluation: Evaluation) -> set[str]:
    return {s.name for s in evaluation.per_image}


def test_test_is_taken_before_val_and_val_before_all(make_data: Make) -> None:
    three = by_arrays(make_data("train", "val", "test"), 4)
    assert (three.split, names(three)) == ("test", {"08", "09", "10", "11"})
    assert "Scored: 4 images, split test." in three.conventions
    two = by_arrays(make_data("train", "val", name="two"), 6)
    assert two.split == "val"
    assert any("There is no test split" in c for c in two.conventions)
    one = by_arrays(make_data(".", name="one"), 12)
    assert (one.split, len(one.per_image)) == ("all", 12)
    assert "Scored: 12 images, all there are." in one.conventions


def test_a_split_that_is_asked_for(make_data: Make) -> None:
    data = make_data("train", "val")
    train = by_arrays(data, 6, "train")
    assert "6 of them are of the split train" in "\n".join(train.conventions)
    assert not any("no test split" in c for c in by_arrays(data, 6, "val").conventions)
    assert "6 of them are of the split train" in "\n".join(by_arrays(data, 12, "all").conventions)
    with pytest.raises(InputError, match=r"no split 'tset'; there are: train \(6\), val \(6\)"):
        by_arrays(data, 6, "tset")


def test_a_run_on_its_own_unsplit_data_is_scored_on_what_it_did_not_see(make_data: Make, make_run: Make) -> None:
    data, run = make_data("."), make_run()
    options_of(run, data, seed=5)
    found = evaluate(run, data, device="cpu", resamples=0)
    as_trained = ensure_splits(open_dataset(data), seed=5)
    assert names(found) == {p.name for p in as_trained.split("test")}
    assert 0 < len(found.per_image) < 6
    assert "The split is the one that the run drew, seed 5." in found.conventions


def test_with_a_holdout_val_stays_untouched_and_inner_can_be_asked_for(make_data: Make, make_run: Make) -> None:
    data, run = make_data("."), make_run()
    options_of(run, data, seed=2, holdout=0.3)
    as_trained = carve(ensure_splits(open_dataset(data), seed=2, test=0.0), 0.3, 2)
    for split in ("val", "inner"):
        found = evaluate(run, data, split=split, device="cpu", resamples=0)
        assert names(found) == {p.name for p in as_trained.split(split)}


def test_groups_that_a_run_held_out_are_what_is_scored(make_data: Make, make_run: Make) -> None:
    data, run = make_data("train", "val"), make_run()
    options_of(run, data, group=r"^(\d)\d", holdout_groups=["1"])  # 10.png and 11.png, both of val
    found = evaluate(run, data, device="cpu", resamples=0)
    assert (found.split, names(found)) == ("held-out", {"10", "11"})
    assert not any("did not hold out" in c for c in found.conventions)


def test_groups_that_a_run_did_not_hold_out_are_scored_with_a_word(make_data: Make, make_run: Make) -> None:
    data, run = make_data("train", "val"), make_run()
    options_of(run, data)
    found = evaluate(run, data, group=r"^(\d)\d", holdout_groups=["1"], device="cpu", resamples=0)
    assert found.split == "held-out"
    assert "The run did not hold out 1: it may have been fitted to the images scored here." in found.conventions


def test_masks_are_scored_on_held_out_groups(make_data: Make) -> None:
    data = make_data("train", "val")
    arrays = [truth(k) // 255 for k in (10, 11)]
    found = evaluate(arrays, data, group=r"^(\d)\d", holdout_groups=["1"], resamples=0)
    assert (found.split, names(found), found.scores.mean_iou) == ("held-out", {"10", "11"}, 1)


def test_the_run_s_groups_are_taken_over(make_data: Make, make_run: Make) -> None:
    data, run = make_data("train", "val"), make_run()
    options_of(run, data, group=r"(\d)\d")
    assert evaluate(run, data, device="cpu").intervals["mean_iou"].unit == "group"


def test_moved_data_is_known_again_by_its_content(make_data: Make, make_run: Make, tmp_path: Path) -> None:
    data = make_data(".")
    run = make_run(data_hash=open_dataset(data).fingerprint())
    options_of(run, data)
    data = data.rename(tmp_path / "moved")
    assert 0 < len(evaluate(run, data, device="cpu", resamples=0).per_image) < 12


def test_training_data_without_a_known_split_is_said(make_data: Make, make_run: Make) -> None:
    data = make_data(".")
    run = make_run(data_hash=open_dataset(data).fingerprint())
    found = evaluate(run, data, device="cpu", resamples=0)
    assert len(found.per_image) == 12
    assert "The model was trained on this very data: images it was fitted to are among those scored." in found.conventions


def test_other_data_is_scored_whole_with_a_caution(make_data: Make, make_run: Make) -> None:
    found = evaluate(make_run(data_hash="another"), make_data("."), device="cpu", resamples=0)
    assert len(found.per_image) == 12
    assert (
        "Whether the model was trained on some of these images is not known: none of them may be, for an honest score."
        in found.conventions
    )


def test_the_model_s_classes_stand_where_the_data_has_no_class_map(make_data: Make, make_run: Make) -> None:
    found = evaluate(make_run(), make_data("train", "val", said=False), device="cpu", resamples=0)
    assert found.scores.classes.names == LUNGS.names


def test_a_class_that_the_model_would_ignore_is_not_left_out_in_silence(make_data: Make, make_run: Make) -> None:
    """Masks of 0 and 255, a model whose map ignores 255: every object would count nowhere."""
    root = make_data("train", "val", said=False)
    for mask in root.rglob("masks/*.png"):
        write(mask, np.where(truth(int(mask.stem)) > 0, 255, 0).astype(np.uint8))
    plain = ClassMap(LUNGS.ids, LUNGS.names)
    with pytest.raises(InputError, match=r"the masks store \[255\] for a class, .* say with --classes"):
        evaluate(make_run(plain), root, device="cpu", resamples=0)


def test_an_open_data_set_keeps_classes_that_it_was_given_and_no_others(make_data: Make, make_run: Make) -> None:
    run = make_run()
    found = open_dataset(make_data("train", "val", said=False))
    assert found.classes.names != LUNGS.names  # what is found in masks has no names
    assert evaluate(run, found, device="cpu", resamples=0).scores.classes.names == LUNGS.names
    given = open_dataset(found, classes=ClassMap((0, 1), ("background", "heart"), values=((0,), (255,))))
    with pytest.raises(InputError, match="heart"):
        evaluate(run, given, device="cpu")


def test_other_classes_than_the_model_s_are_refused(make_data: Make, make_run: Make) -> None:
    run = make_run(ClassMap((0, 1), ("background", "heart")))
    with pytest.raises(
        InputError, match=r"the data has the classes \{0: 'background', 1: 'lung'\}, the model \{0: 'background', 1: 'heart'\}"
    ):
        evaluate(run, make_data("train", "val"), device="cpu")


@pytest.mark.parametrize("text", ["{", "[]", '{"data": "x"}'])
def test_damaged_options_stop_instead_of_scoring_training_images(make_data: Make, make_run: Make, text: str) -> None:
    run = make_run()
    (run / "state").mkdir()
    (run / "state" / "options.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"state/options.json: .*restore or delete it"):
        evaluate(run, make_data("."), device="cpu")


def test_drawn_truth_is_what_it_says() -> None:
    assert [int((truth(k) == 255).sum()) for k in (0, 11)] == [10, 120]
