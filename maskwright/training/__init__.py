"""Training: plan a recipe from the data, run the loop, resume to the same bits."""

from maskwright.training.run import Run, train

__all__ = ["Run", "train"]
