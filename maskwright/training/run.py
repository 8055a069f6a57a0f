"""train(): from labelled images to a run folder that predict and evaluate can use.

A run folder holds recipe.yaml (every setting with its reason), classes.yaml, model.safetensors and manifest.json (the best
averaged weights so far), log.jsonl, and state/ (the last step, for --resume).
"""

from __future__ import annotations

import json
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from maskwright import losses
from maskwright.checkpoint import Manifest, load_checkpoint, save_checkpoint
from maskwright.classes import ClassMap
from maskwright.data.check import check
from maskwright.data.dataset import Dataset, Pair, open_dataset
from maskwright.data.loader import PreparedPairs, training_batches
from maskwright.data.split import carve, ensure_splits
from maskwright.errors import CheckpointError, InputError, Interrupted
from maskwright.inference.backends import choose_device
from maskwright.io.write import fresh_folder, write_json, write_text
from maskwright.progress import progress, say
from maskwright.recipe import Recipe, read_settings
from maskwright.training.log import RunLog
from maskwright.training.loop import fit
from maskwright.training.measure import Learner, choose_computation, run_steps, steps_in
from maskwright.training.plan import Fingerprint, Machine, fingerprint, plan, scheduled
from maskwright.training.processes import Processes, processes
from maskwright.training.reporter import Reporter
from maskwright.training.setup import Parent, make_learner, with_encoder_weights
from maskwright.training.state import Progress, load_state, save_state
from maskwright.training.validate import selection_score, validate, with_agreement
from maskwright.transforms import Preprocess, augmenter

STATE_EVERY_S = 60.0
TIMED_STEPS = 8

Arrays = tuple[Sequence[NDArray[Any]], Sequence[NDArray[Any]]]


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
    seed: int = 0
    weight_licence: str | None = None


@dataclass(frozen=True)
class Run:
    """What train() gives back.

    Attributes:
        folder: the run folder; maskwright.load(folder) is the model
        score: validation Dice of the saved weights (mean over classes without background), in [0, 1]
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
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    track: str | None = None,
    show_progress: bool = True,
) -> Run:
    """Train a segmentation model on labelled images and write a run folder.

    Args:
        data: a folder (see docs: layouts), a Dataset, or (images, masks) as two lists of arrays
        model, encoder, weights: the network, a timm encoder for it, and weights for the encoder; None lets the planner choose
        out: run folder; None makes runs/<name of the data>
        recipe: a recipe file or Recipe laid over the planned one; settings: single values laid over both
        minutes: time to train in all, preparation and validation included; None takes the recipe's steps
        resume: go on with an interrupted run in `out` (or the newest runs/<name>*) to the same bits as if it had not stopped
        from_run: start from the weights of an earlier run, also with other classes
        skip_bad: leave out the pairs in which the mask doctor finds errors instead of stopping; checked: it has run already
        holdout: validate on this share of the train split and leave the val split untouched
        device: "auto", "cpu", "cuda" or "mps"; workers: loader processes, None for one
        track: also log to "tensorboard" or "mlflow"

    Raises:
        InputError: the data or a setting cannot be used, or the loss is not finite.
        CheckpointError: nothing to resume, or the data has changed since.
        Interrupted: Ctrl-C or SIGTERM; the state is saved and the message says how to go on.
    """
    start = time.monotonic()
    options = Options(
        data=str(data) if isinstance(data, (str, Path)) else None,
        classes=str(classes) if isinstance(classes, (str, Path)) else None,
        images=images, masks=masks, group=group, snap=snap, skip_bad=skip_bad, holdout=holdout, seed=seed,
    )  # fmt: skip
    with processes() as world:
        show = show_progress and world.first
        target = choose_device(f"cuda:{world.local_rank}" if device in ("auto", "cuda") and world.count > 1 and torch.cuda.is_available() else device)
        folder = _run_folder(data, out, resume, world)
        if resume:
            options = _saved_options(folder, options)
        dataset, split = _open(data, options, classes, checked=checked or resume, show=show)
        if resume:
            chosen, parent = Recipe.load(folder / "recipe.yaml"), None
        else:
            parent = Parent.load(from_run) if from_run is not None else None
            overlay = {**_overlay(recipe), **({"weights": weights} if weights else {}), **(settings or {})}
            chosen = _planned(dataset, target, model, encoder, seed, parent, overlay)
            if parent is not None:
                options = replace(options, weight_licence=parent.manifest.weight_licence)
            elif chosen.weights is not None:
                chosen, licence = with_encoder_weights(chosen, len(dataset.classes), keep=overlay)
                options = replace(options, weight_licence=licence)
        sitting = _Sitting(folder, dataset, split, target, world, options, workers if workers is not None else 1, parent, show)
        return sitting.go(chosen, start, minutes=minutes, fixed=set() if resume else set(overlay), resume=resume, track=track)


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
        self, recipe: Recipe, start: float, *, minutes: float | None, fixed: set[str], resume: bool, track: str | None
    ) -> Run:
        train_pairs, val_pairs = self.dataset.split("train"), self.dataset.split(self.split)
        data_hash = self.dataset.fingerprint()
        with progress("preparing", show=self.show) as step:
            memory_bytes = Machine.here(torch.device("cpu")).memory_bytes // 4
            prepared = PreparedPairs(self.dataset, train_pairs, _preprocess(recipe), memory_bytes=memory_bytes, progress=step)
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
        learner = make_learner(drawn, self.dataset.classes, self.device, class_weights=self._weights(recipe, prepared), parent=self.parent)
        manifest = self._manifest(recipe, data_hash)
        at = self._load(learner, data_hash) if resume else Progress()
        if self.world.first:
            log = RunLog(self.folder, keep_bytes=at.log_bytes, track=track)
        else:
            log = None
        with Reporter(recipe.steps, at.step, show=self.show) as reporter, _stop_signals() as stopped:
            reporter.say(
                f"{self.folder}: {recipe.model}, {len(train_pairs)} images to fit, {len(val_pairs)} to validate ({self.split}), "
                f"{recipe.steps} steps of {recipe.batch}, {recipe.precision}{', channels_last' if recipe.channels_last else ''}"
            )
            watch = _Watch(self, learner, recipe, manifest, val_pairs, log, reporter, at, data_hash, stopped, time.monotonic())
            batches = training_batches(
                prepared,
                augmenter(recipe.patch_hw, recipe.augmentation()),
                batch=recipe.batch,
                first_step=at.step,
                stop_step=recipe.steps,
                seed=recipe.seed,
                workers=self.workers,
                rank=self.world.rank,
                processes=self.world.count,
            )
            net: nn.Module = learner.net
            if self.world.count > 1:
                net = DistributedDataParallel(_synchronised(net, self.device), device_ids=[self.device.index] if self.device.type == "cuda" else None)
            if not watch.over():
                fit(net, learner.loss, learner.optimizer, learner.average, batches, recipe, at, watch.after_step)
        return self._finish(recipe, at, val_pairs)

    def _measured(
        self, recipe: Recipe, prepared: PreparedPairs, val_pairs: Sequence[Pair], start: float, minutes: float | None, fixed: set[str]
    ) -> Recipe:
        """The recipe with precision and layout chosen by measurement, and with the steps that fit into the user's minutes."""

        def make(tried: Recipe) -> Learner:
            return make_learner(tried, self.dataset.classes, self.device, parent=self.parent)

        def batches(stop: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
            augment = augmenter(recipe.patch_hw, recipe.augmentation())
            return training_batches(
                prepared, augment, batch=recipe.batch, first_step=0, stop_step=stop, seed=recipe.seed, workers=workers
            )

        recipe = choose_computation(recipe, make, next(batches(1, 0)), self.device)
        if minutes is None or "steps" in fixed:
            return recipe
        # The median: a machine that is busy for a moment must not shorten the whole run.
        step = statistics.median(run_steps(recipe, make, batches(TIMED_STEPS + 2, self.workers))[0][2:])
        began = time.monotonic()
        learner = make(recipe)
        probe = val_pairs[:8]
        validate(learner.average.net, self._manifest(recipe, ""), self.dataset, probe, self.device)
        validation = (time.monotonic() - began) / len(probe) * len(val_pairs)
        steps = steps_in(minutes, spent=time.monotonic() - start, step=step, validation=validation, validations=20)
        return scheduled(recipe, steps, f"{minutes:g} minutes at {step * 1000:.0f} ms a step, measured here", keep=fixed)

    def _weights(self, recipe: Recipe, prepared: PreparedPairs) -> Tensor | None:
        if recipe.class_weights == "none":
            return None
        pixels, around = prepared.class_counts(len(self.dataset.classes))
        return losses.class_weights(pixels, around, kind=recipe.class_weights)

    def _manifest(self, recipe: Recipe, data_hash: str) -> Manifest:
        return Manifest(
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
            final = with_agreement(best, saved, self.dataset, val_pairs, self.device)
            save_checkpoint(self.folder, best, final)
        return Run(self.folder, at.best_score, at.step, recipe.steps, at.seconds / 60, self.split)


@dataclass
class _Watch:
    """What happens between two steps: log, validate, keep the best, save the state, stop."""

    run: _Sitting
    learner: Learner
    recipe: Recipe
    manifest: Manifest
    val_pairs: Sequence[Pair]
    log: RunLog | None
    reporter: Reporter
    progress: Progress
    data_hash: str
    stopped: Callable[[], bool]
    clock: float
    saved_at: float = field(default_factory=time.monotonic)
    losses: list[float] = field(default_factory=list)

    def over(self) -> bool:
        """Nothing is left to do: all steps done, or no better score for too long."""
        p, patience = self.progress, self.recipe.patience
        return p.step >= self.recipe.steps or bool(patience and p.since_best >= patience)

    def after_step(self, loss: float) -> bool:
        """Called after each step in each process; False ends the training."""
        p, recipe = self.progress, self.recipe
        self.losses.append(loss)
        self.reporter.step(p.step, loss)
        due = p.step % recipe.validate_every == 0 or p.step == recipe.steps
        if due:
            self._validate()
        stop = self.run.world.any(self.stopped())
        now = time.monotonic()
        if self.run.world.first and (due or stop or now - self.saved_at > STATE_EVERY_S):
            self._save(now)
        if stop and not self.over():
            raise Interrupted(
                f"interrupted at step {p.step} of {recipe.steps}; everything is saved. Go on with: "
                f"maskwright train {self.run.dataset.root or 'DATA'} --out {self.run.folder} --resume"
            )
        return not self.over()

    def _validate(self) -> None:
        """Score the averaged weights in the first process, keep them if they are the best, tell the others."""
        p = self.progress
        if self.run.world.first:
            found = validate(self.learner.average.net, self.manifest, self.run.dataset, self.val_pairs, self.run.device)
            value = selection_score(found)
            better = value > p.best_score
            if better:
                p.best_score, p.best_step, p.since_best = value, p.step, 0
                scores = {"split": self.run.split, "step": p.step, "mean_dice": value, "mean_iou": found.scores.mean_iou}
                save_checkpoint(self.run.folder, self.learner.average.net, self.manifest.model_copy(update={"scores": scores}))
            else:
                p.since_best += 1
            self.reporter.validated(p.step, value, better)
            self._write_row({"mean_dice": value, "mean_iou": found.scores.mean_iou, "mean_image_dice": found.mean_image_dice})
        p.best_score, p.best_step, p.since_best = json.loads(
            self.run.world.share_text(json.dumps([p.best_score, p.best_step, p.since_best]))
        )

    def _write_row(self, val: dict[str, float] | None = None) -> None:
        p = self.progress
        if self.log is None or not self.losses:
            return
        row = {
            "step": p.step,
            "epoch": round(p.step * self.recipe.batch / len(self.run.dataset.split("train")), 3),
            "loss": sum(self.losses) / len(self.losses),
            "lr": self.learner.optimizer.param_groups[0]["lr"],
            "seconds": round(p.seconds + time.monotonic() - self.clock, 1),
        }
        self.log.write(row | ({"val": val} if val else {}))
        self.losses.clear()

    def _save(self, now: float) -> None:
        p = self.progress
        self._write_row()
        p.seconds += now - self.clock
        self.clock = self.saved_at = now
        p.log_bytes = self.log.bytes() if self.log else 0
        save_state(
            self.run.folder / "state" / "last.safetensors",
            net=self.learner.net,
            average=self.learner.average.net,
            optimizer=self.learner.optimizer,
            progress=p,
            data_hash=self.data_hash,
        )


def _run_folder(data: Any, out: str | Path | None, resume: bool, world: Processes) -> Path:
    """The folder to write to: made by the first process, told to the others."""
    if resume:
        return _to_resume(data, out)
    text = ""
    if world.first:
        if out is not None and Path(out).is_dir() and any(Path(out).iterdir()):
            raise InputError(f"{out}: the run folder is not empty; choose another --out, or go on with that run by --resume.")
        text = str(fresh_folder(Path(out) if out is not None else Path("runs") / _name(data)))
    return Path(world.share_text(text))


def _to_resume(data: Any, out: str | Path | None) -> Path:
    if out is not None:
        folder = Path(out)
    else:
        runs = [p.parent.parent for p in Path("runs").glob(f"{_name(data)}*/state/last.safetensors")]
        if not runs:
            raise CheckpointError(f"runs/{_name(data)}: no interrupted run to go on with; name its folder with --out.")
        folder = max(runs, key=lambda p: (p / "state" / "last.safetensors").stat().st_mtime)
    if not (folder / "state" / "last.safetensors").is_file() or not (folder / "recipe.yaml").is_file():
        raise CheckpointError(f"{folder}: nothing to resume there (expected recipe.yaml and state/last.safetensors); train without --resume.")
    return folder


def _name(data: Any) -> str:
    if isinstance(data, (str, Path)):
        return Path(data).resolve().name
    return data.name if isinstance(data, Dataset) else "arrays"


def _saved_options(folder: Path, given: Options) -> Options:
    """The options that the run was started with; the data may have moved, so the given path counts."""
    try:
        saved = json.loads((folder / "state" / "options.json").read_text(encoding="utf-8"))
        return replace(Options(**saved), data=given.data)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder}/state/options.json: cannot be read ({error}); start a new run.") from error


def _open(data: Any, options: Options, classes: Any, *, checked: bool, show: bool) -> tuple[Dataset, str]:
    """The data set with its splits, without pairs that cannot be trained on, and the split to validate on."""
    dataset = open_dataset(
        data,
        classes=classes if isinstance(classes, ClassMap) else options.classes,
        images=options.images,
        masks=options.masks,
        group=options.group,
        snap=options.snap,
    )
    if options.skip_bad or not checked:
        with progress("checking", show=show) as report_step:
            report = check(dataset, progress=report_step)
        if options.skip_bad:
            dataset = dataset.without(report.bad_names)
        elif not report.ok:
            errors = [f.message for f in report.findings if f.severity == "error"]
            more = f" ({len(errors) - 1} more errors: `maskwright check` lists them, --skip-bad leaves those files out.)" if errors[1:] else ""
            raise InputError(errors[0] + more)
    dataset = ensure_splits(dataset, seed=options.seed, test=0.0 if options.holdout else 0.15)
    if options.holdout is not None:
        return carve(dataset, options.holdout, options.seed), "inner"
    return dataset, "val"


def _overlay(recipe: str | Path | Recipe | None) -> dict[str, Any]:
    if recipe is None:
        return {}
    return recipe.model_dump(mode="json") if isinstance(recipe, Recipe) else read_settings(recipe)


def _planned(
    dataset: Dataset, device: torch.device, model: str | None, encoder: str | None, seed: int, parent: Parent | None, overlay: dict[str, Any]
) -> Recipe:
    looked: Fingerprint = fingerprint(dataset, dataset.split("train"))
    recipe = plan(looked, Machine.here(device), model=model, encoder=encoder, seed=seed)
    if parent is not None:
        recipe = recipe.with_settings(parent.settings(), f"taken over from {parent.path}")
    if "steps" in overlay:
        recipe = scheduled(recipe, int(overlay["steps"]), "given")
    return recipe.with_settings(overlay, "given")


def _preprocess(recipe: Recipe) -> Preprocess:
    return Preprocess(recipe.channels, recipe.max_side_px, recipe.scaling, recipe.mean, recipe.std)


def _synchronised(net: nn.Module, device: torch.device) -> nn.Module:
    # torch synchronises batch norm on GPUs only; on CPUs each process normalises by its own share of the batch.
    if device.type != "cuda":
        return net
    synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
    return synchronised


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """While open, the first Ctrl-C or SIGTERM only sets a flag; the second one ends the program at once."""
    caught: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: signals are the caller's
        yield lambda: False
        return
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
