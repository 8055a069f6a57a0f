"""An int8 model that was prepared for a run: RUN/int8, beside the weights that it was made of, with what was measured.

Of a network that gives each pixel a class it is the network alone, without what is done to an image before and after it, so that
it serves every kind of image, tiles and probabilities; of one that finds objects its three dense parts (object_parts.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskwright.errors import CheckpointError, InputError
from maskwright.inference.cache import build, whole
from maskwright.inference.conversions import save_openvino_model
from maskwright.inference.machine import thread_count
from maskwright.inference.runtimes import on_openvino
from maskwright.inference.telemetry import openvino_core

if TYPE_CHECKING:
    import openvino

    from maskwright.inference.quantising import Quantisation
    from maskwright.models.mask_rcnn.parts import Parts

FOLDER = "int8"
NETWORK, REPORT_FILE = "network", "report.json"
HOW = "prepare it with: maskwright optimise RUN DATA --int8"


@dataclass(frozen=True)
class Prepared:
    """Where the model lies, and its report.

    Attributes:
        types: of a network of objects, the number type of each graph
    """

    folder: Path
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
        if "plain" in report and not report.get("types"):
            raise InputError(f"{run / FOLDER}: the int8 model was made by an earlier version; {HOW}.")
        return cls(run / FOLDER, dict(report.get("types", {})))

    def network(self) -> openvino.Model:
        """Of a network that gives each pixel a class: (B, C, h, w) as Preprocess makes them to logits (B, K, h, w)."""
        return self._read(NETWORK)

    def parts(self) -> Parts:
        """The dense parts of a network of objects, ready to run.

        Raises:
            CheckpointError: the report does not say the number type of each graph.
        """
        from maskwright.inference.object_parts import GRAPHS, parts_of

        if set(self.types) != set(GRAPHS) or not set(self.types.values()) <= {"int8", "bf16", "fp32"}:
            raise CheckpointError(f"{self.folder}: the int8 model is damaged; {HOW}.")
        threads = thread_count()
        return parts_of(*(on_openvino(self._read(name), self.types[name], threads=threads) for name in GRAPHS))

    def _read(self, name: str) -> openvino.Model:
        return openvino_core("precision int8").read_model(self.folder / f"{name}.xml")


def keep_prepared(
    run: Path,
    models: Mapping[str, openvino.Model],
    said: Quantisation,
    *,
    weights: str,
    more: dict[str, Any],
) -> Path:
    """Write RUN/int8 whole or not at all, in place of an earlier one.

    Args:
        models: by name: NETWORK, or those of object_parts.GRAPHS
        more: for the report; of a network of objects also its `types`
    """
    report = {"weights": weights, **said.to_dict(), **more}

    def make(folder: Path) -> None:
        for name, model in models.items():
            save_openvino_model(model, folder / f"{name}.xml")
        (folder / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

    try:
        build(run / FOLDER, make)
    except OSError as error:
        raise InputError(f"{run / FOLDER}: cannot be written ({error.strerror}); check the disk and the permissions.") from error
    return run / FOLDER
