"""Converted models: made from a torch module, or read back where one was kept."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.inference.cache import found, is_there, kept
from maskwright.inference.telemetry import openvino_core, without_telemetry

if TYPE_CHECKING:
    import openvino
    from torch import Tensor, nn

    from maskwright.inference.converting import Dynamic

GRAPH_BYTES = 1 << 20  # room for the description of a graph, beside its weights


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

    from maskwright.inference.converting import to_openvino
    from maskwright.inference.rewriting import near_in_bf16
    from maskwright.inference.winograd import with_fewer_products

    def converted() -> openvino.Model:
        model = to_openvino(module, example, dynamic)
        if precision is not None:
            with_fewer_products(model)
        return near_in_bf16(model) if precision == "bf16" else model

    def make(folder: Path) -> None:
        save_openvino_model(converted(), folder / "model.xml")

    place = kept(_entry(key, precision), make) if key else None
    return converted() if place is None else _read(place)


def kept_openvino_model(key: str, precision: str | None = None) -> openvino.Model | None:
    """What openvino_model has kept, so that neither the module nor torch is needed; None where there is nothing."""
    place = found(_entry(key, precision))
    return None if place is None else _read(place)


def is_kept(key: str, precision: str | None = None) -> bool:
    """Whether kept_openvino_model has something to read, unless it is damaged."""
    return is_there(_entry(key, precision))


def _entry(key: str, precision: str | None) -> str:
    return f"{key}-tiled-{precision}" if precision else key


def _read(place: Path) -> openvino.Model:
    return openvino_core("the runtime 'openvino'").read_model(place / "model.xml")


def save_openvino_model(model: openvino.Model, file: Path, *, compress: bool = False) -> None:
    """Write a model as file.xml and file.bin.

    Args:
        compress: its weights as fp16

    Raises:
        OSError: it cannot be written.
    """
    try:
        without_telemetry("openvino", "an OpenVINO model").save_model(model, file, compress_to_fp16=compress)
    except RuntimeError as error:  # which says nothing of the disk, and removes what was written
        weights = sum(op.get_byte_size() for op in model.get_ops() if op.get_type_name() == "Constant")
        full = shutil.disk_usage(file.parent).free < weights // (1 + compress) + GRAPH_BYTES
        cause = errno.ENOSPC if full else errno.EIO
        raise OSError(cause, os.strerror(cause), str(file)) from error


def onnx_model(module: nn.Module, example: tuple[Tensor, ...], dynamic: Dynamic | None = None, key: str | None = None) -> bytes:
    """The module as the bytes of an ONNX model; see openvino_model."""

    from maskwright.inference.converting import to_onnx

    def converted() -> bytes:
        return bytes(to_onnx(module, example, dynamic).SerializeToString())

    def make(folder: Path) -> None:
        (folder / "model.onnx").write_bytes(converted())

    place = kept(key, make) if key else None
    return (place / "model.onnx").read_bytes() if place else converted()
