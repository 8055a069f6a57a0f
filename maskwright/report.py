"""The report of a run: one HTML file that needs nothing else, for reading, mailing and keeping.

Numbers come from the evaluation, curves from log.jsonl, class balance and findings from the mask doctor; nothing is computed
anew. This module decides what is said and where the points of the drawings lie; report.html.jinja says it.
What is not there (a log, a check, pictures, an interval) is left out with its section.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import PIL.Image
import yaml
from numpy.typing import NDArray

from maskwright import __version__
from maskwright.charts import Chart, bars, curves
from maskwright.classes import Colour
from maskwright.data.findings import ERROR, KINDS, NOTE, WARNING, CheckReport, Finding
from maskwright.evaluation import COLUMNS, Evaluation

TEMPLATE = "report.html.jinja"
PICTURES_BYTES = 4_000_000  # in the file, as text: leaves room for the rest below 5 MB
SHOWN_PICTURES = 8  # of the worst, and of the best
SHOWN_FINDINGS = 20  # of a kind
# (share of the width, JPEG quality), tried in turn until the pictures fit.
SQUEEZES = ((1.0, 88), (1.0, 75), (0.7, 75), (0.5, 70), (0.35, 60), (0.2, 50))
TILES = ("worst_twentieth", "mean_iou", "mean_dice_no_background", "pixel_accuracy")
VALIDATED = {"mean_dice": "mean Dice", "mean_image_dice": "mean image Dice", "mean_iou": "mean IoU"}
