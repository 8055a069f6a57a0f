"""Runtimes: the same module gives the same numbers on each, for any size where sizes are open, from several threads at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from maskwright.errors import InputError, MissingExtraError
from maskwright.inference import runtimes
from maskwright.inference.converting import free_axes
from maskwright.inference.runtimes import Way, compiled, compiles_on, installed, version_of, ways_on

CPU = torch.device("cpu")
OPEN = (free_axes(2, 3),)


class Two(nn.Module):
    """Two answers, so that their order counts: a map of floats and the channel that wins."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        logits = self.conv(image)
        return {"logits": logits, "best": logits.argmax(1)}


def needs(runtime):
    return pytest.mark.skipif(not installed(runtime), reason=f"{runtime} is not installed")


COMPILES = pytest.mark.skipif(not compiles_on(CPU), reason="there is no C++ compiler")
EACH = [
    Way("torch", "fp32"),
    pytest.param(Way("compile", "fp32"), marks=COMPILES, id="compile fp32"),
    *(pytest.param(Way(r, "fp32"), marks=needs(r), id=f"{r} fp32") for r in ("openvino", "onnx")),
]


@pytest.mark.parametrize("way", EACH, ids=str)
def test_every_runtime_computes_what_the_module_computes(way):
    module, image = Two(), torch.randn(1, 2, 12, 20)
    run = compiled(module, (image,), way, dynamic=OPEN)
    for hw in ((12, 20), (9, 31)):
        x = torch.randn(1, 2, *hw)
        logits, best = run(x)
        expected = module(x)
        torch.testing.assert_close(logits, expected["logits"].detach(), atol=1e-5, rtol=1e-5)
        assert (best == expected["best"]).float().mean() > 0.99
        assert logits.dtype == torch.float32


@needs("openvino")
def test_calls_from_several_threads_do_not_mix():
    module = Two()
    run = compiled(module, (torch.randn(1, 2, 8, 8),), Way("openvino", "fp32"), streams=2, threads=2)
    images = [torch.full((1, 2, 8, 8), float(k)) for k in range(24)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(run, images))
    for x, (logits, _) in zip(images, answers, strict=True):
        torch.testing.assert_close(logits, module(x)["logits"].detach(), atol=1e-4, rtol=1e-4)


def test_bf16_on_torch_gives_fp32_tensors():
    logits, best = compiled(Two(), (torch.randn(1, 2, 8, 8),), Way("torch", "bf16"))(torch.randn(1, 2, 8, 8))
    assert (logits.dtype, best.dtype) == (torch.float32, torch.int64)


def test_what_is_not_there_is_refused(monkeypatch):
    with pytest.raises(InputError, match="no runtime 'tensorrt'; known: auto, torch, openvino, compile, onnx"):
        compiled(Two(), (), Way("tensorrt", "fp32"))  # type: ignore[arg-type]
    monkeypatch.setattr(runtimes, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"'openvino' needs the package 'openvino': pip install 'maskwright\[fast\]'"):
        compiled(Two(), (), Way("openvino", "fp32"))


def test_ways_are_those_that_are_installed(monkeypatch):
    monkeypatch.setattr(runtimes, "computes_bf16", lambda _: True)
    monkeypatch.setattr(runtimes, "find_spec", lambda name: name in ("torch", "openvino") or None)
    monkeypatch.setattr(runtimes, "compiles_on", lambda device: device.type == "cpu")
    assert [str(way) for way in ways_on(CPU)] == ["torch fp32", "torch bf16", "openvino fp32", "openvino bf16"]
    assert [str(way) for way in ways_on(torch.device("cuda"))] == ["torch fp32", "torch bf16", "torch fp16"]
    monkeypatch.setattr(runtimes, "compiles_on", lambda _: True)
    assert [str(way) for way in ways_on(torch.device("cuda"))][3:] == ["compile fp32", "compile bf16", "compile fp16"]
    assert version_of("torch").startswith("2.")


def test_torch_compile_needs_a_compiler(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(runtimes.shutil, "which", lambda name: f"/usr/bin/{name}" if name in ("g++", "ccache") else None)
    monkeypatch.setattr(runtimes.sys, "platform", "linux")
    assert compiles_on(CPU)
    monkeypatch.setattr(runtimes.sys, "platform", "darwin")
    assert not compiles_on(CPU)  # torch calls clang++ there
    monkeypatch.setenv("CXX", "ccache g++")
    assert compiles_on(CPU)
    monkeypatch.setenv("CXX", "/opt/none/g++")
    assert not compiles_on(CPU)
    monkeypatch.setattr(runtimes, "find_spec", lambda name: name == "triton" or None)
    assert compiles_on(torch.device("cuda"))
    assert not compiles_on(torch.device("mps"))


def test_a_compiler_that_fails_is_said(monkeypatch):
    from torch._dynamo.exc import InternalTorchDynamoError

    def failing(*_):
        raise InternalTorchDynamoError("no compiler\nin line 3")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: failing)
    run = compiled(Two(), (), Way("compile", "fp32"))
    with pytest.raises(InputError, match=r"torch.compile fails on this network \(no compiler\); take --runtime torch"):
        run(torch.randn(1, 2, 11, 13))
