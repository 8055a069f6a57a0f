"""A training step of ours against the same net in a plain fp32 loop: same weights, same batches, side by side.

    python benchmarks/train_step.py [--steps 40]

"Plain" is what most scripts do: contiguous fp32 tensors, torch.optim.AdamW as it comes, the same loss written with
softmax and one_hot. The net, its start and the batches (real demo scenes, augmented) are equal; the two take steps in turn, so a
machine that gets slower slows both. Both loss curves are written down.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from record import record
from torch import Tensor

from maskwright.data.dataset import open_dataset
from maskwright.data.loader import PreparedPairs, training_batches
from maskwright.demo import lungs
from maskwright.recipe import Recipe
from maskwright.training.loop import fit
from maskwright.training.measure import choose_computation
from maskwright.training.plan import Machine, fingerprint, plan
from maskwright.training.setup import make_learner
from maskwright.training.state import Progress
from maskwright.transforms import Preprocess
from maskwright.transforms.augmentation import augmenter


def plain_loss(logits: Tensor, target: Tensor) -> Tensor:
    counted = (target != 255).unsqueeze(1)
    probs = logits.softmax(1) * counted
    onehot = F.one_hot(target.where(target != 255, 0), logits.shape[1]).permute(0, 3, 1, 2) * counted
    overlap, total = (probs * onehot).sum((0, 2, 3)), (probs + onehot).sum((0, 2, 3))
    return F.cross_entropy(logits, target, ignore_index=255) + 1 - (2 * overlap / total.clamp(min=1e-6)).mean()


def plain_step(net: torch.nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, x: Tensor, y: Tensor) -> float:
    loss = plain_loss(net(x), y.long())
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.clip_norm)
    optimizer.step()
    return loss.item()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, default=40)
    steps = arguments.parse_args().steps
    cpu = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        data = open_dataset(lungs.make(Path(folder) / "lungs", count=60, seed=1))
        pairs = data.split("train")
        recipe = plan(fingerprint(data, pairs), Machine.here(cpu)).with_settings(
            {"steps": 10**6, "warmup_steps": 20}, "benchmark"
        )
        seen = Preprocess(recipe.channels, recipe.max_side_px, recipe.scaling, recipe.mean, recipe.std)
        prepared = PreparedPairs(data, pairs, seen, memory_bytes=1 << 30)
        augment = augmenter(recipe.patch_hw, recipe.augmentation())
        batches = list(training_batches(prepared, augment, batch=recipe.batch, first_step=0, stop_step=steps, seed=0, workers=0))
    recipe = choose_computation(recipe, lambda tried: make_learner(tried, data.classes, cpu), batches[0], cpu)

    plain = make_learner(recipe.with_settings({"channels_last": False}, "plain"), data.classes, cpu).net
    ours = make_learner(recipe, data.classes, cpu)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    progress = Progress()
    losses: dict[str, list[float]] = {"plain": [], "ours": []}
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}

    def timed(name: str, step: Callable[[], None]) -> None:
        start = time.perf_counter()
        step()
        seconds[name].append(time.perf_counter() - start)

    for batch in batches:
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(1, (progress.step + 1) / recipe.warmup_steps)
        plain.train()
        timed("plain", lambda: losses["plain"].append(plain_step(plain, optimizer, recipe, *batch)))  # noqa: B023
        timed(
            "ours",
            lambda: fit(
                ours.net, ours.loss, ours.optimizer, ours.average, iter([batch]), recipe, progress,  # noqa: B023
                lambda loss: losses["ours"].append(loss) is None,
            ),
        )  # fmt: skip
    ratios = [p / o for p, o in zip(seconds["plain"][3:], seconds["ours"][3:], strict=True)]
    quarter = max(1, steps // 4)
    late = {name: statistics.mean(values[-quarter:]) for name, values in losses.items()}
    record(
        "train_step",
        [
            {
                "loop": name,
                "ms a step (median)": f"{statistics.median(seconds[name][3:]) * 1000:.0f}",
                "first loss": f"{losses[name][0]:.4f}",
                f"mean loss of the last {quarter} steps": f"{late[name]:.4f}",
            }
            for name in ("plain", "ours")
        ],
        command=f"python benchmarks/train_step.py --steps {steps}",
        notes=[
            f"{recipe.model} {recipe.model_args}, batch {recipe.batch} of {recipe.patch_hw[0]} x {recipe.patch_hw[1]} px; "
            f"ours: {recipe.precision}, channels_last {recipe.channels_last}, and the running average of the weights, "
            "which plain has not",
            f"plain / ours, step by step: median {statistics.median(ratios):.2f}, "
            f"lowest {min(ratios):.2f}, highest {max(ratios):.2f}",
            f"chosen by measurement: {recipe.reasons['precision']}",
        ],
    )


if __name__ == "__main__":
    main()
