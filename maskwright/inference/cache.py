"""What was converted once is kept: folders of files in the user's cache, each whole or not there.

The cache is $MASKWRIGHT_CACHE, else $XDG_CACHE_HOME/maskwright, else ~/.cache/maskwright (freedesktop.org's base directories). It
may be deleted at any time; a damaged entry counts as missing. Beyond MOST_BYTES the entries that were not used for longest go.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MOST_BYTES = 4 << 30
_SUMS = "sums.json"  # of every file in an entry; written last


def cache_folder() -> Path:
    """Where entries lie; the folder itself may not be there yet.

    Raises:
        OSError: this user has no home folder, as in many containers.
    """
    if own := os.environ.get("MASKWRIGHT_CACHE"):
        return Path(own)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "maskwright"
    try:
        return Path.home() / ".cache" / "maskwright"
    except RuntimeError as error:
        raise OSError(errno.ENOENT, "this user has no home folder, name one in MASKWRIGHT_CACHE") from error


def key_of(*parts: object) -> str:
    """A name for an entry from everything that decides what is in it."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def kept(name: str, make: Callable[[Path], None], *, folder: Path | None = None) -> Path | None:
    """The folder of an entry, made by `make` where it is missing or damaged; None where the cache cannot be written.

    Args:
        make: writes the entry's files into the empty folder it is given; that folder then takes its name at once
    """
    root = folder
    try:
        root = root or cache_folder() / "models"
        place = root / name
        if (there := found(name, folder=root)) is not None:
            return there
        build(place, make)
        trim(root)
    except OSError as error:
        where = f"{root}: " if root else ""
        warnings.warn(
            f"{where}the cache cannot be written ({error.strerror}); models are converted anew each time.", stacklevel=2
        )
        return None
    return place


def found(name: str, *, folder: Path | None = None) -> Path | None:
    """The folder of an entry, if it is there and whole."""
    try:
        place = (folder or cache_folder() / "models") / name
    except OSError:
        return None
    if not whole(place):
        return None
    with suppress(OSError):
        os.utime(place)  # used last
    return place


def is_there(name: str) -> bool:
    """Whether an entry is there, without looking into its files."""
    try:
        return (cache_folder() / "models" / name / _SUMS).is_file()
    except OSError:
        return False


def build(place: Path, make: Callable[[Path], None]) -> None:
    """Make a folder of files with their checksums, beside its place first; what was at its place before is gone then."""
    aside = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
    try:
        aside.mkdir(parents=True)
        make(aside)
        (aside / _SUMS).write_text(json.dumps(_sums(aside)), encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)
        aside.rename(place)
    except OSError:
        if not whole(place):  # another process may have been quicker; both hold the same
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def whole(place: Path) -> bool:
    """Whether an entry is there with all its files as they were written."""
    try:
        return bool(json.loads((place / _SUMS).read_text(encoding="utf-8")) == _sums(place))
    except (OSError, ValueError):
        return False


def trim(root: Path, most_bytes: int | None = None) -> None:
    """Remove the entries that were not used for longest until the rest is at most most_bytes; the last one stays."""
    entries = sorted((p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")), key=lambda p: p.stat().st_mtime)
    sizes = {p: sum(f.stat().st_size for f in p.iterdir()) for p in entries}
    total = sum(sizes.values())
    for place in entries[:-1]:
        if total <= (MOST_BYTES if most_bytes is None else most_bytes):
            return
        shutil.rmtree(place, ignore_errors=True)
        total -= sizes[place]


def _sums(place: Path) -> dict[str, str]:
    found = {}
    for file in sorted(place.iterdir()):
        if file.name != _SUMS:
            with file.open("rb") as stream:
                found[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found
