"""Images in one pass: which go together, and that each has the answer that it has alone."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest
import torch

from maskwright.checkpoint import load_checkpoint, save_checkpoint
from maskwright.errors import InputError
from maskwright.inference import engine, measuring
from maskwright.inference.agreement import Agreement
from maskwright.inference.measuring import Measurement, here
from maskwright.inference.predictor import Failure, Predictor
from maskwright.inference.probes import Probe
from maskwright.inference.runtimes import Way
from maskwright.inference.together import Kind, alike
from maskwright.io.image import Image

from .conftest import picture

CPU = torch.device("cpu")


def begun(*answers: tuple[int, int] | Exception) -> list[tuple[int, Future[tuple[int, int]]]]:
    waiting = []
    for k, answer in enumerate(answers):
        future: Future[tuple[int, int]] = Future()
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        waiting.append((k, future))
    return waiting


@pytest.mark.parametrize(
    ("answers", "most", "groups"),
    [
        ([(8, 8)] * 5, 2, [[0, 1], [2, 3], [4]]),
        ([(8, 8)] * 3, 1, [[0], [1], [2]]),
        ([(8, 8), (8, 8), (8, 9), (8, 8)], 4, [[0, 1], [2], [3]]),
        ([(8, 8), InputError("cut short"), (8, 8), (8, 8)], 4, [[0], [1], [2, 3]]),
        ([(1024, 1024)] * 3, 8, [[0, 1], [2]]),  # as many pixels as one image may have
        ([(4096, 4096)] * 2, 8, [[0], [1]]),
        ([], 4, []),
    ],
)
def test_neighbours_of_one_size_go_together(answers, most, groups):
    found = list(alike(begun(*answers), most, lambda hw: Kind(hw, hw[0] * hw[1])))
    assert [[k for k, _ in group] for group in found] == groups
    flat = [answer for group in found for _, answer in group]
    assert [str(answer) for answer in flat] == [str(answer) for answer in answers]


def test_what_came_before_an_error_of_the_source_is_given_first():
    def camera():
        yield from begun((8, 8), (8, 8))
        raise RuntimeError("the cable is out")

    groups = alike(camera(), 4, lambda hw: Kind(hw, 64))
    assert [k for k, _ in next(groups)] == [0, 1]
    with pytest.raises(RuntimeError, match="the cable is out"):
        next(groups)


def test_what_goes_alone_is_alone():
    found = list(alike(begun((8, 8), (9, 9), (9, 9)), 4, lambda hw: None if hw == (9, 9) else Kind(hw, 81)))
    assert [[k for k, _ in group] for group in found] == [[0], [1], [2]]


def test_large_images_that_the_network_sees_small_are_not_all_held():
    found = list(alike(begun(*[(8, 8)] * 3), 4, lambda hw: Kind(hw, 1 << 20)))
    assert [[k for k, _ in group] for group in found] == [[0, 1], [2]]


def test_what_came_before_an_error_of_the_source_is_answered(run):
    def camera():
        yield from [Image.from_array(picture(20, 30, k)) for k in range(3)]
        raise RuntimeError("the cable is out")

    answers = Predictor.load(run).many(camera())
    assert [next(answers).labels.shape for _ in range(3)] == [(20, 30)] * 3
    with pytest.raises(RuntimeError, match="the cable is out"):
        next(answers)


def test_each_image_has_the_answer_that_it_has_alone(run, monkeypatch):
    predictor = Predictor.load(run, device="cpu", precision="fp32", runtime="torch")
    passes: list[int] = []
    forward = predictor._forward
    monkeypatch.setattr(predictor, "_forward", lambda x: passes.append(len(x)) or forward(x))
    images = [picture(40, 50, k) for k in range(5)] + [picture(33, 50, 7)]
    alone = [predictor(image, probabilities=True) for image in images]
    passes.clear()
    predictor._engine.together = 4
    broken = np.full((40, 50), np.nan, np.float32)
    sources = [*images[:2], broken, *images[2:]]
    answers = list(predictor.many(sources, on_error="yield", probabilities=True))
    assert passes == [2, 3, 1]
    assert isinstance(answers.pop(2), Failure)
    for one, other in zip(answers, alone, strict=True):
        torch.testing.assert_close(one.probs, other.probs, atol=1e-5, rtol=1e-5)
        assert (one.labels == other.labels).mean() > 0.999
    passes.clear()
    told: list[str] = []

    def camera():
        for k, image in enumerate(images):
            told.append(f"take {k}")
            yield image

    for k, _ in enumerate(predictor.many(camera(), live=True)):
        told.append(f"answer {k}")
    assert told == [f"{what} {k}" for k in range(6) for what in ("take", "answer")]
    assert passes == [1] * 6

    def too_large(x):
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(x)

    monkeypatch.setattr(predictor, "_forward", too_large)
    for one, other in zip(predictor.many(images), alone, strict=True):
        assert np.array_equal(one.labels, other.labels)

    def refuses(x):
        if len(x) > 1 or float(x.sum()) == float(alone_x.sum()):
            raise InputError("the network cannot do this one")
        return forward(x)

    alone_x, _ = predictor.preprocess(Image.from_array(images[1]))
    monkeypatch.setattr(predictor, "_forward", refuses)
    answers = list(predictor.many(images[:4], on_error="yield"))
    assert [isinstance(answer, Failure) for answer in answers] == [False, True, False, False]
    assert str(answers[1]) == "array: image: the network cannot do this one"


def test_tiles_that_were_asked_for_bound_what_one_pass_takes(run):
    predictor = Predictor.load(run, device="cpu", tile=64)
    image = Image.from_array(picture(64, 64))
    assert predictor._kind_of((image, *predictor.preprocess(image))) is None


def test_how_many_is_measured_and_kept(make_run, monkeypatch, tmp_path):
    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path))
    for module in (measuring, engine):
        monkeypatch.setattr(module, "ways_on", lambda _: (Way("torch", "fp32"),))
    folder = make_run()
    model, manifest = load_checkpoint(folder)
    seconds = {1: 0.03, 2: 0.04, 4: 0.041, 8: 0.08, 16: 0.1}  # an image: 0.03, 0.02, 0.01025, 0.01, and more is not tried
    clock = [0.0]

    def forward_on(*_, many):
        def forward(images):
            if seconds[len(images)] < 0:
                raise torch.OutOfMemoryError
            clock[0] += seconds[len(images)]
            return torch.zeros(len(images), 3, 8, 8)

        return forward

    monkeypatch.setattr(measuring, "forward_on", forward_on)
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: clock[0])
    probes = [Probe(Image.from_array(picture(20, 30)), picture(20, 30) * 0)]
    measured = measuring.measure(model, manifest, CPU, probes)
    assert measured.together == 4
    assert Measurement.from_dict(measured.to_dict()) == measured
    assert measured.lines()[-1] == "many images: 4 of them in one pass"
    assert Measurement.from_dict({k: v for k, v in measured.to_dict().items() if k != "together"}).together == 1

    seconds |= {1: 4.0, 2: 4.0}
    assert measuring._together(model, manifest, CPU, "fp32", probes) == 1  # it took too long to go on
    seconds |= {1: 0.03, 2: 0.03, 4: -1.0}
    assert measuring._together(model, manifest, CPU, "fp32", probes) == 2  # 4 did not fit

    save_checkpoint(folder, model, manifest.model_copy(update={"runtimes": measured.to_dict()}))
    assert Predictor.load(folder, CPU).prepare()._engine.together == 4
    assert Predictor.load(folder, CPU, exact=True).prepare()._engine.together == 1
    ways = (Agreement("torch bf16", 2.0, 0.1, 0.0, {}), Agreement("torch fp32", 5.0, 0.1, 0.0, {}))
    other = Measurement(here(CPU), 1, 9.0, ways, together=4)
    save_checkpoint(folder, model, manifest.model_copy(update={"runtimes": other.to_dict()}))
    assert Predictor.load(folder, CPU, precision="fp32").prepare()._engine.together == 1  # measured of another way
