"""The table, the JSON and the conventions of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset
from maskwright.evaluation import COLUMNS, Evaluation, score

THREE = ClassMap((0, 1, 2), ("background", "lung", "heart"), background=0)


def drawn(count: int = 3, ignored: bool = False) -> Evaluation:
    """Lung right in all images but the first, heart nowhere; with `ignored` the last image counts nowhere."""
    truth = [np.array([[0, 1], [0, 1]])] * count
    if ignored:
        truth = [*truth[:-1], np.full((2, 2), 255)]
    dataset = Dataset.in_memory([np.zeros((2, 2, 3), np.uint8)] * count, truth, classes=THREE)
    wrong = np.array([[0, 0], [0, 1]])
    return score(lambda s: wrong if s.name == "0000" else np.array([[0, 1], [0, 1]]), dataset, dataset.pairs, resamples=50)


def test_rows_are_text_in_the_order_of_the_columns() -> None:
    rows = drawn().rows()
    assert all(len(row) == len(COLUMNS) and all(isinstance(cell, str) for cell in row) for row in rows)
    table = {title: (value, bounds) for title, value, bounds in rows}
    assert table["pixel accuracy"][0] == "0.9167"  # 11 of 12
    assert table["pixel accuracy"][1].startswith("[0.")
    assert table["IoU of heart"] == ("-", "(not defined here)")
    assert list(table)[-1] == "Dice of heart"


def test_boundary_f1_stands_beside_mean_iou() -> None:
    found = drawn()
    # 2 x 2 px, a tolerance of 0.02 px: exact outlines. Lung: right in two images; in the first its outline is found at one of two
    # pixels, so precision 1, recall 1/2: F1 2/3. Heart has no outline anywhere, background is no part of the mean.
    assert found.intervals["boundary_f1"].value == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert found.intervals["boundary_f1.heart"].bounds == "(not defined here)"
    titles = [title for title, _, _ in found.rows()]
    assert titles.index("mean boundary F1") > titles.index("mean IoU")
    assert "then over the 3 images; outlines agree where they are closer than 0.75% of the diagonal." in "\n".join(
        found.conventions
    )
    given = found.to_json()
    assert given["classes"][1]["boundary_f1"] == found.intervals["boundary_f1.lung"].value
    assert given["scores"]["boundary_f1"] == found.intervals["boundary_f1"].value
    assert len(given["per_image"][0]["boundary_f1"]) == 3


def test_json_is_strict_and_holds_every_number() -> None:
    found = drawn(ignored=True)
    text = json.dumps(found.to_json(), allow_nan=False)  # raises on NaN
    given = json.loads(text)
    assert given["classes"][2] == {"id": 2, "name": "heart", "accuracy": None, "iou": None, "dice": None, "boundary_f1": None}
    assert given["per_image"][2]["mean_dice"] is None
    assert given["per_image"][0]["hit_px"] == [2, 1, 0]
    assert given["matrix"]["pixels"] == found.scores.matrix.tolist()
    assert given["matrix"]["columns"] == ["background", "lung", "heart", "void or unknown"]
    assert given["scores"]["mean_iou"] == found.scores.mean_iou
    assert given["intervals"]["mean_iou"]["resamples"] == 50
    assert (given["counted_px"], given["ignored_px"]) == (8, 4)
    assert given["conventions"] == list(found.conventions)


def test_ignored_images_are_neither_worst_nor_best() -> None:
    found = drawn(ignored=True)
    assert [s.name for s in found.worst()] == ["0000", "0001"]
    assert [s.name for s in found.best()] == ["0001", "0000"]
    assert any("every pixel is ignored are left out of the per-image scores: 0002." in c for c in found.conventions)


def test_conventions_say_how_intervals_were_drawn() -> None:
    said = "\n".join(drawn().conventions)
    assert "Intervals: 95%, percentile bootstrap over 3 images, 50 resamples; rough: only 3 images." in said
    assert "name the groups (--group)" in said
    assert "Intervals: no interval from one image." in "\n".join(drawn(1).conventions)


def test_save_names_the_files(tmp_path: Path) -> None:
    assert drawn().save(tmp_path / "out") == [tmp_path / "out" / "evaluation.json"]
    assert drawn().save(tmp_path / "mine.json") == [tmp_path / "mine.json"]
