"""Validation: the averaged weights through the same door that users take, at the truth's own size."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from maskwright.checkpoint import Manifest
from maskwright.data.dataset import Dataset, Pair
from maskwright.evaluation import AnyEvaluation, score, score_objects
from maskwright.inference.agreement import compare_bf16
from maskwright.inference.predictor import Predictor

PROBES = 16  # validation images that bf16 is compared with fp32 on


def validate(net: nn.Module, manifest: Manifest, dataset: Dataset, pairs: Sequence[Pair], device: torch.device) -> AnyEvaluation:
    """Scores of net on the pairs; net itself is left as it is."""
    # The predictor lays its weights out anew, and a change of layout would change the last bits of the running average.
    if manifest.task == "instance":
        finder = Predictor(copy.deepcopy(net), manifest, device=device)
        return score_objects(lambda sample: finder.all_objects(sample.image), dataset, pairs, intervals=False)
    predictor = Predictor(copy.deepcopy(net), manifest, device=device)
    return score(lambda sample: predictor(sample.image), dataset, pairs, intervals=False)


def with_agreement(net: nn.Module, manifest: Manifest, dataset: Dataset, pairs: Sequence[Pair], device: torch.device) -> Manifest:
    """The manifest with the number type that prediction may use, as measured against fp32 on validation images."""
    preprocess = manifest.preprocessing()
    images = (preprocess(dataset.read(pair).image)[0] for pair in pairs[:PROBES])
    agreement = compare_bf16(copy.deepcopy(net), images, manifest.class_map(), device, objects=manifest.task == "instance")
    if agreement is None:
        return manifest.model_copy(update={"precision": "fp32", "agreement": None})
    return manifest.model_copy(update={"precision": agreement.precision, "agreement": agreement.to_dict()})
