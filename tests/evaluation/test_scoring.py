"""evaluate() and score(): right numbers from folders, arrays and runs, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maskwright import load
from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, open_dataset
from maskwright.errors import FormatError, InputError
from maskwright.evaluation import evaluate, score
from maskwright.evaluation.scoring import Predict
from maskwright.result import Segmentation
from maskwright.sample import Sample

from .conftest import HW, LUNGS, truth, write

Make = Callable[..., Path]


def shifted(sample: Sample) -> np.ndarray:
    """The truth, one pixel to the right: of a rectangle of w columns w - 1 are hit, one is missed, one is added."""
    assert sample.labels is not None
    return np.roll(sample.labels, 1, axis=1)


def test_the_numbers_by_hand(make_data: Make) -> None:
    dataset = open_dataset(make_data("."))
    found = score(shifted, dataset, dataset.pairs)
    widths = np.arange(1, 13)  # each image: 10 (w - 1) of 10 w pixels hit
    assert found.scores.iou[1] == 10 * (widths - 1).sum() / (10 * (widths + 1).sum())
    assert found.scores.dice[1] == pytest.approx((widths - 1).sum() / widths.sum())
    assert found.mean_image_dice == pytest.approx(((widths - 1) / widths).mean())
    assert found.worst_twentieth == 0  # of 12 images the one worst: a single column, missed altogether
    assert found.scores.counted_px == 12 * HW[0] * HW[1]
    assert [s.name for s in found.worst(2)] == ["00", "01"]
    assert [s.name for s in found.best(2)] == ["11", "10"]
    interval = found.intervals["iou.lung"]
    assert interval.low is not None
    assert interval.low < found.scores.iou[1] < (interval.high or 0)


def test_intervals_can_be_left_out_and_nothing_else_changes(make_data: Make) -> None:
    dataset = open_dataset(make_data("."))
    full, plain = (score(shifted, dataset, dataset.pairs, intervals=i) for i in (True, False))
    assert plain.intervals["mean_iou"].low is None
    assert plain.scores.to_dict() == full.scores.to_dict()
    assert plain.mean_image_dice == full.mean_image_dice
    assert "Intervals: no interval was asked for." in plain.conventions


def test_a_segmentation_is_taken_like_its_labels(make_data: Make) -> None:
    dataset = open_dataset(make_data("."))
    plain = score(shifted, dataset, dataset.pairs, intervals=False)
    wrapped = score(lambda s: Segmentation(shifted(s), s.classes), dataset, dataset.pairs, intervals=False)
    assert wrapped.scores.to_dict() == plain.scores.to_dict()


def test_groups_make_wider_intervals(make_data: Make) -> None:
    found = evaluate([shifted_truth(k) for k in range(12)], make_data("."), group=r"^(\d)\d", resamples=200)
    assert found.intervals["mean_iou"].unit == "group"
    assert found.intervals["mean_iou"].units == 2  # 00..09 and 10, 11
    assert not any("name the groups" in c for c in found.conventions)


def shifted_truth(number: int) -> np.ndarray:
    return np.roll(truth(number) // 255, 1, axis=1)


def test_arrays_against_arrays() -> None:
    images = [np.zeros((*HW, 3), np.uint8)] * 3
    masks = [truth(k) // 255 for k in range(3)]
    found = evaluate([m.copy() for m in masks], (images, masks), classes=ClassMap((0, 1), ("background", "lung")))
    assert found.scores.mean_iou == 1
    assert found.predictions == "arrays"
    with pytest.raises(InputError, match="2 predictions for 3 images; give one an image"):
        evaluate(masks[:2], (images, masks))


def test_a_run_scores_what_it_predicts(make_data: Make, make_run: Make, tmp_path: Path) -> None:
    data, run = make_data("train", "val"), make_run()
    predictor = load(run, device="cpu")
    dataset = open_dataset(data)
    for pair in dataset.split("val"):
        assert isinstance(pair.image, Path)
        predictor(pair.image).save(tmp_path / "masks")
    by_run = evaluate(run, data, device="cpu", resamples=100)
    by_files = evaluate(tmp_path / "masks", data, resamples=100)
    assert by_run.scores.matrix.tolist() == by_files.scores.matrix.tolist()
    assert by_run.intervals == by_files.intervals
    assert by_run.split == by_files.split == "val"
    assert by_run.predictions == f"{run} (cpu fp32)"
    assert evaluate(run / "model.safetensors", data, device="cpu", resamples=0).scores.mean_iou == by_run.scores.mean_iou
    assert evaluate(predictor, data, resamples=0).scores.mean_iou == by_run.scores.mean_iou


def test_progress_counts_every_image(make_data: Make) -> None:
    seen: list[tuple[int, int]] = []
    dataset = open_dataset(make_data("."))
    score(shifted, dataset, dataset.pairs[:3], intervals=False, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_evaluation_folder(make_data: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arrays = [shifted_truth(k) for k in range(12)]
    found = evaluate(arrays, make_data("."), out=out, keep=2, resamples=50)
    files = sorted(f.relative_to(out).as_posix() for f in out.rglob("*.*"))
    assert files == ["best/01_11.png", "best/02_10.png", "evaluation.json", "worst/01_00.png", "worst/02_01.png"]
    assert json.loads((out / "evaluation.json").read_text(encoding="utf-8")) == json.loads(json.dumps(found.to_json()))
    assert set(found.pictures) == {"00", "01", "10", "11"}


def test_an_evaluation_is_not_replaced_unasked(make_data: Make, tmp_path: Path) -> None:
    data, arrays = make_data("."), [shifted_truth(k) for k in range(12)]
    evaluate(arrays, data, out=tmp_path / "out", keep=3, resamples=0)

    def never(_done: int, _total: int) -> None:
        raise AssertionError("work was done before the place was checked")

    with pytest.raises(InputError, match=r"out/evaluation.json: is already there; give --overwrite"):
        evaluate(arrays, data, out=tmp_path / "out", progress=never)
    evaluate(arrays, data, out=tmp_path / "out", keep=1, resamples=0, overwrite=True)
    assert [f.name for f in (tmp_path / "out" / "worst").iterdir()] == ["01_00.png"]  # none of the three of before


def test_json_file_alone(make_data: Make, tmp_path: Path) -> None:
    found = evaluate([shifted_truth(k) for k in range(12)], make_data("."), out=tmp_path / "scores.json", resamples=0)
    assert (tmp_path / "scores.json").is_file()
    assert not found.pictures
    assert not (tmp_path / "worst").exists()


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (
            lambda _: np.zeros((30, 20), int),
            r"00: the prediction is 20x30, the truth 30x20; scores are taken at the truth's size",
        ),
        (lambda _: np.zeros((2, *HW)), r"00: the prediction is of the shape \(2, 20, 30\)"),
        (lambda _: np.zeros(HW), r"labels are float64; expected integer class ids"),
        (
            lambda s: Segmentation(s.labels, ClassMap((0, 1, 2), ("a", "b", "c"))),
            r"for the class ids \(0, 1, 2\), the truth for \(0, 1\)",
        ),
    ],
)
def test_answers_that_cannot_be_scored(make_data: Make, predict: Predict, message: str) -> None:
    dataset = open_dataset(make_data("."))
    with pytest.raises(InputError, match=message):
        score(predict, dataset, dataset.pairs)


def test_images_without_truth_are_refused_by_name(make_data: Make) -> None:
    data = make_data(".")
    (data / "masks" / "03.png").unlink()
    dataset = open_dataset(data)
    with pytest.raises(InputError, match=r"1 images have no mask \(03\)"):
        score(shifted, dataset, dataset.pairs)
    with pytest.raises(InputError, match="no images; scoring needs images"):
        score(shifted, dataset, [])


def test_nothing_there(make_data: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such run folder, weights file or folder of masks"):
        evaluate(tmp_path / "nowhere", make_data("."))
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(FormatError, match=r"notes.txt: holds neither weights nor objects that I know"):
        evaluate(tmp_path / "notes.txt", make_data(".", name="again"))
    with pytest.raises(InputError, match=r"predictions were given as int; expected a run"):
        evaluate(3, make_data(".", name="third"))  # type: ignore[arg-type]


def test_many_classes_without_a_background() -> None:
    classes = ClassMap((4, 2), ("road", "car"), background=None)
    images, masks = [np.zeros((2, 2, 3), np.uint8)], [np.array([[4, 2], [2, 2]])]
    dataset = Dataset.in_memory(images, masks, classes=classes)
    found = score(lambda _: np.array([[4, 4], [2, 2]]), dataset, dataset.pairs)
    assert found.scores.mean_iou == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found.mean_image_dice == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert str(found.intervals["mean_iou"]).endswith("(no interval from one image)")
    assert not any("without background" in title for title, _, _ in found.rows())


def test_names_with_folders_become_file_names(make_data: Make, tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        write(tmp_path / "data" / "images" / patient / "5.png", np.zeros(HW, np.uint8))
        write(tmp_path / "data" / "masks" / patient / "5.png", truth(3))
    (tmp_path / "data" / "classes.yaml").write_text(LUNGS.to_yaml(), encoding="utf-8")
    evaluate([truth(3) // 255] * 2, tmp_path / "data", out=tmp_path / "out", keep=1, resamples=0)
    assert [f.name for f in (tmp_path / "out" / "best").iterdir()] == ["01_p2_5.png"]
