"""What is said below the table of a comparison: how it was trained, scored and counted, one sentence each."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from maskwright.comparison.contestants import Contestant
from maskwright.comparison.ledger import Terms
from maskwright.comparison.result import MAIN, Comparison, Entrant
from maskwright.comparison.scoring_all import TIMED_IMAGES
from maskwright.data.wording import counted


def on_scoring(scored: Sequence[Entrant]) -> tuple[str, ...]:
    """What the evaluations say of themselves: once where all say it, else with the model's name before it."""
    said: dict[str, list[str]] = {}
    for one in scored:
        for note in one.evaluation.notes if one.evaluation else ():
            said.setdefault(note, []).append(one.name)
    return tuple(note if len(names) == len(scored) else f"{', '.join(names)}: {note}" for note, names in said.items())


def on_training(terms: Terms, trained: bool) -> tuple[str, ...]:
    """The budget, where there was one."""
    if not trained:
        return ()
    budget = f"{terms.minutes:g} minutes" if terms.minutes is not None else f"{terms.settings['steps']} steps"
    return (f"Trained one after the other on the same data, splits and budget: {budget} each, seed {terms.seed}.",)


def on_keeping(kept: Sequence[Contestant]) -> tuple[str, ...]:
    """What is in the table without having been named this time."""
    names = ", ".join(one.name for one in kept)
    return (f"Kept from earlier comparisons in this folder: {names}; another --out makes a table without.",) if kept else ()


def on_counting(comparison: Comparison, against_best: bool) -> tuple[str, ...]:
    """What the columns and the intervals mean."""
    scored = comparison.scored
    if not scored or scored[0].evaluation is None:
        return ()
    interval = scored[0].evaluation.intervals[MAIN]
    said = ["Class accuracy: share of its pixels found, mean over the classes; global accuracy: the same over all pixels."]
    if interval.resamples:
        over = f"{interval.units} {interval.unit}s, {interval.resamples} resamples{f'; {interval.note}' if interval.note else ''}"
        said.append(f"Intervals: {interval.level:.0%}, percentile bootstrap over {over}.")
    if interval.resamples and len(scored) > 1 and comparison.reference:
        said.append("Differences: each model minus the reference on the same resamples, so images hard for both cancel out.")
        if against_best:
            said.append("The reference is the best on these very images, which flatters it; the intervals stand each for itself.")
    if not comparison.reference:
        said.append("No differences: the model that they were to be taken to has no scores.")
    said.append(
        "In the picture: IoU of the one image, mean over the classes but the background; a class that is nowhere counts 1."
    )
    runtimes = ", ".join(dict.fromkeys(one.runtime for one in scored))
    threads = counted(torch.get_num_threads(), "thread")
    said.append(
        f"Milliseconds: from the image file to class ids at its size, one image after the other, median of up to {TIMED_IMAGES} "
        f"({runtimes}; {threads})."
    )
    return tuple(said)
