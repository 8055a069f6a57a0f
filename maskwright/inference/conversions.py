"""Converted models: made from a torch module, or read back where one was kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from maskwright.inference.cache import kept
from maskwright.inference.converting import Dynamic, to_onnx, to_openvino
from maskwright.inference.telemetry import openvino_core, without_telemetry

if TYPE_CHECKING:
    import openvino


def openvino_model(
    module: nn.Module, example: tuple[Tensor, ...], dynamic: Dynamic | None = None, key: str | None = None
) -> openvino.Model:
    """The module as an OpenVINO model, with a key kept in the cache and read from there the next time."""
    openvino = without_telemetry("openvino", "the runtime 'openvino'")

    def make(folder: Path) -> None:
        openvino.save_model(to_openvino(module, example, dynamic), folder / "model.xml", compress_to_fp16=False)

    place = kept(key, make) if key else None
    if place is None:
        return to_openvino(module, example, dynamic)
    return openvino_core("the runtime 'openvino'").read_model(place / "model.xml")


def onnx_model(module: nn.Module, example: tuple[Tensor, ...], dynamic: Dynamic | None = None, key: str | None = None) -> bytes:
    """The module as the bytes of an ONNX model; see openvino_model."""

    def converted() -> bytes:
        return bytes(to_onnx(module, example, dynamic).SerializeToString())

    def make(folder: Path) -> None:
        (folder / "model.onnx").write_bytes(converted())

    place = kept(key, make) if key else None
    return (place / "model.onnx").read_bytes() if place else converted()
