"""export: a trained model as a file for another runtime, with its certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskwright.cli import options as given
from maskwright.cli.options import argument, flag, value
from maskwright.cli.output import print_json, print_table
from maskwright.progress import say, stages


def export(
    run: Annotated[Path, argument("RUN", "A run folder, a .safetensors file of maskwright, or a published name.")],
    to: Annotated[str, value("NAME", "onnx, openvino or torch (a .pt2 of torch.export).", "--to")],
    precision: Annotated[str, value("TYPE", "fp32, bf16, or int8 (openvino).")] = "fp32",
    data: Annotated[Path | None, value("DATA", "Labelled images to certify on; default: what RUN was trained on.")] = None,
    split: Annotated[str | None, value("NAME", "Split of DATA to certify on; default: val.")] = None,
    classes: given.Classes = None,
    out: Annotated[Path | None, value("DIR", "Folder to write; default RUN/exports/<to>-<precision>.")] = None,
    tolerance: Annotated[float, value("POINTS", "Points of mean IoU, or of mask AP, that int8 may lose.")] = 0.5,
    triton: Annotated[bool, flag("--triton", "Also write a model repository for NVIDIA's Triton.")] = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace an export that is already there.")] = False,
    as_json: given.Json = False,
) -> None:
    """Write a model that runs without maskwright, certified on validation images; falls it short, nothing is written."""
    from maskwright.exporting import export as export_run

    with stages() as report:
        made = export_run(
            run, data, to=to, precision=precision, split=split, classes=classes, out=out, overwrite=overwrite,
            tolerance=tolerance, triton=triton, progress=report,
        )  # fmt: skip
    if as_json:
        print_json(made.certificate)
        return
    certificate = made.certificate
    kept, scores, ms = certificate["agreement"], certificate["scores"], certificate["speed"]
    typer.echo(f"{', '.join(str(file) for file in made.files)}: {_said(kept)} as eager fp32 answers them.")
    rows = [
        (name.replace("_", " "), *(f"{found[side]['value']:.4f}" for side in ("before", "after")), _interval(found["difference"]))
        for name, found in scores.items()
    ]
    print_table(("score", "eager fp32", f"{to} {precision}", "difference"), rows)
    typer.echo(f"{ms['eager_fp32_ms']:.0f} ms an image in eager fp32, {ms['artefact_ms']:.0f} ms as exported.")
    say(f"certificate.json, classes.json and predict.py, which runs it alone: {made.folder}")


def _said(kept: dict[str, float]) -> str:
    return f"{kept['pixels']:.4%} of the pixels" if "pixels" in kept else f"{kept['objects']:.2%} of the objects"


def _interval(found: dict[str, float | None]) -> str:
    low, high = found.get("low"), found.get("high")
    return f"{found['value']:+.4f}" + ("" if low is None or high is None else f" [{low:+.4f}, {high:+.4f}]")
