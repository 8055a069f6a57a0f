"""Checkpoints: what is saved comes back, what is damaged or hostile is refused in a sentence, a failed save loses nothing."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from pydantic import ValidationError

from maskwright import checkpoint, models
from maskwright.checkpoint import Manifest, load_checkpoint, read_manifest, save_checkpoint
from maskwright.classes import ClassMap
from maskwright.errors import CheckpointError
from maskwright.transforms import Preprocess

CLASSES = ClassMap((0, 3), ("background", "lung"), values=((0,), (3, 255)))
NET = {"width": 4, "depth": 2}


def net(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return models.build("unet", channels=1, classes=2, **NET)


def manifest(**changes: Any) -> Manifest:
    given = {"model": "unet", "model_args": NET, "classes": CLASSES.to_dict(), "preprocess": Preprocess(1, 64).to_dict()}
    return Manifest(**{**given, **changes})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "run", net(), manifest())
    return tmp_path / "run"


def header_of(file: Path) -> tuple[dict[str, Any], bytes]:
    data = file.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def rewrite(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the header of a safetensors file by hand."""
    header, tensors = header_of(file)
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + tensors)


def rewrite_manifest(file: Path, **changes: Any) -> None:
    def change(header: dict[str, Any]) -> None:
        found = json.loads(header["__metadata__"]["maskwright"])
        header["__metadata__"]["maskwright"] = json.dumps({**found, **changes})

    rewrite(file, change)


# ---- there and back ----


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_is_saved_comes_back(run, what):
    model, found = load_checkpoint(run if what == "folder" else run / "model.safetensors")
    saved = net().state_dict()
    assert list(model.state_dict()) == list(saved)
    assert all(torch.equal(t, saved[name]) for name, t in model.state_dict().items())
    assert found.class_map() == CLASSES
    assert found.preprocessing() == Preprocess(1, 64)
    assert not model.training


def test_the_weights_file_is_enough_and_its_readable_copy_is_the_same_text(run):
    text = (run / "manifest.json").read_text()
    assert header_of(run / "model.safetensors")[0]["__metadata__"]["maskwright"] == text
    (run / "manifest.json").unlink()
    assert read_manifest(run) == Manifest.model_validate_json(text)


def test_numbers_that_json_does_not_have_become_null(tmp_path):
    save_checkpoint(tmp_path, net(), manifest(scores={"iou": [float("nan"), 0.5]}))
    assert read_manifest(tmp_path).scores == {"iou": [None, 0.5]}


def test_neither_saving_nor_loading_takes_a_random_number(tmp_path):
    model = net()
    state = torch.get_rng_state()
    save_checkpoint(tmp_path, model, manifest())
    load_checkpoint(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_in_any_memory_layout_are_saved(tmp_path):
    model = net().to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path, model, manifest())
    loaded, _ = load_checkpoint(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True))


def test_an_encoder_with_buffers_that_are_not_stored_works_after_loading(tmp_path):
    args = {"encoder": "test_efficientnet"}  # timm's tiny test model
    model = models.build("unet", channels=1, classes=2, **args).eval()
    save_checkpoint(tmp_path, model, manifest(model_args=args))
    image = torch.randn(1, 1, 40, 33)
    assert torch.equal(load_checkpoint(tmp_path)[0](image), model(image))


# ---- a save that fails ----


def test_a_crash_between_the_two_files_leaves_the_new_checkpoint_whole(run, monkeypatch):
    def crash(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_text", crash)
    # The new checkpoint has other arguments and classes: with the old manifest its weights could not be loaded.
    classes = ClassMap((0, 1, 2), ("a", "b", "c"))
    other = models.build("unet", channels=1, classes=3, width=6, depth=1)
    new = manifest(model_args={"width": 6, "depth": 1}, classes=classes.to_dict())
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(run, other, new)
    model, found = load_checkpoint(run)
    assert found == new
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    assert json.loads((run / "manifest.json").read_text())["model_args"] == NET  # the copy for people is the old one


FULL_DISK = """
import resource, signal, sys
from maskwright.checkpoint import save_checkpoint, load_checkpoint
from maskwright.errors import CheckpointError
model, manifest = load_checkpoint(sys.argv[1])
with __import__("torch").no_grad():
    next(model.parameters()).zero_()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file over the limit is then an error (EFBIG), as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
try:
    save_checkpoint(sys.argv[1], model, manifest)
except CheckpointError as error:
    print(error)
"""


@pytest.mark.skipif(
    not hasattr(resource, "RLIMIT_FSIZE"), reason="the system has no limit on file sizes to play a full disk with"
)
def test_the_previous_checkpoint_survives_a_full_disk(run):
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    out = subprocess.run([sys.executable, "-c", FULL_DISK, str(run)], capture_output=True, text=True, check=True).stdout
    assert "the checkpoint was not saved" in out
    assert "disk is full" in out
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(run):
    run.chmod(0o500)
    with pytest.raises(CheckpointError, match=r"the checkpoint was not saved: .*Permission denied"):
        save_checkpoint(run, net(), manifest())
    run.chmod(0o700)


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "run").write_text("x")
    with pytest.raises(CheckpointError, match="the checkpoint was not saved"):
        save_checkpoint(tmp_path / "run", net(), manifest())


def test_weights_that_are_no_numbers_never_replace_good_ones(run):
    model = net(1)
    model.head.weight.data[0] = float("nan")
    with pytest.raises(CheckpointError, match=r"head\.weight holds numbers that are not finite, so the training has diverged"):
        save_checkpoint(run, model, manifest())
    assert load_checkpoint(run)[0].head.weight.isfinite().all()


def test_a_manifest_that_does_not_describe_the_model_is_not_saved(tmp_path):
    with pytest.raises(CheckpointError, match=r"weights are not those of model 'unet' with .*'width': 8"):
        save_checkpoint(tmp_path, net(), manifest(model_args={"width": 8, "depth": 2}))
    assert list(tmp_path.iterdir()) == []


# ---- not a checkpoint ----


def test_what_is_not_a_run(tmp_path):
    (tmp_path / "begun" / "state").mkdir(parents=True)
    (tmp_path / "net.pth").write_bytes(b"\x80\x02")
    (tmp_path / "note.txt").write_text("x")
    for name, says in {
        "": r"not a run folder, it has no model\.safetensors; a run folder is what `maskwright train` writes",
        "missing": "no such run folder or file",
        "begun": r"saved no model yet. Go on with maskwright train .* --resume",
        "net.pth": "a pickle can run code. Give a run folder or a .safetensors file",
        "note.txt": "not a model; give a run folder",
    }.items():
        with pytest.raises(CheckpointError, match=says) as caught:
            load_checkpoint(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_weights_of_somebody_else(tmp_path):
    safetensors.torch.save_file({"x": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="weights without maskwright's manifest"):
        load_checkpoint(tmp_path / "other.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 8, 300, -1])
def test_a_file_that_is_cut_short(run, keep):
    file = run / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"cut short or not a safetensors file|damaged or not a safetensors file"):
        load_checkpoint(run)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (struct.pack("<Q", 1 << 62) + b"{}", "cut short"),
        (struct.pack("<Q", 17 << 20) + bytes(17 << 20), r"a header of 17825792 bytes; no model needs more than"),
        (struct.pack("<Q", 4) + b"{[}]", "damaged"),
        (b"\x89PNG\r\n\x1a\n" * 8, "cut short"),
    ],
    ids=["huge length", "huge header", "no json", "a picture"],
)
def test_a_hostile_header(tmp_path, data, says):
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=says):
        load_checkpoint(tmp_path)


# ---- a manifest that lies ----


@pytest.mark.parametrize("text", ["", "{", "[1]", "7", "null", "{}", "[" * 100_000, '{"format": 1e999}'])
def test_a_manifest_that_is_none(run, text):
    rewrite(run / "model.safetensors", lambda header: header["__metadata__"].update(maskwright=text))
    with pytest.raises(CheckpointError, match=r"its manifest cannot be used|written in format"):
        load_checkpoint(run)


def test_another_format(run):
    rewrite_manifest(run / "model.safetensors", format=2, version="9.1", attention="yes")
    with pytest.raises(CheckpointError, match=r"format 2 by maskwright 9\.1; this is .*, which reads format 1\. Install"):
        load_checkpoint(run)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "unett"}, r"model 'unett' .* cannot be built \(no model named 'unett'; did you mean unet"),
        ({"model_args": {"wdth": 4}}, r"takes no argument 'wdth'; did you mean width"),
        ({"model_args": {"width": "4"}}, "cannot be built"),
        ({"model_args": {"name": "unet"}}, "cannot be built"),
        ({"model_args": {"channels": 3}}, "cannot be built"),
        ({"model_args": {"encoder": "hf-hub:somebody/net"}}, "no encoder named 'hf-hub:somebody/net'"),
        ({"model_args": {"width": 10**12}}, r"the number 1000000000000 is out of range"),
        (
            {"model_args": {"width": 60000, "max_width": 60000, "depth": 2}},
            r"weights are not those .* expected torch.float32 \[60000, 1, 3, 3\]",
        ),
        ({"model_args": {"encoder": "tf_efficientnet_l2"}}, "has many more weights than the file"),
        ({"model_args": {"width": 4, "depth": 2000}}, "depth=2000 is not usable"),
        ({"model_args": {"decoder": [1] * 5000}}, "5000 items"),
        ({"model_args": {"width": float("nan")}}, "out of range"),
        ({"preprocess": {"channels": 10**9}}, r"the number 1000000000 is out of range"),
        ({"preprocess": {"channels": 1, "flip": True}}, r"unknown keys \['flip'\]"),
        ({"preprocess": {}}, "its manifest cannot be used"),
        ({"preprocess": {"channels": 2}}, r"encoder.* is torch.float32 \[4, 1, 3, 3\], expected torch.float32 \[4, 2, 3, 3\]"),
        ({"classes": {"classes": [str(k) for k in range(5000)]}}, "5000 classes; at most 1024"),
        ({"classes": {"classes": ["a", "b", "c"]}}, r"head.weight is .* expected torch.float32 \[3, "),
        ({"classes": {"colours": []}}, "expected a key `classes`"),
        ({"task": "sorcery"}, "task: Input should be 'semantic'"),
        ({"precision": "int4"}, "precision: Input should be"),
        ({"attention": "yes"}, "attention: Extra inputs are not permitted"),
    ],
    ids=lambda v: json.dumps(v)[:40] if isinstance(v, dict) else "",
)
def test_a_manifest_that_lies(run, changes, says):
    rewrite_manifest(run / "model.safetensors", **changes)
    with pytest.raises(CheckpointError, match=says) as caught:
        load_checkpoint(run)
    assert str(run / "model.safetensors") in str(caught.value)


def test_a_model_too_large_for_its_file_is_never_allocated(run):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rewrite_manifest(run / "model.safetensors", model_args={"width": 60000, "max_width": 60000, "depth": 2})
    with pytest.raises(CheckpointError, match="weights are not those"):
        load_checkpoint(run)  # its weights would need 1.5 TB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100_000  # KiB


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda h: h.update({"head.bias": {**h["head.bias"], "shape": [1, 2]}}), r"head\.bias is .* \[1, 2\], expected .* \[2\]"),
        (
            lambda h: h.update({"head.bias": {**h["head.bias"], "dtype": "I32"}}),
            r"head\.bias is torch.int32 \[2\], expected torch.float32",
        ),
        (lambda h: h.update({"tail.bias": h.pop("head.bias")}), r"head\.bias is missing"),
        (lambda h: h.update({"extra": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}), "extra is not part of it"),
        (lambda h: h.update({"head.bias": {**h["head.bias"], "data_offsets": [0, 8]}}), "damaged"),
        (lambda h: h.update({"head.bias": {**h["head.bias"], "shape": [2**40, 2**40]}}), "damaged"),
    ],
    ids=["shape", "type", "name", "one more", "offsets", "overflow"],
)
def test_tensors_that_do_not_fit(run, change, says):
    rewrite(run / "model.safetensors", change)
    with pytest.raises(CheckpointError, match=says):
        load_checkpoint(run)


def test_weights_that_are_no_numbers_are_refused(run):
    header, tensors = header_of(run / "model.safetensors")
    start = header["head.bias"]["data_offsets"][0]
    tensors = tensors[:start] + struct.pack("<f", float("nan")) + tensors[start + 4 :]
    text = json.dumps(header).encode()
    (run / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + tensors)
    with pytest.raises(CheckpointError, match=r"head\.bias holds numbers that are not finite"):
        load_checkpoint(run)


def test_a_manifest_checks_itself_in_python_too():
    with pytest.raises(ValidationError, match="unknown keys"):
        manifest(classes={"classes": ["a"], "colors": []})
