"""What is scored on what: a run, a folder or arrays as predictions; the data, its split, and whether training saw it.

Images that a model was fitted to must not be scored unnoticed. Where the data has no split of its own, a run is scored on the
part that it did not train on, drawn again as training drew it; what cannot be excluded is said in a note.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from maskwright.checkpoint import WEIGHTS_FILE
from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, Pair, open_dataset
from maskwright.data.split import HELD_OUT, as_trained, hold_out
from maskwright.errors import InputError
from maskwright.evaluation.object_predictions import FILES
from maskwright.inference.predictor import Predictor
from maskwright.instances import Instances
from maskwright.published import is_published

Arrays = tuple[Sequence[Any], Sequence[Any]]
Data = str | Path | Dataset | Arrays
Given = str | Path | Predictor | Sequence[NDArray[Any]] | Sequence[Instances]

OPTIONS_FILE = Path("state") / "options.json"  # how train() opened its data


UNKNOWN_DATA = "Whether the model was trained on some of these images is not known: none of them may be, for an honest score."


@dataclass(frozen=True)
class Opening:
    """How the data is to be opened; None: as the run did where it is the run's data, else as found."""

    classes: ClassMap | Path | str | None = None
    images: str | None = None
    masks: str | None = None
    group: str | None = None
    snap: bool = False
    holdout_groups: Sequence[str] = ()
    objects: bool | None = None


def predictor_of(given: Given, **settings: Any) -> Predictor | None:
    """The model, where the predictions are to come from one; None for folders of masks, files of objects and arrays.

    Raises:
        InputError: there is nothing at the path. CheckpointError: see load_checkpoint.
    """
    if isinstance(given, Predictor):
        return given
    if not isinstance(given, (str, Path)):
        return None
    path = Path(given)
    if is_published(path):
        return Predictor.load(path, **settings)
    if not path.exists():
        raise InputError(f"{path}: no such run folder, weights file or folder of masks, nor a file of objects.")
    if path.suffix.lower() in FILES or (path.is_dir() and not (path / WEIGHTS_FILE).is_file()):
        return None
    return Predictor.load(path, **settings)


def open_data(data: Data, how: Opening, given: Given, predictor: Predictor | None) -> tuple[Dataset, tuple[str, ...]]:
    """The data set, with the run's own split where it is the run's own data, and notes on what training saw of it.

    Raises:
        InputError: see open_dataset; or the model's classes are not the data's.
    """
    if predictor is None:
        dataset = open_dataset(
            data,
            classes=how.classes,
            images=how.images,
            masks=how.masks,
            group=how.group,
            snap=how.snap,
            objects=how.objects,
        )
        said = (f"Classes: {dataset.classes_found}.",) if dataset.classes_found else ()
        return (hold_out(dataset, how.holdout_groups) if how.holdout_groups else dataset), said
    options = run_options(given)
    classes = how.classes
    if classes is None and not _has_classes(data):
        # Found in the masks of a few images, classes could be fewer than the model knows, or be named otherwise.
        classes = predictor.classes
        _check_ignored(data, how, predictor.classes)

    def opened(defaults: Mapping[str, Any]) -> Dataset:
        return open_dataset(
            data,
            classes=classes,
            images=how.images or defaults.get("images"),
            masks=how.masks or defaults.get("masks"),
            group=how.group or defaults.get("group"),
            snap=how.snap or bool(defaults.get("snap")),
            objects=how.objects,
        )

    same = _same_path(data, options)
    dataset = opened(options if same else {})
    _check_classes(dataset.classes, predictor.classes)
    if not same and predictor.manifest.data_hash == dataset.fingerprint():  # the run's data in another place
        same, dataset = True, opened(options)
    groups = tuple(how.holdout_groups or (options.get("holdout_groups", ()) if same else ()))
    seen = _not_held_out(groups, options)
    splits = set(dataset.splits)
    if not same or not options or not splits & {"train", "all"}:
        dataset = hold_out(dataset, groups) if groups else dataset
        if same and not options:
            return dataset, (*seen, "The model was trained on this very data: images it was fitted to are among those scored.")
        return dataset, seen if splits & {"train", "test"} else (*seen, UNKNOWN_DATA)
    fit = tuple(options.get("fit", ()))
    dataset = as_trained(dataset, seed=options["seed"], holdout=options.get("holdout"), held_out=groups, fit=fit)
    drawn = (
        () if {"train", "val"} <= splits and not fit else (f"The split is the one that the run drew, seed {options['seed']}.",)
    )
    return dataset, (*seen, *drawn)


def choose_split(
    dataset: Dataset, split: str | None, chosen_by: str | None = None
) -> tuple[tuple[Pair, ...], str, tuple[str, ...]]:
    """The pairs to score, the name of their split, and notes: held-out if it is there, else test, else val, else everything.

    Args:
        chosen_by: the split that chose the model's weights, where that is known

    Raises:
        InputError: there is no split of that name.
    """
    have = dataset.splits
    chosen = split or next((s for s in (HELD_OUT, "test", "val") if s in have), "all")
    pairs = dataset.split(chosen)
    notes = [f"Scored: {len(pairs)} images, {f'split {chosen}' if chosen != 'all' or split else 'all there are'}."]
    if split is None and chosen == "val" and chosen_by in (None, "val"):
        notes.append("There is no test split; by val a training may have chosen its weights, which flatters.")
    fitted = sum(p.split == "train" for p in pairs)
    if fitted:
        notes.append(
            f"{fitted} of them are of the split train: scores on images that a model was fitted to say little about new ones."
        )
    return pairs, chosen, tuple(notes)


def run_options(given: Given) -> dict[str, Any]:
    """How the run opened its data; empty where that is not known."""
    if not isinstance(given, (str, Path)):
        return {}
    path = Path(given)
    file = (path if path.is_dir() else path.parent) / OPTIONS_FILE
    try:
        options = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file}: cannot be read ({error}), so what the run was trained on is not known; restore or delete it."
        ) from error
    if not isinstance(options, dict) or not {"data", "seed", "holdout"} <= set(options):
        raise InputError(f"{file}: expected the options of a training run, with data, seed and holdout; restore or delete it.")
    return options


def _same_path(data: Data, options: Mapping[str, Any]) -> bool:
    root = data.root if isinstance(data, Dataset) else Path(data) if isinstance(data, (str, Path)) else None
    return root is not None and bool(options.get("data")) and Path(options["data"]).resolve() == root.resolve()


def _has_classes(data: Data) -> bool:
    """Whether the data says itself what its classes are."""
    if isinstance(data, Dataset):
        return not data.classes_found
    return isinstance(data, (str, Path)) and any((Path(data) / name).is_file() for name in ("classes.yaml", "classes.yml"))


def _not_held_out(groups: Sequence[str], options: Mapping[str, Any]) -> tuple[str, ...]:
    """A note if the run may have been fitted to groups that are to be scored."""
    fitted = [g for g in groups if g not in options.get("holdout_groups", ())]
    return (
        (f"The run did not hold out {', '.join(fitted)}: it may have been fitted to the images scored here.",) if fitted else ()
    )


def _check_ignored(data: Data, how: Opening, model: ClassMap) -> None:
    """Refuse masks that store as a class what the model's class map would silently leave out of the score (255, often)."""
    try:
        own = open_dataset(data, images=how.images, masks=how.masks, snap=how.snap, objects=how.objects).classes
    except InputError:
        return  # what the masks hold makes no class map of its own; the model's is tried
    lost = [value for values in own.values for value in values if value in model.ignore_values]
    if lost:
        raise InputError(
            f"{data}: the masks store {lost} for a class, which the model's class map leaves out as ignored; "
            f"say with --classes what the files store for each class (RUN/classes.yaml is the form)."
        )


def _check_classes(data: ClassMap, model: ClassMap) -> None:
    theirs, ours = (dict(zip(c.ids, c.names, strict=True)) for c in (data, model))
    if theirs != ours:
        raise InputError(
            f"the data has the classes {theirs}, the model {ours}; they must be alike. Give the run's own with "
            f"--classes RUN/classes.yaml, with the values that the mask files store."
        )


def described(given: Given, predictor: Predictor | None) -> str:
    """Whose predictions, for people: the path, and the runtime of a model."""
    name = str(given) if isinstance(given, (str, Path)) else "a loaded model" if predictor else "arrays"
    return f"{name} ({predictor.runtime})" if predictor else name
