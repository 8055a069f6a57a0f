"""Put a comparison together: rank, time each model, ask it for the images that are shown, draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.checkpoint import load_checkpoint
from maskwright.comparison.ledger import Terms
from maskwright.comparison.picture import Column, Row, chosen, comparison_picture
from maskwright.comparison.result import Comparison, Entrant, number, ranked
from maskwright.comparison.scoring_all import milliseconds, opened, timed_sources
from maskwright.data.dataset import Source
from maskwright.errors import Interrupted
from maskwright.evaluation.opening import Data
from maskwright.inference.predictor import Predictor


def assembled(
    entrants: Sequence[Entrant],
    reference: str,
    folder: Path,
    data: Data,
    terms: Terms,
    split: str | None,
    *,
    device: str,
    exact: bool,
) -> Comparison:
    """The comparison with its picture: each scored model is loaded once more, timed, and asked for the images that are shown.

    Raises:
        Interrupted: Ctrl-C or, inside stopping.stoppable, SIGTERM; the message says how to go on.
    """
    order = ranked(entrants)
    scored = [one for one in order if one.evaluation is not None]
    first = scored[0].evaluation if scored else None
    if first is None:
        return Comparison(Path(terms.data).name, split or "", 0, order, reference, folder)
    dataset, pairs = opened(scored[0].run, data, terms, split)
    per_image = np.array([[s.mean_iou for s in one.evaluation.per_image] for one in scored if one.evaluation])
    why = chosen(per_image)
    rows = [Row(text, dataset.read(pairs[k])) for text, k in why.items()]
    timed, columns = {}, []
    for place, one in enumerate(scored):
        try:
            timed[one.name], found = _asked(one, rows, timed_sources(pairs), device, exact)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted while timing {one.name}; all runs are kept in {folder}. Give the same command to go on."
            ) from None
        said = f"mean IoU {number(one.score(), digits=3)}, {timed[one.name].milliseconds:.0f} ms"
        columns.append(Column(one.name, said, found, [float(per_image[place, k]) for k in why.values()]))
    return Comparison(
        dataset=first.dataset,
        split=first.split,
        images=len(first.per_image),
        entrants=tuple(timed.get(one.name, one) for one in order),
        reference=reference,
        folder=folder,
        picture=comparison_picture(rows, columns) if rows else None,
        shown={row.why: row.sample.name for row in rows},
    )


def _asked(
    one: Entrant, rows: Sequence[Row], sources: Sequence[Source], device: str, exact: bool
) -> tuple[Entrant, list[NDArray[Any]]]:
    """The entrant with what only its loaded model knows, and its answers to the rows."""
    net, manifest = load_checkpoint(one.run)
    parameters = sum(p.numel() for p in net.parameters())
    predictor = Predictor(net, manifest, device=device, exact=exact)
    found = [predictor(row.sample.image).labels for row in rows]
    took = milliseconds(predictor, sources)
    known = replace(one, model=manifest.model, parameters=parameters, runtime=predictor.runtime, milliseconds=took)
    return known, found
