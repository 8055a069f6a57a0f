"""export(): a run to an artefact, certified on the validation images, or nothing.

The folder is built beside its place and renamed when everything in it has been measured: there is never an artefact without its
certificate.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from maskwright import __version__
from maskwright.checkpoint import weights_file
from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, Pair
from maskwright.errors import InputError
from maskwright.evaluation.kept import without_nan
from maskwright.evaluation.opening import Data, Opening, choose_split, open_data, run_options
from maskwright.exporting.artefacts import Answer, Target, target_of
from maskwright.exporting.certificate import PixelComparison, compare_pixels, machine, speed
from maskwright.exporting.graphs import check_objects, outputs_of, traced_graph
from maskwright.exporting.int8 import write_int8
from maskwright.exporting.objects import ObjectComparison, compare_objects
from maskwright.exporting.pixels import Pixels, pixels_of
from maskwright.exporting.triton import check_triton, write_triton
from maskwright.inference.predictor import Predictor
from maskwright.inference.quantising import check_drop
from maskwright.io.write import whole_folder, write_json
from maskwright.metrics.intervals import RESAMPLES
from maskwright.progress import Report, Stages, of_stage
from maskwright.published import is_published

CERTIFICATE = "certificate.json"
READS = "from maskwright.exporting.alone.pictures import read\n"  # in whose place the function itself stands in an export
OF_OBJECTS = (
    "boxes: (n, 4) xyxy in pixels; scores: (n); labels: (n) class ids; masks: (n, 28, 28) in [0, 1], to be resized to the box"
)
MOST_LOST_POINTS = 0.5  # of mean IoU or mask AP, by int8


@dataclass(frozen=True)
class Export:
    """What was written: the folder, the artefact's files in it, and the certificate."""

    folder: Path
    files: tuple[Path, ...]
    certificate: dict[str, Any]


def export(
    run: str | Path,
    data: Data | None = None,
    *,
    to: str,
    precision: str = "fp32",
    split: str | None = None,
    classes: str | Path | ClassMap | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    tolerance: float = MOST_LOST_POINTS,
    triton: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Stages | None = None,
) -> Export:
    """Write a trained model as an artefact of another runtime, with free sizes, its classes inside, and a certificate.

    Args:
        run: a run folder, a .safetensors file of maskwright, or a published name
        data: labelled images to certify on; default: the data that the run was trained on
        to: "onnx", "openvino" or "torch"
        precision: "fp32", "bf16" or, for OpenVINO, "int8"
        split: default: val where the data has one, else as evaluate() chooses
        classes: what the masks of the data store, where it has no classes.yaml; default: the run's classes
        out: default: RUN/exports/<to>-<precision>
        tolerance: points of mean IoU, or of mask AP, that int8 may lose, in [0, 100]; fp32 and bf16 may change 0.2 % of the
            pixels or objects, and 0.2 points of IoU or AP
        triton: also write a model repository for NVIDIA's Triton
        resamples, seed: of the bootstrap
        progress: called with (what is being done, done, all)

    Raises:
        InputError, CheckpointError, MissingExtraError: the run or the data cannot be used, the place is taken or may not be
            written, or the artefact falls short of the tolerance; then nothing is left behind.
    """
    target = target_of(to, precision)
    check_drop("--tolerance", tolerance)
    if triton:
        check_triton(to)
    exact = Predictor.load(run, device="cpu", exact=True)
    check_objects(exact, to, precision)
    place = Path(out) if out is not None else _default(Path(run), f"{to}-{precision}")
    _check_place(place, overwrite)
    dataset, pairs, chosen = _validation(run, data, exact, split, classes)
    pixels = pixels_of((dataset.read(pair).image for pair in pairs), exact.preprocess)
    with whole_folder(place, overwrite=overwrite) as folder:
        facts = _facts(exact, pixels, precision)
        program, outputs, file = traced_graph(target, run, exact, pixels, precision), outputs_of(exact), folder / target.file
        int8 = None
        if precision == "int8":
            int8 = write_int8(program, file, facts, tuple(outputs), exact, dataset, pairs, tolerance / 100, progress)
        else:
            target.write(program, file, facts, tuple(outputs), precision)
        measured = _compared(exact, target.load(file, precision), dataset, pairs, of_stage(progress, "certifying"))
        short = measured.shortfalls(precision, tolerance)
        if short:
            raise InputError(_said(run, to, precision, short, pairs))
        made = sorted(path for path in folder.iterdir() if path.is_file())
        certificate = {
            **_origin(run, exact, dataset, chosen, pairs),
            "target": to,
            "precision": precision,
            "artefact": {path.name: _sha256(path) for path in made},
            **({"int8": int8} if int8 else {}),
            **_measurements(measured, target, resamples, seed),
        }
        write_json(folder / "classes.json", facts)
        _write_example(folder, to, objects=exact.finds_objects)
        write_json(folder / CERTIFICATE, certificate)
        if triton:
            name = exact.manifest.model
            first = sorted(made, key=lambda path: path.name != target.file)
            write_triton(folder, name, to, first, pixels, outputs, images=1 if exact.finds_objects else -1)
        names = [path.name for path in made]
    return Export(place, tuple(place / name for name in names), certificate)


def _default(run: Path, name: str) -> Path:
    """RUN/exports/<name>; beside nothing that is a file or a published name."""
    return run / "exports" / name if run.is_dir() else Path("exports") / f"{run.stem}-{name}"


def _check_place(place: Path, overwrite: bool) -> None:
    if place.is_file():
        raise InputError(f"{place}: is a file; an export is a folder, choose another --out.")
    if place.is_dir() and any(place.iterdir()) and not (place / CERTIFICATE).is_file():
        raise InputError(f"{place}: holds something else than an export, which would be lost; choose another --out.")
    if place.is_dir() and any(place.iterdir()) and not overwrite:
        raise InputError(f"{place}: is already there; give --overwrite to replace it, or choose another --out.")


def _validation(
    run: str | Path, data: Data | None, exact: Predictor, split: str | None, classes: str | Path | ClassMap | None
) -> tuple[Dataset, tuple[Pair, ...], str]:
    """The data set, the labelled images to certify on, and the name of their split."""
    if data is None:
        trained_on = run_options(run).get("data")
        if not trained_on:
            raise InputError(f"{run}: does not say what it was trained on; name labelled images with --data DATA.")
        data = Path(trained_on)
    dataset, _ = open_data(data, Opening(classes=classes, objects=exact.finds_objects or None), run, exact)
    pairs, chosen, _ = choose_split(dataset, split or ("val" if "val" in dataset.splits else None))
    labelled = tuple(pair for pair in pairs if pair.labelled)
    if not labelled:
        raise InputError(f"{dataset.name}: split {chosen} has no image with a mask; a certificate needs some, see --split.")
    return dataset, labelled, chosen


def _facts(exact: Predictor, pixels: Pixels, precision: str) -> dict[str, Any]:
    """What an artefact says of itself, in its metadata and in classes.json."""
    classes = exact.classes
    rows = zip(classes.ids, classes.names, classes.colours, strict=True)
    return {
        "producer": f"maskwright {__version__}",
        "model": exact.manifest.model,
        "precision": precision,
        "input": f"image: (batch, height, width, {pixels.channels}) {pixels.dtype}, any height and width, values as stored",
        "output": OF_OBJECTS if exact.finds_objects else f"labels: (batch, height, width) {classes.dtype}, class ids",
        "channels": pixels.channels,
        "dtype": pixels.dtype,
        "value_range": list(pixels.value_range),
        "classes": [{"id": i, "name": name, "colour": list(colour)} for i, name, colour in rows],
        "weight_licence": exact.manifest.weight_licence or "",
    }


def _compared(
    exact: Predictor, answer: Answer, dataset: Dataset, pairs: tuple[Pair, ...], progress: Report
) -> PixelComparison | ObjectComparison:
    compare = compare_objects if exact.finds_objects else compare_pixels
    return compare(exact, answer, dataset, pairs, progress)


def _origin(run: str | Path, exact: Predictor, dataset: Dataset, split: str, pairs: tuple[Pair, ...]) -> dict[str, Any]:
    published = is_published(run)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": str(run),
        "model": exact.manifest.model,
        "weights_sha256": None if published else _sha256(weights_file(run)),
        "training_data_hash": exact.manifest.data_hash,
        "data": {"name": dataset.name, "hash": dataset.fingerprint(), "split": split, "images": len(pairs)},
    }


def _measurements(measured: PixelComparison | ObjectComparison, target: Target, resamples: int, seed: int) -> dict[str, Any]:
    return {
        **without_nan(measured.to_dict(resamples, seed)),
        "speed": speed(measured.before_s, measured.after_s),
        **machine(target.packages),
    }


def _said(run: str | Path, to: str, precision: str, short: list[str], pairs: tuple[Pair, ...]) -> str:
    way_out = {"int8": "Allow more with --tolerance, or take bf16.", "bf16": "Take --precision fp32."}
    return (
        f"{run}: the export to {to} in {precision} falls short on {len(pairs)} images: {'; '.join(short)}. Nothing was written. "
        f"{way_out.get(precision, 'Please report it with the run; --to another runtime may do.')}"
    )


def _write_example(folder: Path, to: str, *, objects: bool) -> None:
    name = f"objects_with_{to}.py" if objects else f"with_{to}.py"
    alone = files("maskwright.exporting.alone")
    script, pictures = (alone.joinpath(file).read_text(encoding="utf-8") for file in (name, "pictures.py"))
    read = pictures[pictures.index("\ndef read(") :]
    (folder / "predict.py").write_text(script.replace(READS, read), encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
