"""A model repository for NVIDIA's Triton around an artefact: <repository>/<name>/config.pbtxt and <name>/1/<model file>.

Source: github.com/triton-inference-server/server, docs/user_guide/model_configuration.md. Batching is left to the client
(max_batch_size 0), since images of one batch must have one size; -1 stands for a free length.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from maskwright.errors import InputError
from maskwright.exporting.artefacts import INPUT
from maskwright.exporting.pixels import Pixels

BACKENDS = {"onnx": "onnxruntime", "openvino": "openvino"}
TYPES = {"uint8": "TYPE_UINT8", "uint16": "TYPE_UINT16", "int16": "TYPE_INT16", "float32": "TYPE_FP32", "int64": "TYPE_INT64"}


def check_triton(to: str) -> None:
    """Refuse a target that Triton has no backend for.

    Raises:
        InputError: Triton's backend for PyTorch takes TorchScript alone.
    """
    if to not in BACKENDS:
        raise InputError(f"--triton needs --to {' or '.join(BACKENDS)}; Triton has no backend for the .pt2 files of --to {to}.")


def write_triton(
    folder: Path,
    name: str,
    to: str,
    files: list[Path],
    pixels: Pixels,
    outputs: Mapping[str, tuple[str, tuple[int, ...]]],
    *,
    images: int = -1,
) -> None:
    """Write folder/triton/<name>.

    Args:
        files: of the artefact, copied into version 1
        outputs: name -> number type and shape, -1 where it is free
        images: that the graph takes at once, -1 where that is free; Triton refuses a model whose own number is another
    """
    version = folder / "triton" / name / "1"
    version.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, version / file.name)
    ports = "\n".join(_port("output", key, dtype, dims) for key, (dtype, dims) in outputs.items())
    text = f"""name: "{name}"
backend: "{BACKENDS[to]}"
default_model_filename: "{files[0].name}"
max_batch_size: 0
{_port("input", INPUT, pixels.dtype, (images, -1, -1, pixels.channels))}
{ports}
"""
    (version.parent / "config.pbtxt").write_text(text, encoding="utf-8")


def _port(kind: str, name: str, dtype: str, dims: tuple[int, ...]) -> str:
    return f'{kind} [ {{ name: "{name}" data_type: {TYPES[dtype]} dims: [ {", ".join(map(str, dims))} ] }} ]'
