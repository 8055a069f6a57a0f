"""Conversion between all formats that are written: every pair, masks compared pixel by pixel."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.annotations.assemble import instances_of
from maskwright.annotations.drawn import AnnotatedImage
from maskwright.annotations.formats import FORMATS, read_annotations
from maskwright.annotations.writers import WRITERS
from maskwright.classes import ClassMap
from maskwright.data.convert import convert, size_of
from maskwright.data.dataset import open_dataset
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.ops.components import components
from maskwright.ops.polygons import fill
from maskwright.ops.rle import Rle

CLASSES = ClassMap((0, 1, 2), ("background", "barge", "tanker"))
HW = (24, 31)
READ = [name for name in WRITERS if name in FORMATS]  # the others are written only

Content = dict[str, Counter[tuple[str, Rle]]]


def said_of(to: str, images: int = 3) -> dict[str, int]:
    """What is counted of a set of plain pictures: GeoJSON means the map, and they lie nowhere."""
    return {"not-on-map": images} if to == "geojson" else {}


def holes_and_parts() -> Instances:
    """A ring with an island in its hole, three parts of which two touch at a corner, a single pixel at the border, a slanted hull."""
    ring = np.zeros(HW, bool)
    ring[1:11, 1:12] = True
    ring[3:9, 3:10] = False
    ring[5:7, 6:8] = True
    parts = np.zeros(HW, bool)
    parts[1:3, 14:18] = parts[3:5, 18:20] = parts[7:9, 25:31] = True
    pixel = np.zeros(HW, bool)
    pixel[23, 30] = True
    hull = np.array([(4.3, 20.1), (7.0, 13.7), (22.5, 12.2), (26.25, 16.3), (10.1, 22.9)])
    masks = (*map(Rle.from_mask, (ring, parts, pixel)), fill([hull], HW))
    return Instances(HW, CLASSES, np.array([1, 2, 2, 1]), masks, rings=((), (), (), (hull,)))


def grains(seed: int) -> Instances:
    """Every connected grain of noise as an object: whatever shape a few pixels can have, side by side."""
    noise = np.ones(HW) / 2
    noise[5:20, 8:26] = np.random.default_rng(seed).random((15, 18))
    masks = components(noise < 0.3) + components(noise > 0.75)
    ids = np.random.default_rng(seed).permutation(len(masks)) + 1
    return Instances(HW, CLASSES, np.arange(len(masks)) % 2 + 1, tuple(masks), ids=ids)


def objects_of_set() -> dict[str, tuple[str, Instances]]:
    none = Instances(HW, CLASSES, np.zeros(0, np.int64), ())
    return {"quay": ("train", holes_and_parts()), "noise.v2": ("val", grains(1)), "open sea(1)": ("train", none)}


@pytest.fixture(scope="module")
def drawn_set(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes the drawn set in a format, once, and gives its folder."""
    below = tmp_path_factory.mktemp("drawn")

    def draw(to: str) -> Path:
        if (below / to).exists():
            return below / to
        pairs = []
        for name, (split, found) in objects_of_set().items():
            path = below / f"originals-{to}" / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.full((*HW, 3), len(name), np.uint8)).save(path)
            pairs.append((AnnotatedImage(name, path, HW, split, None, path.name), found))
        assert len(WRITERS[to](below / to, pairs)) == sum(said_of(to).values())
        return below / to

    return draw


def content(folder: Path, format: str | None = None) -> Content:
    """What a folder holds: for each image how often each class and mask comes."""
    annotations = read_annotations(folder, format=format)
    assert annotations.remarks == ()
    found = {}
    for k, image in enumerate(annotations.images):
        instances, remarks = instances_of(annotations, k, size_of(image))
        assert remarks == []
        found[image.name] = Counter(zip(instances.names, instances.masks, strict=True))
    return found


def drawn_content() -> Content:
    return {name: Counter(zip(found.names, found.masks, strict=True)) for name, (_, found) in objects_of_set().items()}


@pytest.mark.parametrize("to", READ)
def test_a_written_set_is_found_and_read_back(to, drawn_set):
    assert read_annotations(drawn_set(to)).format == to
    assert content(drawn_set(to)) == drawn_content()


@pytest.mark.parametrize("to", READ)
@pytest.mark.parametrize("source", READ)
def test_every_pair_keeps_every_pixel(source, to, drawn_set, tmp_path):
    done: list[tuple[int, int]] = []
    report = convert(drawn_set(source), tmp_path / "out", to=to, progress=lambda k, n: done.append((k, n)))
    assert content(tmp_path / "out") == drawn_content()
    assert (report.format, report.to, report.images) == (source, to, 3)
    assert report.objects == sum(len(found) for _, found in objects_of_set().values())
    assert (report.failures, report.counts, report.ok) == ((), said_of(to), True)
    assert done == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("to", READ)
def test_splits_stay(to, drawn_set):
    annotations = read_annotations(drawn_set(to))
    assert {i.name: i.split for i in annotations.images} == {"quay": "train", "noise.v2": "val", "open sea(1)": "train"}
    assert all(i.path is not None and i.path.is_relative_to(drawn_set(to)) for i in annotations.images)


def coco_set(folder: Path, *annotations: dict, **top: object) -> Path:
    """Two images, a.png of 6 x 8 with the annotations and b.png without any."""
    folder.mkdir()
    for name in "ab":
        Image.fromarray(np.zeros((6, 8), np.uint8)).save(folder / f"{name}.png")
    images = [{"id": k, "file_name": f"{n}.png", "height": 6, "width": 8} for k, n in enumerate("ab", 1)]
    rows = [{"id": k, "image_id": 1, "category_id": 3, "iscrowd": 0, **a} for k, a in enumerate(annotations, 1)]
    given = {"images": images, "annotations": rows, "categories": [{"id": 3, "name": "barge"}], **top}
    (folder / "set.json").write_text(json.dumps(given))
    return folder


SQUARE = {"segmentation": [[1, 1, 5, 1, 5, 4, 1, 4]]}
SHIFTED = {"segmentation": [[3, 1, 7, 1, 7, 5, 3, 5]]}
CROWD = {"segmentation": {"size": [6, 8], "counts": [0, 12, 36]}, "iscrowd": 1}


def test_what_the_target_cannot_hold_is_counted(tmp_path):
    source = coco_set(tmp_path / "set", SQUARE, SHIFTED, CROWD)
    assert convert(source, tmp_path / "1", to="coco").counts == {}
    assert convert(source, tmp_path / "2", to="yolo").counts == {"crowds-lost": 1}
    overlap = convert(source, tmp_path / "3", to="instance_png").counts
    assert overlap.keys() == {"overlap", "crowds-lost"}
    assert convert(source, tmp_path / "4", to="instance_png").ok  # the target has no word for them: that is no loss of the source
    crowds = read_annotations(tmp_path / "1")
    assert [one.crowd for one in crowds.objects(0)[0]] == [False, False, True]


def test_coco_polygons_keep_their_vertices_in_coco(tmp_path):
    drawn = {"segmentation": [[1.2, 0.7, 6.6, 1.1, 3.3, 5.2]], "bbox": [1.2, 0.7, 5.4, 4.5]}
    convert(coco_set(tmp_path / "set", drawn), tmp_path / "out", to="coco")
    (one,) = json.loads((tmp_path / "out/annotations/instances_all.json").read_text())["annotations"]
    assert (one["segmentation"], one["bbox"]) == (drawn["segmentation"], drawn["bbox"])


def test_remarks_of_reading_are_in_the_report(tmp_path):
    outside = {"segmentation": [[20, 20, 30, 20, 30, 30]]}
    source = coco_set(tmp_path / "set", SQUARE, {"segmentation": [[1, 1, 4, 4]]}, outside, {"category_id": 8, **SQUARE})
    report = convert(source, tmp_path / "out", to="labelme")
    assert report.counts == {"two-points": 1, "zero-area": 1, "unknown-class": 1}
    assert (report.images, report.objects, report.refused, report.ok) == (2, 1, 3, False)


def test_an_image_that_cannot_be_read_stops_nothing(tmp_path):
    source = coco_set(tmp_path / "set", SQUARE)
    (source / "a.png").write_bytes((source / "a.png").read_bytes()[:20])
    report = convert(source, tmp_path / "out", to="yolo")
    assert (report.images, report.objects) == (1, 0)
    assert [(f.code, f.image) for f in report.failures] == [("image-failed", "a")]
    assert "cut short or damaged" in report.failures[0].text
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.txt")) == ["b.txt"]


def test_annotations_without_their_images(tmp_path):
    source = coco_set(tmp_path / "set", SQUARE)
    (source / "a.png").unlink()
    report = convert(source, tmp_path / "out", to="coco")
    assert (report.images, report.counts, report.ok) == (2, {"image-not-on-disk": 1}, True)
    (source / "b.png").unlink()
    report = convert(source, tmp_path / "none", to="labelme")
    assert (report.images, report.counts) == (2, {"image-not-on-disk": 1})  # one remark for all of them


def test_images_elsewhere(tmp_path):
    source = coco_set(tmp_path / "set", SQUARE)
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        (source / name).rename(tmp_path / "photos" / name)
    assert convert(source, tmp_path / "out", to="yolo", images=str(tmp_path / "photos")).counts == {}
    assert (tmp_path / "out/images/a.png").is_file()


def test_a_set_without_objects(tmp_path):
    report = convert(coco_set(tmp_path / "set"), tmp_path / "out", to="voc")
    assert (report.images, report.objects, report.counts) == (2, 0, {})
    assert content(tmp_path / "out") == {"a": Counter(), "b": Counter()}


@pytest.mark.parametrize(
    ("to", "message"),
    [("cocoa", r"no format named 'cocoa' to write annotations in; did you mean coco\?"), ("via", "did you mean coco, yolo, ")],
)
def test_unknown_targets(to, message, tmp_path):
    with pytest.raises(InputError, match=message):
        convert(tmp_path, tmp_path / "out", to=to)


def test_targets_that_are_refused(tmp_path):
    source = coco_set(tmp_path / "set", SQUARE)
    full, file, empty = tmp_path / "full", tmp_path / "file", tmp_path / "empty"
    full.mkdir()
    empty.mkdir()
    (full / "x").touch()
    file.touch()
    for target in (full, file):
        with pytest.raises(InputError, match=rf"{target.name}: is there already and not an empty folder"):
            convert(source, target, to="coco")
    with pytest.raises(InputError, match=r"out: lies in .*set, which is only read"):
        convert(source, source / "out", to="coco")
    assert convert(source, empty, to="coco").images == 2


@pytest.mark.slow
@pytest.mark.parametrize("to", READ)
def test_real_photos(to, shared_data, tmp_path):
    source = shared_data("coco-tiny") / "annotations" / "instances_val2017.json"
    report = convert(source, tmp_path / "out", to=to)
    one_a_pixel = to in ("voc", "instance_png")
    assert report.failures == ()
    assert set(report.counts) == {"coco": set(), "geojson": {"not-on-map"}}.get(to, {"crowds-lost"}) | (
        {"overlap"} if one_a_pixel else set()
    )
    before, after = (read_annotations(folder) for folder in (source, tmp_path / "out"))
    there = {image.name: k for k, image in enumerate(after.images)}
    for k, image in enumerate(before.images):
        first, second = (instances_of(a, n, size_of(image))[0] for a, n in ((before, k), (after, there[image.name])))
        kept = first if to in ("coco", "geojson") else first.select(~first.crowds)
        if one_a_pixel:
            assert np.array_equal(kept.to_labels() > 0, second.to_labels() > 0), image.name
        else:
            pairs = [Counter(zip(f.names, f.masks, strict=True)) for f in (kept, second)]
            assert pairs[0] == pairs[1], image.name


def test_parts_of_masks_become_objects_where_that_is_asked_for(tmp_path):
    mask = np.zeros(HW, np.uint8)
    mask[2:5, 2:6] = mask[10:14, 20:22] = 255  # 12 and 8 pixels
    mask[23, 30] = 255
    for folder, pixels in (("images", np.full((*HW, 3), 90, np.uint8)), ("masks", mask)):
        (tmp_path / "in" / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "in" / folder / "a.png")
    report = convert(tmp_path / "in", tmp_path / "out", to="coco", components=True, min_px=2)
    assert (report.format, report.images, report.objects) == ("labels", 1, 2)
    data = open_dataset(tmp_path / "out", objects=True)
    assert sorted(data.read(data.pairs[0]).instances.areas_px.tolist()) == [8, 12]


def test_objects_become_masks_of_classes(drawn_set, tmp_path):
    convert(drawn_set("coco"), tmp_path / "out", to="labels")
    data = open_dataset(tmp_path / "out")
    assert data.annotations is None
    assert data.classes == CLASSES
    found = {pair.name: data.read(pair).labels for pair in data.pairs}
    for name, (_, instances) in objects_of_set().items():
        assert np.array_equal(found[name], instances.to_labels()), name


def test_parts_and_a_format_of_objects_contradict_each_other(drawn_set, tmp_path):
    with pytest.raises(InputError, match="--components reads masks of classes and --from coco objects"):
        convert(drawn_set("coco"), tmp_path / "out", to="yolo", format="coco", components=True)


def test_classes_without_a_name_in_common_are_a_loss(tmp_path):
    report = convert(
        coco_set(tmp_path / "set", SQUARE, SHIFTED), tmp_path / "out", to="yolo", classes=ClassMap((0, 1), ("sea", "tug"))
    )
    assert (report.images, report.objects, report.counts) == (2, 0, {"unknown-class": 2})
    assert (report.refused, report.ok, report.to_json()["ok"]) == (2, False, False)


def test_annotations_of_another_size_than_their_image_are_a_loss(tmp_path):
    source = coco_set(tmp_path / "set", SQUARE)
    Image.fromarray(np.zeros((12, 16), np.uint8)).save(source / "a.png")
    report = convert(source, tmp_path / "out", to="yolo")
    assert (report.objects, report.counts, report.ok) == (1, {"wrong-size": 1}, False)


@pytest.mark.parametrize("length", [0, 1, 30, 300], ids=["empty", "a brace", "before its shapes", "within its shapes"])
def test_one_labelme_file_that_is_cut_short_is_a_failure_and_the_others_go_on(length, tmp_path):
    convert(coco_set(tmp_path / "set", SQUARE, {"image_id": 2, **SQUARE}), tmp_path / "labelme", to="labelme")
    text = (tmp_path / "labelme" / "b.json").read_text()
    assert length < len(text)
    (tmp_path / "labelme" / "b.json").write_text(text[:length])
    report = convert(tmp_path / "labelme", tmp_path / "out", to="coco")
    assert (report.images, report.objects, report.counts, report.ok) == (1, 1, {}, False)
    assert [(f.code, f.path) for f in report.failures] == [("unreadable", tmp_path / "labelme" / "b.json")]
    assert report.failures[0].text.endswith("; its image is left out.")


def test_a_cut_file_beside_whole_ones_is_named(tmp_path):
    """A split's own file that nobody can recognise must not vanish without a word."""
    source = coco_set(tmp_path / "set", SQUARE)
    (source / "val.json").write_text('{"images": [{"id": 1, "file_na')
    (source / "notes.csv").write_text("")  # of another kind than what was read: nobody's annotations
    report = convert(source, tmp_path / "out", to="labelme")
    assert report.images > 0
    assert [(f.code, f.path) for f in report.failures] == [("unreadable", source / "val.json")]
    assert "is not whole JSON (it is cut short)" in report.failures[0].text


def test_one_mask_of_an_object_that_is_cut_short_is_a_failure_and_the_others_go_on(tmp_path):
    convert(coco_set(tmp_path / "set", SQUARE, SHIFTED), tmp_path / "masks", to="masks")
    path = tmp_path / "masks" / "masks" / "a" / "1.png"
    path.write_bytes(path.read_bytes()[:40])
    report = convert(tmp_path / "masks", tmp_path / "out", to="coco")
    assert (report.images, report.objects, report.counts, report.ok) == (2, 1, {}, False)
    assert [(f.code, f.image) for f in report.failures] == [("unreadable", "a")]
    assert "1.png" in report.failures[0].text


def test_a_set_without_images_is_refused(tmp_path):
    source = coco_set(tmp_path / "set", images=[])
    with pytest.raises(InputError, match=r"set: names no image \(read as COCO json: .*\), so there is nothing to convert"):
        convert(source, tmp_path / "out", to="yolo")
    assert not (tmp_path / "out").exists()
