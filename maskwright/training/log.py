"""log.jsonl: one JSON line a measured moment of a run, and the same numbers to TensorBoard or MLflow on request."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from maskwright.errors import InputError, MissingExtraError

TRACKERS = ("tensorboard", "mlflow")


class Tracker(Protocol):
    """Somebody else's viewer of curves."""

    def write(self, row: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class RunLog:
    """Appends rows to log.jsonl; a resumed run first drops the rows that its state does not know.

    Rows hold step, epoch, loss (mean since the row before), lr, seconds, and `val` with the scores of a validation.

    Raises:
        InputError: the disk is full, or the folder is gone or may not be written.
    """

    def __init__(self, folder: Path, *, keep_bytes: int = 0, track: str | None = None) -> None:
        self.path = folder / "log.jsonl"
        with self._explained(), self.path.open("ab") as file:
            file.truncate(keep_bytes)
        self.tracker = _tracker(track, folder) if track else None

    def write(self, row: Mapping[str, Any]) -> None:
        with self._explained(), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self.tracker:
            self.tracker.write(row)

    def close(self) -> None:
        if self.tracker:
            self.tracker.close()

    def bytes(self) -> int:
        """Length of the log with all rows on disk: what a state remembers."""
        with self._explained():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
            return self.path.stat().st_size

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self.path}: the log cannot be written ({error.strerror}). What was saved is kept; set that right, then go on "
                "with --resume."
            ) from error


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's log.jsonl; [] where there is none. A last line cut short by a kill is left out."""
    path = folder / "log.jsonl"
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    flat = {k: v for k, v in row.items() if isinstance(v, (int, float)) and k != "step"}
    return flat | {f"val/{k}": v for k, v in row.get("val", {}).items() if isinstance(v, (int, float))}


def _tracker(name: str, folder: Path) -> Tracker:
    if name == "tensorboard":
        return _TensorBoard(folder)
    if name == "mlflow":
        return _MLflow(folder)
    raise InputError(f"--track {name}: known trackers are {', '.join(TRACKERS)}.")


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtraError("tensorboard", "track", "--track tensorboard") from None
        self.writer = SummaryWriter(str(folder / "tensorboard"))

    def write(self, row: Mapping[str, Any]) -> None:
        for key, value in _numbers(row).items():
            self.writer.add_scalar(key, value, row["step"])
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class _MLflow:
    def __init__(self, folder: Path) -> None:
        try:
            import mlflow
        except ImportError:
            raise MissingExtraError("mlflow", "track", "--track mlflow") from None
        self.mlflow = mlflow
        mlflow.start_run(run_name=folder.name)

    def write(self, row: Mapping[str, Any]) -> None:
        self.mlflow.log_metrics(_numbers(row), step=row["step"])

    def close(self) -> None:
        self.mlflow.end_run()
