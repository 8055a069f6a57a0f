"""What happens between two training steps: log, validate, keep the best, save the state, stop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from maskwright.checkpoint import Manifest, save_checkpoint
from maskwright.data.dataset import Dataset, Pair
from maskwright.errors import Interrupted
from maskwright.processes import Processes
from maskwright.recipe import Recipe
from maskwright.training.log import RunLog
from maskwright.training.measure import Learner
from maskwright.training.reporter import Reporter
from maskwright.training.state import Progress, save_state
from maskwright.training.stopping import go_on
from maskwright.training.validate import validate

STATE_EVERY_S = 60.0
LOG_ROWS = 200  # of a whole run, besides those of validations and saves


@dataclass
class Watch:
    """Looks after one sitting of a run; `after_step` is called between steps, in every process.

    Attributes:
        progress: shared with the loop, which counts the steps in it
        log: None in all processes but the first
        stopped: whether a stop signal has come
        clock: when the seconds in progress were last brought up to date
    """

    folder: Path
    dataset: Dataset
    split: str
    device: torch.device
    world: Processes
    learner: Learner
    recipe: Recipe
    manifest: Manifest
    val_pairs: Sequence[Pair]
    log: RunLog | None
    reporter: Reporter
    progress: Progress
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
        elif p.step % max(1, recipe.steps // LOG_ROWS) == 0:
            self._write_row()
        stop = self.world.any(self.stopped())
        now = time.monotonic()
        if self.world.first and (due or stop or now - self.saved_at > STATE_EVERY_S):
            self._save(now)
        if stop and not self.over():
            raise Interrupted(
                f"interrupted at step {p.step} of {recipe.steps}; everything is saved. "
                f"Go on with: {go_on(self.dataset.root, self.folder)}"
            )
        return not self.over()

    def _validate(self) -> None:
        """Score the averaged weights in the first process, keep them if they are the best, tell the others."""
        p = self.progress
        if self.world.first:
            found = validate(self.learner.average.net, self.manifest, self.dataset, self.val_pairs, self.device)
            name, value = found.selection
            better = value > p.best_score
            if better:
                p.best_score, p.best_step, p.since_best = value, p.step, 0
                scores = {"split": self.split, "step": p.step, **found.summary()}
                save_checkpoint(self.folder, self.learner.average.net, self.manifest.model_copy(update={"scores": scores}))
            else:
                p.since_best += 1
            self.reporter.validated(p.step, name, value, better)
            self._write_row(found.summary())
        p.best_score, p.best_step, p.since_best = json.loads(
            self.world.share_text(json.dumps([p.best_score, p.best_step, p.since_best]))
        )

    def _write_row(self, val: dict[str, float] | None = None) -> None:
        p = self.progress
        if self.log is None or not self.losses:
            return
        row = {
            "step": p.step,
            "epoch": round(p.step * self.recipe.batch / len(self.dataset.split("train")), 3),
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
            self.folder / "state" / "last.safetensors",
            net=self.learner.net,
            average=self.learner.average.net,
            optimizer=self.learner.optimizer,
            progress=p,
            data_hash=self.manifest.data_hash or "",
        )
