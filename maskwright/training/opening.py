"""Where a run writes and what it trains on: the run folder, the options it was started with, the data with their splits."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskwright.classes import ClassMap
from maskwright.data.check import check
from maskwright.data.dataset import Dataset, open_dataset
from maskwright.data.examine_set import check_learnable
from maskwright.data.split import INNER, as_trained
from maskwright.data.wording import counted
from maskwright.errors import CheckpointError, InputError
from maskwright.io.write import fresh_folder
from maskwright.processes import Processes
from maskwright.progress import progress, say


@dataclass(frozen=True)
class Options:
    """How the data was opened and where the weights came from: kept in the run folder, so that --resume needs no option again."""

    data: str | None
    classes: str | None = None
    images: str | None = None
    masks: str | None = None
    group: str | None = None
    snap: bool = False
    skip_bad: bool = False
    holdout: float | None = None
    holdout_groups: tuple[str, ...] = ()
    fit: tuple[str, ...] = ()
    seed: int = 0
    weight_licence: str | None = None
    task: str | None = None  # "semantic" or "instance"; None until model or data have said


def check_free(out: str | Path | None) -> None:
    """Refuse a run folder that holds something, before any work.

    Raises:
        InputError: the folder is not empty.
    """
    if out is not None and Path(out).is_dir() and any(Path(out).iterdir()):
        raise InputError(f"{out}: the run folder is not empty; choose another --out, or go on with that run by --resume.")


def new_folder(data: Any, out: str | Path | None, world: Processes) -> Path:
    """The folder to write to: made by the first process, told to the others."""
    made = str(fresh_folder(Path(out) if out is not None else Path("runs") / _name(data))) if world.first else ""
    return Path(world.share_text(made))


def folder_to_resume(data: Any, out: str | Path | None) -> Path:
    """The run that --resume means: the one named, else the newest of this data."""
    if out is not None:
        folder = Path(out)
    else:
        runs = [p.parent.parent for p in Path("runs").glob(f"{_name(data)}*/state/last.safetensors")]
        if not runs:
            raise CheckpointError(f"runs/{_name(data)}: no interrupted run to go on with; name its folder with --out.")
        folder = max(runs, key=lambda p: (p / "state" / "last.safetensors").stat().st_mtime)
    if not (folder / "state" / "last.safetensors").is_file() or not (folder / "recipe.yaml").is_file():
        raise CheckpointError(
            f"{folder}: nothing to resume there (expected recipe.yaml and state/last.safetensors); train without --resume."
        )
    return folder


def _name(data: Any) -> str:
    if isinstance(data, (str, Path)):
        return Path(data).resolve().name
    return data.name if isinstance(data, Dataset) else "arrays"


def saved_options(folder: Path, given: Options) -> Options:
    """The options that the run was started with; the data may have moved, so the given path counts."""
    try:
        saved = json.loads((folder / "state" / "options.json").read_text(encoding="utf-8"))
        groups, fit = (tuple(saved.get(key, ())) for key in ("holdout_groups", "fit"))  # JSON has no tuples
        return replace(Options(**saved), data=given.data, holdout_groups=groups, fit=fit)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder}/state/options.json: cannot be read ({error}); start a new run.") from error


def open_data(data: Any, options: Options, classes: Any, *, checked: bool, show: bool) -> tuple[Dataset, str]:
    """The data set with its splits, without pairs that cannot be trained on, and the split to validate on."""
    dataset = open_dataset(
        data,
        classes=classes if isinstance(classes, ClassMap) else options.classes,
        images=options.images,
        masks=options.masks,
        group=options.group,
        snap=options.snap,
        objects=True if options.task == "instance" else None,
    )
    if show and dataset.classes_found:
        say(f"{dataset.name}: {dataset.classes_found}")
    if options.skip_bad or not checked:
        with progress("checking", show=show) as report_step:
            report = check(dataset, progress=report_step)
        if options.skip_bad:
            dataset = dataset.without(report.bad_names)
        elif not report.ok:
            errors = [f.message for f in report.findings if f.severity == "error"]
            rest = counted(len(errors) - 1, "more error")
            more = f" ({rest}: `maskwright check` lists all, --skip-bad leaves those files out.)" if errors[1:] else ""
            raise InputError(errors[0] + more)
    dataset = as_trained(dataset, seed=options.seed, holdout=options.holdout, held_out=options.holdout_groups, fit=options.fit)
    if options.task != "semantic":
        check_learnable(dataset)
    return dataset, "val" if options.holdout is None else INNER
