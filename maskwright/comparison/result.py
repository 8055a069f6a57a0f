"""Comparison: what several models scored on the same images, with paired intervals, as a table for people and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.evaluation import Evaluation
from maskwright.metrics import Interval

MAIN = "mean_iou"
# Data-set scores of the table by their name among the evaluation's intervals; one that is not there has no column.
SCORES = {
    MAIN: "mean IoU",
    "mean_pixel_accuracy": "class accuracy",
    "pixel_accuracy": "global accuracy",
    "boundary_f1": "boundary F1",
}


@dataclass(frozen=True, eq=False)
class Entrant:
    """One model of a comparison; where it failed, only its name and why.

    Attributes:
        name: as it was given
        run: its run folder
        model: the network's name in the registry
        evaluation: its scores, None where it failed
        parameters: weights that the network learns
        runtime: what it was timed on, "cpu bf16"
        milliseconds: of one image, from the file to the class ids at full size; nan where it was not measured
        steps, minutes: of its training, None for a finished run that was given
        differences: score -> this model minus the reference, on the same resamples; empty for the reference itself
        failure: "" or why it has no scores, one sentence
    """

    name: str
    run: Path
    model: str = ""
    evaluation: Evaluation | None = None
    parameters: int = 0
    runtime: str = ""
    milliseconds: float = math.nan
    steps: int | None = None
    minutes: float | None = None
    differences: Mapping[str, Interval] = field(default_factory=dict)
    failure: str = ""

    def score(self, name: str = MAIN) -> float:
        """A data-set score; nan where the model failed or the score is not defined."""
        return self.evaluation.intervals[name].value if self.evaluation and name in self.evaluation.intervals else math.nan

    def to_json(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"name": self.name, "run": str(self.run)}
        if self.evaluation is None:
            return {**facts, "failure": self.failure}
        classes = self.evaluation.scores.classes
        facts |= {"model": self.model, "parameters": self.parameters, "runtime": self.runtime}
        facts |= {"milliseconds": self.milliseconds, "steps": self.steps, "minutes": self.minutes}
        facts["scores"] = {
            name: self.evaluation.intervals[name].to_dict() for name in SCORES if name in self.evaluation.intervals
        }
        facts["iou"] = dict(zip(classes.names, self.evaluation.scores.iou.tolist(), strict=True))
        facts["differences"] = {name: interval.to_dict() for name, interval in self.differences.items()}
        return facts


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several models on the same images.

    Attributes:
        dataset, split, images: what was scored
        entrants: the best mean IoU first, failed models last
        reference: the name of the model that the differences are taken to; "" where it failed
        notes: how it was trained and counted, one sentence each
        picture: a row an image, a column a model, (h, w, 3) uint8; None without a scored model
        shown: why an image is in the picture -> its name
        folder: where the files lie
    """

    dataset: str
    split: str
    images: int
    entrants: tuple[Entrant, ...]
    reference: str
    folder: Path
    notes: tuple[str, ...] = ()
    picture: NDArray[np.uint8] | None = None
    shown: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """No model failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Entrant, ...]:
        return tuple(one for one in self.entrants if one.evaluation is None)

    @property
    def scored(self) -> tuple[Entrant, ...]:
        """Those with scores, best mean IoU first."""
        return tuple(one for one in self.entrants if one.evaluation is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of rows()."""
        first, *rest = self._titles.values()
        leads = bool(self.scored) and self.scored[0].name == self.reference
        minus = "minus the best" if leads else f"minus {self.reference}"
        differences = (minus, "95 % paired") if self.reference else ()
        return ("model", first, "95 % interval", *differences, *rest, "parameters", "ms an image")

    def rows(self) -> list[tuple[str, ...]]:
        """The table for people; a model that failed has a row of dashes, and its reason in `lines`."""
        return [self._row(one) for one in self.entrants]

    def lines(self) -> list[str]:
        """What stands below the table: failures first, then how it was counted; one sentence each."""
        return [*(f"{one.name} failed: {one.failure}" for one in self.failed), *self.notes]

    def to_json(self) -> dict[str, Any]:
        """The table as plain numbers and texts; undefined numbers are None."""
        found: dict[str, Any] = _without_nan(
            {
                "dataset": self.dataset,
                "split": self.split,
                "images": self.images,
                "reference": self.reference,
                "models": [one.to_json() for one in self.entrants],
                "shown": dict(self.shown),
                "notes": list(self.notes),
            }
        )
        return found

    @property
    def _titles(self) -> dict[str, str]:
        """The scores that every scored model has."""
        there = [one.evaluation.intervals for one in self.scored if one.evaluation]
        return {name: title for name, title in SCORES.items() if name == MAIN or (there and all(name in i for i in there))}

    def _row(self, one: Entrant) -> tuple[str, ...]:
        if one.evaluation is None:
            return (one.name, *["-"] * (len(self.columns) - 1))
        main, difference = one.evaluation.intervals[MAIN], one.differences.get(MAIN)
        cells = [one.name, number(main.value), bounds(main)]
        if self.reference:
            cells += ["", ""] if difference is None else [number(difference.value, "+"), bounds(difference, "+")]
        cells += [number(one.score(name)) for name in self._titles if name != MAIN]
        return (*cells, f"{one.parameters / 1e6:.2f} M", number(one.milliseconds, digits=1))


def number(value: float, sign: str = "", digits: int = 4) -> str:
    """ "0.6120"; "-" where there is none."""
    return "-" if math.isnan(value) else f"{value:{sign}.{digits}f}"


def bounds(interval: Interval, sign: str = "") -> str:
    """ "[0.5911, 0.6320]"; in brackets why there is none."""
    if interval.low is None or interval.high is None:
        return f"({interval.note})"
    return f"[{interval.low:{sign}.4f}, {interval.high:{sign}.4f}]"


def ranked(entrants: Sequence[Entrant]) -> tuple[Entrant, ...]:
    """The highest mean IoU first, then those without one in the order given."""
    return tuple(sorted(entrants, key=lambda one: (one.evaluation is None, math.isnan(one.score()), -_number(one.score()))))


def verdicts(comparison: Comparison) -> Iterator[str]:
    """What the paired intervals say of each model against the reference, one sentence each."""
    for one in comparison.scored:
        difference = one.differences.get(MAIN)
        if difference is None or difference.low is None or difference.high is None:
            continue
        says = "better" if difference.low > 0 else "worse" if difference.high < 0 else "not told apart, the interval holds 0"
        yield f"{one.name} minus {comparison.reference}: {number(difference.value, '+')} {bounds(difference, '+')}: {says}."


def _number(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _without_nan(given: Any) -> Any:
    """The same with None for NaN, which JSON cannot hold."""
    if isinstance(given, dict):
        return {key: _without_nan(value) for key, value in given.items()}
    if isinstance(given, list):
        return [_without_nan(value) for value in given]
    return None if isinstance(given, float) and math.isnan(given) else given
