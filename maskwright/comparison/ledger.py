"""What a comparison's folder remembers, so that the same command goes on where it was interrupted.

state.json holds the terms (what is the same for every model), the fingerprint of the data, what each model is (its network, its
encoder, its own settings; or its run), and which are trained. Files that somebody has deleted count more than what is noted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskwright.checkpoint import WEIGHTS_FILE
from maskwright.classes import ClassMap
from maskwright.comparison.contestants import Contestant, as_read
from maskwright.errors import InputError
from maskwright.io.write import fresh_folder, write_json

FILE = "state.json"
STATE = Path("state") / "last.safetensors"  # of a run: from here a training goes on


@dataclass(frozen=True)
class Terms:
    """What is the same for every model of a comparison; see training.train for the meanings.

    Attributes:
        data: where it lies, or its name
    """

    data: str = ""
    minutes: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    holdout: float | None = None
    holdout_groups: tuple[str, ...] = ()
    fit: tuple[str, ...] = ()
    seed: int = 0
    classes: str | Path | ClassMap | None = None
    images: str | None = None
    masks: str | None = None
    group: str | None = None
    snap: bool = False
    skip_bad: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values, equal for equal terms after a way through a file.

        Raises:
            InputError: a setting that no recipe takes.
        """
        classes = self.classes.to_dict() if isinstance(self.classes, ClassMap) else self.classes
        facts = {**vars(self), "classes": classes, "settings": as_read(self.settings)}
        plain: dict[str, Any] = json.loads(json.dumps(facts, default=str))
        return plain


@dataclass
class Ledger:
    """The state of one comparison folder.

    Attributes:
        data: fingerprint of the data, "" before it is known
        trained: name of a contestant -> {"steps": ..., "minutes": ...} of its finished training
        asked: name of a contestant -> what it is, see Contestant.to_json; also of one whose training is not finished
    """

    folder: Path
    terms: Mapping[str, Any]
    data: str = ""
    trained: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, out: str | Path | None, default: Path, terms: Terms, contestants: Sequence[Contestant] = ()) -> Ledger:
        """The ledger of `out`; without it that of the folder default, default-2, ... into which these contestants fit on these
        terms (the one that knows most of them), else of a fresh one.

        Raises:
            InputError: `out` holds something else, or what these do not fit to (the first difference is named).
        """
        wanted = terms.to_json()
        asked = {one.name: one.to_json() for one in contestants}
        if out is None:
            fitting = [ledger for ledger in _ledgers_of(default) if ledger._difference(wanted, contestants) is None]
            known = [sum(name in ledger.asked for name in asked) for ledger in fitting]
            return fitting[known.index(max(known))] if fitting else cls(fresh_folder(default), wanted)
        folder = Path(out)
        if (folder / FILE).is_file():
            ledger = _read(folder / FILE)
            difference = ledger._difference(wanted, contestants)
            if difference is not None:
                raise InputError(f"{folder}: {difference}")
            return ledger
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder}: is not empty and holds no comparison; choose another --out.")
        return cls(folder, wanted)

    def is_trained(self, one: Contestant) -> bool:
        """Its training is finished, and nobody has deleted the weights since."""
        return one.name in self.trained and _has_weights(one.run_in(self.folder))

    def kept(self, besides: Sequence[Contestant]) -> tuple[Contestant, ...]:
        """Those of earlier sittings that have weights, without the ones of this sitting."""
        named = [one.name for one in besides]
        there = [one for one in self._known() if one.name not in named]
        return tuple(one for one in there if (_has_weights(one.run) if one.run is not None else self.is_trained(one)))

    def _known(self) -> list[Contestant]:
        return [Contestant.from_json(name, facts) for name, facts in self.asked.items()]

    def _difference(self, wanted: Mapping[str, Any], contestants: Sequence[Contestant]) -> str | None:
        """Why these cannot go on here, in words that follow the folder's name; None: they can."""
        for key, value in wanted.items():
            if self.terms.get(key) != value:
                return (
                    f"holds a comparison with {key}={self.terms.get(key)}, this one has {key}={value}; "
                    f"give the same to go on with it, or choose another --out."
                )
        folders = {one.folder_name: one for one in self._known() if self._has_something(one)}
        for one in contestants:
            there = folders.get(one.folder_name)
            if there is not None and (there.name, there.to_json()) != (one.name, one.to_json()):
                return _told_apart(there, one)
        return None

    def _has_something(self, one: Contestant) -> bool:
        """There is a finished or an unfinished run of it."""
        if one.run is not None:
            return _has_weights(one.run)
        return self.is_trained(one) or (one.run_in(self.folder) / STATE).is_file()

    def of_data(self, fingerprint: str) -> None:
        """Note what the data is.

        Raises:
            InputError: models of this comparison were trained on other data.
        """
        trained = [one.name for one in self._known() if self.is_trained(one)]
        if trained and self.data != fingerprint:
            raise InputError(
                f"{self.folder}: the data has changed since {', '.join(trained)} were trained on it, so they cannot be "
                f"compared with new ones; choose another --out."
            )
        self.data = fingerprint
        self.save()

    def ask(self, contestants: Sequence[Contestant]) -> None:
        """Note what the contestants are, before any of them is trained."""
        self.asked |= {one.name: one.to_json() for one in contestants}
        self.save()

    def note(self, name: str, **facts: Any) -> None:
        """A model is trained: kept at once, so that no interruption loses it."""
        self.trained[name] = facts
        self.save()

    def forget(self, name: str) -> None:
        """A model is no longer trained: its weights are gone."""
        self.trained.pop(name, None)
        self.save()

    def save(self) -> None:
        write_json(self.folder / FILE, {"terms": self.terms, "data": self.data, "asked": self.asked, "trained": self.trained})


def _told_apart(there: Contestant, one: Contestant) -> str:
    """What the folder holds under the name of this contestant, and the way out."""
    if there.name != one.name:
        return f"holds {there.name}, whose folder would be that of {one.name}; choose another --out."
    old, new = there.to_json(), one.to_json()
    key = next(key for key in (*new, *old) if old.get(key) != new.get(key))
    own = f"{one.name}{',' if ':' in one.name else ':'}encoder={one.encoder}"
    beside = f"write {own} to have both, or " if key == "encoder" and one.encoder is not None else ""
    return f"holds {one.name} with {key}={old.get(key)}, this one has {key}={new.get(key)}; {beside}choose another --out."


def _has_weights(run: Path) -> bool:
    return run.is_file() or (run / WEIGHTS_FILE).is_file()


def _ledgers_of(default: Path) -> Iterator[Ledger]:
    """Of the folders default, default-2, ... that hold a comparison."""
    for folder in sorted(default.parent.iterdir()) if default.parent.is_dir() else ():
        if re.fullmatch(re.escape(default.name) + r"(-\d+)?", folder.name) and (folder / FILE).is_file():
            yield _read(folder / FILE)


def _read(file: Path) -> Ledger:
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error}); delete it to start this comparison anew.") from error
    if not isinstance(there, dict) or not {"terms", "data", "trained"} <= set(there):
        raise InputError(f"{file}: is not what `maskwright compare` writes; choose another --out.")
    return Ledger(file.parent, there["terms"], there["data"], there["trained"], there.get("asked", {}))
