"""The lines of a recipe, and what the mask doctor said, as rows of the page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from maskwright.data.findings import KINDS, CheckReport, Finding

SHOWN_FINDINGS = 20  # of one kind


@dataclass(frozen=True)
class Setting:
    key: str
    value: str
    reason: str


def settings(recipe_yaml: str) -> list[Setting]:
    """The lines of a recipe: key, value, reason; lines below a key that are set in belong to its value."""
    found: list[Setting] = []
    for line in recipe_yaml.splitlines():
        if not line.strip() or line.lstrip().startswith(("#", "---")):
            continue
        text, reason = _without_comment(line)
        if text[0].isspace() or text.startswith("-") or ":" not in text:
            last = found.pop() if found else Setting("", "", "")
            joined = (" ".join(filter(None, two)) for two in ((last.value, text.strip()), (last.reason, reason)))
            found.append(Setting(last.key, *joined))
        else:
            key, _, value = text.partition(":")
            found.append(Setting(key.strip(), value.strip(), reason))
    return found


def _without_comment(line: str) -> tuple[str, str]:
    """What stands before and behind the comment mark; a # within quotes is none, which YAML itself is asked."""
    for mark in re.finditer(r"\s#", line):
        try:
            yaml.safe_load(line[: mark.start()])
        except yaml.YAMLError:
            continue
        return line[: mark.start()].rstrip(), line[mark.end() :].strip()
    return line.rstrip(), ""


def balance(check: CheckReport) -> list[dict[str, Any]]:
    """One row a class, and one for ignored pixels where there are any: name, colour, share of all pixels, images."""
    colours = dict(zip(check.classes.names, check.classes.colours, strict=True)) if check.classes else {}
    total = max(sum(check.class_pixels.values()) + check.ignored_px, 1)
    rows = [
        {"name": name, "colour": colours.get(name), "share": px / total, "images": check.class_images.get(name)}
        for name, px in check.class_pixels.items()
    ]
    ignored = {"name": "(ignored)", "colour": None, "share": check.ignored_px / total, "images": None}
    return [*rows, ignored] if check.ignored_px else rows


def kinds(findings: Sequence[Finding]) -> Iterator[dict[str, Any]]:
    """Findings of one kind together, in the order of the check: one is told whole, several by their number and the way out."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for f in findings:
        groups.setdefault((f.severity, f.code), []).append(f)
    for (severity, code), same in groups.items():
        one = len(same) == 1
        says = same[0].message if one else f"{len(same)} {KINDS[code].several}. {KINDS[code].way_out}"
        each = [] if one else [f.message for f in same[:SHOWN_FINDINGS]]
        yield {"severity": severity, "code": code, "says": says, "each": each, "more": 0 if one else len(same) - len(each)}
