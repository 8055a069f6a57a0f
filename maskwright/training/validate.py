"""Validation: the averaged weights through the same door that users take, at the truth's own size."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import nn

from maskwright.checkpoint import Manifest
from maskwright.data.dataset import Dataset, Pair
from maskwright.evaluation import Evaluation, score
from maskwright.inference.backends import compare_bf16
from maskwright.inference.predictor import Predictor

PROBES = 16  # validation images that bf16 is compared with fp32 on


def validate(net: nn.Module, manifest: Manifest, dataset: Dataset, pairs: Sequence[Pair], device: torch.device) -> Evaluation:
    """Scores of net on the pairs; net itself is left as it is."""
    # The predictor lays its weights out anew, and a change of layout would change the last bits of the running average.
    predictor = Predictor(copy.deepcopy(net), manifest, device=device)
    return score(lambda sample: predictor(sample.image), dataset, pairs, intervals=False)


def selection_score(evaluation: Evaluation) -> float:
    """What the best model is chosen by: mean Dice over the data set, without background where there are other classes."""
    value = float(evaluation.scores.mean_dice_no_background)
    return float(evaluation.scores.mean_dice) if math.isnan(value) else value


def with_agreement(net: nn.Module, manifest: Manifest, dataset: Dataset, pairs: Sequence[Pair], device: torch.device) -> Manifest:
    """The manifest with the number type that prediction may use, as measured against fp32 on validation images."""
    preprocess = manifest.preprocessing()
    images = (preprocess(dataset.read(pair).image)[0] for pair in pairs[:PROBES])
    agreement = compare_bf16(copy.deepcopy(net), images, manifest.class_map(), device)
    if agreement is None:
        return manifest.model_copy(update={"precision": "fp32", "agreement": None})
    return manifest.model_copy(update={"precision": agreement.precision, "agreement": agreement.to_dict()})
