"""Score the models of a comparison on the same images, time them, and take their differences on the same resamples."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskwright.comparison.contestants import Contestant
from maskwright.comparison.ledger import Ledger, Terms
from maskwright.comparison.result import Entrant
from maskwright.comparison.training_all import OF_ONE_MODEL
from maskwright.data.dataset import Dataset, Pair, Source
from maskwright.errors import InputError, Interrupted
from maskwright.evaluation import Evaluation, evaluate
from maskwright.evaluation.opening import Data, Opening, choose_split, open_data, predictor_of
from maskwright.inference.predictor import Predictor
from maskwright.metrics import Interval, paired_difference, score_statistics
from maskwright.metrics.intervals import Statistics
from maskwright.progress import progress, say

TIMED_IMAGES = 20
TIMED_SECONDS = 20.0  # no model is timed longer
COMPARED = (
    "mean_iou",
    "mean_pixel_accuracy",
    "pixel_accuracy",
    "boundary_f1",
    "mean_iou_no_background",
    "mean_image_iou",
    "mean_image_dice",
)


def opened(run: Path, data: Data, terms: Terms, split: str | None) -> tuple[Dataset, tuple[Pair, ...]]:
    """The data as evaluate() opens it for this run, and the pairs that it scores.

    Raises:
        InputError, CheckpointError: the run cannot be scored on this data; the message says why.
    """
    predictor = predictor_of(run, device="cpu")
    if predictor is None:
        raise InputError(f"{run}: no run folder and no weights file of maskwright; finished runs are what train has written.")
    how = Opening(terms.classes, terms.images, terms.masks, terms.group, terms.snap, terms.holdout_groups)
    dataset, _ = open_data(data, how, run, predictor)
    return dataset, choose_split(dataset, split)[0]


def check_runs(runs: Sequence[Path], data: Data, terms: Terms, split: str | None, names: Sequence[str] | None) -> None:
    """Refuse, before anything is trained, finished runs that would be scored on other images than the rest.

    Args:
        names: of the images on which the models that are yet to be trained will be scored, or None without such models

    Raises:
        InputError: see opened; or the images differ, which makes a paired comparison impossible.
    """
    for run in runs:
        own = [pair.name for pair in opened(run, data, terms, split)[1]]
        if names is not None and own != list(names):
            raise InputError(
                f"{run}: would be scored on {len(own)} images that are not the {len(names)} of the others (it drew its own "
                f"split); name with --split one that the data itself has, or choose another --out."
            )
        names = own


def score_all(
    contestants: Sequence[Contestant],
    failures: Mapping[str, str],
    data: Data,
    terms: Terms,
    ledger: Ledger,
    *,
    split: str | None,
    device: str,
    exact: bool,
    resamples: int,
    show: bool,
) -> list[Entrant]:
    """Every contestant with its evaluation, or with why it has none, in the order given.

    Raises:
        Interrupted: Ctrl-C or, inside stopping.stoppable, SIGTERM; the message says how to go on.
    """
    entrants: list[Entrant] = []
    for number, one in enumerate(contestants, start=1):
        run = one.run_in(ledger.folder)
        facts = ledger.trained.get(one.name, {}) if one.run is None else {}
        entrant = Entrant(one.name, run, one.model, steps=facts.get("steps"), minutes=facts.get("minutes"))
        if one.name in failures:
            entrants.append(replace(entrant, failure=failures[one.name]))
            continue
        try:
            with progress(f"scoring {one.name} ({number} of {len(contestants)})", show=show) as step:
                found = evaluate(
                    run, data, split=split, classes=terms.classes, images=terms.images, masks=terms.masks, group=terms.group,
                    holdout_groups=terms.holdout_groups, snap=terms.snap, device=device, exact=exact, resamples=resamples,
                    progress=step, out=ledger.folder / "evaluations" / f"{one.folder_name}.json", overwrite=True,
                )  # fmt: skip
            assert isinstance(found, Evaluation)  # of models of classes alone, see comparing.compare
            _same_images(found, next((e for e in entrants if e.evaluation), None))
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted while scoring {one.name}; all runs are kept in {ledger.folder}. Give the same command to go on."
            ) from None
        except OF_ONE_MODEL as error:
            entrants.append(replace(entrant, failure=" ".join(str(error).split())))
            if show:
                say(f"failed: {one.name}: {entrants[-1].failure}")
        else:
            entrants.append(replace(entrant, evaluation=found))
    return entrants


def _same_images(found: Evaluation, other: Entrant | None) -> None:
    if other is None or other.evaluation is None:
        return
    first = other.evaluation
    if [s.name for s in found.per_image] != [s.name for s in first.per_image]:
        raise InputError(f"it was scored on other images than {other.name}, so they make no pairs.")
    if found.scores.classes.names != first.scores.classes.names:
        raise InputError(
            f"its classes are not those of {other.name}: {found.scores.classes.names}, {first.scores.classes.names}."
        )


def with_differences(entrants: Sequence[Entrant], reference: str, resamples: int) -> list[Entrant]:
    """The entrants with their paired intervals: each minus the reference, both on the very same resamples of the images."""
    base = next((e.evaluation for e in entrants if e.name == reference), None)
    return [
        replace(e, differences=differences(base, e.evaluation, resamples)) if base and e.evaluation and e.name != reference else e
        for e in entrants
    ]


def differences(first: Evaluation, second: Evaluation, resamples: int) -> dict[str, Interval]:
    """second - first for each score of COMPARED; see metrics.paired_difference. Both have scored the same images."""
    found = paired_difference(_computed(first), _computed(second), [s.group for s in first.per_image], resamples=resamples)
    return {name: found[name] for name in COMPARED if name in found}


def _computed(evaluation: Evaluation) -> Statistics:
    """All its scores as a function of how often each image counts."""
    scores = evaluation.per_image
    outlines = [s.boundary for s in scores if s.boundary is not None]
    boundary = np.stack(outlines) if len(outlines) == len(scores) else None
    return score_statistics(np.stack([s.tally for s in scores]), evaluation.scores.classes, boundary)


def milliseconds(predictor: Predictor, sources: Sequence[Source]) -> float:
    """Median time of one image, from its file to class ids at its own size, one at a time, after one that is not counted."""
    predictor(sources[0])
    times, begun = [], time.monotonic()
    for source in sources:
        start = time.perf_counter()
        predictor(source)
        times.append(time.perf_counter() - start)
        if time.monotonic() - begun > TIMED_SECONDS:
            break
    return 1000 * statistics.median(times)


def timed_sources(pairs: Sequence[Pair]) -> list[Source]:
    """Up to TIMED_IMAGES images, evenly from the pairs."""
    return [pairs[k].image for k in np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), TIMED_IMAGES)).astype(int))]
