"""What a comparison's folder remembers, so that the same command goes on where it was interrupted.

state.json holds the terms (what is the same for every model), the fingerprint of the data, and which models are trained.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskwright.classes import ClassMap
from maskwright.errors import InputError
from maskwright.io.write import fresh_folder, write_json

FILE = "state.json"


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
    seed: int = 0
    classes: str | Path | ClassMap | None = None
    images: str | None = None
    masks: str | None = None
    group: str | None = None
    snap: bool = False
    skip_bad: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values, equal for equal terms after a way through a file."""
        classes = self.classes.to_dict() if isinstance(self.classes, ClassMap) else self.classes
        facts = {**vars(self), "classes": classes, "settings": dict(self.settings)}
        plain: dict[str, Any] = json.loads(json.dumps(facts, default=str))
        return plain


@dataclass
class Ledger:
    """The state of one comparison folder.

    Attributes:
        trained: name of a contestant -> {"steps": ..., "minutes": ...} of its finished training
        data: fingerprint of the data, "" before it is known
    """

    folder: Path
    terms: Mapping[str, Any]
    data: str = ""
    trained: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, out: str | Path | None, default: Path, terms: Terms) -> Ledger:
        """The ledger of `out`; without it that of the folder default, default-2, ... with these terms, else of a fresh one.

        Raises:
            InputError: `out` holds something else, or a comparison on other terms (the first that differs is named).
        """
        wanted = terms.to_json()
        if out is None:
            for folder in sorted(default.parent.iterdir()) if default.parent.is_dir() else ():
                numbered = re.fullmatch(re.escape(default.name) + r"(-\d+)?", folder.name)
                if numbered and (folder / FILE).is_file() and _read(folder / FILE)["terms"] == wanted:
                    return cls._of(folder / FILE, wanted)
            return cls(fresh_folder(default), wanted)
        folder = Path(out)
        if (folder / FILE).is_file():
            return cls._of(folder / FILE, wanted)
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder}: is not empty and holds no comparison; choose another --out.")
        return cls(folder, wanted)

    @classmethod
    def _of(cls, file: Path, wanted: Mapping[str, Any]) -> Ledger:
        there = _read(file)
        for key, value in wanted.items():
            if there["terms"].get(key) != value:
                raise InputError(
                    f"{file.parent}: holds a comparison with {key}={there['terms'].get(key)}, this one has {key}={value}; "
                    f"give the same to go on with it, or choose another --out."
                )
        return cls(file.parent, wanted, there["data"], there["trained"])

    def of_data(self, fingerprint: str) -> None:
        """Note what the data is.

        Raises:
            InputError: models of this comparison were trained on other data.
        """
        if self.trained and self.data != fingerprint:
            raise InputError(
                f"{self.folder}: the data has changed since {', '.join(self.trained)} were trained on it, so they cannot be "
                f"compared with new ones; choose another --out."
            )
        self.data = fingerprint
        self.save()

    def note(self, name: str, **facts: Any) -> None:
        """A model is trained: kept at once, so that no interruption loses it."""
        self.trained[name] = facts
        self.save()

    def save(self) -> None:
        write_json(self.folder / FILE, {"terms": self.terms, "data": self.data, "trained": self.trained})


def _read(file: Path) -> dict[str, Any]:
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error}); delete it to start this comparison anew.") from error
    if not isinstance(there, dict) or not {"terms", "data", "trained"} <= set(there):
        raise InputError(f"{file}: is not what `maskwright compare` writes; choose another --out.")
    return there
