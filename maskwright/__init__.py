"""maskwright: labelled images in; a segmentation model, an honest number and fast masks out.

The public names are imported on first use, so that `import maskwright` and `maskwright --help` answer at once: nothing
here may import torch, numpy or any room.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskwright.checkpoint import load_checkpoint as load_checkpoint
    from maskwright.checkpoint import save_checkpoint as save_checkpoint
    from maskwright.classes import ClassMap as ClassMap
    from maskwright.comparison import Comparison as Comparison
    from maskwright.comparison import compare as compare
    from maskwright.data.check import CheckReport as CheckReport
    from maskwright.data.check import check as check
    from maskwright.data.convert import ConversionReport as ConversionReport
    from maskwright.data.convert import convert as convert
    from maskwright.data.dataset import Dataset as Dataset
    from maskwright.data.dataset import open_dataset as open_dataset
    from maskwright.errors import CheckpointError as CheckpointError
    from maskwright.errors import FormatError as FormatError
    from maskwright.errors import InputError as InputError
    from maskwright.errors import MaskwrightError as MaskwrightError
    from maskwright.errors import MissingExtraError as MissingExtraError
    from maskwright.evaluation import Evaluation as Evaluation
    from maskwright.evaluation import ObjectEvaluation as ObjectEvaluation
    from maskwright.evaluation import Optimised as Optimised
    from maskwright.evaluation import evaluate as evaluate
    from maskwright.evaluation import optimise as optimise
    from maskwright.exporting import Export as Export
    from maskwright.exporting import export as export
    from maskwright.inference.predictor import Predictor as Predictor
    from maskwright.inference.predictor import load as load
    from maskwright.instances import Instances as Instances
    from maskwright.io.image import Image as Image
    from maskwright.io.read import read_image as read_image
    from maskwright.io.video import Video as Video
    from maskwright.io.video import frames as frames
    from maskwright.recipe import Recipe as Recipe
    from maskwright.result import Segmentation as Segmentation
    from maskwright.sample import Sample as Sample
    from maskwright.training import Run as Run
    from maskwright.training import train as train

__version__ = "0.1.0"

_ROOM_OF = {
    "CheckReport": "maskwright.data.check",
    "CheckpointError": "maskwright.errors",
    "ClassMap": "maskwright.classes",
    "Comparison": "maskwright.comparison",
    "ConversionReport": "maskwright.data.convert",
    "Dataset": "maskwright.data.dataset",
    "Evaluation": "maskwright.evaluation",
    "Export": "maskwright.exporting",
    "FormatError": "maskwright.errors",
    "Image": "maskwright.io.image",
    "InputError": "maskwright.errors",
    "Instances": "maskwright.instances",
    "MaskwrightError": "maskwright.errors",
    "MissingExtraError": "maskwright.errors",
    "ObjectEvaluation": "maskwright.evaluation",
    "Optimised": "maskwright.evaluation",
    "Predictor": "maskwright.inference.predictor",
    "Recipe": "maskwright.recipe",
    "Run": "maskwright.training",
    "Sample": "maskwright.sample",
    "Segmentation": "maskwright.result",
    "Video": "maskwright.io.video",
    "check": "maskwright.data.check",
    "compare": "maskwright.comparison",
    "convert": "maskwright.data.convert",
    "evaluate": "maskwright.evaluation",
    "export": "maskwright.exporting",
    "frames": "maskwright.io.video",
    "load": "maskwright.inference.predictor",
    "load_checkpoint": "maskwright.checkpoint",
    "open_dataset": "maskwright.data.dataset",
    "optimise": "maskwright.evaluation",
    "read_image": "maskwright.io.read",
    "save_checkpoint": "maskwright.checkpoint",
    "train": "maskwright.training",
}

__all__ = ["__version__", *_ROOM_OF]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'maskwright' has no attribute {name!r}")
    value = getattr(import_module(_ROOM_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOM_OF})
