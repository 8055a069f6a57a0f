"""From a path or an array to a Segmentation of exactly its size; and the same for folders of files."""

from maskwright.inference.files import PredictReport, predict_files
from maskwright.inference.predictor import Failure, Predictor

__all__ = ["Failure", "PredictReport", "Predictor", "predict_files"]
