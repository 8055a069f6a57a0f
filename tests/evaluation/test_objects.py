"""score_objects(): counts by hand, the limit of detections, what is refused, and the report."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskwright.annotations import coco_write
from maskwright.data.dataset import open_dataset
from maskwright.errors import FormatError, InputError
from maskwright.evaluation import evaluate, score_objects
from maskwright.instances import Instances
from maskwright.report import write_report


@pytest.fixture
def data(objects_folder):
    return open_dataset(objects_folder)


def as_found(truth: Instances, keep=slice(None)) -> Instances:
    kept = truth.select(np.arange(len(truth))[keep])
    return replace(kept, scores=np.full(len(kept), 0.9, np.float32), rings=())


def test_the_truth_itself_is_perfect(data):
    found = score_objects(lambda s: as_found(s.instances), data, data.pairs)
    assert found.masks.ap == found.boxes.ap == 1.0
    counts = found.counts()
    assert counts["true objects"] == counts["found objects"] == sum(len(data.read(p).instances) for p in data.pairs)
    assert counts["missed"] == counts["extra"] == counts["split"] == counts["merged"] == 0


def test_one_missed_object_an_image(data):
    found = score_objects(lambda s: as_found(s.instances, slice(1, None)), data, data.pairs)
    with_objects = sum(len(data.read(p).instances) > 0 for p in data.pairs)
    assert found.counts()["missed"] == with_objects
    assert found.counts()["extra"] == 0


def test_panoptic_quality_of_one_missed_object_an_image(data, tmp_path):
    """The squares that are found are found to the pixel: SQ 1, and PQ is RQ, matched / (matched + missed / 2) by class."""
    found = evaluate([as_found(data.read(p).instances, slice(1, None)) for p in data.pairs], data, split="all", resamples=50)
    kinds = [data.read(p).instances.class_ids.tolist() for p in data.pairs]
    first = [ids[0] for ids in kinds if ids]
    missed, true = (np.bincount(ids, minlength=3)[1:] for ids in (first, [i for ids in kinds for i in ids]))
    matched = true - missed
    by_hand = matched / (matched + missed / 2)
    assert found.panoptic.pq == pytest.approx(by_hand)
    values = {name: found.intervals[name].value for name in ("pq", "sq", "rq")}
    assert values == pytest.approx({"pq": by_hand.mean(), "sq": 1.0, "rq": by_hand.mean()})
    assert found.intervals["pq"].low < by_hand.mean() < found.intervals["pq"].high
    rows = {title: value for title, value, _ in found.rows()}
    assert rows["panoptic quality (PQ)"] == rows["recognition quality (RQ)"] == f"{by_hand.mean():.4f}"
    assert rows["segmentation quality (SQ)"] == "1.0000"
    said = found.to_json()
    assert said["panoptic"]["pq"] == said["scores"]["pq"] == pytest.approx(by_hand.mean())
    assert [row["pq"] for row in said["classes"]] == pytest.approx(by_hand)
    assert any(line.startswith("Panoptic quality: segments of one class match above IoU 0.5") for line in found.conventions)


def test_panoptic_quality_counts_sure_objects_only(data):
    unsure = lambda s: replace(as_found(s.instances), scores=np.full(len(s.instances), 0.4, np.float32))  # noqa: E731
    assert score_objects(unsure, data, data.pairs).panoptic.to_dict()["pq"] == 0.0
    assert score_objects(unsure, data, data.pairs, min_score=0.4).panoptic.to_dict()["pq"] == 1.0


def test_unsure_objects_are_ranked_but_not_counted(data):
    unsure = lambda s: replace(as_found(s.instances), scores=np.full(len(s.instances), 0.2, np.float32))  # noqa: E731
    found = score_objects(unsure, data, data.pairs)
    assert found.masks.ap == 1.0
    assert found.counts()["found objects"] == 0


def test_lists_of_objects_are_evaluated(data, tmp_path):
    pairs = data.split("val")
    found = evaluate([as_found(data.read(p).instances) for p in pairs], data, split="val", out=tmp_path / "e", resamples=50)
    assert found.masks.ap == 1.0
    saved = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    assert saved["coco"]["masks"]["ap"] == 1.0
    assert saved["matches"]["missed"] == 0
    assert len(saved["per_image"]) == 4
    assert list((tmp_path / "e" / "worst").glob("*.png"))


def test_the_report_shows_objects(data, tmp_path):
    found = score_objects(lambda s: as_found(s.instances, slice(1, None)), data, data.pairs, keep=2, resamples=50)
    text = write_report(tmp_path / "r.html", title="Sea", evaluation=found).read_text()
    for said in (
        "Mask AP",
        "Precision over recall",
        "F1 of each image",
        "AP50",
        "missed",
        "Panoptic quality",
        "recognition quality (RQ)",
        "COCO&#39;s AP of masks",
    ):
        assert said in text
    assert text.count("data:image/jpeg") == 4


def test_objects_of_another_size_are_refused(data):
    with pytest.raises(InputError, match=r"size|x"):
        score_objects(lambda s: Instances((5, 5), s.classes, np.array([]), ()), data, data.pairs)


def test_a_truth_without_objects_is_refused(data):
    plain = replace(data, annotations=None, pairs=tuple(replace(p, objects=None) for p in data.pairs))
    with pytest.raises(InputError, match="does not tell objects apart"):
        score_objects(lambda s: Instances(s.image.hw, s.classes, np.array([]), ()), plain, plain.pairs)


def test_coco_results_are_scored_against_their_truth(data, objects_folder, tmp_path):
    file = objects_folder / "annotations" / "instances_val.json"
    ids = {Path(row["file_name"]).stem: row["id"] for row in json.loads(file.read_text())["images"]}
    pairs = data.split("val")
    coco_write.write_results(tmp_path / "r.json", [(ids[p.name], as_found(data.read(p).instances)) for p in pairs])
    found = evaluate(tmp_path / "r.json", file, resamples=20)
    assert found.masks.ap == 1.0
    assert len(found.per_image) == 4


@pytest.mark.parametrize("kind", ["masks", "boxes"])
def test_sizes_are_those_of_the_file_as_pycocotools_has_it(objects_folder, tmp_path, kind):
    """Areas that disagree with the masks: by their pixels all objects are small."""
    file = objects_folder / "annotations" / "instances_val.json"
    given = json.loads(file.read_text())
    stated = [500.0, 32.0**2, 96.0**2, 96.0**2 + 1, 5000.0]
    for k, row in enumerate(given["annotations"]):
        row["area"] = stated[k % len(stated)]
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps(given))
    found_rows = [
        {name: row[name] for name in ("image_id", "category_id", "segmentation", "bbox")} | {"score": 0.9 - 0.1 * (k % 4)}
        for k, row in enumerate(given["annotations"])
        if k != 1
    ]
    found_rows[-1]["category_id"] = 3 - found_rows[-1]["category_id"]  # a wrong one
    results = tmp_path / "results.json"
    results.write_text(json.dumps(found_rows))
    scores = getattr(evaluate(results, truth, images=str(objects_folder / "val"), resamples=0), kind)
    oracle = pycocotools_of(given, found_rows, "segm" if kind == "masks" else "bbox")
    assert np.nan_to_num(list(scores.to_dict().values()), nan=-1.0) == pytest.approx(oracle, abs=1e-12)
    assert not np.isnan(list(scores.ap_by_size.values())).any()  # by their pixels none is large


def pycocotools_of(truth: dict, rows: list[dict], kind: str) -> list[float]:
    """The twelve numbers of pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = json.loads(json.dumps(truth))
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(json.loads(json.dumps(rows))), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats.tolist()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"image_id": 999}, "its image_id 999 is not in"),
        ({"category_id": 55}, "its category_id 55 is not in"),
        ({"score": None}, "its score is null"),
        ({"segmentation": None}, "holds no segmentation"),
    ],
)
def test_results_that_do_not_fit_are_explained(objects_folder, tmp_path, row, said):
    file = objects_folder / "annotations" / "instances_val.json"
    given = json.loads(file.read_text())
    one = given["annotations"][0]
    good = {"image_id": one["image_id"], "category_id": one["category_id"], "segmentation": one["segmentation"], "score": 0.5}
    (tmp_path / "r.json").write_text(json.dumps([good, {**good, **row}]))
    with pytest.raises(FormatError, match=said):
        evaluate(tmp_path / "r.json", file)
