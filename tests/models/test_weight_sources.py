"""The one door for weights: names to files, files that are here, downloads that fail, and what each source is said to be."""

from __future__ import annotations

import hashlib
import io
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import huggingface_hub
import pytest
import torch
import torchvision

from maskwright.errors import InputError
from maskwright.models import weight_sources
from maskwright.models.weight_sources import cached_path, find_weights, licence_of

VGG16 = "https://download.pytorch.org/models/vgg16-397923af.pth"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Every way out raises what a machine without a network raises."""

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise URLError("Name or service not known")

    def refuse_hub(*_args: Any, **_kwargs: Any) -> None:
        raise huggingface_hub.errors.LocalEntryNotFoundError("cannot reach the hub")

    monkeypatch.setattr(weight_sources, "urlopen", refuse)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse_hub)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of torch's, and an empty one of the hub's."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_args: None)
    return tmp_path / "hub" / "checkpoints"


def put(path: Path, data: bytes = b"weights") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# Without a network: one sentence, and the same command works once the file is where it says


@pytest.mark.parametrize(
    ("source", "url", "file"),
    [
        ("torchvision:vgg16", VGG16, "vgg16-397923af.pth"),
        ("torchvision:VGG16_Weights.IMAGENET1K_V1", VGG16, "vgg16-397923af.pth"),
        (
            "torchvision:DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1",
            "https://download.pytorch.org/models/deeplabv3_resnet50_coco-cd0a2569.pth",
            "deeplabv3_resnet50_coco-cd0a2569.pth",
        ),
        (
            "timm:resnet34.a1_in1k",
            "https://huggingface.co/timm/resnet34.a1_in1k/resolve/main/model.safetensors",
            "timm--resnet34.a1_in1k--model.safetensors",
        ),
        (
            "hf:somebody/net",
            "https://huggingface.co/somebody/net/resolve/main/model.safetensors",
            "somebody--net--model.safetensors",
        ),
        (
            "hf:somebody/net/deep/weights.bin",
            "https://huggingface.co/somebody/net/resolve/main/deep/weights.bin",
            "somebody--net--deep--weights.bin",
        ),
    ],
)
def test_the_file_and_its_place_are_named_and_then_found(cache, source, url, file):
    with pytest.raises(InputError) as caught:
        find_weights(source)
    said = str(caught.value)
    assert f"{url} is not on this machine and could not be fetched (" in said
    assert said.endswith(f"fetch it elsewhere, put it at {cache / file} and run the same command again.")
    assert "\n" not in said
    put(cache / file)
    found = find_weights(source)
    assert (found.path, found.name) == (cache / file, source)


def test_torch_home_moves_the_place(cache):
    assert cached_path("x.pth") == cache / "x.pth"


# Fetching


class Answer(io.BytesIO):
    """What a server sends: a body, and the length that it announced."""

    def __init__(self, body: bytes, announced: int | None = None) -> None:
        super().__init__(body)
        self.headers = {"Content-Length": str(len(body) if announced is None else announced)}


def serve(monkeypatch, body: bytes, announced: int | None = None) -> list[str]:
    """Let every address give this body; returns the list of addresses that were asked for."""
    asked: list[str] = []

    def answer(request: Any, timeout: float) -> Answer:
        asked.append(request.full_url)
        return Answer(body, announced)

    monkeypatch.setattr(weight_sources, "urlopen", answer)
    return asked


def test_a_file_is_fetched_once_and_checked_against_the_digits_in_its_name(cache, monkeypatch):
    body = bytes(range(256)) * 9000  # more than one chunk
    name = f"net-{hashlib.sha256(body).hexdigest()[:8]}.pth"
    asked = serve(monkeypatch, body)
    for _ in range(2):
        assert weight_sources._fetched(f"https://example.org/models/{name}").read_bytes() == body
    assert asked == [f"https://example.org/models/{name}"]
    assert [p.name for p in cache.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "announced"),
    [("net-00000000.pth", None), ("net.pth", 100)],
    ids=["another file", "cut short"],
)
def test_a_damaged_download_leaves_nothing(cache, monkeypatch, name, announced):
    serve(monkeypatch, b"not the weights", announced)
    with pytest.raises(InputError, match=rf"https://example.org/{name}: what came is damaged \(15 of (15|100) bytes"):
        weight_sources._fetched(f"https://example.org/{name}")
    assert list(cache.iterdir()) == []


def test_a_name_without_digits_is_not_checked_for_them(cache, monkeypatch):
    serve(monkeypatch, b"weights")
    assert weight_sources._fetched("https://example.org/net-large.pth").read_bytes() == b"weights"


def test_files_of_the_hubs_own_cache_are_taken(cache, monkeypatch, tmp_path):
    file = put(tmp_path / "snapshots" / "model.safetensors")
    asked = []
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args: asked.append(args) or str(file))
    assert find_weights("timm:resnet34").path == file
    assert asked == [("timm/resnet34.a1_in1k", "model.safetensors")]


@pytest.mark.parametrize("answer", [200, 403], ids=["answers", "answers with a refusal"])
def test_what_is_nowhere_here_comes_from_the_hub(cache, monkeypatch, tmp_path, answer):
    file = put(tmp_path / "snapshots" / "model.safetensors")
    asked = []

    def hub_answers(request: Any, timeout: float) -> Answer:
        if answer != 200:
            raise HTTPError(request.full_url, answer, "no", Message(), None)
        return Answer(b"")

    monkeypatch.setattr(weight_sources, "urlopen", hub_answers)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *args: asked.append(args) or str(file))
    assert find_weights("hf:somebody/net/a/b.safetensors").path == file
    assert asked == [("somebody/net", "a/b.safetensors")]


def test_a_machine_that_is_told_to_stay_offline_asks_nobody(cache, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    asked = serve(monkeypatch, b"")
    with pytest.raises(InputError, match="cannot reach the hub"):
        find_weights("hf:somebody/net")
    assert asked == []


# Names


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("torchvision:vgg61", r"torchvision \S+ has no weights named 'vgg61'; did you mean .*vgg16"),
        ("torchvision:VGG16_Weights.V1", r"did you mean .*VGG16_Weights.IMAGENET1K_V1"),
        ("torchvision:QQQ.V1", r"has no weights named 'QQQ.V1'; did you mean vgg16, resnet50 or"),
        ("timm:resnet34.a7_in1k", r"timm \S+ has no weights named 'resnet34.a7_in1k'; did you mean .*resnet34.a1_in1k"),
        ("timm:resnte34.a1_in1k", r"did you mean .*resnet34.a1_in1k"),
        ("timm:test_resnet_of_nobody", "has no weights named"),
        ("hf:net", r"hf:net: expected hf:OWNER/REPOSITORY"),
        ("hf:owner/", r"expected hf:OWNER/REPOSITORY"),
        ("pip:resnet34", "no weights named 'pip:resnet34'; there are pip:efficientnet_lite0"),
        ("tochvision:vgg16", r"tochvision:vgg16: no such weights file; .* torchvision:NAME"),
        ("nowhere.pth", r"nowhere.pth: no such weights file"),
    ],
)
def test_names_that_nobody_has(cache, source, message):
    with pytest.raises(InputError, match=message):
        find_weights(source)


# What is known of them


def test_what_torchvision_says_of_its_weights(cache):
    for name in ("vgg16-397923af.pth", "vgg16_features-amdegroot-88682ab5.pth", "googlenet-1378be20.pth"):
        put(cache / name)
    found = find_weights("torchvision:vgg16")
    assert (found.licence, found.mean, found.std) == ("BSD-3-Clause", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    caffe = find_weights("torchvision:VGG16_Weights.IMAGENET1K_FEATURES")  # trained on 0..255 with the mean taken off
    assert caffe.std == pytest.approx((1 / 255,) * 3)
    # torchvision's GoogLeNet turns the usual normalisation into x * 2 - 1 inside.
    assert find_weights("torchvision:googlenet").mean == (0.5, 0.5, 0.5)


def test_what_timm_says_of_its_weights(cache):
    put(cache / "timm--resnet34.a1_in1k--model.safetensors")
    found = find_weights("timm:resnet34")
    assert (found.licence, found.mean) == ("apache-2.0", (0.485, 0.456, 0.406))


@pytest.mark.parametrize(
    ("form", "licence"),
    [
        ("torchvision:vgg16", "BSD-3-Clause"),
        ("torchvision:ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1", "CC-BY-NC-4.0"),
        ("pip:efficientnet_lite0", "Apache-2.0"),
        ("timm:NAME", "as published"),
        ("hf:OWNER/REPOSITORY", "as published"),
    ],
)
def test_licences(form, licence):
    assert licence_of(form) == licence


def test_every_default_of_torchvision_is_found_by_its_models_name(cache):
    """The addresses are only built, nothing is fetched."""
    for name in ("vgg16_bn", "resnet50", "googlenet", "fcn_resnet101", "deeplabv3_resnet101"):
        weights = torchvision.models.get_model_weights(name).DEFAULT
        with pytest.raises(InputError, match=weights.url.replace(".", r"\.")):
            find_weights(f"torchvision:{name}")
