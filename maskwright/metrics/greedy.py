"""Which found object is which true one: at most one to one, by falling score or by falling overlap.

Source: the COCO API's rule (Lin et al. 2014, arXiv:1405.0312), written from its description: found objects in the order of their
scores each take the free true object that they overlap most. What counts nowhere (a crowd, an object of another size) is taken
only by what finds nothing else, and a crowd takes any number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EXTRA, UNCOUNTED = -1, -2
NEARLY_ALL = 1 - 1e-10  # COCO's: an IoU that rounding keeps below 1 still reaches a threshold of 1


def by_score(
    overlap: NDArray[np.float64], thresholds: NDArray[np.float64], uncounted: NDArray[np.bool_], crowd: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """What each found object takes, at several thresholds and for several choices of what counts at once.

    Of equal overlaps the later true object is taken, as COCO does; an overlap that equals the threshold reaches it.

    Shapes:
        overlap: (D, G), see objects.overlaps; found objects in the order in which they choose
        thresholds: (T,)
        uncounted: (A, G) true objects that count nowhere, crowds among them, one row a choice
        crowd: (G,) true objects that any number may take
        returns: (A, T, D) positions of true objects; EXTRA where none was taken
    """
    found, true = overlap.shape
    limits = np.minimum(thresholds, NEARLY_ALL)[:, None]
    taken = np.full((len(uncounted), len(thresholds), found), EXTRA, np.int64)
    free = np.ones((len(uncounted), len(thresholds), true), bool)
    near = overlap >= limits.min(initial=1.0)
    for d in np.flatnonzero(near.any(1)):
        columns = np.flatnonzero(near[d])
        value = overlap[d, columns]
        fits = free[:, :, columns] & (value >= limits)  # (A, T, g)
        counted = fits & ~uncounted[:, None, columns]
        choice = np.where(counted.any(-1, keepdims=True), counted, fits)
        ranked = np.where(choice, value, -1.0)[..., ::-1]
        best = columns[len(columns) - 1 - ranked.argmax(-1)]  # (A, T)
        hit = choice.any(-1)
        taken[..., d] = np.where(hit, best, EXTRA)
        a, t = np.nonzero(hit & ~crowd[best])
        free[a, t, best[a, t]] = False
    return taken


def by_overlap(overlap: NDArray[np.float64], thresholds: NDArray[np.float64], crowd: NDArray[np.bool_]) -> NDArray[np.int64]:
    """What each found object takes where none has a score: the pair of the highest IoU is matched first.

    Found objects that match nothing are UNCOUNTED where a crowd covers them as far as the threshold says.

    Shapes:
        overlap: (D, G); thresholds: (T,); crowd: (G,)
        returns: (T, D) positions of true objects, EXTRA or UNCOUNTED
    """
    partner, value = np.full(len(overlap), EXTRA, np.int64), np.zeros(len(overlap))
    free = ~crowd
    rows, columns = np.nonzero((overlap >= thresholds.min(initial=1.0)) & ~crowd)
    for k in np.argsort(-overlap[rows, columns], kind="stable"):
        d, g = rows[k], columns[k]
        if partner[d] == EXTRA and free[g]:
            partner[d], value[d], free[g] = g, overlap[d, g], False
    # Pairs stand in falling order, so the matches at a threshold are those found before the overlaps fall below it.
    taken = np.where((partner != EXTRA) & (value >= thresholds[:, None]), partner, EXTRA)
    covered = overlap[:, crowd].max(1, initial=0.0)
    return np.where((taken == EXTRA) & (covered > 0) & (covered >= thresholds[:, None]), UNCOUNTED, taken)
