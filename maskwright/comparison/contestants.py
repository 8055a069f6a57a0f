"""Who takes part in a comparison: models to train, written NAME[:key=value,...], and finished runs.

A key is an argument of the model (`unet:width=32`) or any other setting of the recipe (`segnet:learning_rate=0.01`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from maskwright.errors import InputError
from maskwright.models import MODELS
from maskwright.recipe import Recipe

# What a comparison gives to all models alike, so that none may have its own.
FOR_ALL = ("model", "steps", "seed", "reasons")


@dataclass(frozen=True)
class Contestant:
    """One model of a comparison.

    Attributes:
        name: as it was written, or the name of the run's folder; stands once in a comparison
        model: the network to train; "" for a finished run
        encoder: the network's timm encoder, where one was asked for
        settings: of the recipe, over those that all share; values are YAML text
        run: a finished run, or None
    """

    name: str
    model: str = ""
    encoder: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    run: Path | None = None

    @property
    def folder_name(self) -> str:
        """The name as a folder may be called on any system."""
        return re.sub(r"[^\w.+=-]+", "_", self.name).strip("_.") or "model"

    def run_in(self, folder: Path) -> Path:
        """Where its run lies, or will lie, when the comparison's folder is this."""
        return self.run if self.run is not None else folder / "runs" / self.folder_name

    def to_json(self) -> dict[str, Any]:
        """What it is besides its name, as plain values; equal for equal contestants.

        Raises:
            InputError: a setting that no recipe takes.
        """
        if self.run is not None:
            return {"run": str(self.run.resolve())}
        try:
            settings = as_read(self.settings)
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from error
        return {"model": self.model, "encoder": self.encoder, "settings": settings}

    @classmethod
    def from_json(cls, name: str, facts: Mapping[str, Any]) -> Contestant:
        """The contestant of this name of whom to_json has said this."""
        if "run" in facts:
            return cls(name, run=Path(facts["run"]))
        return cls(name, facts["model"], facts["encoder"], facts["settings"])


def as_read(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the values that the recipe reads from them: "3" of the command line and 3 are the same.

    Raises:
        InputError: a setting that no recipe takes.
    """
    read = Recipe().with_settings(settings, "given").model_dump(mode="json")
    parts = ((key, *key.partition(".")[::2]) for key in settings)
    return {key: read[head].get(rest) if rest else read[head] for key, head, rest in parts}


def contestants_of(
    models: str | Sequence[str], runs: str | Sequence[str | Path], encoder: str | None = None
) -> tuple[tuple[Contestant, ...], tuple[str, ...]]:
    """The contestants, models first, and what is to be said about them.

    Args:
        models: "unet,segnet:learning_rate=0.01", or a list of such entries
        runs: "A,B", or a list of folders
        encoder: for every model that takes one and names none itself

    Raises:
        InputError: nobody takes part, a name or key is unknown (near ones are shown), or one is there twice.
    """
    entries = specs_in(models) if isinstance(models, str) else list(models)
    found = [_to_train(entry.strip(), encoder) for entry in entries]
    folders = [Path(text) for text in (runs.split(",") if isinstance(runs, str) else runs) if str(text).strip()]
    found += _finished(folders, taken={one.name for one in found})
    if not found:
        raise InputError("nothing to compare; name models (--models unet,segnet) or finished runs (--runs A,B).")
    _each_once(found)
    if encoder is None:
        return tuple(found), ()
    without = [one.name for one in found if one.model and one.encoder is None]
    if len(without) == len(found):
        raise InputError(f"--encoder {encoder}: none of the models takes an encoder ({', '.join(without)}); leave it out.")
    said = f"The encoder {encoder} was given to the models that take one; without it: {', '.join(without)}."
    return tuple(found), (said,) if without else ()


def specs_in(text: str) -> list[str]:
    """ "unet:width=8,depth=2,segnet" -> ["unet:width=8,depth=2", "segnet"]: key=value belongs to the model before it."""
    found: list[str] = []
    for piece in pieces(text):
        head, equals, _ = piece.partition("=")
        if found and equals and ":" not in head:
            found[-1] += f",{piece}"
        elif piece:
            found.append(piece)
    return found


def pieces(text: str) -> list[str]:
    """What stands between the commas that no bracket encloses, stripped: "a=[1,2],b" -> ["a=[1,2]", "b"]."""
    found, depth = [""], 0
    for letter in text:
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth <= 0:
            found.append("")
        else:
            found[-1] += letter
    return [piece.strip() for piece in found]


def _to_train(entry: str, encoder: str | None) -> Contestant:
    model, colon, rest = entry.partition(":")
    known = [name for name, row in MODELS.items() if row.task == "semantic"]
    if model not in known:
        raise InputError(f"no model named {model!r}; did you mean {near(model, known)}?")
    arguments = MODELS[model].arguments
    settings = dict(_setting(entry, piece, arguments) for piece in (pieces(rest) if colon else ()))
    own = settings.pop("model_args.encoder", encoder if "encoder" in arguments else None)
    return Contestant(entry, model, own, settings)


def _setting(entry: str, piece: str, arguments: Sequence[str]) -> tuple[str, str]:
    """Recipe key and value of one piece: the model's own arguments first, then all other settings."""
    key, equals, value = (part.strip() for part in piece.partition("="))
    if not key or not equals:
        raise InputError(f"{entry}: {piece!r} is not key=value; write NAME:key=value,key=value.")
    head = key.partition(".")[0]
    if head in arguments:
        return f"model_args.{key}", value
    if head in FOR_ALL:
        raise InputError(f"{entry}: {head} is the same for all models of a comparison; leave it out here.")
    if head not in Recipe.model_fields:
        known = [*arguments, *(k for k in Recipe.model_fields if k not in FOR_ALL)]
        raise InputError(f"{entry}: no argument or setting named {key!r}; did you mean {near(key, known)}?")
    return key, value


def _finished(folders: Sequence[Path], taken: Iterable[str]) -> Iterator[Contestant]:
    """Runs under their folder's name, or under their path where that name is taken."""
    names = [*taken, *(folder.resolve().name for folder in folders)]
    for folder in folders:
        name = folder.resolve().name
        yield Contestant(name if names.count(name) == 1 else folder.as_posix(), run=folder)


def _each_once(found: Sequence[Contestant]) -> None:
    for what in ("name", "folder_name"):
        values = [getattr(one, what) for one in found]
        twice = next((v for v in values if values.count(v) > 1), None)
        if twice is not None:
            raise InputError(f"{twice} stands twice in the comparison; name each model and each run once.")


def near(name: str, known: Sequence[str]) -> str:
    """The known names that look like this one, or all."""
    return ", ".join(get_close_matches(name, known)) or f"one of: {', '.join(known)}"
