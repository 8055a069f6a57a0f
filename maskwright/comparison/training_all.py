"""Train the models of a comparison one after the other: each on the same budget, each in its own run folder."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskwright.comparison.contestants import Contestant
from maskwright.comparison.ledger import STATE, Ledger, Terms
from maskwright.data.dataset import Dataset
from maskwright.errors import InputError, Interrupted, MaskwrightError
from maskwright.evaluation.opening import Data
from maskwright.inference.backends import choose_device
from maskwright.io.write import write_text
from maskwright.progress import duration, say
from maskwright.recipe import Recipe
from maskwright.training.plan import Machine, fingerprint, plan
from maskwright.training.run import Run, train
from maskwright.training.setup import check_buildable

# What may end one model's training without ending the others': torch says all it cannot do, out of memory too, as RuntimeError.
OF_ONE_MODEL = (MaskwrightError, RuntimeError, MemoryError)
FAILURE = "failure.txt"  # in the run folder: where in the code it happened, for whoever has to find out


def check_all(contestants: Sequence[Contestant], dataset: Dataset, terms: Terms, device: str) -> None:
    """Refuse, before any time is spent, what one of the trainings would refuse: names and numbers of networks and settings.

    Raises:
        InputError: names the contestant and what is wrong.
    """
    given = terms.settings.get("channels")
    channels = Recipe().with_settings({"channels": given}, "given").channels if given is not None else None
    look, machine = fingerprint(dataset, dataset.split("train"), channels), Machine.here(choose_device(device))
    for one in contestants:
        try:
            recipe = plan(look, machine, model=one.model, encoder=one.encoder, seed=terms.seed)
            recipe = recipe.with_settings({**terms.settings, **one.settings}, "given")
            check_buildable(recipe, len(dataset.classes), trained=recipe.weights is not None)
        except InputError as error:
            raise InputError(f"{one.name}: {error}") from error


def train_all(
    contestants: Sequence[Contestant],
    data: Data,
    terms: Terms,
    ledger: Ledger,
    *,
    device: str = "auto",
    workers: int | None = None,
    show: bool = True,
) -> dict[str, str]:
    """Train those that are not trained, or whose weights somebody has deleted; go on with one that was interrupted.

    Returns:
        name -> why its training failed, for those that did

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the message says how to go on.
    """
    failures: dict[str, str] = {}
    begun = time.monotonic()
    waiting = [one for one in contestants if not ledger.is_trained(one)]
    for done, one in enumerate(waiting):
        if show:
            each = 60 * terms.minutes if terms.minutes is not None else (time.monotonic() - begun) / done if done else None
            say(_line(one, contestants, len(waiting) - done, each))
        folder = one.run_in(ledger.folder)
        if one.name in ledger.trained:  # without weights: what else is there cannot be gone on with, its training is over
            ledger.forget(one.name)
            shutil.rmtree(folder, ignore_errors=True)
        try:
            run = _train(one, data, terms, folder, device, workers, show)
        except Interrupted:
            raise Interrupted(
                f"interrupted while training {one.name}; {sum(map(ledger.is_trained, contestants))} of "
                f"{len(contestants)} models are trained, everything is kept in {ledger.folder}. Give the same command to go on."
            ) from None
        except OF_ONE_MODEL as error:
            failures[one.name] = " ".join(str(error).split()) or type(error).__name__
            write_text(folder / FAILURE, traceback.format_exc())
            if show:
                say(f"failed: {one.name}: {failures[one.name]}")
        else:
            (folder / FAILURE).unlink(missing_ok=True)
            ledger.note(one.name, steps=run.steps, minutes=round(run.minutes, 2), score=run.score, split=run.split)
    return failures


def _train(one: Contestant, data: Data, terms: Terms, folder: Path, device: str, workers: int | None, show: bool) -> Run:
    """Train from the start, or from the state that an earlier sitting has left."""
    if (folder / STATE).is_file() and (folder / "recipe.yaml").is_file():
        return train(data, out=folder, resume=True, classes=terms.classes, device=device, workers=workers, show_progress=show)
    # Left by a sitting that ended before its first state was saved: nothing in it can be gone on with.
    shutil.rmtree(folder, ignore_errors=True)
    settings: Mapping[str, Any] = {**terms.settings, **one.settings}
    return train(
        data, model=one.model, encoder=one.encoder, out=folder, settings=settings, minutes=terms.minutes, seed=terms.seed,
        holdout=terms.holdout, holdout_groups=terms.holdout_groups, fit=terms.fit, classes=terms.classes, images=terms.images,
        masks=terms.masks, group=terms.group, snap=terms.snap, skip_bad=terms.skip_bad, checked=not terms.skip_bad,
        device=device, workers=workers, show_progress=show,
    )  # fmt: skip


def _line(one: Contestant, contestants: Sequence[Contestant], left: int, each_s: float | None) -> str:
    """ "2 of 5: segnet, about 40 min 0 s of training left"."""
    time_left = "" if each_s is None else f", about {duration(each_s * left)} of training left"
    return f"{contestants.index(one) + 1} of {len(contestants)}: {one.name}{time_left}"
