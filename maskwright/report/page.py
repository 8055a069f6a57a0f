"""The report of a run: one HTML file that needs nothing else, for reading, mailing and keeping.

Numbers come from the evaluation, curves from log.jsonl, class balance and findings from the mask doctor; nothing is measured
anew. The other files of this room decide what is said and where the points of the drawings lie; page.html.jinja says and draws
it. What is not there (a log, a check, pictures, an interval) is left out with its section.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import torch

from maskwright import __version__
from maskwright.data.findings import CheckReport
from maskwright.evaluation import COLUMNS, AnyEvaluation
from maskwright.io.write import write_text
from maskwright.report.charts import BOTTOM, CHART_H, CHART_W, LEFT, RIGHT, TOP, training_charts
from maskwright.report.pictures import embedded
from maskwright.report.recipe import balance, kinds, settings
from maskwright.report.scores import shown
from maskwright.training.log import read_log

SHOWN_PICTURES = 8  # of the worst, and of the best


def write_report(
    path: str | Path,
    *,
    title: str,
    evaluation: AnyEvaluation,
    recipe_yaml: str = "",
    log: Sequence[Mapping[str, Any]] = (),
    check: CheckReport | None = None,
    facts: Mapping[str, str] = {},
) -> Path:
    """Write one self-contained HTML file, below 5 MB, that opens without a network in any browser.

    Args:
        title: what was trained or scored
        evaluation: the scores; its pictures, where it kept any, are shown with the worst and the best images
        recipe_yaml: text of a recipe, `key: value  # reason` lines
        log: rows of log.jsonl, see training.log
        check: what the mask doctor said about the data
        facts: hardware, versions, times: whatever stands at the end, in the order given

    Returns:
        the path written

    Raises:
        InputError: the file cannot be written.
    """
    scores = [*evaluation.worst(SHOWN_PICTURES), *evaluation.best(SHOWN_PICTURES)]
    pictures = embedded(evaluation, list(dict.fromkeys(s.name for s in scores)))
    worst = [pictures[s.name] for s in evaluation.worst(SHOWN_PICTURES) if s.name in pictures]
    seen = {p.name for p in worst}
    best = [pictures[s.name] for s in evaluation.best(SHOWN_PICTURES) if s.name in pictures and s.name not in seen]
    text = _template().render(
        title=title,
        version=__version__,
        evaluation=evaluation,
        shown=shown(evaluation),
        columns=COLUMNS,
        charts=training_charts(log),
        worst=worst,
        best=best,
        settings=settings(recipe_yaml),
        check=check,
        balance=balance(check) if check else [],
        kinds=list(kinds(check.findings)) if check else [],
        facts=facts,
        width=CHART_W,
        height=CHART_H,
        field=(LEFT, TOP, CHART_W - RIGHT, CHART_H - BOTTOM),
    )
    write_text(path, text)
    return Path(path)


def report_run(path: str | Path, title: str, evaluation: AnyEvaluation, run: Path, check: CheckReport | None = None) -> Path:
    """Write the report of a run folder: its recipe and its log, the scores, and what this was computed on; see write_report."""
    recipe = run / "recipe.yaml"
    return write_report(
        path,
        title=title,
        evaluation=evaluation,
        recipe_yaml=recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
        log=read_log(run),
        check=check,
        facts=_facts(evaluation),
    )


def _facts(evaluation: AnyEvaluation) -> dict[str, str]:
    """What a number needs beside it: what it was computed with, where and when."""
    return {
        "predictions": evaluation.predictions,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": f"maskwright {__version__}, Python {platform.python_version()}, torch {torch.__version__}",
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def _template() -> jinja2.Template:
    room = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    room.filters |= {"rgb": lambda colour: "rgb({}, {}, {})".format(*colour), "known": lambda value: not math.isnan(value)}
    return room.from_string(files("maskwright.report").joinpath("page.html.jinja").read_text(encoding="utf-8"))
