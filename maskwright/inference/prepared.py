"""An int8 model that was prepared for a run: RUN/int8, beside the weights that it was made of, with what was measured.

Of a network that gives each pixel a class it is one graph, of one that finds objects three (object_parts.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from maskwright.errors import CheckpointError, InputError
from maskwright.inference.cache import build, whole
from maskwright.inference.object_parts import GRAPHS, parts_of
from maskwright.inference.quantising import Quantisation
from maskwright.inference.runtimes import on_openvino
from maskwright.inference.telemetry import openvino_core, without_telemetry

if TYPE_CHECKING:
    import openvino

    from maskwright.models.mask_rcnn.parts import Parts

FOLDER = "int8"
LABELS, REPORT_FILE = "model", "report.json"
HOW = "prepare it with: maskwright optimise RUN DATA --int8"


@dataclass(frozen=True)
class Prepared:
    """Where the model lies, and its report.

    Attributes:
        plain, channels: the kind of images it takes, see GraphLabels
        types: of a network of objects, the number type of each graph
    """

    folder: Path
    plain: bool
    channels: int
    types: dict[str, str]

    @classmethod
    def find(cls, run: Path | None, weights: str) -> Prepared:
        """The int8 model of a run folder with these weights (checkpoint.weights_hash).

        Raises:
            InputError: there is none, or it was made of other weights. CheckpointError: it is damaged.
        """
        if run is None or not (run / FOLDER).is_dir():
            raise InputError(f"{run or 'the model'}: no int8 model is there; {HOW}.")
        if not whole(run / FOLDER):
            raise CheckpointError(f"{run / FOLDER}: the int8 model is damaged; {HOW}.")
        report = json.loads((run / FOLDER / REPORT_FILE).read_text(encoding="utf-8"))
        if report["weights"] != weights:
            raise InputError(f"{run / FOLDER}: the int8 model was made of other weights than the run's present ones; {HOW}.")
        return cls(run / FOLDER, bool(report["plain"]), int(report["channels"]), dict(report.get("types", {})))

    def model(self, plain: bool, channels: int) -> openvino.Model:
        """The model, for images of its kind.

        Raises:
            InputError: the images are of another kind.
        """
        if (plain, channels) != (self.plain, self.channels):
            ours, theirs = _kind(self.plain, self.channels), _kind(plain, channels)
            raise InputError(
                f"{self.folder}: was calibrated on {ours}, this is one of {theirs}; take precision bf16 or fp32 for it."
            )
        return self._read(LABELS)

    def parts(self) -> Parts:
        """The dense parts of a network of objects, ready to run.

        Raises:
            CheckpointError: the report does not say the number type of each graph.
        """
        if set(self.types) != set(GRAPHS) or not set(self.types.values()) <= {"int8", "bf16", "fp32"}:
            raise CheckpointError(f"{self.folder}: the int8 model is damaged; {HOW}.")
        threads = torch.get_num_threads()
        return parts_of(*(on_openvino(self._read(name), self.types[name], threads=threads) for name in GRAPHS))

    def _read(self, name: str) -> openvino.Model:
        return openvino_core("precision int8").read_model(self.folder / f"{name}.xml")


def keep_prepared(
    run: Path,
    models: Mapping[str, openvino.Model],
    said: Quantisation,
    *,
    weights: str,
    plain: bool,
    channels: int,
    more: dict[str, Any],
) -> Path:
    """Write RUN/int8 whole or not at all, in place of an earlier one.

    Args:
        models: by name: LABELS, or those of object_parts.GRAPHS
        more: for the report; of a network of objects also its `types`
    """
    report = {"weights": weights, "plain": plain, "channels": channels, **said.to_dict(), **more}

    def make(folder: Path) -> None:
        for name, model in models.items():
            without_telemetry("openvino", "precision int8").save_model(model, folder / f"{name}.xml", compress_to_fp16=False)
        (folder / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

    try:
        build(run / FOLDER, make)
    except OSError as error:
        raise InputError(f"{run / FOLDER}: cannot be written ({error.strerror}); check the disk and the permissions.") from error
    return run / FOLDER


def _kind(plain: bool, channels: int) -> str:
    return f"{channels} channel{'s' if channels > 1 else ''} of {'bytes' if plain else 'scaled values'}"
