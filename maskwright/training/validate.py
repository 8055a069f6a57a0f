"""Validation: the averaged weights through the same door that users take, at the truth's own size."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from maskwright.checkpoint import Manifest
from maskwright.data.dataset import Dataset, Pair
from maskwright.evaluation import AnyEvaluation, score, score_objects
from maskwright.inference.labelling import labels_on_torch
from maskwright.inference.measuring import Measurement, cost_s, measure
from maskwright.inference.predictor import Predictor
from maskwright.inference.probes import Probe, read_probes, spread, write_probes
from maskwright.inference.runtimes import RUNTIMES


def validate(net: nn.Module, manifest: Manifest, dataset: Dataset, pairs: Sequence[Pair], device: torch.device) -> AnyEvaluation:
    """Scores of net on the pairs; net itself is left as it is."""
    # The predictor lays its weights out anew, and a change of layout would change the last bits of the running average.
    if manifest.task == "instance":
        finder = Predictor(copy.deepcopy(net), manifest, device=device)
        return score_objects(lambda sample: finder.all_objects(sample.image), dataset, pairs, intervals=False)
    predictor = Predictor(copy.deepcopy(net), manifest, device=device)
    return score(lambda sample: predictor(sample.image), dataset, pairs, intervals=False)


def with_runtimes(
    net: nn.Module, manifest: Manifest, probes: Sequence[Probe], device: torch.device, *, seconds: float = math.inf
) -> tuple[Manifest, Measurement | None]:
    """The manifest with what was measured of every way to run net on this machine, and the number type that torch may use.

    Args:
        seconds: that may be spent; where converting the network takes longer, torch alone is measured
    """
    if not probes:
        return manifest.model_copy(update={"precision": "fp32", "runtimes": None}), None
    net = copy.deepcopy(net)
    ms = 1000 * _seconds(net, manifest, probes[0], device)
    names = RUNTIMES if cost_s(ms, len(probes)) <= seconds else ("torch",)
    measured = measure(net, manifest, device, probes, runtimes=names)
    best = measured.best(("torch",), ("fp32", "bf16"))
    precision = best.way.split()[1] if best else "fp32"
    return manifest.model_copy(update={"precision": precision, "runtimes": measured.to_dict()}), measured


def _seconds(net: nn.Module, manifest: Manifest, probe: Probe, device: torch.device) -> float:
    labels = labels_on_torch(net, manifest, device, "fp32", exact=True)
    labels(probe.image)  # prepares the kernels
    began = time.perf_counter()
    labels(probe.image)
    return time.perf_counter() - began


def keep_probes(folder: Path, dataset: Dataset, pairs: Sequence[Pair]) -> list[Probe]:
    """Validation images with their truth, written into the run folder and read back: what every runtime is measured on."""
    samples = (dataset.read(pairs[k]) for k in spread(len(pairs)))
    write_probes(folder, (Probe(s.image, s.labels) for s in samples if s.labels is not None))
    return read_probes(folder)
