"""Predictor: the answer has the image's size, whatever the image, the way it is given and the way it is computed."""

from __future__ import annotations

import copy
import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageSequence
import pytest
import tifffile
import torch

import maskwright
from maskwright import models
from maskwright.checkpoint import Manifest, save_checkpoint
from maskwright.classes import ClassMap
from maskwright.errors import CheckpointError, InputError
from maskwright.inference import tiled
from maskwright.inference.predictor import Failure, Predictor
from maskwright.io.image import Image
from maskwright.io.read import read_image
from maskwright.transforms import Preprocess

from .conftest import CLASSES, picture

SIZES = [(1, 1), (1, 37), (53, 1), (2, 3), (64, 48), (97, 131), (33, 210)]


def save(path: Path, pixels: np.ndarray) -> Path:
    PIL.Image.fromarray(pixels).save(path)
    return path


def labels_alike(a: np.ndarray, b: np.ndarray) -> float:
    return float((a == b).mean())


# ---- what comes out ----


@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize("max_side_px", [None, 40])
def test_the_answer_has_the_size_of_the_image(make_run, hw, max_side_px):
    found = Predictor.load(make_run(max_side_px=max_side_px), device="cpu")(picture(*hw), confidence=True, probabilities=True)
    assert found.labels.shape == found.confidence.shape == found.probs.shape[1:] == hw
    assert set(np.unique(found.labels)) <= set(CLASSES.ids)
    np.testing.assert_allclose(found.probs.sum(0), 1, atol=1e-5)
    assert np.array_equal(found.probs.max(0), found.confidence)
    assert np.array_equal(np.asarray(CLASSES.ids)[found.probs.argmax(0)], found.labels)


def test_the_fake_run_tells_pixels_apart(predictor):
    """Otherwise most of what follows could not fail."""
    shares = np.bincount(predictor(picture(97, 131)).labels.ravel(), minlength=8)[list(CLASSES.ids)] / (97 * 131)
    assert (shares > 0.02).sum() >= 2


def test_path_array_and_image_give_the_same(predictor, tmp_path):
    pixels = picture(40, 50)
    path = save(tmp_path / "scan.png", pixels)
    answers = predictor([path, str(path), pixels, pixels[..., None], Image.from_array(pixels), np.asfortranarray(pixels)])
    assert [a.name for a in answers] == ["scan", "scan", "image", "image", "image", "image"]
    assert all(np.array_equal(a.labels, answers[0].labels) for a in answers)


def test_depth_does_not_matter(predictor):
    pixels = picture(40, 50)
    deep = pixels.astype(np.uint16) * 257  # 255 * 257 = 65535: the same share of the range
    assert labels_alike(predictor(deep).labels, predictor(pixels).labels) > 0.999
    assert labels_alike(predictor(pixels.astype(np.float32) / 255).labels, predictor(pixels).labels) > 0.999


def test_a_list_in_gives_a_list_out(predictor):
    pixels = picture(9, 8)
    assert predictor([]) == []
    (only,) = predictor([pixels])
    assert only.labels.shape == (9, 8)
    assert isinstance(predictor((pixels, pixels)), list)


def test_the_front_door(run):
    found = maskwright.load(run, device="cpu")(picture(20, 30))
    assert found.classes == CLASSES
    assert found.image.hw == (20, 30)


def test_orientation_is_applied(predictor, tmp_path):
    stored = PIL.Image.fromarray(picture(40, 60))
    exif = stored.getexif()
    exif[0x0112] = 6  # displayed after a quarter turn clockwise
    stored.save(tmp_path / "phone.jpg", exif=exif, quality=100)
    assert predictor(tmp_path / "phone.jpg").labels.shape == (60, 40)


# ---- how it is computed ----


def test_the_same_again_and_the_quick_way_agrees_with_the_exact_one(run):
    image = picture(97, 131)
    quick = Predictor.load(run, device="cpu")
    assert np.array_equal(quick(image).labels, quick(image).labels)
    exact = Predictor.load(run, device="cpu", exact=True)
    assert labels_alike(quick(image).labels, exact(image).labels) > 0.999
    assert (quick.runtime, exact.runtime) == ("cpu fp32", "cpu fp32, exact")


def test_bf16_on_request(run):
    bf16 = Predictor.load(run, device="cpu", precision="bf16")
    assert bf16.runtime == "cpu bf16"
    image = picture(97, 131)
    assert labels_alike(bf16(image).labels, Predictor.load(run, device="cpu")(image).labels) > 0.95


def test_the_manifest_decides_on_auto(make_run, monkeypatch):
    monkeypatch.setattr("maskwright.inference.backends.computes_bf16", lambda _: True)
    run = make_run(precision="bf16")
    assert Predictor.load(run, device="cpu").runtime == "cpu bf16"
    assert Predictor.load(run, device="cpu", exact=True).runtime == "cpu fp32, exact"


def test_tiles_answer_nearly_as_the_whole_image(run):
    image = picture(150, 170)
    whole, cut = (Predictor.load(run, device="cpu", tile=t)(image, probabilities=True) for t in (None, 96))
    assert labels_alike(whole.labels, cut.labels) > 0.99
    assert not np.array_equal(whole.probs, cut.probs)


@pytest.mark.parametrize("max_side_px", [None, 120])
def test_large_images_are_cut_without_being_asked(make_run, monkeypatch, max_side_px):
    run = make_run(max_side_px=max_side_px)
    image = picture(150, 170)
    whole = Predictor.load(run, device="cpu")(image)
    monkeypatch.setattr(tiled, "WHOLE_IMAGE_PX", 100 * 100)
    monkeypatch.setattr(tiled, "TILE_PX", 64)
    predictor = Predictor.load(run, device="cpu")
    shapes = []
    forward = predictor._forward
    predictor._forward = lambda x: shapes.append(x.shape[2:]) or forward(x)
    found = predictor(image)
    assert len(shapes) > 4
    assert max(max(s) for s in shapes) == 64
    assert found.labels.shape == (150, 170)
    assert labels_alike(found.labels, whole.labels) > 0.97


def test_with_flips_a_mirror_image_gets_the_mirrored_answer(run):
    image = picture(48, 64)  # sides the net does not pad
    once, both = (Predictor.load(run, device="cpu", flips=f) for f in (False, True))
    mirrored = image[:, ::-1]
    assert labels_alike(both(mirrored).labels[:, ::-1], both(image).labels) > 0.999
    assert labels_alike(once(mirrored).labels[:, ::-1], once(image).labels) < 0.99
    assert both.runtime == "cpu fp32, flips"


def test_nothing_is_left_in_training_mode_or_with_gradients(run):
    predictor = Predictor.load(run, device="cpu")
    torch.set_grad_enabled(True)
    predictor(picture(10, 10))
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


# ---- what cannot be answered ----


def test_channels_that_the_model_does_not_know(predictor, tmp_path):
    tifffile.imwrite(tmp_path / "four.tif", np.zeros((4, 9, 8), np.uint16), photometric="minisblack", planarconfig="separate")
    with pytest.raises(InputError, match=r"four\.tif: the image has 4 channels, the model was trained on 1"):
        predictor(tmp_path / "four.tif")


def test_pixels_that_are_no_numbers(predictor, tmp_path):
    pixels = np.ones((9, 8), np.float32)
    pixels[3, 4] = np.nan
    tifffile.imwrite(tmp_path / "scan.tif", pixels)
    (failure,) = predictor.many([tmp_path / "scan.tif"], on_error="yield")
    assert isinstance(failure, Failure)
    assert str(tmp_path / "scan.tif") in str(failure)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"tile": 8}, "tiles of 8 px cannot be used"),
        ({"device": "gpu"}, "no device 'gpu'"),
        ({"precision": "int4"}, "no precision 'int4'"),
        ({"precision": "bf16", "exact": True}, "exact means fp32"),
    ],
)
def test_settings_that_cannot_be(run, settings, says):
    with pytest.raises(InputError, match=says):
        Predictor.load(run, **{"device": "cpu", **settings})


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(CheckpointError, match="not a run folder"):
        maskwright.load(tmp_path)


# ---- many ----


def test_a_bad_file_is_reported_in_its_place(predictor, tmp_path):
    good = save(tmp_path / "good.png", picture(9, 8))
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:40])
    answers = list(predictor.many([good, bad, tmp_path / "missing.png", good], on_error="yield"))
    assert [type(a).__name__ for a in answers] == ["Segmentation", "Failure", "Failure", "Segmentation"]
    assert str(answers[1]).count(str(bad)) == 1
    assert answers[2].source == str(tmp_path / "missing.png")
    assert "no such file" in answers[2].reason
    with pytest.raises(InputError, match=r"bad\.png"):
        list(predictor.many([good, bad]))


def test_sources_are_read_only_a_few_ahead(predictor):
    taken = []

    def sources() -> Iterator[np.ndarray]:
        for k in range(100):
            taken.append(k)
            yield picture(8, 8, seed=k)

    answers = predictor.many(sources(), readers=2)
    next(answers)
    assert len(taken) == 3  # the one answered and two being read
    answers.close()


def test_answers_keep_their_order(predictor):
    sizes = [(h, 60 - h) for h in range(5, 50, 4)]
    assert [a.labels.shape for a in predictor.many(picture(*hw) for hw in sizes)] == sizes


def test_an_array_may_be_filled_anew_with_the_next_frame(predictor, monkeypatch):
    from maskwright.inference import predictor as module

    frames = [picture(20, 30, seed=k) for k in range(5)]
    expected = [predictor(frame).labels for frame in frames]

    def camera():
        held = np.empty_like(frames[0])
        for frame in frames:
            held[...] = frame
            yield held

    def late(source):
        time.sleep(0.02)  # until the camera has filled it again
        return read_image(source)

    monkeypatch.setattr(module, "read_image", late)
    for found, labels, frame in zip(predictor.many(camera()), expected, frames, strict=True):
        assert np.array_equal(found.labels, labels)
        assert np.array_equal(found.image.pixels[..., : frame.shape[-1]].ravel(), frame.ravel())


def test_pictures_of_a_film_are_taken_one_by_one(predictor, tmp_path):
    frames = [PIL.Image.fromarray(picture(20, 30, seed=k)) for k in range(5)]
    frames[0].save(tmp_path / "film.tif", save_all=True, append_images=frames[1:])
    expected = [predictor(frame).labels for frame in frames]
    with PIL.Image.open(tmp_path / "film.tif") as film:  # one object that changes
        found = [one.labels for one in predictor.many(PIL.ImageSequence.Iterator(film))]
    assert all(map(np.array_equal, found, expected))

    def closed():
        for frame in frames[:2]:
            frame.save(tmp_path / "one.png")
            with PIL.Image.open(tmp_path / "one.png") as opened:
                yield opened
        opened = PIL.Image.open(tmp_path / "one.png")
        opened.close()
        yield opened

    *good, bad = predictor.many(closed(), on_error="yield")
    assert all(map(np.array_equal, [one.labels for one in good], expected))
    assert isinstance(bad, Failure)


def test_a_stack_is_several_images(predictor):
    stack = np.stack([picture(9, 8, seed=k) for k in range(3)])[..., None]
    for found, one in zip(predictor.many(stack), stack, strict=True):
        assert np.array_equal(found.labels, predictor(one).labels)


def test_values_that_look_like_another_range_are_said(predictor):
    image = picture(20, 30)
    assert not predictor(image).image.remarks
    assert not predictor(image / np.float32(255)).image.remarks
    assert "floats go beyond 0 to 1" in predictor(image.astype(np.float32)).image.remarks[0]
    assert "no value is above 255" in predictor(image.astype(np.uint16)).image.remarks[0]
    assert not predictor(image.astype(np.uint16) * 257).image.remarks


def test_a_predictor_cannot_be_copied(predictor):
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"load the run in each process: maskwright\.load"):
            copied(predictor)


def test_many_says_how_it_wants_to_be_called(predictor):
    with pytest.raises(InputError, match="on_error is 'ignore'; known: 'raise', 'yield'"):
        predictor.many([], on_error="ignore")
    with pytest.raises(InputError, match="many\\(\\) takes several images"):
        predictor.many("scan.png")


def test_a_mistake_in_the_program_is_not_swallowed(predictor, monkeypatch):
    def broken(x: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError

    monkeypatch.setattr(predictor, "_forward", broken)
    with pytest.raises(ZeroDivisionError):
        list(predictor.many([picture(8, 8)], on_error="yield"))


def bayesian(tmp_path):
    """A run with dropout in it, whose answers therefore differ from pass to pass."""
    torch.manual_seed(0)
    net = models.build("unet", channels=1, classes=2, width=4, depth=1, dropout=0.5)
    manifest = Manifest(
        model="unet",
        model_args={"width": 4, "depth": 1, "dropout": 0.5},
        classes=ClassMap((0, 1), ("background", "thing")).to_dict(),
        preprocess=Preprocess(1, max_side_px=24).to_dict(),
    )
    save_checkpoint(tmp_path / "run", net.eval(), manifest)
    return tmp_path / "run"


def test_passes_with_dropout_give_an_uncertainty_of_the_images_size(tmp_path):
    run = bayesian(tmp_path)
    image = np.random.default_rng(0).integers(0, 255, (33, 48), np.uint8)
    found = maskwright.Predictor.load(run, passes=4)(image, probabilities=True)
    assert found.uncertainty.shape == (33, 48)
    assert 0 < found.uncertainty.max() <= 0.25  # no variance of numbers in [0, 1] is greater
    assert np.allclose(found.probs.sum(axis=0), 1, atol=1e-4)
    assert np.array_equal(found.labels, found.probs.argmax(axis=0))
    assert maskwright.Predictor.load(run)(image).uncertainty is None
    assert (tmp_path / "out" / "image_uncertainty.png") in found.save(tmp_path / "out")


def test_passes_need_dropout_and_two_of_them(tmp_path):
    run = bayesian(tmp_path)
    with pytest.raises(InputError, match=r"1 passes with dropout are not usable; a variance needs"):
        maskwright.Predictor.load(run, passes=1)
