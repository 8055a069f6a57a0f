"""Converted models: made from a torch module, or read back where one was kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from maskwright.inference.cache import kept
from maskwright.inference.converting import Dynamic, to_onnx, to_openvino
from maskwright.inference.rewriting import near_in_bf16
from maskwright.inference.telemetry import openvino_core, without_telemetry
from maskwright.inference.winograd import with_fewer_products

if TYPE_CHECKING:
    import openvino


def openvino_model(
    module: nn.Module,
    example: tuple[Tensor, ...],
    dynamic: Dynamic | None = None,
    key: str | None = None,
    *,
    precision: str | None = None,
) -> openvino.Model:
    """The module as an OpenVINO model, with a key kept in the cache and read from there the next time.

    Args:
        precision: that it will be run in, for which it is rewritten (winograd.py, and for bf16 rewriting.near_in_bf16);
            None for one that is changed further
    """
    package = without_telemetry("openvino", "the runtime 'openvino'")

    def converted() -> openvino.Model:
        model = to_openvino(module, example, dynamic)
        if precision is not None:
            with_fewer_products(model)
        return near_in_bf16(model) if precision == "bf16" else model

    def make(folder: Path) -> None:
        package.save_model(converted(), folder / "model.xml", compress_to_fp16=False)

    place = kept(f"{key}-tiles-{precision}" if precision else key, make) if key else None
    if place is None:
        return converted()
    return openvino_core("the runtime 'openvino'").read_model(place / "model.xml")


def onnx_model(module: nn.Module, example: tuple[Tensor, ...], dynamic: Dynamic | None = None, key: str | None = None) -> bytes:
    """The module as the bytes of an ONNX model; see openvino_model."""

    def converted() -> bytes:
        return bytes(to_onnx(module, example, dynamic).SerializeToString())

    def make(folder: Path) -> None:
        (folder / "model.onnx").write_bytes(converted())

    place = kept(key, make) if key else None
    return (place / "model.onnx").read_bytes() if place else converted()
