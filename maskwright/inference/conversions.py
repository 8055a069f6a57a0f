"""Converted models: made from a torch module, or read back where one was kept."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from maskwright.inference.cache import kept

if TYPE_CHECKING:
    import openvino

Dynamic = tuple[Mapping[int, Any] | None, ...]


def openvino_model(
    module: nn.Module, example: tuple[Tensor, ...], dynamic: Dynamic | None = None, key: str | None = None
) -> openvino.Model:
    """The module as an OpenVINO model, with a key kept in the cache and read from there the next time."""
    import openvino

    def make(folder: Path) -> None:
        openvino.save_model(to_openvino(module, example, dynamic), folder / "model.xml", compress_to_fp16=False)

    place = kept(key, make) if key else None
    return openvino.Core().read_model(place / "model.xml") if place else to_openvino(module, example, dynamic)


def onnx_model(module: nn.Module, example: tuple[Tensor, ...], dynamic: Dynamic | None = None, key: str | None = None) -> bytes:
    """The module as the bytes of an ONNX model; see openvino_model."""

    def make(folder: Path) -> None:
        (folder / "model.onnx").write_bytes(to_onnx(module, example, dynamic))

    place = kept(key, make) if key else None
    return (place / "model.onnx").read_bytes() if place else to_onnx(module, example, dynamic)


def to_openvino(module: nn.Module, example: tuple[Tensor, ...], dynamic: Dynamic | None = None) -> openvino.Model:
    import openvino

    return openvino.convert_model(_program(module, example, dynamic))


def to_onnx(module: nn.Module, example: tuple[Tensor, ...], dynamic: Dynamic | None = None) -> bytes:
    program = torch.onnx.export(_program(module, example, dynamic), dynamo=True, verbose=False)
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    return bytes(program.model_proto.SerializeToString())


def _program(module: nn.Module, example: tuple[Tensor, ...], dynamic: Dynamic | None) -> torch.export.ExportedProgram:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module.eval(), example, dynamic_shapes=dynamic)
