"""Groups that are held out: neither fitted to nor chosen by, scored afterwards without being named again."""

from __future__ import annotations

import json
import shutil

import pytest

from maskwright.data.dataset import Dataset
from maskwright.errors import InputError
from maskwright.evaluation import evaluate
from maskwright.training import train


def quiet(data, out, settings, **more):
    return train(data, out=out, settings=settings, workers=0, show_progress=False, checked=True, device="cpu", **more)


def test_held_out_groups_are_never_read_and_then_scored(squares_folder, quick, tmp_path, monkeypatch):
    seen = set()
    monkeypatch.setattr(Dataset, "read", lambda self, pair, read=Dataset.read: seen.add(pair.name) or read(self, pair))
    short = quick | {"steps": 2, "validate_every": 2}
    # 00..17 in groups by their last digit; train is 00..11, val 12..17. Group 3 is 03 of train and 13 of val.
    done = quiet(squares_folder, tmp_path / "run", short, group=r"\d(\d)", holdout_groups=["3"])
    assert done.split == "val"
    assert seen == {f"{k:02}" for k in range(18)} - {"03", "13"}
    assert json.loads((done.folder / "state" / "options.json").read_text())["holdout_groups"] == ["3"]
    scores = evaluate(done.folder, squares_folder, device="cpu", resamples=20)
    assert (scores.split, {s.name for s in scores.per_image}) == ("held-out", {"03", "13"})
    assert "all are of one group" in scores.intervals["mean_iou"].note
    assert not any("did not hold out" in line for line in scores.conventions)


def test_a_resumed_run_holds_out_the_same(squares_folder, quick, tmp_path, monkeypatch):
    short = quick | {"steps": 4, "validate_every": 4}
    done = quiet(squares_folder, tmp_path / "run", short, group=r"\d(\d)", holdout_groups=["3", "5"])
    seen = set()
    monkeypatch.setattr(Dataset, "read", lambda self, pair, read=Dataset.read: seen.add(pair.name) or read(self, pair))
    again = train(squares_folder, out=done.folder, resume=True, workers=0, show_progress=False, device="cpu")
    assert again.steps == 4
    assert seen
    assert not seen & {"03", "13", "05", "15"}


def test_what_cannot_be_held_out_is_said_before_any_work(squares_folder, quick, tmp_path):
    with pytest.raises(InputError, match=r"no group '3'; no groups were named: say with --group what in a name is one"):
        quiet(squares_folder, tmp_path / "run", quick, holdout_groups=["3"])
    with pytest.raises(InputError, match="--resume goes on with the run's own settings, so --holdout-group cannot be given"):
        quiet(squares_folder, tmp_path / "run", None, resume=True, holdout_groups=["3"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("moved", [False, True])
def test_what_was_fitted_to_is_never_scored_as_new(squares_folder, quick, tmp_path, moved):
    """A run on train and val together: val is gone as a split, on the data where it lay and on a copy of it."""
    short = quick | {"steps": 2, "validate_every": 2}
    done = quiet(squares_folder, tmp_path / "run", short, fit=("train", "val"), holdout=0.2)
    assert done.split == "inner"
    data = shutil.copytree(squares_folder, tmp_path / "copy") if moved else squares_folder
    with pytest.raises(InputError, match=r"no split .*'val'"):
        evaluate(done.folder, data, split="val", device="cpu", resamples=20)
    inner = evaluate(done.folder, data, split="inner", device="cpu", resamples=20)
    assert 0 < len(inner.per_image) < 18


def test_a_group_that_holds_all_of_val_can_be_left_out_of_a_fit_to_both(squares_folder, quick, tmp_path):
    short = quick | {"steps": 2, "validate_every": 2}
    # val is 12..17: the groups 2 to 7 by the last digit, which take 02..07 of train along.
    groups = list("234567")
    done = quiet(squares_folder, tmp_path / "run", short, fit=("train", "val"), group=r"\d(\d)", holdout_groups=groups)
    scores = evaluate(done.folder, squares_folder, device="cpu", resamples=20)
    assert (scores.split, {s.name for s in scores.per_image}) == ("held-out", {f"{k:02}" for k in (*range(2, 8), *range(12, 18))})
