"""Runtimes: a module and an example of its input -> the same function on torch, torch.compile, OpenVINO or ONNX Runtime.

    run = compiled(module, (image,), Way("openvino", "bf16"))
    (logits,) = run(image)

A run takes tensors and gives a tuple of tensors, may be called from several threads, and computes what the module computes up
to rounding. Whether the rounding matters is measured (agreement.py), and so is what is quickest (choice.py).
"""

from __future__ import annotations

import os
import queue
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError, MissingExtraError
from maskwright.inference import conversions
from maskwright.inference.machine import Cpu, Device, as_torch, computes_bf16, thread_count
from maskwright.inference.telemetry import openvino_core
from maskwright.later import torch

if TYPE_CHECKING:
    import openvino
    from torch import Tensor, nn

    from maskwright.inference.converting import Dynamic

RuntimeName = Literal["torch", "openvino", "compile", "onnx"]
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
Run: TypeAlias = "Callable[..., tuple[Tensor, ...]]"
ArrayRun = Callable[..., tuple[NDArray[Any], ...]]

_PACKAGES = {
    "torch": ("torch", "torch"),
    "openvino": ("openvino", "fast"),
    "compile": ("torch", "torch"),
    "onnx": ("onnxruntime", "export"),
}
_HINTS = {"fp32": "f32", "bf16": "bf16"}
_COMPILERS = {"linux": "g++", "darwin": "clang++"}  # what torch.compile calls on the CPU where CXX names none


class Way(NamedTuple):
    """What computes, in which number type: Way("openvino", "bf16"); its text is what manifests and people see."""

    runtime: RuntimeName
    precision: str

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision}"


def installed(runtime: RuntimeName) -> bool:
    return find_spec(_PACKAGES[runtime][0]) is not None


def compiles_on(device: Device) -> bool:
    """Whether torch.compile has what it writes code for: a C++ compiler on the CPU, Triton on CUDA."""
    if device.type == "cuda":
        return find_spec("triton") is not None
    words = shlex.split(os.environ.get("CXX", "")) or [_COMPILERS.get(sys.platform, "cl")]
    return device.type == "cpu" and shutil.which(words[0]) is not None


def version_of(runtime: RuntimeName) -> str:
    """The version of the package behind a runtime; "" where it is not installed."""
    try:
        return version(_PACKAGES[runtime][0])
    except PackageNotFoundError:
        return ""


def require(runtime: RuntimeName) -> None:
    """Refuse a runtime that is not known or not there.

    Raises:
        InputError, MissingExtraError: with the known names, or the command that installs it.
    """
    if runtime not in RUNTIMES:
        raise InputError(f"no runtime {runtime!r}; known: auto, {', '.join(RUNTIMES)}.")
    if not installed(runtime):
        raise MissingExtraError(*_PACKAGES[runtime], f"the runtime {runtime!r}")


def ways_on(device: Device) -> tuple[Way, ...]:
    """Every way that is worth measuring here, but for int8, which has to be prepared (quantising.py).

    torch.compile on GPUs only: on a processor it takes half a minute to win a seventh at most (benchmarks/compiling.py).
    """
    types = ["fp32", *(["bf16"] if computes_bf16(device) else []), *(["fp16"] if device.type == "cuda" else [])]
    found = [Way("torch", precision) for precision in types]
    if device.type == "cuda" and compiles_on(device):
        found += [Way("compile", precision) for precision in types]
    if device.type == "cpu":
        found += [Way("openvino", precision) for precision in types if installed("openvino")]
        found += [Way("onnx", "fp32")] if installed("onnx") and find_spec("onnxscript") else []
    return tuple(found)


def compiled(
    module: nn.Module,
    example: tuple[Tensor, ...],
    way: Way,
    *,
    dynamic: Dynamic | None = None,
    streams: int = 1,
    threads: int | None = None,
    key: str | None = None,
) -> Run:
    """The module as a function on a runtime. OpenVINO and ONNX Runtime compute on the CPU.

    The module is put into evaluation mode, and for torch and torch.compile into the layout channels_last, and stays so.

    Args:
        example: inputs of a size that it will see; the module must take them as they are, all as tensors
        dynamic: for each input the axes that may have any length, see converting.free_axes; None fixes all sizes
        streams: how many calls compute side by side, each with its share of the threads; best for many images
        threads: of all streams together; None takes torch's
        key: under which the converted model is kept in the cache (cache.key_of); None converts anew

    Raises:
        InputError, MissingExtraError: the runtime is unknown or not installed, or the module cannot be converted for it.
    """
    require(way.runtime)
    module.eval()
    threads = threads or thread_count()
    if way.runtime in ("torch", "compile"):
        device = _device_of(module)
        module = module.to(device).to(memory_format=torch.channels_last)
        program: Callable[..., Any] = torch.compile(module, dynamic=dynamic is not None) if way.runtime == "compile" else module
        return on_torch(program, device, way.precision)
    if way.runtime == "openvino":
        model = conversions.openvino_model(module, example, dynamic, key, precision=way.precision)
        return on_openvino(model, way.precision, streams=streams, threads=threads)
    return on_onnx(conversions.onnx_model(module, example, dynamic, key), threads=max(1, threads // streams))


def on_torch(module: Callable[..., Any], device: Device, precision: str) -> Run:
    """A module that lies on a device, without gradients, in a number type."""
    from maskwright.inference.backends import computing

    device = as_torch(device)

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        with ExitStack() as settings:
            computing(settings, device, precision, False)
            try:
                return _flat(module(*(x.to(device) for x in inputs)))
            except RuntimeError as error:
                if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                    raise
                said = str(error).strip().partition("\n")[0]
                raise InputError(f"torch.compile fails on this network ({said}); take --runtime torch.") from error

    return run


def on_openvino(model: openvino.Model, precision: str, *, streams: int = 1, threads: int = 1, beside: str | None = None) -> Run:
    """An OpenVINO model on the CPU; see arrays_on_openvino."""
    answer = arrays_on_openvino(model, precision, streams=streams, threads=threads, beside=beside)

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(array) for array in answer(*(x.detach().contiguous().numpy() for x in inputs)))

    return run


def arrays_on_openvino(
    model: openvino.Model, precision: str, *, streams: int = 1, threads: int = 1, beside: str | None = None
) -> ArrayRun:
    """An OpenVINO model on the CPU, arrays in and arrays out, for which torch is not needed; each call waits until one of the
    streams is free.

    Args:
        beside: in int8 the number type of everything else; None takes bf16 where that is quick
    """
    beside = beside or ("bf16" if computes_bf16(Cpu()) else "fp32")
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[beside if precision == "int8" else precision],
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": max(threads, streams),
        # Pinned threads would fight with those that read and write files for the same core.
        "ENABLE_CPU_PINNING": False,
    }
    program = openvino_core("the runtime 'openvino'").compile_model(model, "CPU", settings)
    free: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(streams):
        free.put(program.create_infer_request())

    def run(*inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        request = free.get()
        try:
            # Shared by every call: one that copied its input would write it into the array of the call before.
            found = request.infer([np.ascontiguousarray(x) for x in inputs], share_inputs=True)
            return tuple(np.array(found[port]) for port in program.outputs)
        finally:
            free.put(request)

    return run


def on_onnx(model: bytes, *, threads: int = 1) -> Run:
    """An ONNX model in ONNX Runtime on the CPU; calls from several threads compute side by side, each with `threads`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_inputs()]

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        found = session.run(None, {name: x.detach().contiguous().numpy() for name, x in zip(names, inputs, strict=True)})
        return tuple(torch.from_numpy(array) for array in found)

    return run


def _device_of(module: nn.Module) -> torch.device:
    return next((weight.device for weight in module.parameters()), torch.device("cpu"))


def _flat(answer: Any) -> tuple[Tensor, ...]:
    """The tensors of an answer, in the order in which a converted graph gives them; floats as fp32."""
    if isinstance(answer, torch.Tensor):
        return (answer.float() if answer.is_floating_point() else answer,)
    values = answer.values() if isinstance(answer, Mapping) else answer
    return tuple(tensor for part in values for tensor in _flat(part))
