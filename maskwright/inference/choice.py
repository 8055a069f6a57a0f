"""Which way a predictor takes: what was asked for, else the quickest that agrees, once enough images come to pay for it."""

from __future__ import annotations

from maskwright.checkpoint import Manifest
from maskwright.errors import InputError
from maskwright.inference.backends import Precision, choose_precision
from maskwright.inference.machine import Device
from maskwright.inference.measuring import Measurement
from maskwright.inference.runtimes import RUNTIMES, Way, compiles_on, require

ORDINARY = ("fp32", "bf16", "fp16")


def first_way(manifest: Manifest, device: Device, runtime: str, precision: Precision, *, exact: bool) -> Way:
    """The way that needs no preparation and no measurement beyond the manifest's: for the first images.

    Raises:
        InputError, MissingExtraError: the wishes are unknown, contradict each other, or cannot be had here.
    """
    check_wishes(device, runtime, precision, exact=exact)
    if precision == "int8":
        return Way("openvino", "int8")
    number_type = choose_precision(precision, manifest.precision, device, exact=exact)
    if runtime in ("auto", "torch"):
        return Way("torch", number_type)
    require(runtime)  # type: ignore[arg-type]
    return Way(runtime, "fp32" if runtime == "onnx" else number_type)  # type: ignore[arg-type]


def check_wishes(device: Device, runtime: str, precision: str, *, exact: bool) -> None:
    """Refuse wishes that contradict each other.

    Raises:
        InputError, MissingExtraError: with the way out.
    """
    if runtime != "auto":
        require(runtime)  # type: ignore[arg-type]
    if exact and runtime not in ("auto", "torch"):
        raise InputError(f"exact means eager fp32 on torch, but the runtime {runtime!r} was asked for; leave one of the two out.")
    if runtime == "compile" and device.type not in ("cpu", "cuda"):
        raise InputError(f"the runtime 'compile' is for cpu and cuda, this is {device.type}; give --runtime torch.")
    if runtime == "compile" and not compiles_on(device):
        needed = "a C++ compiler, as g++" if device.type == "cpu" else "Triton"
        raise InputError(f"the runtime 'compile' needs {needed} on {device.type}, and there is none; leave --runtime out.")
    if runtime in ("openvino", "onnx") and device.type != "cpu":
        raise InputError(
            f"the runtime {runtime!r} computes on the CPU, this is {device.type}; give device cpu, or runtime torch."
        )
    if runtime == "onnx" and precision not in ("auto", "fp32"):
        raise InputError(f"the runtime 'onnx' computes in fp32, not in {precision}; take openvino or torch.")
    if precision == "int8" and (runtime not in ("auto", "openvino") or exact or device.type != "cpu"):
        raise InputError("precision int8 runs on OpenVINO on the CPU; leave exact, and any other runtime or device, out.")
    if precision == "int8":
        require("openvino")


def wished(runtime: str, precision: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The runtimes and the number types that a wish leaves open."""
    return RUNTIMES if runtime == "auto" else (runtime,), ORDINARY if precision == "auto" else (precision,)


def best_way(measured: Measurement, first: Way, runtime: str, precision: str, images: int | None) -> Way:
    """The quickest way that agrees and that so many images pay for; `first` where that is none.

    Args:
        images: how many will come; None: enough
    """
    found = measured.best(*wished(runtime, precision))
    if found is None:
        return first
    now = measured.of(first)
    if images is not None and now is not None and images * (now.ms - found.ms) < 1000 * found.start_s:
        return first
    name, number_type = found.way.split()
    return Way(name, number_type)  # type: ignore[arg-type]
