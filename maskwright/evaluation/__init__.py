"""A run, a folder of masks or arrays against a truth: scores with intervals and with every convention said."""

from __future__ import annotations

from maskwright.evaluation.evaluating import AnyEvaluation, evaluate
from maskwright.evaluation.object_result import ObjectEvaluation
from maskwright.evaluation.objects import score_objects
from maskwright.evaluation.optimising import Optimised, optimise
from maskwright.evaluation.result import COLUMNS, Evaluation
from maskwright.evaluation.scoring import score

__all__ = [
    "COLUMNS",
    "AnyEvaluation",
    "Evaluation",
    "ObjectEvaluation",
    "Optimised",
    "evaluate",
    "optimise",
    "score",
    "score_objects",
]
