"""What in a file's name is the name, and what only says image or mask."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SEPARATOR = r"[_\-. ]"


def bare(stem: str, words: Sequence[str]) -> str:
    """The stem in lower case without a word like mask at its end or start: x_mask, x-Label, mask_7, mask7."""
    either = "|".join(words)
    low = stem.lower()
    without = re.sub(rf"{_SEPARATOR}+({either})$", "", low)
    return re.sub(rf"^({either})({_SEPARATOR}+|(?=\d))", "", low) if without == low else without


def says_role(stem: str, words: Sequence[str]) -> bool:
    return bare(stem, words) != stem.lower()


def common_affixes(stems: Sequence[str]) -> tuple[str, str]:
    """What all stems start and end with, cut at separators: ("", "_manual1") for 21_manual1, 22_manual1.

    An ending must hold a letter: in a_1, b_1 the 1 is a number, not a word.
    """
    if len(stems) < 2:
        return "", ""
    start, end = shared_start(stems), shared_start([s[::-1] for s in stems])
    before = re.match(rf".*{_SEPARATOR}|", stems[0][:start])
    after = re.search(rf"{_SEPARATOR}.*$|$", stems[0][len(stems[0]) - end :])
    ending = after.group() if after else ""
    return before.group() if before else "", ending if re.search(r"[^\W\d_]", ending) else ""


def without_affixes(stem: str, before: str, after: str) -> str:
    return stem[len(before) : len(stem) - len(after)]


def shared_start(rows: Sequence[Sequence[str]]) -> int:
    """How many items all rows have in common at their start."""
    return next((k for k, column in enumerate(zip(*rows, strict=False)) if len(set(column)) > 1), min(map(len, rows)))
