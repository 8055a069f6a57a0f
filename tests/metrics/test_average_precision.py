"""COCO's numbers: equal to pycocotools on drawn and on real objects, by hand on a few squares, and the printed conventions."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.metrics.coco_scores import CocoScores
from maskwright.metrics.instances import AveragePrecision
from maskwright.metrics.intervals import bootstrap
from maskwright.metrics.ranked import group_scores
from maskwright.ops.polygons import fill_coco
from maskwright.ops.rle import Rle

SHIPS = ClassMap((0, 3, 7, 9), ("background", "tanker", "tug", "buoy"), background=0)
Pair = tuple[Instances, Instances]


def box_mask(hw: tuple[int, int], x0: int, y0: int, x1: int, y1: int) -> Rle:
    return Rle.from_crop(np.ones((y1 - y0, x1 - x0), bool), (x0, y0), hw)


def squares(
    corners: Sequence[tuple[int, int]], ids: Sequence[int], scores: Sequence[float] | None = None, side: int = 10, **more: Any
) -> Instances:
    """Squares on 100 x 120 pixels by their upper left corners (x, y)."""
    masks = tuple(box_mask((100, 120), x, y, x + side, y + side) for x, y in corners)
    given = None if scores is None else np.array(scores, np.float32)
    return Instances((100, 120), SHIPS, np.array(ids, np.int64), masks, given, **more)


def moved(mask: Rle, rng: np.random.Generator, most: float = 0.2) -> Rle:
    """The mask shifted and scaled by up to a share of its own size."""
    x0, y0, x1, y1 = mask.box_xyxy
    crop = mask.crop((x0, y0, x1, y1))
    if not crop.size:
        return mask
    h, w = (max(1, round(n * (1 + rng.uniform(-most, most)))) for n in crop.shape)
    rows, columns = (
        np.minimum((np.arange(n) + 0.5) * old / n, old - 1).astype(int) for n, old in zip((h, w), crop.shape, strict=True)
    )
    shift = [round(rng.uniform(-most, most) * n) for n in (w, h)]
    return Rle.from_crop(crop[np.ix_(rows, columns)], (x0 + shift[0], y0 + shift[1]), mask.hw)


def answered(truth: Instances, rng: np.random.Generator, ties: bool = False) -> Instances:
    """Detections made of a truth: moved, scaled, doubled, missed, of a wrong class, and some of nothing."""
    ids = [i for i in truth.classes.ids if i != truth.classes.background]
    masks, class_ids = [], []
    for mask, class_id in zip(truth.masks, truth.class_ids.tolist(), strict=True):
        for _ in range(rng.choice(4, p=[0.1, 0.6, 0.2, 0.1])):
            masks.append(moved(mask, rng, rng.choice([0.0, 0.05, 0.25])))
            class_ids.append(class_id if rng.random() < 0.9 else int(rng.choice(ids)))
    for _ in range(rng.integers(4)):
        x, y = (int(rng.integers(n - 8)) for n in truth.hw[::-1])
        masks.append(box_mask(truth.hw, x, y, min(truth.hw[1], x + 30), min(truth.hw[0], y + 20)))
        class_ids.append(int(rng.choice(ids)))
    scores = rng.random(len(masks)).round(1 if ties else 9).astype(np.float32)
    return Instances(truth.hw, truth.classes, np.array(class_ids, np.int64), tuple(masks), scores, name=truth.name)


def drawn_truth(rng: np.random.Generator, k: int) -> Instances:
    """Rectangles and ellipses of all three sizes, some of them crowds; every fifth image has none; buoys there are none."""
    hw = (170 + 7 * k, 210 - 3 * k)
    masks = []
    for _ in range(0 if k % 5 == 4 else rng.integers(1, 12)):
        h, w = rng.integers(4, (120, 150))
        y, x = rng.integers(0, (hw[0] - h, hw[1] - w))
        rows, columns = np.ogrid[:h, :w]
        inside = ((rows - h / 2) / h) ** 2 + ((columns - w / 2) / w) ** 2 < rng.choice([0.25, 2.0])
        masks.append(Rle.from_crop(inside, (int(x), int(y)), hw))
    class_ids = rng.choice([3, 7], len(masks))
    return Instances(hw, SHIPS, class_ids, tuple(masks), crowd=rng.random(len(masks)) < 0.1, name=f"image {k}")


def drawn_pairs(count: int = 15, seed: int = 0, ties: bool = False) -> list[Pair]:
    rng = np.random.default_rng(seed)
    truths = [drawn_truth(rng, k) for k in range(count)]
    return [(truth, answered(truth, rng, ties)) for truth in truths]


def averaged(pairs: Sequence[Pair], areas: Sequence[Sequence[float] | None] | None = None, **settings: Any) -> AveragePrecision:
    precision = AveragePrecision(pairs[0][0].classes, **settings)
    for k, (truth, found) in enumerate(pairs):
        precision.update(truth, found, areas=None if areas is None else areas[k])
    return precision


def truth_json(pairs: Sequence[Pair]) -> dict[str, Any]:
    """The true objects as a COCO file holds them."""
    rows: list[dict[str, Any]] = []
    for n, (truth, _) in enumerate(pairs, start=1):
        for k, mask in enumerate(truth.masks):
            x0, y0, x1, y1 = truth.boxes[k].tolist()
            segmentation = {"size": list(mask.hw), "counts": mask.to_text()}
            rows.append(
                {
                    "id": len(rows) + 1, "image_id": n, "category_id": int(truth.class_ids[k]), "area": mask.area_px,
                    "bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": segmentation, "iscrowd": int(truth.crowds[k]),
                }
            )  # fmt: skip
    images = [{"id": n, "height": t.hw[0], "width": t.hw[1]} for n, (t, _) in enumerate(pairs, start=1)]
    classes = pairs[0][0].classes
    categories = [{"id": i, "name": n} for i, n in zip(classes.ids, classes.names, strict=True) if i != classes.background]
    return {"images": images, "annotations": rows, "categories": categories}


def result_rows(found: Sequence[Instances], image_ids: Sequence[int], kind: str) -> list[dict[str, Any]]:
    """Detections in COCO's result format: masks without boxes, or boxes without masks."""
    rows = []
    for image_id, objects in zip(image_ids, found, strict=True):
        assert objects.scores is not None
        for k, mask in enumerate(objects.masks):
            row = {"image_id": image_id, "category_id": int(objects.class_ids[k]), "score": float(objects.scores[k])}
            x0, y0, x1, y1 = objects.boxes[k].tolist()
            own = (
                {"segmentation": {"size": list(mask.hw), "counts": mask.to_text()}}
                if kind == "mask"
                else {"bbox": [x0, y0, x1 - x0, y1 - y0]}
            )
            rows.append(row | own)
    return rows


def oracle(truth: dict[str, Any], rows: list[dict[str, Any]], kind: str, max_dets: Sequence[int] = (1, 10, 100)) -> Any:
    """pycocotools' evaluation of a COCO file's content and a list of results."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(rows), {"mask": "segm", "box": "bbox"}[kind])
        run.params.maxDets = list(max_dets)
        run.evaluate()
        run.accumulate()
        if tuple(max_dets) == (1, 10, 100):
            run.summarize()
    return run


def minus_one(scores: Any) -> NDArray[np.float64]:
    """nan as pycocotools writes it."""
    return np.nan_to_num(np.asarray(scores, np.float64), nan=-1.0)


def assert_curves_equal(scores: CocoScores, run: Any) -> None:
    # pycocotools divides by TP + FP + 2.2e-16, faster-coco-eval by TP + FP.
    assert np.abs(minus_one(scores.precision) - run.eval["precision"][..., -1]).max() < 1e-15
    assert np.array_equal(minus_one(scores.recall), run.eval["recall"])


def assert_equal_to_oracle(scores: CocoScores, run: Any) -> None:
    assert list(minus_one(list(scores.to_dict().values()))) == pytest.approx(run.stats.tolist(), abs=1e-12)
    assert_curves_equal(scores, run)


@pytest.mark.parametrize("kind", ["mask", "box"])
@pytest.mark.parametrize(("seed", "ties"), [(0, False), (1, False), (2, True)])
def test_all_twelve_numbers_are_those_of_pycocotools_on_drawn_objects(kind: str, seed: int, ties: bool) -> None:
    pairs = drawn_pairs(seed=seed, ties=ties)
    scores = averaged(pairs).compute(kind)
    rows = result_rows([found for _, found in pairs], range(1, len(pairs) + 1), kind)
    assert_equal_to_oracle(scores, oracle(truth_json(pairs), rows, kind))
    assert len(scores.to_dict()) == 12
    assert 0.05 < scores.ap < 0.9  # neither hopeless nor perfect, or the comparison says little
    assert all(0 < value < 1 for value in scores.ap_by_size.values())


@pytest.mark.parametrize("kind", ["mask", "box"])
def test_other_limits_of_objects_an_image_cut_as_pycocotools_does(kind: str) -> None:
    pairs = drawn_pairs(seed=3)
    scores = averaged(pairs, max_dets=(1, 2, 4)).compute(kind)
    run = oracle(truth_json(pairs), result_rows([f for _, f in pairs], range(1, len(pairs) + 1), kind), kind, (1, 2, 4))
    assert_curves_equal(scores, run)
    assert list(scores.to_dict())[6:9] == ["ar_1", "ar_2", "ar_4"]
    assert scores.beyond > 0
    assert f"At most 4 objects of a class count in an image, the best scores first: {scores.beyond} of" in scores.conventions[1]


def coco_tiny(file: Path) -> tuple[dict[str, Any], list[int], list[Instances], list[list[float]]]:
    """The file's own content, image ids in rising order, their true objects by COCO's polygon rule, and the areas it states."""
    content = json.loads(file.read_text(encoding="utf-8"))
    kinds = {c["id"]: c["name"] for c in content["categories"]}
    classes = ClassMap((0, *kinds), ("background", *kinds.values()), background=0)
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    truths, areas = [], []
    for image_id in sorted(sizes):
        hw = sizes[image_id]
        rows = [a for a in content["annotations"] if a["image_id"] == image_id]
        masks = tuple(
            Rle(hw, np.array(a["segmentation"]["counts"]))
            if isinstance(a["segmentation"], dict)
            else fill_coco([np.reshape(ring, (-1, 2)) for ring in a["segmentation"]], hw)
            for a in rows
        )
        boxes = np.array([a["bbox"] for a in rows]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        ids = np.array([a["category_id"] for a in rows], np.int64)
        crowd = np.array([a["iscrowd"] for a in rows], bool)
        truths.append(Instances(hw, classes, ids, masks, None, boxes.astype(np.float32), crowd=crowd, name=str(image_id)))
        areas.append([float(a["area"]) for a in rows])
    return content, sorted(sizes), truths, areas


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_all_twelve_numbers_are_those_of_pycocotools_on_real_objects(shared_data: Callable[[str], Path], split: str) -> None:
    file = shared_data("coco-tiny") / "annotations" / f"instances_{split}.json"
    content, image_ids, truths, areas = coco_tiny(file)
    # Two images without an object, one with a found one, stand last.
    content["images"] += [{"id": 10**9 + k, "height": 60, "width": 80} for k in range(2)]
    none = np.zeros(0, np.int64)
    truths += [Instances((60, 80), truths[0].classes, none, (), name="empty") for _ in range(2)]
    rng = np.random.default_rng(7)
    found = [answered(truth, rng) for truth in truths[:-1]] + [truths[-1].select([])]
    found[-1] = Instances((60, 80), truths[0].classes, none, (), np.zeros(0, np.float32))
    found[3] = found[3].select([])  # one image in which nothing is found
    precision = averaged(list(zip(truths, found, strict=True)), [*areas, [], []])
    for kind in ("mask", "box"):
        scores = precision.compute(kind)
        rows = result_rows(found, [*image_ids, 10**9, 10**9 + 1], kind)
        assert_equal_to_oracle(scores, oracle(json.loads(json.dumps(content)), rows, kind))
        assert 0.2 < scores.ap < 0.9
        assert scores.crowds == 5
        whole = precision.statistics(kind, ("all", "small", "medium", "large"))(np.ones((1, len(truths)), np.int64))
        for name in ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"):
            assert whole[name][0] == pytest.approx(scores.to_dict()[name], abs=1e-12), name


def test_ap_by_hand() -> None:
    # Tankers: found 0.9 right, 0.8 wrong, 0.7 right; of two true ones. Precision 1, 1/2, 2/3 at recalls 1/2, 1/2, 1:
    # recalls 0 to 0.50 (51 of 101) have the best precision 1, the other 50 have 2/3, at each IoU threshold.
    truth = squares([(0, 0), (50, 50)], [3, 3])
    found = squares([(0, 0), (80, 80), (50, 50)], [3, 3, 3], [0.9, 0.8, 0.7])
    scores = averaged([(truth, found)]).compute()
    assert [scores.ap, scores.ap50, scores.ap75] == pytest.approx([(51 + 50 * 2 / 3) / 101] * 3)
    assert scores.ar == {1: 0.5, 10: 1.0, 100: 1.0}
    assert scores.ap_by_size["small"] == scores.ap
    assert np.isnan(scores.ap_by_size["large"])
    curve = scores.curve(0.5)[0]
    assert curve[[0, 50]].tolist() == [1, 1]
    assert curve[[51, 100]] == pytest.approx([2 / 3, 2 / 3])
    assert scores.curve()[0] == pytest.approx(curve)
    assert scores.per_class["recall50"][0] == 1
    assert scores.absent == ("tug", "buoy")


def test_ap_falls_with_the_iou_that_is_asked_for() -> None:
    # Shifted by 2 of 10 columns: IoU 80 / 120 = 0.67, a match at 0.50, 0.55, 0.60 and 0.65 only.
    scores = averaged([(squares([(0, 0)], [3]), squares([(2, 0)], [3], [0.5]))]).compute()
    assert (scores.ap50, scores.ap75) == (1, 0)
    assert scores.ap == pytest.approx(0.4)
    assert scores.per_class["ap"][0] == pytest.approx(0.4)


def test_what_is_found_on_a_crowd_is_neither_right_nor_wrong() -> None:
    truth = squares([(0, 0), (50, 50)], [3, 3], crowd=np.array([False, True]))
    found = squares([(52, 52), (51, 51), (0, 0)], [3, 3, 3], [0.9, 0.8, 0.7])
    found_tugs = squares([(52, 52), (0, 0)], [7, 3], [0.9, 0.7])
    # 64 and 81 of 100 pixels lie in the crowd: up to IoU 0.60 both count nowhere (AP 1), up to 0.80 only the second (the first is
    # wrong, AP 1/2), above none (AP 1/3).
    assert averaged([(truth, found)]).compute().ap == pytest.approx((3 * 1 + 4 / 2 + 3 / 3) / 10)
    assert averaged([(truth, found_tugs)]).compute().ap == pytest.approx(1)  # no tug is true, so tugs count nowhere
    assert averaged([(truth, squares([(80, 80), (0, 0)], [3, 3], [0.9, 0.7]))]).compute().ap == pytest.approx(0.5)


def test_a_stated_area_decides_the_size() -> None:
    pair = squares([(0, 0)], [3]), squares([(0, 0)], [3], [0.9])
    by_mask, stated = averaged([pair]).compute(), averaged([pair], [[5000.0]]).compute()
    assert by_mask.ap_by_size["small"] == pytest.approx(1)
    assert np.isnan(stated.ap_by_size["small"])
    assert stated.ap_by_size["medium"] == pytest.approx(1)
    with pytest.raises(InputError, match="1 objects but 2 areas"):
        averaged([pair], [[1.0, 2.0]])


def test_masks_and_boxes_are_scored_apart() -> None:
    boxes = np.array([[40, 40, 50, 50]], np.float32)
    precision = averaged([(squares([(0, 0)], [3]), squares([(0, 0)], [3], [0.9], boxes_xyxy=boxes))])
    assert (precision.compute().ap, precision.compute("box").ap) == (pytest.approx(1), 0)
    with pytest.raises(InputError, match="no AP of 'keypoints'; there is one of 'mask' and of 'box'"):
        precision.compute("keypoints")


def test_classes_keep_the_order_of_the_class_map() -> None:
    mixed = ClassMap((9, 0, 3), ("buoy", "background", "tanker"), background=0)
    masks = (box_mask((20, 20), 0, 0, 5, 5),)
    truth = Instances((20, 20), mixed, np.array([9]), masks)
    scores = averaged([(truth, Instances((20, 20), mixed, np.array([9]), masks, np.ones(1, np.float32)))]).compute()
    assert scores.names == ("buoy", "tanker")
    assert scores.per_class["ap"].tolist() == pytest.approx([1, np.nan], nan_ok=True)
    assert (scores.truths.tolist(), scores.found.tolist()) == ([1, 0], [1, 0])


def test_nothing_to_score_is_nan() -> None:
    for pairs in ([], [(squares([], []), squares([(0, 0)], [3], [0.9]))]):
        precision = AveragePrecision(SHIPS)
        for pair in pairs:
            precision.update(*pair)
        assert all(np.isnan(v) for v in precision.compute().to_dict().values())
        assert precision.compute().absent == ("tanker", "tug", "buoy")
    nothing = averaged([(squares([(0, 0)], [3]), squares([], [], []))]).compute()
    assert (nothing.ap, nothing.ar[100]) == (0, 0)


def test_conventions_say_what_was_counted() -> None:
    truth = squares([(0, 0), (50, 50)], [3, 7], crowd=np.array([False, True]))
    found = squares([(0, 0), (20, 20), (40, 40)], [3, 9, 9], [0.9, 0.8, 0.7])
    said = "\n".join(averaged([(truth, found)]).compute("box").conventions)
    assert "COCO's AP of boxes" in said
    assert "the 1 classes with a true object, over 1 images and 1 true objects" in said
    assert "At most 100 objects of a class count in an image, the best scores first: 0 of 3 found ones" in said
    assert "a found one by its box" in said
    assert "Crowds count nowhere, nor what is found on them: 1 crowds." in said
    assert "left out of the means: tug, buoy; the 2 objects found of such classes lower nothing" in said


def test_wrong_input_is_named() -> None:
    truth, found = squares([(0, 0)], [3]), squares([(0, 0)], [3], [0.9])
    precision = AveragePrecision(SHIPS)
    with pytest.raises(InputError, match="the found objects have no scores, and AP ranks by score"):
        precision.update(truth, truth)
    small = Instances((20, 20), SHIPS, np.array([3]), (box_mask((20, 20), 0, 0, 5, 5),), np.ones(1, np.float32))
    with pytest.raises(InputError, match="found objects on 20x20 pixels, true ones on 120x100"):
        precision.update(truth, small)
    other = ClassMap((0, 3), ("background", "lighthouse"), background=0)
    with pytest.raises(InputError, match="class 3 is 'lighthouse' there and 'tanker' in the scores' class map"):
        precision.update(truth, Instances(found.hw, other, found.class_ids, found.masks, found.scores))
    with pytest.raises(InputError, match="a score is nan"):
        precision.update(truth, squares([(0, 0)], [3], [np.nan]))
    with pytest.raises(InputError, match=r"max_dets is \(10, 1\); expected rising whole numbers"):
        AveragePrecision(SHIPS, max_dets=(10, 1))
    with pytest.raises(InputError, match="holds only the background 'sea'"):
        AveragePrecision(ClassMap((0,), ("sea",), background=0))
    assert len(precision) == 0  # nothing was added


@pytest.mark.parametrize("kind", ["mask", "box"])
def test_classes_one_at_a_time_give_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = ClassMap((9, 7, 0, 3), ("buoy", "tug", "background", "tanker"), background=0)
    precision = averaged([tuple(replace(side, classes=mixed) for side in pair) for pair in drawn_pairs(6, seed=10)])  # type: ignore[misc]
    whole = precision.compute(kind)
    monkeypatch.setattr("maskwright.metrics.instances.BATCH_OBJECTS", 1)
    single = precision.compute(kind)
    assert np.array_equal(whole.precision, single.precision, equal_nan=True)
    assert np.array_equal(whole.recall, single.recall, equal_nan=True)
    by_id = averaged(drawn_pairs(6, seed=10)).compute(kind)
    assert whole.per_class["ap"].tolist() == pytest.approx(by_id.per_class["ap"][[2, 1, 0]].tolist(), nan_ok=True)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    averaged(drawn_pairs(2)).compute()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["mask", "box"])
def test_ranked_lists_give_the_same_ap_as_faster_coco_eval(kind: str) -> None:
    pairs = drawn_pairs(seed=4)
    precision = averaged(pairs, max_dets=(1, 10, 3000))
    scores = precision.compute(kind)
    whole = precision.statistics(kind, ("all", "small", "medium", "large"))(np.ones((1, len(pairs)), np.int64))
    for name, value in scores.to_dict().items():
        if name not in ("ar_1", "ar_10"):
            assert whole[{"ar_3000": "ar"}.get(name, name)][0] == pytest.approx(value, abs=1e-12), name
    for kind_of in ("ap", "ap50", "ap75"):
        ours = [whole[f"{kind_of}.{name}"][0] for name in scores.names]
        assert ours == pytest.approx(scores.per_class[kind_of].tolist(), abs=1e-12, nan_ok=True)


def test_recall_at_fewer_objects_comes_from_the_same_list() -> None:
    pairs = drawn_pairs(seed=5)
    precision = averaged(pairs)
    recall = [r.ap_and_recall(np.ones((1, len(pairs)), np.int64), "all", 1)[1].mean() for r in precision.ranked().values()]
    assert np.nanmean(recall) == pytest.approx(precision.compute().ar[1], abs=1e-12)


def test_a_resample_scores_like_its_images_given_that_often() -> None:
    pairs = drawn_pairs(8, seed=6)
    weights = np.array([[2, 0, 1, 3, 1, 0, 0, 1], [0, 0, 0, 0, 1, 0, 0, 7], [1, 1, 1, 1, 1, 1, 1, 1]])
    statistics = averaged(pairs).statistics(sizes=("all", "medium"))
    drawn = statistics(weights)
    for row, times in enumerate(weights):
        alone = averaged([pair for pair, count in zip(pairs, times, strict=True) for _ in range(count)]).compute()
        for name in ("ap", "ap50", "ap75", "ap_medium", "ar_medium"):
            assert drawn[name][row] == pytest.approx(alone.to_dict()[name], abs=1e-12, nan_ok=True), (name, times)
        assert drawn["ar"][row] == pytest.approx(alone.ar[100], abs=1e-12)


def test_intervals_hold_the_value_and_do_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = drawn_pairs(12, seed=8)
    precision = averaged(pairs)
    found = bootstrap(precision.statistics(), [None] * 12, resamples=100)
    assert found["ap"].value == pytest.approx(precision.compute().ap, abs=1e-12)
    for name in ("ap", "ap50", "ap75", "ap.tanker"):
        assert found[name].low is not None
        assert found[name].high is not None
        assert found[name].low < found[name].value < found[name].high
    assert np.isnan(found["ap.buoy"].value)
    monkeypatch.setattr("maskwright.metrics.ranked.CHUNK_VALUES", 50)
    again = bootstrap(precision.statistics(), [None] * 12, resamples=100)
    assert {name: str(interval) for name, interval in again.items()} == {name: str(interval) for name, interval in found.items()}


def test_scores_of_groups_are_those_of_their_images() -> None:
    pairs = drawn_pairs(8, seed=9)
    groups = ["north", "south", None, "north", "north", "south", None, "south"]
    found = group_scores(averaged(pairs).statistics(), groups)
    assert list(found) == ["north", "south"]
    for name, scores in found.items():
        alone = averaged([pair for pair, group in zip(pairs, groups, strict=True) if group == name]).compute()
        assert scores["ap"] == pytest.approx(alone.ap, abs=1e-12)
    assert group_scores(averaged(pairs).statistics(), [None] * 8) == {}
