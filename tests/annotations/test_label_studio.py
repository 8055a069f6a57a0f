"""Label Studio: shapes in percent, brush run lengths, names of uploads, several annotations a task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskwright.annotations import label_studio
from maskwright.annotations.brush import decode_brush
from maskwright.classes import ClassMap
from maskwright.errors import FormatError, InputError

HW = (6, 8)
SQUARE = [[12.5, 0], [50, 0], [50, 50], [12.5, 50]]  # x 1 to 4, y 0 to 3


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(path)


def result(value: Any = None, kind: str = "polygonlabels", label: Any = "ship", **more: Any) -> dict[str, Any]:
    """One region; value without its label."""
    whole = {**({"points": SQUARE} if value is None else value), kind: [label]} if label is not None else value
    return {
        "id": f"r{len(str(value))}",
        "type": kind,
        "value": whole,
        "original_width": 8,
        "original_height": 6,
        "image_rotation": 0,
    } | more


def task(*results: Any, image: Any = "/data/upload/1/0a1b2c3d-a.png", **more: Any) -> dict[str, Any]:
    return {"id": 1, "annotations": [{"id": 5, "was_cancelled": False, "result": list(results)}], "data": {"image": image}} | more


def write(root: Path, *tasks: Any) -> Path:
    picture(root / "a.png")
    (root / "export.json").write_text(json.dumps(tasks))
    return root / "export.json"


def read(root: Path, *results: Any, **options: Any):
    numbered = [row | {"id": f"r{k}"} if isinstance(row, dict) else row for k, row in enumerate(results)]
    found = label_studio.read(write(root, task(*numbered)), **options)
    return found, *found.objects(0)


@pytest.mark.parametrize(
    ("given", "area"),
    [
        (result(), 9),
        (result({"x": 12.5, "y": 0, "width": 25, "height": 50, "rotation": 0}, "rectanglelabels"), 6),
        (result({"x": 50, "y": 0, "width": 37.5, "height": 50, "rotation": 90}, "rectanglelabels"), 9),
        (result({"x": 50, "y": 50, "radiusX": 25, "radiusY": 100 / 3, "rotation": 0}, "ellipselabels"), 12),
    ],
)
def test_shapes_in_percent(given, area, tmp_path):
    found, objects, remarks = read(tmp_path, given)
    assert remarks == []
    assert [(d.class_id, d.where, d.mask(HW).area_px) for d in objects] == [(1, "result 0", area)]
    assert [(i.name, i.hw, i.path) for i in found.images] == [("a", HW, tmp_path / "a.png")]
    assert found.classes.names == ("background", "ship")
    assert found.remarks == ()


def test_a_rectangle_turns_about_its_corner(tmp_path):
    # 3 x 2 pixels at (4, 1), a quarter clockwise about (4, 1): x 2 to 4, y 1 to 4.
    turned = result({"x": 50, "y": 100 / 6, "width": 37.5, "height": 200 / 6, "rotation": 90}, "rectanglelabels")
    _, objects, _ = read(tmp_path, turned)
    assert objects[0].mask(HW).box_xyxy == (2, 1, 4, 4)


def bits(number: int, width: int) -> str:
    return format(number, f"0{width}b")


def packed(*blocks: tuple[int, list[int]], total: int) -> list[int]:
    """Brush run lengths by hand: (repeated, values) blocks with lengths of 4 bits (choice 0) and 6 bits (choice 2)."""
    row = bits(total, 32) + bits(8 - 1, 5) + bits(4 - 1, 4) + bits(9 - 1, 4) + bits(6 - 1, 4) + bits(1 - 1, 4)
    for repeated, values in blocks:
        choice, width = (0, 4) if len(values) <= 16 else (2, 6)
        row += bits(repeated, 1) + bits(choice, 2) + bits(len(values) - 1, width)
        row += "".join(bits(v, 8) for v in (values[:1] if repeated else values))
    row += "0" * (-len(row) % 8)
    return [int(row[k : k + 8], 2) for k in range(0, len(row), 8)]


def test_brush_by_hand():
    # 2 x 3 pixels of red, green, blue, alpha: .11 and 9.1, where 9 is a colour without alpha.
    data = packed((1, [0] * 4), (1, [255] * 8), (0, [9, 9, 9, 0, 0, 0, 0, 0, 255, 255, 255, 255]), total=24)
    mask = decode_brush(np.array(data, np.uint8), (2, 3), "x")
    np.testing.assert_array_equal(mask, [(0, 1, 1), (0, 0, 1)])


def test_brush_blocks_may_end_anywhere():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.choice([0, 255], 4 * 5 * 7).tolist()
        blocks, done = [], 0
        while done < len(values):
            count = int(rng.integers(1, 30))
            part = values[done : done + count]
            same = len(set(part)) == 1
            blocks.append((int(same), part))
            done += len(part)
        found = decode_brush(np.array(packed(*blocks, total=140), np.uint8), (5, 7), "x")
        np.testing.assert_array_equal(found, np.reshape(values, (5, 7, 4))[..., 3] > 0)


def test_brush_in_an_export(tmp_path):
    data = packed((1, [0] * 60), (1, [255] * 8), (1, [0] * 60), (1, [0] * 64), total=192)  # pixels 15 and 16 of 48
    _, objects, remarks = read(tmp_path, result({"format": "rle", "rle": data}, "brushlabels"))
    assert remarks == []
    assert np.argwhere(objects[0].mask(HW).to_mask()).tolist() == [[1, 7], [2, 0]]


def test_brush_that_is_damaged():
    data = packed((1, [255] * 24), total=24)
    for length in range(len(data)):
        with pytest.raises(FormatError, match="x: its brush run lengths are cut short"):
            decode_brush(np.array(data[:length], np.uint8), (2, 3), "x")
    with pytest.raises(FormatError, match="x: its brush holds 24 values; expected 4 for each of 3x3 pixels"):
        decode_brush(np.array(data, np.uint8), (3, 3), "x")
    with pytest.raises(FormatError, match="more than any image"):
        decode_brush(np.array(data, np.uint8), (1 << 18, 1 << 18), "x")


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (result({"points": [[1, 1], [2, 2]]}), "two-points", "the polygon has 2 vertices"),
        (result({"points": [[1, 1], [2, None], [3, 3]]}), "bad-object", "a value in its points is null"),
        (result({"x": 1, "y": 1, "width": 2}, "keypointlabels"), "bad-object", "is a key point, which covers no area"),
        (result({"x": 1, "y": 1, "width": "2", "height": 2}), "bad-object", "its width is the text '2'"),
        (result({"rle": [1, 2]}), "bad-object", "its brush run lengths are cut short"),
        (result({"rle": [1, 256]}), "bad-object", "other numbers than bytes"),
        (result({"rle": None}), "bad-object", "its rle is null"),
        (result(image_rotation=90), "bad-object", "drawn on the image turned by 90 degrees"),
        (result(original_width=None, original_height=None, label=" "), "unknown-class", "has no label; expected one"),
        (result(original_width=0), "bad-object", "its size is 0x6"),
        (
            result() | {"value": {"points": SQUARE, "polygonlabels": ["a", "b"]}},
            "unknown-class",
            "has the labels a, b; expected one",
        ),
        (result() | {"value": {"points": SQUARE, "polygonlabels": "a"}}, "unknown-class", "has no label"),
    ],
)
def test_one_bad_region_is_left_out_and_said(given, code, said, tmp_path):
    _, objects, remarks = read(tmp_path, result(), given)
    assert [d.where for d in objects] == ["result 0"]
    assert [(r.code, r.image) for r in remarks] == [(code, "a")]
    assert said in remarks[0].text
    assert "export.json: /data/upload/1/0a1b2c3d-a.png, result 1: " in remarks[0].text


def test_shape_and_label_in_two_results_and_what_is_no_region(tmp_path):
    size = {"original_width": 8, "original_height": 6}
    rows = [
        {"id": "r", "type": "polygon", "value": {"points": SQUARE}, **size},
        {"id": "r", "type": "labels", "value": {"points": SQUARE, "labels": ["tug"]}, **size},
        {"id": "s", "type": "choices", "value": {"choices": ["good"]}},
        {"type": "relation", "from_id": "r", "to_id": "r"},
        {"id": "t", "type": "polygonlabels", "value": 4},
    ]
    found = label_studio.read(write(tmp_path, task(*rows)))
    objects, remarks = found.objects(0)
    assert found.classes.names == ("background", "tug")
    assert len(objects) == 1
    assert remarks == []
    assert ["result 4 is damaged" in r.text for r in found.remarks] == [True]


@pytest.mark.parametrize(
    "listed",
    [
        "/data/upload/1/0a1b2c3d-x%20y.png", "/data/local-files/?d=photos/x%20y.png", "https://host/x%20y.png?sig=1", "s3://bucket/x y.png",
        "x y.png", "C:\\photos\\x y.png",
    ],
)  # fmt: skip
@pytest.mark.parametrize("stored", ["x y.png", "deep/0a1b2c3d-x y.png"])
def test_names_of_uploads(listed, stored, tmp_path):
    write(tmp_path, task(result(), image=listed))
    (tmp_path / "a.png").unlink()
    picture(tmp_path / stored)
    found = label_studio.read(tmp_path)
    assert [i.path for i in found.images] == [tmp_path / stored]
    assert found.remarks == ()


def test_the_image_may_have_any_key(tmp_path):
    data = {"text": "a note", "scan": "/data/upload/1/a.png"}
    assert label_studio.read(write(tmp_path, task(result(), data=data))).images[0].path == tmp_path / "a.png"


def test_the_last_annotation_that_was_not_cancelled_is_taken(tmp_path):
    made = [
        {"result": [result()]},
        {"result": [result(), result({"points": SQUARE[:3]})], "was_cancelled": False},
        {"result": [], "was_cancelled": True},
    ]
    found = label_studio.read(write(tmp_path, task(annotations=made)))
    assert len(found.objects(0)[0]) == 2
    assert found.line == "Label Studio: export.json; 1 label; of 1 task with several annotations the last is taken"


def test_a_task_that_nobody_annotated_is_no_empty_image(tmp_path):
    picture(tmp_path / "b.png")
    empty = task(image="/b.png")
    found = label_studio.read(write(tmp_path, task(annotations=[{"result": [], "was_cancelled": True}]), empty, 7))
    assert [i.name for i in found.images] == ["b"]
    assert found.objects(0) == ([], [])
    assert [r.code for r in found.remarks] == ["image-not-annotated", "bad-object", "image-not-annotated"]
    assert "task 0: nobody annotated '/data/upload/1/0a1b2c3d-a.png'" in found.remarks[0].text


def test_old_exports_say_completions(tmp_path):
    made = task(result())
    made["completions"] = made.pop("annotations")
    assert len(label_studio.read(write(tmp_path, made)).objects(0)[0]) == 1
    assert label_studio.looks_like(tmp_path) == "export.json"


def test_class_map_that_is_given(tmp_path):
    _, objects, remarks = read(tmp_path, result(), result(label="tug"), classes=ClassMap((0, 8), ("background", "tug")))
    assert [d.class_id for d in objects] == [8]
    assert [r.code for r in remarks] == ["unknown-class"]


@pytest.mark.parametrize("content", [{"a": 1}, [{"image": "a.png", "label": []}], 4])
def test_other_exports_are_explained(content, tmp_path):
    path = write(tmp_path)
    path.write_text(json.dumps(content))
    with pytest.raises(FormatError, match=r"export\.json: .* expected Label Studio's export as JSON \(not JSON-MIN or CSV\)"):
        label_studio.read(path)
    assert label_studio.looks_like(tmp_path) == ""
    with pytest.raises(InputError, match="no Label Studio export here"):
        label_studio.read(tmp_path)
