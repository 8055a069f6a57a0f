"""Whatever a pixel format can hold comes back from its reader as it was given to its writer."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskwright.annotations import airbus, instance_png, mask_folder, voc
from maskwright.annotations.assemble import instances_of
from maskwright.annotations.drawn import AnnotatedImage
from maskwright.annotations.formats import detect
from maskwright.classes import ClassMap
from maskwright.instances import Instances
from maskwright.io.write import write_png
from maskwright.ops.rle import Rle

CLASSES = (
    ClassMap((0, 1), ("background", "object")),
    ClassMap((0, 3, 7), ("background", "ship", "oil/tanker: large")),
    ClassMap((1, 2), ("ship", "tanker"), background=None),
)
slow = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def objects(draw, classes, most_id=300):
    """A few objects of any shape: holes, several parts, one over the other, none at all."""
    hw = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    masks = [m for m in draw(st.lists(arrays(bool, hw), max_size=5)) if m.any()]
    ids = draw(st.lists(st.integers(1, most_id), unique=True, min_size=len(masks), max_size=len(masks)))
    kinds = draw(
        st.lists(st.sampled_from([i for i in classes.ids if i != classes.background]), min_size=len(masks), max_size=len(masks))
    )
    return Instances(hw, classes, np.array(kinds, np.int64), tuple(map(Rle.from_mask, masks)), ids=np.array(ids, np.int64))


@st.composite
def sets(draw, most_id=300):
    classes = draw(st.sampled_from(CLASSES))
    names = draw(st.lists(st.sampled_from(["a", "b.c", "img 7", "0012"]), unique=True, min_size=1, max_size=3))
    return [(name, draw(st.sampled_from(["train", "val", "all"])), draw(objects(classes, most_id))) for name in names]


def written(folder: Path, given_set, writer, **options):
    """The set with images on disk, written to folder/out; the images given and what the writer says."""
    images = []
    for number, (name, split, found) in enumerate(given_set):
        path = folder / "in" / str(number) / f"{name}.png"
        write_png(path, np.full((*found.hw, 3), number, np.uint8))
        images.append((AnnotatedImage(name, path, found.hw, split), found))
    return images, writer.write(folder / "out", iter(images), **options)


def read_back(folder: Path, reader):
    read = reader.read(folder)
    return {image.name: (image, *instances_of(read, k, image.hw or _hw(image))) for k, image in enumerate(read.images)}, read


def _hw(image):
    import PIL.Image

    with PIL.Image.open(image.path) as picture:
        return picture.size[1], picture.size[0]


def content(found: Instances, by_id: bool):
    rows = zip(found.all_ids.tolist(), found.class_ids.tolist(), found.masks, strict=True)
    return {i: (c, m) for i, c, m in rows} if by_id else [(c, m) for _, c, m in rows]


def visible(found: Instances):
    """What is left where each pixel belongs to the smallest object over it, the later one of equals."""
    canvas = np.zeros(found.hw, int)
    for k in sorted(range(len(found)), key=lambda k: -found.masks[k].area_px):
        canvas[found.masks[k].to_mask()] = found.all_ids[k]
    rows = zip(found.all_ids.tolist(), found.class_ids.tolist(), strict=True)
    return {i: (c, Rle.from_mask(canvas == i)) for i, c in rows if (canvas == i).any()}


@pytest.mark.parametrize(("format", "by_id"), [(mask_folder, True), (airbus, False)])
@slow
@given(given_set=sets())
def test_formats_of_one_mask_an_object_give_everything_back(format, by_id, given_set):
    with tempfile.TemporaryDirectory() as folder:
        images, remarks = written(Path(folder), given_set, format)
        assert remarks == []
        back, read = read_back(Path(folder) / "out", format)
        assert read.remarks == ()
        assert read.classes == given_set[0][2].classes
        assert sorted(back) == sorted(image.name for image, _ in images)
        for image, found in images:
            again, instances, said = back[image.name]
            assert (again.split, said) == (image.split, [])
            assert again.path.read_bytes() == image.path.read_bytes()
            assert content(instances, by_id) == content(found, by_id)


@pytest.mark.parametrize("format", [voc, instance_png])
@slow
@given(given_set=sets(most_id=254))
def test_id_maps_give_back_what_lies_on_top(format, given_set):
    with tempfile.TemporaryDirectory() as folder:
        images, remarks = written(Path(folder), given_set, format)
        back, read = read_back(Path(folder) / "out", format)
        assert read.remarks == ()
        assert read.classes == given_set[0][2].classes
        assert sorted(back) == sorted(image.name for image, _ in images)
        for image, found in images:
            again, instances, said = back[image.name]
            assert (again.split, said) == (image.split, [])
            assert again.path.read_bytes() == image.path.read_bytes()
            assert content(instances, by_id=True) == visible(found)
            lost = content(found, by_id=True) != visible(found)
            assert [r.code for r in remarks if r.image == image.name] == (["overlap"] if lost else [])


@pytest.mark.parametrize("format", [voc, instance_png, mask_folder])
@pytest.mark.parametrize("classes", CLASSES)
def test_images_may_lie_elsewhere(format, classes, tmp_path):
    square = np.zeros((4, 5), bool)
    square[1:3, 1:4] = True
    one = Instances((4, 5), classes, np.array([classes.ids[-1]]), (Rle.from_mask(square),))
    written(tmp_path, [("a", "train", one), ("b", "val", one)], format, copy_images=False)
    out = tmp_path / "out"
    apart = format.read(out)
    assert [(i.name, i.path, i.hw, i.split) for i in apart.images] == [("a", None, (4, 5), "train"), ("b", None, (4, 5), "val")]
    assert [r.code for r in apart.remarks] == ["image-not-on-disk"]
    for read in (apart, format.read(out, images=tmp_path / "in")):
        assert [content(instances_of(read, k, (4, 5))[0], True) for k in (0, 1)] == [content(one, True)] * 2
    assert [i.path for i in read.images] == [tmp_path / "in/0/a.png", tmp_path / "in/1/b.png"]


@pytest.mark.parametrize("format", [voc, instance_png, mask_folder, airbus])
def test_crowds_and_scores_are_left_out_and_said(format, tmp_path):
    masks = tuple(Rle.from_mask(np.arange(6).reshape(2, 3) == k) for k in range(3))
    found = Instances((2, 3), CLASSES[0], np.ones(3, int), masks, crowd=np.array([False, True, False]), scores=np.full(3, 0.5))
    _, remarks = written(tmp_path, [("a", "all", found)], format)
    assert sorted(r.code for r in remarks) == ["crowds-lost", "scores-lost", "scores-lost"]
    back, _ = read_back(tmp_path / "out", format)
    assert [m for _, m in content(back["a"][1], False)] == [masks[0], masks[2]]


@pytest.mark.parametrize("format", [voc, instance_png, mask_folder, airbus])
@pytest.mark.parametrize("classes", CLASSES)
def test_what_was_written_is_recognised(format, classes, tmp_path):
    masks = tuple(Rle.from_mask(np.arange(6).reshape(2, 3) == k) for k in range(3))
    found = Instances((2, 3), classes, np.full(3, classes.ids[-1]), masks)
    written(tmp_path, [("a", "train", found), ("b", "val", found)], format)
    assert [name for name, _ in detect(tmp_path / "out")] == [format.__name__.rpartition(".")[2].replace("mask_folder", "masks")]


@pytest.mark.parametrize("format", [voc, instance_png, mask_folder, airbus])
def test_names_never_lead_out_of_the_folder(format, tmp_path):
    found = Instances((2, 2), CLASSES[0], np.ones(1, int), (Rle.from_mask(np.ones((2, 2))),))
    path = tmp_path / "x.png"
    write_png(path, np.zeros((2, 2), np.uint8))
    before = set(tmp_path.rglob("*"))
    format.write(tmp_path / "deep/out", [(AnnotatedImage("../../a", path, (2, 2)), found)])
    assert all(p.is_relative_to(tmp_path / "deep/out") for p in set(tmp_path.rglob("*")) - before - {tmp_path / "deep"})
    assert [i.name for i in format.read(tmp_path / "deep/out").images] == ["a"]
