"""How options are declared, and those that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from maskwright.errors import InputError


def value(metavar: str | None, help_text: str, *names: str) -> Any:
    """An option with a value: its placeholder, what it does, and its names where the parameter's own will not do."""
    return typer.Option(*names, metavar=metavar, help=help_text)


def flag(name: str, help_text: str) -> Any:
    """An option that is on or off; named in full, so that no --no-... twin appears."""
    return typer.Option(name, help=help_text)


def argument(metavar: str, help_text: str) -> Any:
    return typer.Argument(metavar=metavar, help=help_text)


Data = Annotated[Path, argument("DATA", "Folder with images and masks, in any usual layout.")]
Classes = Annotated[
    Path | None, value("FILE", "Class map, or camvid, voc, cityscapes; default: DATA's classes.yaml, else found.")
]
Images = Annotated[str | None, value("DIR", "Folder of the images, where DATA's layout is not found.")]
Masks = Annotated[str | None, value("DIR", "Folder of the masks, where DATA's layout is not found.")]
Group = Annotated[str | None, value("REGEX", "Its first bracket in a name is the patient or scene; no split divides one.")]
HoldoutGroups = Annotated[
    list[str] | None,
    value("NAME", "Leave this group alone (see --group), to be scored as split held-out; may be repeated.", "--holdout-group"),
]
Snap = Annotated[bool, flag("--snap", "Move mask values that no class has to the nearest that one has.")]
Device = Annotated[str, value("NAME", "auto, cpu, cuda, cuda:1 or mps.")]
Runtime = Annotated[
    str,
    value("NAME", "torch, openvino, compile (torch.compile) or onnx; auto: the quickest that agrees with eager fp32."),
]
Precision = Annotated[str, value("TYPE", "fp32, bf16, fp16 (CUDA) or int8 (see optimise); auto: the quickest that agrees.")]
Seed = Annotated[int, value("N", "Same seed, same result.")]
Exact = Annotated[
    bool, flag("--exact", "Eager fp32 instead of the quickest way that agreed with it; tiles of huge images without seams.")
]
Tile = Annotated[int | None, value("PX", "Side of overlapping tiles; default: only images too large for one pass.")]
Overlap = Annotated[
    int | None, value("PX", "Of neighbouring tiles; default: a quarter, of images that are read by windows an eighth.")
]
Flips = Annotated[bool, flag("--flips", "Average over the image and its mirror image; twice the time.")]
Json = Annotated[bool, flag("--json", "Print JSON instead of text.")]


def settings(given: Sequence[str]) -> dict[str, str]:
    """The `--set key=value` options as a mapping; the values stay text, the recipe reads them.

    Raises:
        InputError: there is no equals sign, or no key before it.
    """
    found = {}
    for text in given:
        key, equals, setting = text.partition("=")
        if not (key.strip() and equals):
            raise InputError(f"--set {text!r}: expected key=value, such as --set learning_rate=0.001.")
        found[key.strip()] = setting
    return found
