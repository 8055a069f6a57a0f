"""Published models by name: torchvision's weights give torchvision's answers, through every door; no network is needed here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms.v2 import functional as tv

import maskwright
from maskwright import models, published
from maskwright.checkpoint import Manifest
from maskwright.cli import app
from maskwright.errors import CheckpointError, InputError
from maskwright.models import weight_sources
from maskwright.published import IMAGENET_MEAN, IMAGENET_STD, PUBLISHED, is_published, load_model
from maskwright.training.setup import Parent

HW = (64, 80)  # a side of 64 px stands for the 520 of the weights, see `cache`
FILES = {
    "voc-deeplabv3-resnet50": ("deeplabv3_resnet50", "deeplabv3_resnet50_coco-cd0a2569.pth"),
    "voc-fcn-resnet50": ("fcn_resnet50", "fcn_resnet50_coco-1167a1af.pth"),
}


def theirs(builder: str) -> torch.nn.Module:
    """torchvision's own net with random weights and norms that have seen something."""
    torch.manual_seed(3)
    net = torchvision.models.get_model(builder, weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    return net.eval()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """torch's cache folder with random weights under the published files' names."""
    folder = tmp_path_factory.mktemp("torch") / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for builder, file in FILES.values():
        torch.save(theirs(builder).state_dict(), folder / file)
    return folder


@pytest.fixture
def cache(files, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(files.parent))
    monkeypatch.setattr(published, "SHORT_SIDE_PX", min(HW))
    return files


@pytest.fixture
def photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (8, 10, 3), np.uint8)
    Image.fromarray(coarse).resize(HW[::-1], Image.Resampling.BICUBIC).save("photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("name", FILES)
@torch.no_grad()
def test_the_answer_is_torchvisions(cache, photo, name):
    image = tv.to_dtype(tv.pil_to_tensor(Image.open(photo)), torch.float32, scale=True)[None]
    expected = theirs(FILES[name][0])(tv.normalize(image, IMAGENET_MEAN, IMAGENET_STD))["out"][0].argmax(0).numpy()
    found = maskwright.load(name, device="cpu", exact=True)(photo)
    assert len(np.unique(expected)) > 1
    # The sums are taken in another order, which may decide a tie.
    assert np.mean(found.labels != expected) < 1e-3
    assert found.classes.name_of(15) == "person"


@pytest.mark.parametrize("name", FILES)
@torch.no_grad()
def test_a_larger_photo_is_seen_as_torchvision_sees_it(cache, photo, name):
    """Twice the working size: scaled by torchvision's own transforms, its logits brought back to the photo's size."""
    rng = np.random.default_rng(1)
    large_hw = (2 * HW[0], 2 * HW[1])
    coarse = Image.fromarray(rng.integers(0, 256, (8, 10, 3), np.uint8)).resize(large_hw[::-1], Image.Resampling.BICUBIC)
    # Single pixels of noise: without antialiasing they would be seen as they are, not as their mean.
    noisy = np.asarray(coarse) + rng.normal(0, 40, (*large_hw, 3))
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(photo)
    weights = weight_sources._torchvision_weights(PUBLISHED[name].weights.removeprefix("torchvision:"))
    seen = weights.transforms(resize_size=min(HW))(Image.open(photo))[None]
    assert seen.shape == (1, 3, *HW)
    logits = torch.nn.functional.interpolate(theirs(FILES[name][0])(seen)["out"], size=large_hw, mode="bilinear")
    expected = logits[0].argmax(0).numpy()
    found = maskwright.load(name, device="cpu", exact=True)(photo)
    assert found.labels.shape == large_hw
    assert len(np.unique(expected)) > 1
    # torchvision rounds the scaled photo to 8 bits, which decides where two classes score nearly alike.
    assert np.mean(found.labels == expected) > 0.99


def test_the_manifest_says_what_it_is(cache):
    net, manifest = load_model("voc-fcn-resnet50")
    assert not net.training
    assert (manifest.model, manifest.model_args) == ("fcn_resnet", {"encoder": "resnet50"})
    assert manifest.weight_licence == "BSD-3-Clause"
    assert manifest.preprocessing().mean == IMAGENET_MEAN
    classes = manifest.class_map()
    assert (len(classes), classes.names[0], classes.background, classes.ignore_id) == (21, "background", 0, 255)
    # The colour map of VOC: aeroplane is label 1, its lowest bit the top bit of red; bicycle 2, green; person 15 = 1 + 2 + 4 + 8.
    assert [classes.colours[i] for i in (0, 1, 2, 15)] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (192, 128, 128)]


@pytest.mark.parametrize(("name", "builder"), [("coco-maskrcnn-resnet50", ""), ("coco-maskrcnn-resnet50-v2", "_v2")])
def test_objects_are_seen_as_torchvision_sees_them(name, builder):
    entry = PUBLISHED[name]
    weights = weight_sources._torchvision_weights(entry.weights.removeprefix("torchvision:"))
    classes = maskwright.ClassMap.known("coco").names
    theirs = [c.strip("_") for c in weights.meta["categories"]]
    assert [o for o, t in zip(classes, theirs, strict=True) if t not in (o, "N/A")] == []
    with torch.device("meta"):
        sees = torchvision.models.get_model(f"maskrcnn_resnet50_fpn{builder}", weights=None, weights_backbone=None).transform
    ours = entry.preprocess()
    assert (list(ours.mean), list(ours.std)) == (list(sees.image_mean), list(sees.image_std))
    assert ((ours.min_side_px,), ours.max_side_px, ours.smooth) == (sees.min_size, sees.max_size, False)
    assert read_manifest_of(name).task == "instance"


def read_manifest_of(name):
    """The manifest that a published model would have, without its weights."""
    entry = PUBLISHED[name]
    return Manifest(
        task=models.entry_of(entry.model).task,
        model=entry.model,
        model_args=dict(entry.model_args),
        classes=maskwright.ClassMap.known(entry.classes).to_dict(),
        preprocess=entry.preprocess().to_dict(),
    )


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name.startswith("voc")])
def test_what_torchvision_says_of_the_weights_is_what_we_do(name):
    entry = PUBLISHED[name]
    weights = weight_sources._torchvision_weights(entry.weights.removeprefix("torchvision:"))
    sees = weights.transforms()
    assert (tuple(sees.mean), tuple(sees.std), sees.resize_size) == (IMAGENET_MEAN, IMAGENET_STD, [published.SHORT_SIDE_PX])
    ours = [n.lower() for n in maskwright.ClassMap.known(entry.classes).names]
    assert [c.strip("_") for c in weights.meta["categories"]] == ours


def test_images_are_scaled_by_their_shorter_side():
    preprocess = PUBLISHED["voc-fcn-resnet50"].preprocess()
    assert preprocess.work_hw((480, 640)) == (520, 693)  # 640 x 520 / 480 = 693.3
    assert preprocess.work_hw((640, 480)) == (693, 520)


# The doors


def test_predict_writes_masks(cache, photo, capsys):
    with pytest.raises(SystemExit) as ended:
        app(["predict", "voc-deeplabv3-resnet50", str(photo), "--out", "masks", "--device", "cpu"])
    assert ended.value.code in (0, None)
    assert "masks of 1 of 1 images" in capsys.readouterr().out
    with Image.open("masks/photo.png") as mask:
        assert (mask.mode, mask.size) == ("P", HW[::-1])
        assert mask.getpalette()[45:48] == [192, 128, 128]  # person, in VOC's colour


def test_evaluate_scores_it(cache, photo, capsys):
    for folder in ("data/images", "data/masks"):
        Path(folder).mkdir(parents=True)
    Image.open(photo).save("data/images/a.png")
    labels = maskwright.load("voc-fcn-resnet50", device="cpu")(photo).labels
    Image.fromarray(labels).save("data/masks/a.png")
    with pytest.raises(SystemExit) as ended:
        app(["evaluate", "voc-fcn-resnet50", "data", "--json", "-", "--device", "cpu"])
    assert ended.value.code in (0, None)
    assert json.loads(capsys.readouterr().out)["scores"]["mean_iou"] == pytest.approx(1)


def test_a_misspelt_name_shows_near_ones():
    with pytest.raises(InputError, match=r"voc-deeplab-resnet50: no such run folder, file or published model; did you mean voc-"):
        maskwright.load("voc-deeplab-resnet50")


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_published("voc-fcn-resnet50")
    Path("voc-fcn-resnet50").mkdir()
    assert not is_published("voc-fcn-resnet50")
    with pytest.raises(CheckpointError, match="not a run folder"):
        load_model("voc-fcn-resnet50")


def test_without_the_file_and_a_network_the_way_out_is_named(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(weight_sources, "urlopen", refuse)
    place = tmp_path / "checkpoints" / FILES["voc-fcn-resnet50"][1]
    with pytest.raises(InputError, match=rf"fcn_resnet50_coco-1167a1af.pth is not on this machine .*put it at {place} and run"):
        maskwright.load("voc-fcn-resnet50")


def test_a_file_that_lacks_a_part_is_refused(cache, tmp_path, monkeypatch):
    state = theirs("fcn_resnet50").state_dict()
    (tmp_path / "checkpoints").mkdir()
    without = {key: t for key, t in state.items() if not key.startswith("classifier.")}
    torch.save(without, tmp_path / "checkpoints" / FILES["voc-fcn-resnet50"][1])
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"has no weights for head\.0"):
        maskwright.load("voc-fcn-resnet50")


def test_training_may_start_from_one(cache):
    assert Parent.load("voc-fcn-resnet50").settings()["model"] == "fcn_resnet"
