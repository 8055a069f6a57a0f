"""Pascal VOC's class and object masks."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.annotations import voc
from maskwright.annotations.drawn import AnnotatedImage
from maskwright.classes import ClassMap, spread
from maskwright.errors import FormatError, InputError
from maskwright.instances import Instances
from maskwright.io.masks import read_mask
from maskwright.io.write import write_png, write_text
from maskwright.ops.rle import Rle

PALETTE = np.array([spread(k) for k in range(256)], np.uint8)
# An aeroplane (1) of two pixels and a person (15) of three, with the border around them; one pixel of the person is a chair (9).
OBJECTS = np.array([[1, 1, 255, 0], [255, 255, 255, 0], [2, 2, 2, 255]], np.uint8)
CLASSES = np.array([[1, 1, 255, 0], [255, 255, 255, 0], [15, 9, 15, 255]], np.uint8)


def make(base, name="a", objects=OBJECTS, classes=CLASSES, palette=PALETTE):
    write_png(base / f"JPEGImages/{name}.png", np.zeros((3, 4, 3), np.uint8))
    write_png(base / f"SegmentationObject/{name}.png", objects, palette)
    if classes is not None:
        write_png(base / f"SegmentationClass/{name}.png", classes, palette)
    return base


def test_objects_by_the_class_under_most_of_their_pixels(tmp_path):
    read = voc.read(make(tmp_path))
    assert read.classes == ClassMap.known("voc")
    assert read.line == "VOC: 1 object mask in SegmentationObject/, classes VOC's own, as ids and palette of the masks say"
    drawn, remarks = read.objects(0)
    assert [(d.id, read.classes.name_of(d.class_id)) for d in drawn] == [(1, "aeroplane"), (2, "person")]
    assert all((d.rle.to_mask() == (d.id == OBJECTS)).all() for d in drawn)
    assert (remarks, read.remarks) == ([], ())
    assert (read.images[0].name, read.images[0].path, read.images[0].split) == ("a", tmp_path / "JPEGImages/a.png", "all")


@pytest.mark.parametrize("below", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_the_folder_is_found_where_the_kit_unpacks_it(below, tmp_path):
    make(tmp_path / below)
    assert voc.looks_like(tmp_path) == f"{below}/SegmentationObject/".lstrip("/")
    assert len(voc.read(tmp_path).images) == 1


def test_nothing_here(tmp_path):
    assert voc.looks_like(tmp_path) == voc.looks_like(tmp_path / "missing") == ""
    with pytest.raises(InputError, match=r"no folder SegmentationObject/ here"):
        voc.read(tmp_path)
    (tmp_path / "SegmentationObject").mkdir()
    with pytest.raises(FormatError, match="SegmentationObject: holds no PNG"):
        voc.read(tmp_path)


def test_two_years_must_be_told_apart(tmp_path):
    make(tmp_path / "VOC2007")
    make(tmp_path / "VOC2012")
    with pytest.raises(InputError, match=r"several VOC folders \(VOC2007, VOC2012\); give one of them"):
        voc.read(tmp_path)


def test_splits_and_what_is_odd_about_them(tmp_path):
    for name in "abc":
        make(tmp_path, name)
    write_text(tmp_path / "ImageSets/Segmentation/train.txt", "a\n\nlost  1\n")
    write_text(tmp_path / "ImageSets/Segmentation/val.txt", "b\na -1\n")
    write_text(tmp_path / "ImageSets/Segmentation/trainval.txt", "a\nb\nc\n")
    write_text(tmp_path / "ImageSets/Segmentation/test.txt", "secret\n")
    read = voc.read(tmp_path)
    assert [(i.name, i.split) for i in read.images] == [("a", "train"), ("b", "val"), ("c", "all")]
    assert [(r.code, r.image) for r in read.remarks] == [("image-not-annotated", "lost"), ("image-listed-twice", "a")]
    assert "a is listed in train.txt, too, and counts there" in read.remarks[1].text


def test_the_border_is_no_object_but_an_object_over_no_class_is_said(tmp_path):
    objects = OBJECTS.copy()
    objects[0, 3] = 7
    drawn, [remark] = voc.read(make(tmp_path, objects=objects)).objects(0)
    assert [d.id for d in drawn] == [1, 2]
    assert remark.code == "bad-object"
    assert "object 7 (1 pixels) lies on no class" in remark.text


def test_other_palettes_get_a_class_for_each_value(tmp_path):
    palette = np.zeros((256, 3), np.uint8)
    palette[[1, 9, 15]] = [[200, 0, 0], [0, 200, 0], [0, 0, 200]]
    read = voc.read(make(tmp_path, palette=palette))
    assert read.classes.names == ("background", "class 1", "class 9", "class 15")
    assert read.classes.colours[1:] == ((200, 0, 0), (0, 200, 0), (0, 0, 200))
    assert [d.class_id for d in read.objects(0)[0]] == [1, 15]


def test_ids_beyond_vocs_are_not_voc(tmp_path):
    read = voc.read(make(tmp_path, classes=np.where(CLASSES == 15, 33, CLASSES).astype(np.uint8)))
    assert read.classes.names == ("background", "class 1", "class 9", "class 33")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("labels.txt", "background\nplane\n" + "x{}\n" * 7 + "chair\n" + "y{}\n" * 5 + "man\n"),
        ("class_names.txt", "__ignore__\n_background_\nplane\n" + "x{}\n" * 7 + "chair\n" + "y{}\n" * 5 + "man\n"),
    ],
)
def test_names_from_a_text_file(file, text, tmp_path):
    parts = iter(range(99))
    write_text(tmp_path / file, "".join(line.format(next(parts)) + "\n" for line in text.splitlines()))
    read = voc.read(make(tmp_path))
    assert [read.classes.name_of(d.class_id) for d in read.objects(0)[0]] == ["plane", "man"]
    assert read.line.endswith(f"classes from {file}")


def test_cvats_masks_in_colours(tmp_path):
    write_text(
        tmp_path / "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\nship:10,20,30::\ntanker:200,0,0::\n"
    )
    objects = PALETTE[np.where(OBJECTS == 255, 0, OBJECTS)]
    colours = np.where(OBJECTS[..., None] == 1, [200, 0, 0], np.where(OBJECTS[..., None] == 2, [10, 20, 30], 0)).astype(np.uint8)
    read = voc.read(make(tmp_path, objects=objects, classes=colours, palette=None))
    found = {read.classes.name_of(d.class_id): (d.id, d.rle.area_px) for d in read.objects(0)[0]}
    assert found == {"tanker": (None, 2), "ship": (None, 3)}


def test_without_class_masks_there_is_one_class(tmp_path):
    read = voc.read(make(tmp_path, classes=None, objects=np.where(OBJECTS == 255, 0, OBJECTS).astype(np.uint8)))
    assert read.classes.names == ("background", "object")
    assert [d.class_id for d in read.objects(0)[0]] == [1, 1]


def test_values_that_a_given_class_map_does_not_know(tmp_path):
    read = voc.read(make(tmp_path), classes=ClassMap((0, 1), ("background", "plane")))
    drawn, remarks = read.objects(0)
    assert [d.id for d in drawn] == [1]
    assert [r.code for r in remarks] == ["unknown-class", "bad-object"]
    assert r"values [9, 15] are no classes (known: background, plane)" in remarks[0].text


def test_damaged_masks_name_their_file(tmp_path):
    make(tmp_path)
    path = tmp_path / "SegmentationObject/a.png"
    path.write_bytes(path.read_bytes()[:60])
    read = voc.read(tmp_path)
    with pytest.raises(FormatError, match=r"SegmentationObject/a.png: the image is cut short or damaged"):
        read.objects(0)
    write_png(path, np.zeros((2, 2), np.uint8))
    with pytest.raises(FormatError, match=r"the class mask is 4x3, .*SegmentationObject/a.png is 2x2; they must be alike"):
        read.objects(0)


def test_a_list_of_names_that_is_no_text(tmp_path):
    make(tmp_path)
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\x00ship")
    with pytest.raises(FormatError, match=r"labels.txt: the list of class names cannot be read"):
        voc.read(tmp_path)
    write_text(tmp_path / "labels.txt", "ship:1,2,300\n")
    with pytest.raises(FormatError, match=r"labels.txt: a colour is not of the form"):
        voc.read(tmp_path)


def dots(count, ids=None, **more):
    """Objects of one pixel each in a row."""
    masks = tuple(Rle.from_crop(np.ones((1, 1)), (k, 0), (2, count)) for k in range(count))
    return Instances((2, count), ClassMap((0, 4), ("background", "dot")), np.full(count, 4), masks, ids=ids, **more)


def write(folder, found):
    remarks = voc.write(folder, [(AnnotatedImage("a", None, found.hw), found)])
    assert [r.code for r in remarks if r.code != "image-not-on-disk"] == []
    return read_mask(folder / "SegmentationObject/a.png")


def test_written_masks_are_as_voc_lays_them_out(tmp_path):
    mask = write(tmp_path, dots(2))
    assert (mask.kind, mask.values.tolist()) == ("palette", [[1, 2], [0, 0]])
    assert mask.palette[:3].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert read_mask(tmp_path / "SegmentationClass/a.png").values.tolist() == [[4, 4], [0, 0]]
    assert (tmp_path / "ImageSets/Segmentation/trainval.txt").read_text() == "a\n"


def test_few_objects_with_large_ids_are_numbered_anew(tmp_path):
    assert write(tmp_path, dots(2, np.array([7, 255]))).values.tolist() == [[1, 2], [0, 0]]


@pytest.mark.parametrize(("count", "kind"), [(254, "palette"), (255, "index"), (300, "index")])
def test_more_than_254_objects_need_16_bits(count, kind, tmp_path):
    mask = write(tmp_path, dots(count))
    assert mask.kind == kind
    assert mask.values[0].tolist() == list(range(1, count + 1))
    drawn, remarks = voc.read(tmp_path).objects(0)
    assert ([d.id for d in drawn], remarks) == (list(range(1, count + 1)), [])


def test_crowds_become_void(tmp_path):
    found = dots(3, crowd=np.array([False, True, False]))
    voc.write(tmp_path, [(AnnotatedImage("a", None, found.hw), found)])
    assert read_mask(tmp_path / "SegmentationObject/a.png").values.tolist() == [[1, 255, 3], [0, 0, 0]]
    assert read_mask(tmp_path / "SegmentationClass/a.png").values.tolist() == [[4, 255, 4], [0, 0, 0]]


def test_lost_pixels_are_counted(tmp_path):
    # Object 1 of 4 pixels under object 2 of 2; object 3 of 2 pixels whole under object 4 of the same 2.
    masks = tuple(Rle.from_mask(np.isin(np.arange(6).reshape(1, 6), p)) for p in ([0, 1, 2, 3], [2, 3], [4, 5], [4, 5]))
    found = Instances((1, 6), ClassMap((0, 4), ("background", "dot")), np.full(4, 4), masks)
    remarks = voc.write(tmp_path, [(AnnotatedImage("a", None, (1, 6)), found)])
    [overlap] = [r for r in remarks if r.code == "overlap"]
    assert "a: 4 pixels of 2 objects lie under smaller objects and are lost (1 objects whole)" in overlap.text
    assert read_mask(tmp_path / "SegmentationObject/a.png").values.tolist() == [[1, 1, 2, 2, 4, 4]]
