"""Measuring and choosing: every way against eager fp32 once, kept, and from then on decided without a clock."""

from __future__ import annotations

import json
import os

import pytest
import torch

from maskwright.checkpoint import load_checkpoint, save_checkpoint
from maskwright.errors import InputError, MissingExtraError
from maskwright.inference import choice, engine, measuring, runtimes
from maskwright.inference.agreement import Agreement
from maskwright.inference.choice import best_way, first_way
from maskwright.inference.engine import Engine
from maskwright.inference.measuring import Measurement, cost_s, here, keep_measurement, kept_measurement, measure
from maskwright.inference.predictor import Predictor
from maskwright.inference.probes import Probe, write_probes
from maskwright.inference.runtimes import Way
from maskwright.io.image import Image

from .conftest import picture

CPU = torch.device("cpu")
QUICK = Way("openvino", "fp32")

needs_openvino = pytest.mark.skipif(not runtimes.installed("openvino"), reason="openvino is not installed")


def row(way: str, ms: float, start_s: float = 2.0, refused: str = "") -> Agreement:
    return Agreement(way, ms, start_s, 0.0, {}, refused)


def found(*ways: Agreement, streams: int = 1) -> Measurement:
    return Measurement(here(CPU), 4, 100.0, ways, streams)


FIRST = row("torch bf16", 50.0)
USUAL = found(row("openvino bf16", 30.0), row("onnx fp32", 10.0, refused="why"), FIRST, row("torch fp32", 90.0))


@pytest.mark.parametrize(
    ("runtime", "precision", "images", "way"),
    [
        ("auto", "auto", None, "openvino bf16"),
        ("auto", "auto", 101, "openvino bf16"),  # 20 ms are won an image: 2 seconds to start are paid by 100
        ("auto", "auto", 99, "torch bf16"),
        ("torch", "auto", None, "torch bf16"),
        ("auto", "fp32", None, "torch fp32"),
        ("onnx", "auto", None, "torch bf16"),  # it is refused: what was taken first stays
    ],
)
def test_the_quickest_that_agrees_and_pays(runtime, precision, images, way):
    assert str(best_way(USUAL, Way("torch", "bf16"), runtime, precision, images)) == way


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        (("tensorrt", "auto", False), "no runtime 'tensorrt'; known: auto, torch"),
        (("openvino", "auto", True), "exact means eager fp32 on torch, but the runtime 'openvino'"),
        (("onnx", "bf16", False), "'onnx' computes in fp32, not in bf16"),
        (("torch", "int8", False), "precision int8 runs on OpenVINO on the CPU"),
    ],
)
def test_wishes_that_cannot_be(make_run, wishes, says):
    runtime, precision, exact = wishes
    with pytest.raises(InputError, match=says):
        Predictor.load(make_run(), runtime=runtime, precision=precision, exact=exact)


def test_a_runtime_for_another_device(make_run):
    with pytest.raises(InputError, match="the runtime 'openvino' computes on the CPU, this is cuda"):
        first_way(load_checkpoint(make_run())[1], torch.device("cuda"), "openvino", "auto", exact=False)


def test_a_runtime_that_is_not_installed(make_run, monkeypatch):
    monkeypatch.setattr(runtimes, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'maskwright\[fast\]'"):
        Predictor.load(make_run(), runtime="openvino")


@needs_openvino
def test_every_way_is_measured_and_openvino_answers_as_torch_does(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "ways_on", lambda _: (Way("torch", "fp32"), QUICK))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    folder = make_run(3, max_side_px=64)
    exact = Predictor.load(folder, exact=True)
    images = [Image.from_array(picture(40 + k, 90, k)[..., None].repeat(3, 2)) for k in range(3)]
    model, manifest = load_checkpoint(folder)
    told: list[str] = []
    probes = [Probe(image, exact(image).labels) for image in images]
    measured = measure(model, manifest, CPU, probes, progress=told.append)
    assert told == ["eager fp32", "torch fp32", "openvino fp32"]
    assert {way.way: way.agrees for way in measured.ways} == {"torch fp32": True, "openvino fp32": True}
    assert measured.streams in (1, 2)
    assert Measurement.from_dict(json.loads(json.dumps(measured.to_dict()))) == measured
    assert len(measured.lines()) == 3 + (measured.together > 1)

    # From bytes, from deep values and from grey; one image and several; with probabilities, by the network alone.
    chosen = Predictor.load(folder, runtime="openvino", precision="fp32")
    assert chosen.runtime == "cpu openvino fp32"
    deep = Image.from_array(picture(50, 60).astype("uint16") * 257)
    for image in (*images, deep):
        assert (chosen(image).labels == exact(image).labels).mean() > 0.999
    for one, other in zip(chosen([*images, deep]), exact([*images, deep]), strict=True):
        assert (one.labels == other.labels).mean() > 0.999
    torch.testing.assert_close(
        chosen(deep, probabilities=True).probs, exact(deep, probabilities=True).probs, atol=1e-4, rtol=1e-4
    )
    with pytest.raises(InputError, match="the image has 2 channels, the model was trained on 3"):
        chosen(picture(40, 50)[..., None].repeat(2, 2))


@needs_openvino
def test_only_torch_where_no_other_runtime_is_wanted(make_run, monkeypatch):
    model, manifest = load_checkpoint(make_run())
    probe = Probe(Image.from_array(picture(20, 30)), picture(20, 30) * 0)
    measured = measure(model, manifest, CPU, [probe], runtimes=("torch",))
    assert {way.way.split()[0] for way in measured.ways} == {"torch"}


def test_what_fails_is_refused_and_the_others_serve(make_run, monkeypatch):
    ways = [Way(name, kind) for name in ("torch", "openvino", "compile", "onnx") for kind in ("fp32", "bf16", "fp16")]
    monkeypatch.setattr(measuring, "ways_on", lambda _: ways)
    tried = []

    def judged(way, *_):
        tried.append(str(way))
        if way.runtime == "compile":
            raise RuntimeError("the compiler gave up:\nin line 3")
        return row(str(way), 10.0)

    monkeypatch.setattr(measuring, "_judged", judged)
    monkeypatch.setattr(measuring, "_streams", lambda *_: 1)
    model, manifest = load_checkpoint(make_run())
    probe = Probe(Image.from_array(picture(20, 30)), picture(20, 30) * 0)
    measure(model, manifest, CPU, [probe])
    of_torch, of_compile = ["torch bf16", "torch fp16", "torch fp32"], ["compile bf16", "compile fp16", "compile fp32"]
    assert tried == [*of_torch, "openvino bf16", "openvino fp16", *of_compile]
    tried.clear()
    measured = measure(model, manifest, CPU, [probe], runtimes=("torch", "compile", "onnx"))
    assert tried == [*of_torch, *of_compile, "onnx bf16", "onnx fp16"]
    (refused,) = {w.refused for w in measured.ways if w.way.startswith("compile")}
    assert refused == "it fails on this network (the compiler gave up)"
    assert "compile bf16: refused: it fails on this network (the compiler gave up)" in measured.lines()
    monkeypatch.setattr(measuring, "_judged", lambda way, *_: row(str(way), 9.0) if way.runtime != "openvino" else 1 / 0)
    assert {way.way for way in measure(model, manifest, CPU, [probe]).ways if way.agrees} >= {"onnx bf16", "torch bf16"}
    monkeypatch.setattr(measuring, "_judged", lambda way, *_: (_ for _ in ()).throw(MemoryError("no room")))
    with pytest.raises(MemoryError):
        measure(model, manifest, CPU, [probe], runtimes=("torch",))


@pytest.mark.skipif(not runtimes.compiles_on(CPU), reason="there is no C++ compiler")
def test_torch_compile_answers_as_torch_does(make_run, monkeypatch):
    folder = make_run(3, max_side_px=64)
    exact = Predictor.load(folder, exact=True)
    chosen = Predictor.load(folder, runtime="compile", precision="fp32")
    assert chosen.runtime == "cpu compile fp32"
    images = [Image.from_array(picture(40 + k, 90, k)[..., None].repeat(3, 2)) for k in range(2)]
    for one, other in zip(chosen(images), exact(images), strict=True):
        assert (one.labels == other.labels).mean() > 0.999
    probs = [p(images[0], probabilities=True).probs for p in (chosen, exact)]
    torch.testing.assert_close(*probs, atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(choice, "compiles_on", lambda _: False)
    with pytest.raises(InputError, match=r"the runtime 'compile' needs a C\+\+ compiler, as g\+\+ on cpu, and there is none"):
        Predictor.load(folder, runtime="compile")


class TestEngine:
    """Which way is taken, with measuring itself replaced by what it gives."""

    @pytest.fixture
    def folder(self, make_run, monkeypatch, tmp_path):
        monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "cache"))
        for module in (measuring, engine):
            monkeypatch.setattr(module, "ways_on", lambda _: (Way("torch", "fp32"), QUICK))
        folder = make_run()
        write_probes(folder, [Probe(Image.from_array(picture(20, 30)), picture(20, 30) * 0)])
        return folder

    @pytest.fixture
    def counted(self, monkeypatch):
        calls: list[int] = []
        answer = found(
            row("openvino fp32", 10.0), row("torch fp32", 50.0), row("onnx fp32", 9.0, refused="it differs"), streams=2
        )
        monkeypatch.setattr(engine, "measure", lambda *_: calls.append(1) or answer)
        return calls

    def make(self, folder, **wishes) -> Engine:
        return Engine(*load_checkpoint(folder), CPU, run=folder, **wishes)

    def test_measured_once_and_kept(self, folder, counted):
        first = self.make(folder)
        assert str(first.way) == "torch fp32"
        assert (str(first.prepare(1000)), first.streams) == ("openvino fp32", 2)
        assert first.refused == ("onnx fp32 is not used: it differs.",)
        again = self.make(folder)
        assert (str(again.prepare(1000)), again.refused) == ("openvino fp32", ())
        assert str(self.make(folder).prepare()) == "openvino fp32"
        assert len(counted) == 1

    def test_few_images_wait_for_nothing(self, folder, counted):
        assert str(self.make(folder).prepare(3)) == "torch fp32"
        assert str(self.make(folder).prepare()) == "torch fp32"  # nothing is known, and nobody says that it would pay
        assert counted == []
        self.make(folder).prepare(1000)
        assert str(self.make(folder).prepare(20)) == "torch fp32"  # 40 ms are won an image, the start takes 2 seconds
        assert str(self.make(folder).prepare(60)) == "openvino fp32"

    def test_many_images_run_on_a_lean_copy(self, folder, counted, monkeypatch):
        asked: list[bool] = []
        real = engine.forward_on
        monkeypatch.setattr(
            engine, "forward_on", lambda *args, many=False, **kw: asked.append(many) or real(*args, many=many, **kw)
        )
        image = torch.rand(1, 1, 20, 30)
        for wishes, images, many in (({}, 3, False), ({}, 8, True), ({}, None, True), ({"exact": True}, None, False)):
            made = self.make(folder, runtime="torch", **wishes)
            before = made.forward(image)
            made.prepare(images)
            torch.testing.assert_close(made.forward(image), before, atol=1e-4, rtol=0)
            assert asked.pop() == many
            asked.clear()

    def test_tiles_count_by_their_pixels(self, folder, counted):
        self.make(folder).prepare(1000)
        assert str(self.make(folder).prepare(2, tile_hw=(200, 30))) == "torch fp32"  # as 20 of the probes
        assert str(self.make(folder).prepare(2, tile_hw=(600, 30))) == "openvino fp32"
        assert str(self.make(folder).prepare(60, tile_hw=(20, 10))) == "torch fp32"

    @pytest.mark.parametrize(("spent", "quickest"), [((100.0, 400.0), "torch fp32"), ((400.0, 100.0), "openvino fp32")])
    def test_what_is_quickest_on_tiles_is_timed_once_and_kept(self, folder, counted, monkeypatch, spent, quickest):
        timed: list[tuple[int, int]] = []
        monkeypatch.setattr(engine, "time_tile", lambda forward, channels, hw: timed.append(hw) or spent[len(timed) - 1])
        first = self.make(folder)
        assert str(first.prepare(100, tile_hw=(640, 600))) == quickest
        assert set(first._forwards) <= {first.way}  # nothing is kept of what lost
        assert first.forward(torch.rand(1, 1, 64, 96)).shape == (1, 3, 64, 96)
        assert str(self.make(folder).prepare(100, tile_hw=(640, 600))) == quickest
        assert timed == [(640, 600)] * 2
        assert str(self.make(folder).prepare(1000)) == "openvino fp32"  # images are no tiles
        assert str(self.make(folder).prepare(5, tile_hw=(320, 600))) == "openvino fp32"  # over before anything is timed
        assert str(self.make(folder, precision="fp32").prepare(100, tile_hw=(640, 600))) == quickest
        assert len(timed) == 2

    def test_a_job_of_tiles_must_pay_for_two_conversions(self, folder, counted):
        # Nothing is known: an image is thought to take 100 ms, measuring 18.2 seconds.
        assert str(self.make(folder).prepare(300, tile_hw=(20, 30))) == "torch fp32"
        assert counted == []
        assert str(self.make(folder).prepare(400, tile_hw=(20, 30))) == "openvino fp32"
        assert len(counted) == 1

    def test_times_of_one_wish_are_not_those_of_another(self, folder, monkeypatch):
        answer = found(row("torch bf16", 30.0), row("openvino fp32", 60.0), row("torch fp32", 90.0))
        monkeypatch.setattr(engine, "measure", lambda *_: answer)
        times = iter([900.0, 700.0, 500.0, 900.0, 700.0])  # torch first, then OpenVINO; of torch bf16 first
        monkeypatch.setattr(engine, "time_tile", lambda *_: next(times))
        monkeypatch.setattr(Engine, "_forward_on", lambda self, way: lambda x: x)
        assert str(self.make(folder, precision="fp32").prepare(100, tile_hw=(640, 600))) == "openvino fp32"
        assert str(self.make(folder).prepare(100, tile_hw=(640, 600))) == "torch bf16"
        assert next(times, None) is None
        assert str(self.make(folder, precision="fp32").prepare(100, tile_hw=(640, 600))) == "openvino fp32"

    def test_one_tile_does_not_pay_for_a_start(self, folder, counted, monkeypatch):
        monkeypatch.setattr(engine, "time_tile", lambda *_: next(times))
        times = iter([400.0, 100.0])
        assert str(self.make(folder).prepare(100, tile_hw=(640, 600))) == "openvino fp32"
        assert str(self.make(folder).prepare(1, tile_hw=(640, 600))) == "torch fp32"

    def test_what_fails_on_tiles_is_left_out(self, folder, counted, monkeypatch):
        real = Engine._forward_on

        def forward_on(self, way):
            if way.runtime == "openvino":
                raise RuntimeError("no memory for this graph")
            return real(self, way)

        monkeypatch.setattr(Engine, "_forward_on", forward_on)
        monkeypatch.setattr(engine, "time_tile", lambda *_: 100.0)
        for said in (1, 0):  # measured, and kept
            made = self.make(folder)
            assert str(made.prepare(100, tile_hw=(640, 600))) == "torch fp32"
            assert sum("640 x 600" in line and "no memory for this graph" in line for line in made.refused) == said
        assert str(self.make(folder).prepare(5, tile_hw=(6400, 6000))) == "openvino fp32"  # too few to be timed

    @needs_openvino
    def test_tiles_are_timed_for_real(self, folder):
        engine = self.make(folder)
        measured = found(row("openvino fp32", 10.0), row("torch fp32", 50.0))
        timed = engine._timed_on((64, 96), measured, engine.way, 1000, 10**9)
        assert timed is not None
        assert {way.way for way in timed.ways} == {"openvino fp32", "torch fp32"}
        assert all(way.ms > 0 for way in timed.ways)

    def test_tiles_are_counted_as_images_where_no_probes_are(self, folder, counted):
        self.make(folder).prepare(1000)
        for probe in (folder / "probes").iterdir():
            probe.unlink()
        assert str(self.make(folder).prepare(60, tile_hw=(1, 1))) == "openvino fp32"

    def test_what_training_measured_here_is_taken(self, folder, counted):
        model, manifest = load_checkpoint(folder)
        kept = found(row("openvino fp32", 10.0), row("torch fp32", 50.0))
        save_checkpoint(folder, model, manifest.model_copy(update={"runtimes": kept.to_dict()}))
        assert str(self.make(folder).prepare()) == "openvino fp32"
        other = {**kept.to_dict(), "machine": {"kind": "another"}}
        save_checkpoint(folder, model, manifest.model_copy(update={"runtimes": other}))
        assert str(self.make(folder).prepare()) == "torch fp32"
        torch_alone = found(row("torch fp32", 50.0)).to_dict()
        save_checkpoint(folder, model, manifest.model_copy(update={"runtimes": torch_alone}))
        assert kept_measurement(*load_checkpoint(folder), CPU) is None  # the runtimes installed since are unknown
        save_checkpoint(folder, model, manifest.model_copy(update={"runtimes": kept.to_dict()}))
        later = found(row("onnx fp32", 5.0), row("torch fp32", 50.0))
        keep_measurement(model, CPU, later)
        assert kept_measurement(*load_checkpoint(folder), CPU) == later
        assert counted == []

    def test_without_probes_nothing_is_measured(self, make_run, folder, counted):
        assert str(self.make(make_run()).prepare(10**6)) == "torch fp32"
        assert counted == []

    @pytest.mark.parametrize(
        "wishes", [{"exact": True}, {"runtime": "torch"}, {"runtime": "openvino", "precision": "fp32"}], ids=str
    )
    def test_what_was_asked_for_stays(self, folder, counted, wishes):
        engine = self.make(folder, **wishes)
        before = engine.way
        assert engine.prepare(10**6) == before
        assert counted == []

    def test_a_damaged_measurement_counts_as_none(self, folder, counted, tmp_path):
        self.make(folder).prepare(1000)
        (file,) = (tmp_path / "cache" / "measured").iterdir()
        file.write_text('{"machine": 3')
        self.make(folder).prepare(1000)
        assert len(counted) == 2

    @pytest.mark.parametrize("home", [True, False])
    def test_a_cache_that_cannot_be_written_costs_only_time(self, folder, counted, monkeypatch, tmp_path, home):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "file") if home else "")
        if not home:
            monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
            monkeypatch.delenv("HOME", raising=False)
            monkeypatch.setattr(os.path, "expanduser", lambda path: path)
        assert str(self.make(folder).prepare(1000)) == "openvino fp32"
        keep_measurement(load_checkpoint(folder)[0], CPU, USUAL)
        assert kept_measurement(*load_checkpoint(folder), CPU) is None


def test_a_measurement_costs_more_on_a_slow_network():
    assert cost_s(1000, 16) == cost_s(0, 16) + 32
    assert choice.ORDINARY == ("fp32", "bf16", "fp16")
