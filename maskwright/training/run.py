"""train(): from labelled images to a run folder that predict and evaluate can use.

A run folder holds recipe.yaml (every setting with its reason), classes.yaml, model.safetensors and manifest.json (the best
averaged weights so far), probes/ (validation images that runtimes are measured on), log.jsonl, and state/ (the last step, for
--resume).
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from maskwright import losses, models
from maskwright.checkpoint import Manifest, load_checkpoint, save_checkpoint
from maskwright.classes import ClassMap
from maskwright.data.dataset import Dataset, Pair
from maskwright.data.loader import PreparedPairs, Targets, training_batches
from maskwright.errors import InputError
from maskwright.inference.agreement import refusals
from maskwright.inference.backends import choose_device
from maskwright.inference.freed import reusing_memory
from maskwright.io.write import write_json, write_text
from maskwright.processes import Processes, processes
from maskwright.progress import progress, say
from maskwright.recipe import Recipe, read_settings
from maskwright.training.log import TRACKERS, RunLog
from maskwright.training.loop import fit
from maskwright.training.measure import Learner, choose_computation, run_steps, steps_in
from maskwright.training.opening import Options, check_free, folder_to_resume, new_folder, open_data, saved_options
from maskwright.training.plan import Machine, fingerprint, looks_in, plan, scheduled, validations_in
from maskwright.training.reporter import Reporter
from maskwright.training.setup import Parent, check_buildable, make_learner, with_weights
from maskwright.training.state import Progress, load_state
from maskwright.training.stopping import interruptible, stop_signals
from maskwright.training.validate import keep_probes, validate, with_runtimes
from maskwright.training.watch import Watch
from maskwright.transforms import Preprocess
from maskwright.transforms.augmentation import augmenter

Arrays = tuple[Sequence[NDArray[Any]], Sequence[NDArray[Any]]]
MEASURING_SHARE = 0.1  # of the time that training took, for measuring the runtimes


@dataclass(frozen=True)
class Run:
    """What train() gives back.

    Attributes:
        folder: the run folder; maskwright.load(folder) is the model
        score: of the saved weights on the validation images, in [0, 1]; score_name says which: "Dice" (mean over classes
            without background), or "mask AP" where objects are found
        steps: optimizer steps done; planned: steps that the recipe names (more, where it stopped early)
        minutes: time spent in all sittings
        split: the images it was validated on: "val", or "inner" with a holdout
    """

    folder: Path
    score: float
    steps: int
    planned: int
    minutes: float
    split: str
    score_name: str = "Dice"


@reusing_memory()
def train(
    data: str | Path | Dataset | Arrays,
    *,
    model: str | None = None,
    encoder: str | None = None,
    weights: str | None = None,
    out: str | Path | None = None,
    recipe: str | Path | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    minutes: float | None = None,
    resume: bool = False,
    from_run: str | Path | None = None,
    classes: str | Path | ClassMap | None = None,
    images: str | None = None,
    masks: str | None = None,
    group: str | None = None,
    snap: bool = False,
    skip_bad: bool = False,
    checked: bool = False,
    holdout: float | None = None,
    holdout_groups: Sequence[str] = (),
    fit: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    track: str | None = None,
    show_progress: bool = True,
) -> Run:
    """Train a segmentation model on labelled images and write a run folder.

    Args:
        data: a folder (see docs: layouts), a Dataset, or (images, masks) as two lists of arrays
        model, encoder, weights: the network, a timm encoder for it, and weights to start from (a file or a
            published name, see models/weight_sources.py); None lets the planner choose
        out: run folder; None makes runs/<name of the data>
        recipe: a recipe file or Recipe laid over the planned one; settings: single values laid over both
        minutes: time to train in all, preparation and validation included; None takes the recipe's steps
        resume: go on with an interrupted run in `out` (or the newest runs/<name>*) to the same bits as if it had not stopped
        from_run: start from the weights of an earlier run, also with other classes
        skip_bad: leave out the pairs in which the mask doctor finds errors instead of stopping; checked: it has run already
        holdout: validate on this share of the train split and leave the val split untouched
        fit: splits to fit to, all together, instead of train alone: ("train", "val") leaves nothing of the two unused but the
            images to choose by (see `holdout`)
        holdout_groups: neither fit to nor choose by the images of these groups (see `group`): they become the split held-out
        device: "auto", "cpu", "cuda" or "mps"; workers: loader processes, None for one
        track: also log to "tensorboard" or "mlflow"

    Raises:
        InputError: the data or a setting cannot be used, or the loss is not finite.
        CheckpointError: nothing to resume, or the data has changed since.
        Interrupted: Ctrl-C or SIGTERM; the state is saved and the message says how to go on.
    """
    start = time.monotonic()
    _check_arguments(minutes, workers, seed, track)
    given = {"--model": model, "--encoder": encoder, "--weights": weights, "--recipe": recipe, "--set": settings}
    if resume:
        _none_of(
            {**given, "--minutes": minutes, "--from": from_run, "--fit": fit}
            | {"--holdout": holdout, "--holdout-group": holdout_groups},
            "--resume goes on with the run's own settings",
        )
    elif from_run is not None:
        _none_of({k: given[k] for k in ("--encoder", "--weights")}, "--from takes the network of the earlier run")
    options = Options(
        data=str(data) if isinstance(data, (str, Path)) else None,
        classes=str(classes) if isinstance(classes, (str, Path)) else None,
        images=images, masks=masks, group=group, snap=snap, skip_bad=skip_bad, holdout=holdout,
        holdout_groups=tuple(holdout_groups), fit=tuple(fit), seed=seed,
    )  # fmt: skip
    with interruptible(options.data) as begun, processes() as world:
        show = show_progress and world.first
        target = choose_device(world.device(device))
        workers = workers if workers is not None else 1
        if resume:
            folder = begun.folder = folder_to_resume(data, out)
            options = saved_options(folder, options)
            dataset, split = open_data(data, options, classes, checked=True, show=show)
            sitting = _Sitting(folder, dataset, split, target, world, options, workers, None, show)
            return sitting.go(Recipe.load(folder / "recipe.yaml"), start, resume=True, track=track)
        check_free(out)
        parent = Parent.load(from_run) if from_run is not None else None
        overlay = {**_overlay(recipe), **({"weights": weights} if weights else {}), **(settings or {})}
        options = replace(options, task=_task(overlay, model, parent))
        dataset, split = open_data(data, options, classes, checked=checked, show=show)
        if options.task is None and dataset.annotations is not None:
            model = "mask_rcnn"  # the truth tells objects apart: that is what is learned unless a model says otherwise
        options = replace(options, task=options.task or ("semantic" if dataset.annotations is None else "instance"))
        chosen = _planned(dataset, target, model, encoder, seed, parent, overlay)
        check_buildable(chosen, len(dataset.classes), trained=parent is not None or chosen.weights is not None)
        if parent is not None:
            options = replace(options, weight_licence=parent.manifest.weight_licence)
        elif chosen.weights is not None:
            chosen, licence = with_weights(chosen, len(dataset.classes), keep=overlay)
            options = replace(options, weight_licence=licence)
        folder = begun.folder = new_folder(data, out, world)
        sitting = _Sitting(folder, dataset, split, target, world, options, workers, parent, show)
        return sitting.go(chosen, start, minutes=minutes, fixed=set(overlay), track=track)


def _check_arguments(minutes: float | None, workers: int | None, seed: int, track: str | None) -> None:
    if minutes is not None and not 0 < minutes < math.inf:
        raise InputError(f"minutes={minutes:g} is no time to train in; give a number greater than 0.")
    if workers is not None and workers < 0:
        raise InputError(f"workers={workers} cannot be; 0 prepares batches in the training process itself.")
    if seed < 0:
        raise InputError(f"seed={seed} cannot be; give a whole number of 0 or more.")
    if track is not None and track not in TRACKERS:
        raise InputError(f"--track {track}: known trackers are {', '.join(TRACKERS)}.")


def _none_of(given: Mapping[str, Any], reason: str) -> None:
    named = [option for option, value in given.items() if value]
    if named:
        raise InputError(
            f"{reason}, so {', '.join(named)} cannot be given with it; leave {'it' if len(named) == 1 else 'them'} out."
        )


@dataclass
class _Sitting:
    """One sitting of a run: what train() has settled before the first step."""

    folder: Path
    dataset: Dataset
    split: str
    device: torch.device
    world: Processes
    options: Options
    workers: int
    parent: Parent | None
    show: bool

    def go(
        self,
        recipe: Recipe,
        start: float,
        *,
        minutes: float | None = None,
        fixed: Collection[str] = (),
        resume: bool = False,
        track: str | None = None,
    ) -> Run:
        train_pairs, val_pairs = self.dataset.split("train"), self.dataset.split(self.split)
        data_hash = self.dataset.fingerprint()
        with progress("preparing", show=self.show) as step:
            memory_bytes = Machine.here(torch.device("cpu")).memory_bytes // 4
            prepared = PreparedPairs(
                self.dataset,
                train_pairs,
                _preprocess(recipe),
                memory_bytes=memory_bytes,
                objects=self.options.task == "instance",
                progress=step,
            )
        if not resume:
            if self.world.first:
                if self.show:
                    say("measuring a training step on this machine")
                recipe = self._measured(recipe, prepared, val_pairs, start, minutes, fixed)
                write_text(self.folder / "classes.yaml", self.dataset.classes.to_yaml())
                write_json(self.folder / "state" / "options.json", asdict(self.options))
                write_text(self.folder / "recipe.yaml", recipe.to_yaml())
            # Settings are rounded by their text; everybody, a later resume too, trains with what the file says.
            self.world.share_text("written")
            recipe = Recipe.load(self.folder / "recipe.yaml")
        # A resumed run has its weights in its state; the file that they once came from may be gone.
        drawn = recipe.model_copy(update={"weights": None}) if resume else recipe
        learner = make_learner(
            drawn, self.dataset.classes, self.device, class_weights=self._weights(recipe, prepared), parent=self.parent
        )
        manifest = self._manifest(recipe, data_hash)
        at = self._load(learner, data_hash) if resume else Progress()
        self._fit(recipe, learner, manifest, at, prepared, val_pairs, track)
        return self._finish(recipe, at, val_pairs)

    def _fit(
        self,
        recipe: Recipe,
        learner: Learner,
        manifest: Manifest,
        at: Progress,
        prepared: PreparedPairs,
        val_pairs: Sequence[Pair],
        track: str | None,
    ) -> None:
        """The steps of this sitting, watched."""
        log = RunLog(self.folder, keep_bytes=at.log_bytes, track=track) if self.world.first else None
        with (
            closing(log) if log else nullcontext(),
            Reporter(recipe.steps, at.step, show=self.show) as reporter,
            stop_signals() as stopped,
        ):
            reporter.say(
                f"{self.folder}: {recipe.model}, {len(prepared)} images to fit, {len(val_pairs)} to validate ({self.split}), "
                f"{recipe.steps} steps of {recipe.batch}, {recipe.precision}{', channels_last' if recipe.channels_last else ''}"
            )
            watch = Watch(
                folder=self.folder,
                dataset=self.dataset,
                split=self.split,
                device=self.device,
                world=self.world,
                learner=learner,
                recipe=recipe,
                manifest=manifest,
                val_pairs=val_pairs,
                log=log,
                reporter=reporter,
                progress=at,
                stopped=stopped,
                clock=time.monotonic(),
            )
            if watch.over():
                return
            batches = training_batches(
                prepared,
                augmenter(recipe.patch_hw, recipe.augmentation()),
                batch=recipe.batch,
                first_step=at.step,
                stop_step=recipe.steps,
                seed=recipe.seed,
                workers=self.workers,
                copy_paste=recipe.augmentation().copy_paste,
                rank=self.world.rank,
                processes=self.world.count,
            )
            net = self._shared(learner.net)
            with closing(batches):
                fit(net, learner.loss, learner.optimizer, learner.average, batches, recipe, at, watch.after_step)

    def _shared(self, net: nn.Module) -> nn.Module:
        """The network as several processes train it: gradients averaged, batch norm over all of them where torch can."""
        if self.world.count == 1:
            return net
        if self.device.type != "cuda":  # torch synchronises batch norm on GPUs only
            return DistributedDataParallel(net)
        synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(synchronised, device_ids=[self.device.index])

    def _measured(
        self,
        recipe: Recipe,
        prepared: PreparedPairs,
        val_pairs: Sequence[Pair],
        start: float,
        minutes: float | None,
        fixed: Collection[str],
    ) -> Recipe:
        """The recipe with precision and layout chosen by measurement, and with the steps that fit into the user's minutes."""

        def make(tried: Recipe) -> Learner:
            return make_learner(tried, self.dataset.classes, self.device, parent=self.parent)

        def batches(stop: int, workers: int) -> Generator[tuple[Tensor, Targets]]:
            augment = augmenter(recipe.patch_hw, recipe.augmentation())
            return training_batches(
                prepared,
                augment,
                batch=recipe.batch,
                first_step=0,
                stop_step=stop,
                seed=recipe.seed,
                workers=workers,
                copy_paste=recipe.augmentation().copy_paste,
            )

        recipe = choose_computation(recipe, make, next(batches(1, 0)), self.device)
        if minutes is None or "steps" in fixed:
            return recipe
        # The median over a fiftieth of the time: a machine that is busy for a moment must not shorten the whole run.
        with closing(batches(10**6, self.workers)) as endless:
            timed, _ = run_steps(recipe, make, endless, seconds_least=minutes * 60 / 50)
        step = statistics.median(timed[2:])
        began = time.monotonic()
        learner = make(recipe)
        probe = val_pairs[:8]
        validate(learner.average.net, self._manifest(recipe, ""), self.dataset, probe, self.device)
        validation = (time.monotonic() - began) / len(probe) * len(val_pairs)
        looks = looks_in(minutes, validation)
        steps = steps_in(
            minutes,
            spent=time.monotonic() - start,
            step=step,
            validation=validation,
            validations=partial(validations_in, looks=looks),
        )
        reason = f"{minutes:g} minutes at {step * 1000:.0f} ms a step, measured here"
        return scheduled(recipe, steps, reason, keep=fixed, looks=looks)

    def _weights(self, recipe: Recipe, prepared: PreparedPairs) -> Tensor | None:
        if recipe.class_weights == "none":
            return None
        pixels, around = prepared.class_counts(len(self.dataset.classes))
        return losses.class_weights(pixels, around, kind=recipe.class_weights)

    def _manifest(self, recipe: Recipe, data_hash: str) -> Manifest:
        return Manifest(
            task="instance" if self.options.task == "instance" else "semantic",
            model=recipe.model,
            model_args=recipe.model_args,
            classes=self.dataset.classes.to_dict(),
            preprocess=_preprocess(recipe).to_dict(),
            recipe=recipe.model_dump(mode="json"),
            data_hash=data_hash,
            weight_licence=self.options.weight_licence,
            precision="bf16" if recipe.precision == "bf16" else "fp32",
        )

    def _load(self, learner: Learner, data_hash: str) -> Progress:
        return load_state(
            self.folder / "state" / "last.safetensors",
            net=learner.net,
            average=learner.average.net,
            optimizer=learner.optimizer,
            data_hash=data_hash,
        )

    def _finish(self, recipe: Recipe, at: Progress, val_pairs: Sequence[Pair]) -> Run:
        """Measure on the best weights how prediction may run, and write that into the checkpoint."""
        if self.world.first:
            best, saved = load_checkpoint(self.folder)
            probes = keep_probes(self.folder, self.dataset, val_pairs)
            if self.show:
                say("measuring the runtimes of this machine on validation images")
            final, measured = with_runtimes(best, saved, probes, self.device, seconds=MEASURING_SHARE * at.seconds)
            if self.show and measured is not None:
                for line in (*measured.lines(), *refusals(measured.ways)):
                    say(line)
            save_checkpoint(self.folder, best, final)
        name = "mask AP" if self.options.task == "instance" else "Dice"
        return Run(self.folder, at.best_score, at.step, recipe.steps, at.seconds / 60, self.split, name)


def _overlay(recipe: str | Path | Recipe | None) -> dict[str, Any]:
    if recipe is None:
        return {}
    return recipe.model_dump(mode="json") if isinstance(recipe, Recipe) else read_settings(recipe)


def _task(overlay: Mapping[str, Any], model: str | None, parent: Parent | None) -> str | None:
    """What is to be learned, where a model says it; a misspelt one is refused before anything is read."""
    name = model or overlay.get("model") or (parent.manifest.model if parent is not None else None)
    return models.entry_of(name).task if name is not None else None


def _planned(
    dataset: Dataset,
    device: torch.device,
    model: str | None,
    encoder: str | None,
    seed: int,
    parent: Parent | None,
    overlay: dict[str, Any],
) -> Recipe:
    channels = Recipe().with_settings({"channels": overlay["channels"]}, "given").channels if "channels" in overlay else None
    if parent is not None:
        channels = parent.manifest.preprocess["channels"]
    model, model_args = model or overlay.get("model"), overlay.get("model_args")
    if encoder is not None and model_args is not None:
        raise InputError("--encoder and the setting model_args both say what the network is made of; put it into model_args.")
    looked = fingerprint(dataset, dataset.split("train"), channels)
    taken = {} if parent is None else parent.settings(model)
    recipe = plan(
        looked,
        Machine.here(device),
        model=taken.get("model", model),
        encoder=encoder,
        model_args=model_args if isinstance(model_args, dict) else taken.get("model_args"),
        weights=overlay.get("weights"),
        seed=seed,
    )
    if parent is not None:
        recipe = recipe.with_settings(taken, f"taken over from {parent.path}")
    if "steps" in overlay:
        recipe = scheduled(recipe, recipe.with_settings({"steps": overlay["steps"]}, "given").steps, "given")
    return recipe.with_settings(overlay, "given")


def _preprocess(recipe: Recipe) -> Preprocess:
    return Preprocess(recipe.channels, recipe.max_side_px, recipe.scaling, recipe.mean, recipe.std, zoom=recipe.zoom)
