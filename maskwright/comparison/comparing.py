"""compare(): from models and runs to one table, paired intervals and one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from maskwright.checkpoint import read_manifest
from maskwright.classes import ClassMap
from maskwright.comparison.assembling import assembled
from maskwright.comparison.contestants import Contestant, contestants_of, near
from maskwright.comparison.ledger import Ledger, Terms
from maskwright.comparison.notes import on_counting, on_keeping, on_scoring, on_training
from maskwright.comparison.page import write_page
from maskwright.comparison.result import Comparison, Entrant, ranked
from maskwright.comparison.scoring_all import check_runs, score_all, with_differences
from maskwright.comparison.stopping import stoppable
from maskwright.comparison.training_all import check_all, train_all
from maskwright.data.dataset import Dataset
from maskwright.errors import InputError
from maskwright.evaluation.opening import Data, choose_split
from maskwright.io.write import write_json, write_png
from maskwright.metrics.intervals import RESAMPLES
from maskwright.recipe import Recipe, read_settings
from maskwright.training.opening import Options
from maskwright.training.opening import open_data as open_to_train

BEST, FIRST = "best", "first"


@stoppable()
def compare(
    data: Data,
    models: str | Sequence[str] = (),
    *,
    runs: str | Sequence[str | Path] = (),
    minutes: float | None = None,
    out: str | Path | None = None,
    encoder: str | None = None,
    recipe: str | Path | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    against: str = BEST,
    split: str | None = None,
    holdout: float | None = None,
    holdout_groups: Sequence[str] = (),
    fit: Sequence[str] = (),
    classes: ClassMap | Path | str | None = None,
    images: str | None = None,
    masks: str | None = None,
    group: str | None = None,
    snap: bool = False,
    skip_bad: bool = False,
    seed: int = 0,
    device: str = "auto",
    exact: bool = False,
    workers: int | None = None,
    resamples: int = RESAMPLES,
    show_progress: bool = True,
) -> Comparison:
    """Train models on the same budget, score them and finished runs on the same images, and compare them in pairs.

    A comparison that was interrupted goes on when it is asked for again: what is trained is not trained twice. On the same terms
    (data, budget, settings, seed, splits) further models and runs extend the table: what an earlier call has compared in the
    folder stays in it and is scored again, until its run is deleted. A model whose run was deleted is trained anew when it is
    named. Other terms, or another encoder for a model of the same name, make another default folder; a named one is refused.

    Args:
        data: a folder, a Dataset, or (images, masks) as two lists of arrays
        models: to train: names with arguments or settings of their own, "unet,segnet:learning_rate=0.01,unet:encoder=resnet18"
        runs: finished runs that are compared without training
        minutes: time to train each model; or give settings={"steps": ...} or a recipe with steps
        out: folder for runs, evaluations, comparison.json, .png and .html; None: comparisons/<name of the data>
        encoder: a timm encoder for the models that take one and name none
        recipe, settings: the same for all models, see train
        against: what the others' differences are taken to: "best" (mean IoU), "first", or a name
        split: to score; default: held-out if groups were held out, else test if there is one, else val, else everything
        holdout, holdout_groups, fit, classes, images, masks, group, snap, skip_bad, seed: how the data is opened, split and
            trained on, see train
        device, exact: how the models predict; workers: of the training
        resamples: of the bootstrap

    Raises:
        InputError: a name, a setting, the data or the folder cannot be used; found before anything is trained. A model that
            fails in training or scoring is no error: it is named in the comparison's `failed`.
        Interrupted: Ctrl-C or SIGTERM; the message says how to go on.
    """
    contestants, said = contestants_of(models, runs, encoder)
    to_train = [one for one in contestants if one.run is None]
    terms = Terms(
        data=_place_of(data), minutes=minutes, settings=_settings(recipe, settings), holdout=holdout,
        holdout_groups=tuple(holdout_groups), fit=tuple(fit), seed=seed, classes=classes, images=images, masks=masks, group=group,
        snap=snap, skip_bad=skip_bad,
    )  # fmt: skip
    _check_budget(to_train, terms)
    finished = [one.run for one in contestants if one.run is not None]
    for run in finished:
        if read_manifest(run).task != "semantic":
            raise InputError(f"{run}: finds objects; compare takes models that give each pixel a class. Leave it out.")
    ledger = Ledger.open(out, Path("comparisons") / _name_of(data), terms, contestants)
    kept = ledger.kept(besides=contestants)
    everyone = (*contestants, *kept)
    any_trained = any(one.run is None for one in everyone)
    try:
        _check_reference(everyone, against)
        if any_trained:
            dataset = _opened_to_train(data, terms, show=show_progress)
            check_all(to_train, dataset, terms, device)
            names = [pair.name for pair in choose_split(dataset, split)[0]]
        finished += [one.run for one in kept if one.run is not None]
        check_runs(finished, data, terms, split, names if any_trained else None)
        ledger.of_data(dataset.fingerprint() if any_trained else ledger.data)
        ledger.ask(contestants)
    except BaseException:
        if out is None:
            _remove_if_empty(ledger.folder)
        raise
    failures = train_all(to_train, data, terms, ledger, device=device, workers=workers, show=show_progress)
    entrants = score_all(
        everyone,
        failures,
        data,
        terms,
        ledger,
        split=split,
        device=device,
        exact=exact,
        resamples=resamples,
        show=show_progress,
    )
    reference = _reference(entrants, everyone, against)
    entrants = with_differences(entrants, reference, resamples)
    comparison = assembled(entrants, reference, ledger.folder, data, terms, split, device=device, exact=exact)
    counted = (*on_scoring(comparison.scored), *on_counting(comparison, against == BEST))
    return _saved(replace(comparison, notes=(*on_training(terms, any_trained), *on_keeping(kept), *said, *counted)))


def _settings(recipe: str | Path | Recipe | None, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """What all models share, the single settings over the recipe's.

    Raises:
        InputError: they name the network, which here the models do.
    """
    whole: dict[str, Any] = {}
    if isinstance(recipe, Recipe):
        whole = recipe.model_dump(mode="json", exclude_unset=True)  # as a file: what it does not name is planned
    elif recipe is not None:
        whole = read_settings(recipe)
    given = {**whole, **(settings or {})}
    if "model" in given:
        raise InputError(
            f"the settings name the network (model: {given['model']}), which a comparison takes from its list of models; leave "
            f"that line out, and model_args too where they are not every model's."
        )
    return given


def _check_reference(contestants: Sequence[Contestant], against: str) -> None:
    known = [BEST, FIRST, *(one.name for one in contestants)]
    if against not in known:
        raise InputError(f"no {against!r} to compare against; did you mean {near(against, known)}?")


def _check_budget(to_train: Sequence[Contestant], terms: Terms) -> None:
    if terms.minutes is not None and not 0 < terms.minutes < math.inf:
        raise InputError(f"minutes={terms.minutes:g} is no time to train in; give a number greater than 0.")
    if to_train and (terms.minutes is None) == ("steps" not in terms.settings):
        found = "neither" if terms.minutes is None else "both"
        raise InputError(f"every model is trained on one budget: --minutes M or --set steps=N; found {found}, give one.")
    if not to_train and terms.minutes is not None:
        raise InputError("minutes is the time to train models, but only finished runs were given; leave it out or name models.")


def _opened_to_train(data: Data, terms: Terms, *, show: bool) -> Dataset:
    """The data with its splits as every training will see it, checked once for all of them."""
    text = str(data) if isinstance(data, (str, Path)) else None
    classes = str(terms.classes) if isinstance(terms.classes, (str, Path)) else None
    options = Options(
        data=text, classes=classes, images=terms.images, masks=terms.masks, group=terms.group, snap=terms.snap,
        skip_bad=terms.skip_bad, holdout=terms.holdout, holdout_groups=terms.holdout_groups, fit=terms.fit, seed=terms.seed,
    )  # fmt: skip
    dataset, _ = open_to_train(data, options, terms.classes, checked=False, show=show)
    return dataset


def _reference(entrants: Sequence[Entrant], contestants: Sequence[Contestant], against: str) -> str:
    """Its name; "" where no model was scored, or the one that was asked for failed."""
    scored = [one for one in ranked(entrants) if one.evaluation is not None]
    wanted = contestants[0].name if against == FIRST else scored[0].name if against == BEST and scored else against
    return wanted if wanted in [one.name for one in scored] else ""


def _saved(comparison: Comparison) -> Comparison:
    """Write comparison.json, .png and .html over those of an earlier sitting, whose models are in this table too."""
    folder = comparison.folder
    if comparison.picture is not None:
        write_png(folder / "comparison.png", comparison.picture)
    else:
        (folder / "comparison.png").unlink(missing_ok=True)
    write_page(folder / "comparison.html", comparison)
    write_json(folder / "comparison.json", comparison.to_json())
    return comparison


def _place_of(data: Data) -> str:
    return str(Path(data).resolve()) if isinstance(data, (str, Path)) else _name_of(data)


def _name_of(data: Data) -> str:
    if isinstance(data, (str, Path)):
        return Path(data).resolve().name
    return data.name if isinstance(data, Dataset) else "arrays"


def _remove_if_empty(folder: Path) -> None:
    """A comparison that was refused leaves no folder behind."""
    with suppress(OSError):  # not there, or not empty: it stays
        folder.rmdir()
        folder.parent.rmdir()
