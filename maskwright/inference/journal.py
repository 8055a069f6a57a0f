"""Journal: what a command of predict has answered, kept among its answers until it ends, so that the same command goes on.

    <out>/.predict-<key>.jsonl   the job; then a line for each input that is answered, with its files as they were written

The key follows from the model, how it is asked, the inputs and what is written of them: another command has another journal. An
input that has changed since is answered anew, and so is one whose answer is there no more or was changed. While a command runs
it holds its journal, so that a second one neither goes on with it nor writes beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Any, Self

from maskwright import __version__
from maskwright.errors import InputError
from maskwright.inference.cache import key_of
from maskwright.inference.predictor import Predictor
from maskwright.io.write import explanation

Job = Mapping[str, Any]
Stamp = list[int]


def job_of(predictor: Predictor, sources: Sequence[Path], **wishes: Any) -> Job:
    """All that the answers of a command follow from.

    Args:
        wishes: what is written, by the names that predict_files has for it
    """
    manifest = predictor.manifest
    model = {"weights": predictor.weights_hash, "classes": manifest.classes, "preprocess": manifest.preprocess}
    asked = {"asked": predictor.asked, "maskwright": __version__}
    return {**model, **asked, "sources": [str(source.resolve()) for source in sources], **wishes}


def interrupted_in(default: Path, job: Job) -> Path | None:
    """The folder of this name, or of those that io.write.fresh_folder makes of it, where this job was interrupted; the latest."""
    if not default.parent.is_dir():
        return None
    numbered = re.compile(re.escape(default.name) + r"(-\d+)?")
    found = [one for one in default.parent.iterdir() if numbered.fullmatch(one.name) and _is_left(_file(one, job))]
    return max(found, key=lambda folder: (len(folder.name), folder.name), default=None)


class Journal:
    """Of one command; threads may share it. Held between begin and close.

    Args:
        out: the folder of answers, which need not be there yet

    Attributes:
        going_on: the same command was interrupted

    Raises:
        InputError: begin: the same command is running; begin, finish, wrote: the journal cannot be written.
    """

    def __init__(self, out: Path, job: Job) -> None:
        self._out, self._job, self._file, self._lock = out, job, _file(out, job), Lock()
        self.going_on = self._file.is_file()
        self._lines, self._files = _read(self._file)
        self._seen: dict[str, Stamp] = {}
        self._open: FileIO | None = None
        self._made = not out.exists()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answered(self, target: Path, *sources: Path) -> bool:
        """Whether an input was answered, and neither it nor a file of its answer is another now.

        Args:
            target: what stands for the answer
            sources: the input's files; as they are now, before they are read, they are what finish speaks of
        """
        name = self._name(target)
        now = self._seen[name] = stamp(*sources)
        line = self._lines.get(name)
        return (
            line is not None
            and bool(now)
            and line["source"] == now
            and all(self.owns(self._out / file) for file in line["files"])
        )

    def owns(self, path: Path) -> bool:
        """Whether a file is there as this command wrote it, so that it may replace it."""
        return self._files.get(self._name(path), []) == stamp(path) != []

    def said(self, target: Path) -> dict[str, Any]:
        """What finish was told of an answer beside its files."""
        said: dict[str, Any] = self._lines[self._name(target)]["said"]
        return said

    def begin(self) -> None:
        """The work begins: hold the journal."""
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            self._open = self._file.open("ab", buffering=0)
        except OSError as error:
            raise InputError(explanation(self._file, error)) from error
        if not _held(self._open):
            self.close()
            raise InputError(f"{self._out}: the same command is running there; wait for it, or give another folder with --out.")
        if not self.going_on:
            self._add(self._job)

    def finish(self, target: Path, files: Sequence[Path], **said: Any) -> None:
        """An answer is whole, in these files.

        Args:
            target: as answered was told
            said: what is to be known of it when another command goes on
        """
        name = self._name(target)
        written = {self._name(file): stamp(file) for file in files}
        self._add({"target": name, "source": self._seen.get(name, []), "files": written, "said": said})

    def wrote(self, table: Path) -> None:
        """A file that is about several inputs was written."""
        self._add({"target": self._name(table), "source": [], "files": {self._name(table): stamp(table)}, "said": {}})

    def close(self) -> None:
        """Let the journal go; it stays for the command that goes on."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def remove(self) -> None:
        """Nothing is left to go on with."""
        self.close()
        self._file.unlink(missing_ok=True)
        if self._made:
            with suppress(OSError):  # something was written
                self._out.rmdir()

    def _name(self, path: Path) -> str:
        return path.relative_to(self._out).as_posix()

    def _add(self, line: Mapping[str, Any]) -> None:
        with self._lock:
            if self._open is None:
                return
            try:
                # A line break first: the last line of a killed command may be the half of one.
                data = f"\n{json.dumps(line, default=list)}\n".encode()
                while data:  # a nearly full disk takes a part of it
                    data = data[self._open.write(data) :]
            except OSError as error:
                raise InputError(explanation(self._file, error)) from error


def stamp(*paths: Path) -> Stamp:
    """What tells that files, or those in folders, were changed: how many there are, their bytes, and the latest change in ns.

    Empty where one is not there.
    """
    if not paths or not all(path.exists() for path in paths):
        return []
    stats = []
    for file in (inner for path in paths for inner in (path.rglob("*") if path.is_dir() else [path])):
        with suppress(OSError):  # a link to nothing
            stats.append(file.stat())
    return [len(stats), sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)]


def _file(out: Path, job: Job) -> Path:
    return out / f".predict-{key_of(json.dumps(job, sort_keys=True, default=list))[:16]}.jsonl"


def _read(file: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Stamp]]:
    """The last line of each target, and each file as it was written last."""
    lines: dict[str, dict[str, Any]] = {}
    files: dict[str, Stamp] = {}
    with suppress(OSError):
        for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, KeyError, TypeError):  # half a line, or the job
                line = json.loads(text)
                lines[line["target"]] = {"source": line["source"], "files": dict(line["files"]), "said": dict(line["said"])}
                files |= line["files"]
    return lines, files


def _is_left(file: Path) -> bool:
    """Whether a journal is there and nobody holds it."""
    try:
        with file.open("rb", buffering=0) as opened:
            return _held(opened)
    except OSError:
        return False


def _held(opened: FileIO) -> bool:
    """Hold an open file until it is closed, on systems that can; False where another one holds it."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a disk that knows no locks
        return True
    return True
