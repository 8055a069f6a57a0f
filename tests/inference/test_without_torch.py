"""What lies converted in the cache answers without torch and without building the network, and gives the same answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import tifffile
import torch

from maskwright import checkpoint
from maskwright.checkpoint import load_checkpoint, save_checkpoint, stored, weights_hash
from maskwright.errors import CheckpointError
from maskwright.inference import labelling, machine
from maskwright.inference.agreement import Agreement
from maskwright.inference.cache import build, cache_folder
from maskwright.inference.engine import Engine
from maskwright.inference.labelling import GraphLabels, arrays_of_logits, conversion_key
from maskwright.inference.machine import Cpu
from maskwright.inference.measuring import Measurement, here, keep_measurement
from maskwright.inference.predictor import Predictor
from maskwright.inference.runtimes import Way
from maskwright.io.image import Image

from .conftest import picture

pytest.importorskip("openvino", reason="what is kept is kept for OpenVINO")

QUICK = Way("openvino", "fp32")


@pytest.fixture
def folder(make_run, tmp_path, monkeypatch) -> Path:
    """A run whose graphs of labels and logits are kept, on a machine where OpenVINO was measured to be the quickest."""
    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "cache"))
    folder = make_run()
    model, manifest = load_checkpoint(folder)
    ways = tuple(Agreement(name, ms, 2.0, 0.0, {}) for name, ms in ((str(QUICK), 10.0), ("torch fp32", 50.0)))
    keep_measurement(model, Cpu(), Measurement(here(Cpu()), 4, 100.0, ways, streams=2))
    GraphLabels(model, manifest, QUICK)(Image.from_array(picture(20, 30)))
    arrays_of_logits(model, manifest, QUICK)
    return folder


def told(code: str, *words: object) -> list[str]:
    """What a program of its own prints."""
    given = {**os.environ, "MASKWRIGHT_CACHE": str(cache_folder())}
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, env=given, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_an_image_is_answered_without_torch(folder, tmp_path):
    np.save(tmp_path / "a.npy", picture(37, 50))
    code = """
import sys, numpy as np, maskwright
predictor = maskwright.load(sys.argv[1])
found = predictor(np.load(sys.argv[2]))
np.save(sys.argv[3], found.labels)
print(predictor.runtime.replace(" ", "-"), "torch" in sys.modules, "scipy.ndimage" in sys.modules)
"""
    said = told(code, folder, tmp_path / "a.npy", tmp_path / "found.npy")
    assert said == ["cpu-openvino-fp32", "False", "False"]
    model, manifest = load_checkpoint(folder)
    expected = GraphLabels(model, manifest, QUICK)(Image.from_array(picture(37, 50)))
    assert np.array_equal(np.load(tmp_path / "found.npy"), expected)


def test_the_command_answers_files_and_large_images_without_torch(folder, tmp_path, monkeypatch):
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", picture(90, 120, seed=ord(name)))
    tifffile.imwrite(tmp_path / "large.tif", picture(300, 410), tile=(64, 64))
    code = """
import sys
from maskwright.inference import large_work
large_work.LARGE_PX = 50_000
from maskwright.cli import app
try:
    app(["predict", sys.argv[1], sys.argv[2], "--out", sys.argv[3], "--runtime", "openvino", "--precision", "fp32", "--tile", "128"])
except SystemExit as end:
    print(end.code, "torch" in sys.modules)
"""
    sources, out = tmp_path / "images", tmp_path / "out"
    sources.mkdir()
    shutil.move(tmp_path / "large.tif", sources / "large.tif")
    assert told(code, folder, sources, out)[-2:] == ["0", "False"]
    predictor = Predictor(*load_checkpoint(folder), device="cpu", runtime="openvino", precision="fp32", tile=128, overlap=32)
    expected = predictor(picture(300, 410)).labels
    assert (tifffile.imread(out / "large.tif") != expected).mean() < 0.001  # blended in another order


def test_many_tiles_are_answered_unasked_without_torch(folder, tmp_path):
    """The ways had been timed on tiles of this size in a job before."""
    model, _ = load_checkpoint(folder)
    ms = {str(QUICK): 10.0, "torch fp32": 5000.0}
    ways = tuple(Agreement(name, each, 2.0, 0.0, {}) for name, each in ms.items())
    keep_measurement(model, Cpu(), Measurement(here(Cpu()), 4, 100.0, ways).with_tiles((128, 128), ms))
    tifffile.imwrite(tmp_path / "large.tif", picture(300, 410), tile=(64, 64))
    code = """
import sys
from pathlib import Path
from maskwright.inference.large import predict_large
from maskwright.inference.predictor import Predictor
predictor = Predictor.load(sys.argv[1], tile=128)
predict_large(predictor, Path(sys.argv[2]), Path(sys.argv[3]))
print(predictor.ran_on.replace(" ", "-"), "torch" in sys.modules)
"""
    assert told(code, folder, tmp_path / "large.tif", tmp_path / "out") == ["cpu-openvino-fp32", "False"]


def kept_logits(folder: Path) -> Path:
    model, manifest = load_checkpoint(folder)
    return cache_folder() / "models" / f"{conversion_key(model, manifest, QUICK, 'logits')}-tiled-fp32"


def test_what_is_not_kept_is_computed_on_torch(folder):
    shutil.rmtree(kept_logits(folder))
    predictor = Predictor.load(folder, device="cpu")
    assert str(predictor._engine.way) == str(QUICK)
    assert not predictor._network.is_loaded
    deep = picture(37, 50).astype(np.uint16) * 200
    ordinary = Predictor(*load_checkpoint(folder), device="cpu", runtime="torch")
    assert np.array_equal(predictor(deep).labels, ordinary(deep).labels)
    assert predictor.ran_on == "cpu fp32"
    assert set(predictor._engine.graph(many=False)._runs.values()) == {None}
    before = sorted((cache_folder() / "models").iterdir())
    assert predictor(picture(37, 50), probabilities=True).probs.shape == (3, 37, 50)
    assert sorted((cache_folder() / "models").iterdir()) == before
    shutil.rmtree(cache_folder() / "models")
    again = Predictor.load(folder, device="cpu")
    assert str(again._engine.way) == "torch fp32"
    assert np.array_equal(again(picture(37, 50)).labels, ordinary(picture(37, 50)).labels)


def test_a_kept_graph_that_is_damaged_is_left_alone(folder):
    for file in (cache_folder() / "models").glob("*/model.bin"):
        file.write_bytes(b"damaged")
    predictor = Predictor.load(folder, device="cpu")
    ordinary = Predictor(*load_checkpoint(folder), device="cpu", runtime="torch")
    assert np.array_equal(predictor(picture(37, 50)).labels, ordinary(picture(37, 50)).labels)


def test_logits_that_are_damaged_are_not_converted_for_one_image(folder):
    place = kept_logits(folder)
    (place / "model.bin").write_bytes(b"damaged")
    predictor = Predictor.load(folder, device="cpu")
    assert predictor(picture(37, 50)).labels.shape == (37, 50)
    assert predictor.ran_on == "cpu openvino fp32"
    predictor(picture(37, 50), confidence=True)
    assert predictor.ran_on == "cpu openvino fp32 and torch fp32"
    assert (place / "model.bin").read_bytes() == b"damaged"


def test_a_runtime_that_fails_leaves_the_image_to_torch(folder, monkeypatch):
    def broken(*_, **__):
        raise ImportError("libopenvino.so: cannot open shared object file")

    monkeypatch.setattr(labelling, "arrays_on_openvino", broken)
    ordinary = Predictor(*load_checkpoint(folder), device="cpu", runtime="torch")
    predictor = Predictor.load(folder, device="cpu")
    assert np.array_equal(predictor(picture(37, 50)).labels, ordinary(picture(37, 50)).labels)
    assert predictor.ran_on == "cpu fp32"
    with pytest.raises(ImportError):  # asked for by name
        Predictor.load(folder, device="cpu", runtime="openvino")(picture(37, 50))


def test_a_run_of_a_relative_path_after_the_folder_was_left(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    predictor = Predictor.load(folder.name, device="cpu")
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(cache_folder() / "models")
    assert predictor(picture(37, 50)).labels.shape == (37, 50)
    assert predictor._network.is_loaded


@pytest.mark.parametrize("wishes", [{"exact": True}, {"runtime": "torch"}, {"precision": "bf16"}], ids=str)
def test_other_wishes_build_the_network_at_once(folder, wishes):
    network = stored(folder)
    engine = Engine(network, network.manifest, Cpu(), run=folder, **wishes)
    assert network.is_loaded
    assert engine.way.runtime == "torch"


def test_a_long_job_converts_what_it_needs_and_a_short_one_takes_one_stream(folder):
    network = stored(folder)
    engine = Engine(network, network.manifest, Cpu(), run=folder)
    assert not network.is_loaded
    assert (engine.prepare(1), engine.streams) == (QUICK, 1)
    deep = Image.from_array(picture(20, 30).astype(np.uint16) * 200)
    assert not engine.graph(many=True).takes(deep)
    assert (engine.prepare(1000), engine.streams) == (QUICK, 2)
    assert engine.graph(many=True).takes(deep)
    assert not network.is_loaded
    engine.graph(many=True)(deep)
    assert network.is_loaded


def test_tiles_take_the_way_that_an_interrupted_job_took(folder):
    """Whatever has been kept since: too few tiles to pay for OpenVINO ran on torch before, and do so again."""
    network = stored(folder)
    engine = Engine(network, network.manifest, Cpu(), run=folder)
    assert str(engine.prepare(2, tile_hw=(64, 64))) == "torch fp32"
    assert str(engine.prepare(1)) == "torch fp32"


@pytest.mark.parametrize("wishes", [{"flips": True}, {"tile": 64}], ids=str)
def test_graphs_of_labels_are_no_reason_where_logits_are_wanted(folder, wishes):
    assert not Predictor.load(folder, device="cpu", **wishes)._network.is_loaded
    shutil.rmtree(kept_logits(folder))
    predictor = Predictor.load(folder, device="cpu", **wishes)
    assert predictor._network.is_loaded
    assert predictor.runtime == predictor.ran_on == "cpu fp32" + (", flips" if "flips" in wishes else "")


def test_torch_that_answered_one_image_makes_its_lean_copy_for_many(folder):
    shutil.rmtree(kept_logits(folder))
    predictor = Predictor.load(folder, device="cpu")
    predictor(picture(37, 50).astype(np.uint16) * 200)
    before = predictor._engine._forwards[Way("torch", "fp32")]
    predictor.prepare(9, tile_hw=(64, 64))
    predictor.logits(torch.zeros(1, 1, 32, 32))
    assert predictor.runtime == "cpu fp32"
    assert predictor._engine._forwards[Way("torch", "fp32")] is not before


@pytest.mark.parametrize("kept", [True, False])
def test_tiles_weigh_the_same_ways_whether_graphs_are_kept_or_not(folder, kept):
    """The first way, which torch takes without preparation, need not be torch's quickest."""
    model, manifest = load_checkpoint(folder)
    ms = {"openvino fp32": 50.0, "torch bf16": 70.0, "torch fp32": 100.0}
    ways = tuple(Agreement(name, each, 2.0, 0.0, {}) for name, each in ms.items())
    measured = Measurement(here(Cpu()), 4, 100.0, ways).with_tiles((64, 64), ms)
    keep_measurement(model, Cpu(), measured)
    if not kept:
        shutil.rmtree(cache_folder() / "models")
    engine = Engine(stored(folder), manifest, Cpu(), run=folder)
    assert str(engine.way) == ("openvino fp32" if kept else "torch fp32")
    assert str(engine.prepare(20, tile_hw=(64, 64))) == "torch fp32"  # 50 ms are won a tile, and the start takes 2 s
    assert str(engine.prepare(60, tile_hw=(64, 64))) == "openvino fp32"


def test_weights_that_were_replaced_meanwhile_are_not_mixed_with_the_kept_graphs(folder):
    network = stored(folder)
    model, manifest = load_checkpoint(folder)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    save_checkpoint(folder, model, manifest)
    with pytest.raises(CheckpointError, match=r"was replaced by another model while it was being used; start again\."):
        network.module()


def test_a_file_that_is_replaced_while_it_is_opened_is_read_in_one_piece(folder, monkeypatch):
    model, manifest = load_checkpoint(folder)
    real = checkpoint.read_manifest

    def late(file):
        found = real(file)
        save_checkpoint(folder, model, manifest)  # as a training does that finds better weights
        return found

    monkeypatch.setattr(checkpoint, "read_manifest", late)
    assert stored(folder) is None


def test_int8_of_another_manifest_builds_the_network_which_finds_out(folder):
    """Kept graphs stand for weights and manifest together; int8 names the weights alone."""
    model, manifest = load_checkpoint(folder)
    report = {"weights": weights_hash(model), "types": {"network": "int8"}}
    build(folder / "int8", lambda place: (place / "report.json").write_text(json.dumps(report)))
    assert not Predictor.load(folder, device="cpu", precision="int8")._network.is_loaded
    other = manifest.model_copy(update={"preprocess": {**manifest.preprocess, "max_side_px": 64}})
    save_checkpoint(folder, model, other)
    assert Predictor.load(folder, device="cpu", precision="int8")._network.is_loaded


class TestStored:
    """Weights hashed as they lie in the file."""

    def test_the_hash_is_that_of_the_network(self, run):
        network = stored(run)
        model, manifest = load_checkpoint(run)
        assert (network.weights_hash, network.manifest) == (weights_hash(model), manifest)
        assert not network.is_loaded
        assert weights_hash(network.module()) == network.weights_hash
        assert network.module() is network.module()

    def test_other_number_types_have_to_be_loaded(self, run, tmp_path):
        model, manifest = load_checkpoint(run)
        half = {name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()}
        file = tmp_path / "model.safetensors"
        file.write_bytes(safetensors.torch.save(half, metadata={"maskwright": manifest.model_dump_json()}))
        assert stored(file) is None
        assert Predictor.load(file, device="cpu").weights_hash == weights_hash(load_checkpoint(file)[0])

    def test_a_header_that_says_too_little(self, run, tmp_path, monkeypatch):
        whole = (run / "model.safetensors").read_bytes()
        size = int.from_bytes(whole[:8], "little")
        header = json.loads(whole[8 : 8 + size])
        name = next(key for key in header if key != "__metadata__")
        del header[name]["data_offsets"]
        text = json.dumps(header).encode()
        file = tmp_path / "model.safetensors"
        file.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + size :])
        assert checkpoint._hash_of(file) is None
        with pytest.raises(CheckpointError):
            Predictor.load(file)


class TestMachine:
    """Without torch the same words as with it."""

    @pytest.mark.skipif(not machine.has_cpu_alone("auto"), reason="only torch knows this machine's devices")
    @pytest.mark.parametrize("told_threads", ["", "1", "999", "1,2"])
    def test_told_as_torch_tells_it(self, monkeypatch, told_threads):
        monkeypatch.setenv("OMP_NUM_THREADS", told_threads)
        if not told_threads:
            monkeypatch.delenv("OMP_NUM_THREADS")
        code = """
import sys
from maskwright.inference.machine import Cpu, computes_bf16, device_of, processor, thread_count
from maskwright.inference.measuring import here
words = lambda: (thread_count(), computes_bf16(Cpu()), processor(), here(device_of("auto")), device_of("auto").type)
alone, before = words(), "torch" in sys.modules
import torch
print(alone == words(), before)
"""
        assert told(code) == ["True", str(told_threads not in ("", "1"))]  # what is not plain only torch knows

    def test_a_named_device_and_one_that_only_torch_knows(self, monkeypatch):
        assert machine.has_cpu_alone("cpu")
        assert not machine.has_cpu_alone("cuda:0")
        monkeypatch.setattr(machine, "_ACCELERATORS", (__file__,))
        assert not machine.has_cpu_alone("auto")
        monkeypatch.setattr(machine.sys, "platform", "darwin")
        monkeypatch.setattr(machine, "_ACCELERATORS", ())
        assert not machine.has_cpu_alone("auto")

    def test_what_linux_does_not_say(self, monkeypatch):
        monkeypatch.setattr(machine, "torch_is_loaded", lambda: False)
        monkeypatch.setattr(machine, "_said", dict)
        assert machine._flags() is None
        known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        assert machine.computes_bf16(Cpu()) == any(getattr(torch.cpu, name)() for name in known)
        assert machine.processor().split(", ")[1] == torch.backends.cpu.get_cpu_capability()
        monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {10**6}, raising=False)
        assert machine._threads() is None
        assert machine.thread_count() == torch.get_num_threads()

    def test_other_devices(self):
        assert not machine.computes_bf16(replace(Cpu(), type="mps"))
        assert machine.as_torch(Cpu()) == machine.as_torch(torch.device("cpu")) == torch.device("cpu")
