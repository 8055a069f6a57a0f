"""The planner: from a look at the data and the machine to a Recipe, with a reason for each choice.

`fingerprint` looks, `plan` decides; nothing else in the package chooses a training setting.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from maskwright import models
from maskwright.classes import IGNORE_ID
from maskwright.data.dataset import Dataset, Pair
from maskwright.errors import InputError
from maskwright.io.image import Image
from maskwright.recipe import Recipe
from maskwright.training.networks import PLANNED, WITH_ENCODER, Planned, encoder_of
from maskwright.training.objects import ObjectSizes, Seen, network_of, object_sizes, seen_of
from maskwright.transforms import Preprocess, resize_target

# Settings that no data set has changed so far.
STANDING_REASONS = {
    "weights": "none asked for: everything starts from random numbers",
    "loss_settings": "each loss as it is usual; as in --set loss_settings.cross_entropy='{label_smoothing: 0.1}'",
    "encoder_rate": "all parts learn alike; trained weights in the encoder may want less: --set encoder_rate=0.3",
    "frozen_stages": "every layer learns; an encoder's trained first layers may stay: --set frozen_stages=2",
    "weight_decay": "AdamW's usual strength, on the kernels only",
    "clip_norm": "one odd batch cannot throw the weights far",
    "patience": "the cosine ends by itself and the best weights are kept; --set patience=5 stops sooner",
}
LOOKED_AT = 64  # images that the fingerprint reads
LEAST_LOOKS, MOST_LOOKS = 3, 20  # validations of a run
WORKING_SIZES_PX = (128, 192, 256, 320, 384, 512)
MANY_CLASSES, RARE = 4, 0.02  # from so many classes on, a share below which one is rare
SURVIVAL = 0.98  # share of Dice that labels must keep when they are brought to a working size and back


@dataclass(frozen=True)
class Machine:
    """What the training may use: device, processor cores, free bytes of its memory."""

    device: torch.device
    cores: int
    memory_bytes: int

    @classmethod
    def here(cls, device: torch.device) -> Machine:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if device.type == "cuda":
            return cls(device, cores, torch.cuda.mem_get_info(device)[0])
        return cls(device, cores, _free_bytes())


def _free_bytes() -> int:
    """Memory that programs can have: free, or held by the file cache that gives way; 4 GiB where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 4 << 30


@dataclass(frozen=True)
class Fingerprint:
    """What the planner knows of a data set, from at most LOOKED_AT of its training images.

    Attributes:
        images: training images there are
        hw: median height and width; longest_px: the longest side of any image looked at
        channels: of most images; grey: their channels are equal everywhere
        dtype: stored type; scaling: how the values are brought to a common range; mean, std: after it, one a channel
        class_share: share of the counted pixels, one a class
        oriented: 1 minus the overlap (Dice) of the mean label map with its own mirror image upside down, in [0, 1]:
            near 0 where up and down do not matter (cells, aerial images), larger where gravity or anatomy does
        survival: working size in px -> mean Dice of the labels brought to that size and back
        objects: sizes of the objects, where the truth tells them apart
    """

    images: int
    hw: tuple[int, int]
    longest_px: int
    channels: int
    grey: bool
    dtype: str
    scaling: Literal["range", "percentile", "zscore"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_share: tuple[float, ...]
    oriented: float
    survival: dict[int, float]
    objects: ObjectSizes | None = None


def fingerprint(dataset: Dataset, pairs: Sequence[Pair], channels: int | None = None) -> Fingerprint:
    """Look at up to LOOKED_AT training pairs, spread evenly over the list; `channels` overrules what their images have."""
    chosen = [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), LOOKED_AT)).astype(int))]
    samples = [dataset.read(pair) for pair in chosen]
    images = [s.image for s in samples]
    targets = [dataset.classes.to_indices(s.labels).astype(np.uint8) for s in samples if s.labels is not None]
    stored = int(np.bincount([i.channels for i in images]).argmax())
    grey = stored == 3 and all(_is_grey(i) for i in images)
    seen = channels or (1 if grey else stored)
    if seen != stored and {seen, stored} != {1, 3}:
        raise InputError(
            f"{dataset.name}: its images have {stored} channels, the settings that were given (--set, --recipe or --from) "
            f"say {seen}; leave that setting out."
        )
    scaling: Literal["range", "percentile", "zscore"] = "range" if images[0].pixels.dtype == np.uint8 else "percentile"
    mean, std = _moments([i for i in images if i.channels == stored], seen, scaling)
    share = np.sum([np.bincount(t.ravel(), minlength=256)[: len(dataset.classes)] for t in targets], axis=0)
    heights, widths = zip(*(i.hw for i in images), strict=True)
    longest = max(*heights, *widths)
    return Fingerprint(
        images=len(pairs),
        hw=(int(np.median(heights)), int(np.median(widths))),
        longest_px=longest,
        channels=seen,
        grey=grey,
        dtype=str(images[0].pixels.dtype),
        scaling=scaling,
        mean=mean,
        std=std,
        class_share=tuple(float(v) for v in share / max(1, share.sum())),
        oriented=_orientation(targets, len(dataset.classes)),
        survival={px: _survival(targets[:16], px) for px in WORKING_SIZES_PX if px < longest},
        objects=object_sizes(samples),
    )


def plan(
    data: Fingerprint,
    machine: Machine,
    *,
    model: str | None = None,
    encoder: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    weights: str | None = None,
    seed: int = 0,
) -> Recipe:
    """Choose every setting; `reasons` of the recipe says why, in the words that recipe.yaml shows.

    Args:
        model, encoder, model_args: the network, as far as it is settled
        weights: the network is of the form that they are for, where their name tells it
    """
    reasons: dict[str, str] = {}

    def choose(key: str, value: Any, reason: str) -> Any:
        reasons[key] = reason
        return value

    gpu = machine.device.type == "cuda"
    name = model or "unet"
    sizes = data.objects if models.entry_of(name).task == "instance" else None
    seen = _sizes(data, gpu, reasons) if sizes is None else _objects(data, sizes, gpu, reasons)
    args, planned = _network(name, encoder, weights, seen.patch_hw, gpu, reasons)
    if sizes is not None:
        fitted, why = network_of(sizes, seen.scale(data.longest_px), gpu)
        args, reasons["model_args"] = {**args, **fitted}, f"{reasons['model_args']}; {why}"
    args = args if model_args is None else dict(model_args)
    # An encoder halves the size at once; in nets without one the first width stands at full size.
    batch = _batch(seen.patch_hw, 32 if "encoder" in args else args.get("width", 64), machine, reasons, wanted=planned.batch)
    steps = int(np.clip(100 * data.images / batch, 500, 20000))
    recipe = Recipe(
        model=choose("model", name, "asked for" if model else "the strongest all-round choice for few labelled images"),
        model_args=args,
        channels=choose("channels", data.channels, "the images' channels" + (" are all equal: grey" if data.grey else "")),
        max_side_px=seen.max_side_px,
        zoom=seen.zoom,
        patch_hw=seen.patch_hw,
        scaling=choose("scaling", data.scaling, f"{data.dtype} images"),
        mean=choose("mean", tuple(round(v, 4) for v in data.mean), "mean of the training images"),
        std=choose("std", tuple(round(v, 4) for v in data.std), "standard deviation of the training images"),
        augment=_augment(data, reasons),
        losses=choose(
            "losses",
            dict(planned.losses),
            planned.why_losses,
        ),
        class_weights=_class_weights(data.class_share, planned, reasons),
        batch=batch,
        steps=steps,
        learning_rate=choose(
            "learning_rate", min(planned.learning_rate, WITH_ENCODER) if "encoder" in args else planned.learning_rate, planned.why
        ),
        seed=choose("seed", seed, "given or the default"),
        reasons=reasons | STANDING_REASONS,
    )
    return scheduled(recipe, steps, f"{steps * batch / data.images:.0f} passes over {data.images} images")


def scheduled(recipe: Recipe, steps: int, reason: str, keep: Collection[str] = (), looks: int = MOST_LOOKS) -> Recipe:
    """The recipe with another number of steps and all that depends on it, but for the settings to keep.

    Args:
        looks: validations there is time for, see `looks_in`
    """
    follows = {
        "warmup_steps": max(1, min(200, steps // 20)),
        "validate_every": max(1, -(-steps // validations_in(steps, looks))),
        # The average looks back over a thirtieth of the run: long enough to be calm, short enough to forget the start.
        "ema_decay": round(1 - 1 / max(10.0, steps / 30), 5),
    }
    settings = {key: value for key, value in follows.items() if key not in keep}
    return recipe.with_settings({"steps": steps}, reason).with_settings(settings, f"follows from {steps} steps")


def validations_in(steps: int, looks: int = MOST_LOOKS) -> int:
    """How many validations a run of so many steps has: one in 50 steps, 4 to 20, but no more than there is time for."""
    return min(looks, int(np.clip(steps // 50, 4, MOST_LOOKS)))


def looks_in(minutes: float, validation_s: float) -> int:
    """How many validations of so many seconds a tenth of the time is enough for: 3 to 20."""
    return int(np.clip(minutes * 60 / 10 / max(validation_s, 1e-3), LEAST_LOOKS, MOST_LOOKS))


def _sizes(data: Fingerprint, gpu: bool, reasons: dict[str, str]) -> Seen:
    """Whole images at the smallest size at which the labels survive, or windows of the full-size images."""
    patch = 512 if gpu else 256
    good = [px for px, dice in data.survival.items() if dice >= SURVIVAL and px >= 256]
    if data.longest_px <= patch:
        reasons["max_side_px"] = f"images of at most {data.longest_px} px are seen whole, as they are"
        hw = data.hw
        max_side = None
    elif good and good[0] <= patch:
        max_side = good[0] if not gpu else max(px for px in good if px <= patch)
        reasons["max_side_px"] = (
            f"whole images at this size: labels brought there and back keep a Dice of {data.survival[max_side]:.4f}; "
            f"answers are given at full size"
        )
        hw = (round(data.hw[0] * max_side / max(data.hw)), round(data.hw[1] * max_side / max(data.hw)))
    else:
        kept = ", ".join(f"{px} px {dice:.3f}" for px, dice in data.survival.items())
        reasons["max_side_px"] = f"windows of the full-size images: smaller ones would lose too much of the labels (Dice {kept})"
        max_side, hw = None, (min(patch, data.hw[0]), min(patch, data.hw[1]))
    patch_hw = (-(-hw[0] // 32) * 32, -(-hw[1] // 32) * 32)
    reasons["patch_hw"] = (
        f"{'the whole image' if max_side or data.longest_px <= patch else 'a window'}, rounded up to multiples of 32"
    )
    reasons["zoom"] = "no larger than it is; for things of a few pixels: --set zoom=2"
    return Seen(max_side, 1.0, patch_hw)


def _objects(data: Fingerprint, sizes: ObjectSizes, gpu: bool, reasons: dict[str, str]) -> Seen:
    seen, reasons["max_side_px"], reasons["zoom"] = seen_of(data.longest_px, data.hw, sizes, gpu)
    reasons["patch_hw"] = "what is seen at once, rounded up to multiples of 32"
    return seen


def _network(
    name: str, encoder: str | None, weights: str | None, patch_hw: tuple[int, int], gpu: bool, reasons: dict[str, str]
) -> tuple[dict[str, Any], Planned]:
    planned = PLANNED.get(name, Planned())
    rest = {key: value for key, value in (planned.gpu if gpu else planned.processor).items() if key in planned.with_encoder}
    if encoder is not None:
        reasons["model_args"] = "asked for"
        return {**rest, "encoder": encoder}, planned
    if weights is not None and (of_weights := encoder_of(weights)):
        reasons["model_args"] = "the encoder that the weights are for"
        return {**rest, "encoder": of_weights}, planned
    if weights is not None and weights.startswith("torchvision:"):
        reasons["model_args"] = "the size that the weights are for"
        return dict(planned.gpu), planned
    if name != "unet":
        reasons["model_args"] = "the paper's size" if gpu else "a form of it that a processor trains in minutes"
        return dict(planned.gpu if gpu else planned.processor), planned
    depth = max(2, min(5, int(np.log2(min(patch_hw) / 8))))
    width = 32 if gpu else 16
    reasons["model_args"] = (
        f"depth {depth}: the coarsest map is {min(patch_hw) >> depth} px, so the whole window is in view; "
        f"width {width}: {'a GPU carries it' if gpu else 'what a processor trains in minutes'}"
    )
    return {"width": width, "depth": depth, "max_width": 512}, planned


def _batch(patch_hw: tuple[int, int], width: int, machine: Machine, reasons: dict[str, str], wanted: int | None = None) -> int:
    # A U-Net keeps about 40 maps of its first width at full resolution (all levels together), forward and backward, 4 bytes.
    per_image = patch_hw[0] * patch_hw[1] * width * 40 * 4
    fits = int(machine.memory_bytes * 0.5 // per_image)
    wanted = wanted or (16 if machine.device.type == "cuda" else 8)
    batch = max(1, min(wanted, fits))
    reasons["batch"] = (
        f"{wanted} steady the gradient"
        if batch == wanted
        else f"what fits into half of the {machine.memory_bytes / 2**30:.0f} GiB that are free"
    )
    return batch


def _class_weights(class_share: Sequence[float], planned: Planned, reasons: dict[str, str]) -> str:
    """Median frequency where some of many classes are rare: Dice alone leaves those at nothing for most of a short run."""
    present = [share for share in class_share if share > 0]
    rare = len(present) >= MANY_CLASSES and min(present) < RARE
    smallest = f"smallest class {min(present, default=0.0):.1%} of the pixels"
    if rare and "cross_entropy" in planned.losses:
        reasons["class_weights"] = f"{smallest}, of {len(present)}: rare classes weigh more in cross entropy"
        return "median"
    reasons["class_weights"] = f"{smallest}; Dice already balances the classes"
    return "none"


def _augment(data: Fingerprint, reasons: dict[str, str]) -> dict[str, float]:
    colour = {"exposure": 0.5} if data.channels == 3 and data.dtype == "uint8" else {}
    light = "; colour pictures: another exposure" if colour else ""
    if data.oriented < 0.1:
        reasons["augment"] = f"flips and turns: the labels look alike upside down (difference {data.oriented:.2f}){light}"
        return {"flip_horizontal": 0.5, "flip_vertical": 0.5, "turn": 0.75, **colour}
    reasons["augment"] = (
        f"no flips: up and down differ in these labels (difference {data.oriented:.2f}), as in anatomy or street scenes; "
        f"where left and right may be swapped: --set augment.flip_horizontal=0.5{light}"
    )
    return colour


def _is_grey(image: Image) -> bool:
    p = image.pixels
    return bool((p[..., 0] == p[..., 1]).all() and (p[..., 0] == p[..., 2]).all())


def _moments(
    images: Sequence[Image], channels: int, scaling: Literal["range", "percentile", "zscore"]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    plain = Preprocess(channels, max_side_px=128, scaling=scaling)
    values = [plain(i)[0].flatten(2)[0] for i in images]  # each (C, n)
    joined = torch.cat(values, dim=1)
    # A constant channel has no spread; dividing by a tiny one would blow up its noise.
    return tuple(joined.mean(1).tolist()), tuple(joined.std(1).clamp(min=0.01).tolist())


def _orientation(targets: Sequence[NDArray[np.uint8]], classes: int) -> float:
    """1 - Dice between the mean map of each class and the same map upside down, weighed by the classes' area."""
    small = [resize_target(t, (32, 32)) for t in targets]
    maps = np.stack([np.mean([t == k for t in small], axis=0) for k in range(classes)])  # (K, 32, 32)
    flipped = maps[:, ::-1]
    return float(1 - 2 * np.minimum(maps, flipped).sum() / max(1e-9, (maps + flipped).sum()))


def _survival(targets: Sequence[NDArray[np.uint8]], px: int) -> float:
    """Mean Dice, over images and the classes in them, of labels brought to a longer side of px and back."""
    scores = []
    for target in targets:
        h, w = target.shape
        scale = px / max(h, w)
        back = resize_target(resize_target(target, (max(1, round(h * scale)), max(1, round(w * scale)))), (h, w))
        counted = target != IGNORE_ID
        for k in np.unique(target[counted]):
            truth, found = (target == k) & counted, (back == k) & counted
            scores.append(2 * np.count_nonzero(truth & found) / (np.count_nonzero(truth) + np.count_nonzero(found)))
    return float(np.mean(scores)) if scores else 1.0
