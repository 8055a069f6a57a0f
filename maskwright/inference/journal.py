"""Journal: what a command of predict has answered, kept among its answers until all is, so that the same command goes on.

    <out>/.predict-<key>.jsonl   the job; a line for each answer before its files are written, and one when they are whole

The key follows from the model, how it is asked, the inputs and what is written of them: another command has another journal. An
input that has changed since is answered anew, and so is one whose answer is there no more or was changed. A command that ended
with inputs that have no answer leaves its journal as an interrupted one does. While a command runs
it holds its journal, so that a second one neither goes on with it nor writes beside it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from maskwright import __version__
from maskwright.errors import InputError
from maskwright.inference.cache import key_of
from maskwright.inference.held import hold
from maskwright.inference.predictor import Predictor
from maskwright.io.write import explanation

Job = Mapping[str, Any]
ENDED = '{"ended": true}'


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
    """The folder of this name, or of those that io.write.fresh_folder makes of it, where this job is unfinished; the latest."""
    if not default.parent.is_dir():
        return None
    numbered = re.compile(re.escape(default.name) + r"(-\d+)?")
    found = [one for one in default.parent.iterdir() if numbered.fullmatch(one.name) and _is_left(_file(one, job))]
    return max(found, key=lambda folder: (len(folder.name), folder.name), default=None)


class Journal:
    """Of one command; threads may share it. Held from begin on, until it is left.

    Args:
        out: the folder of answers, which need not be there yet
        overwrite: answer all anew where the command ended, as far as it came; one that was interrupted goes on all the same

    Attributes:
        going_on: the same command has left something to do

    Raises:
        InputError: begin: the same command is running; any: the journal cannot be read or written.
    """

    def __init__(self, out: Path, job: Job, *, overwrite: bool = False) -> None:
        self._out, self._job, self._file, self._lock = out, job, _file(out, job), Lock()
        try:
            self._made, self.going_on = not out.exists(), self._file.is_file()
            self._text = self._file.read_text(encoding="utf-8", errors="replace") if self.going_on else ""
        except OSError as error:
            raise InputError(explanation(self._out, error)) from error
        self._anew = overwrite and self._text.rstrip().endswith(ENDED)
        self._lines, self._files, self._begun = _read("" if self._anew else self._text)
        self._seen: dict[str, str] = {}
        self._open: FileIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        nothing_kept = kind is not None and issubclass(kind, Exception) and self._is_alone()
        self.remove() if nothing_kept else self._close()

    def answered(self, target: Path, *sources: Path) -> list[Path]:
        """The files of an answer, if neither the input nor one of them is another now; none else.

        Args:
            target: what stands for the answer
            sources: the input's files; as they are now, before they are read, they are what finish speaks of
        """
        name = self._name(target)
        now = self._seen[name] = stamp(*sources)
        line = self._lines.get(name)
        files = [self._out / file for file in line["files"]] if line and now and line["source"] == now else []
        return files if all(self.owns(file) for file in files) else []

    def owns(self, path: Path) -> bool:
        """Whether a file is one that this command wrote, or was writing when it was interrupted: it may replace it."""
        name = self._name(path)
        return name in self._begun or self._files.get(name, "") == stamp(path) != ""

    def said(self, target: Path) -> dict[str, Any]:
        """What finish was told of an answer beside its files."""
        said: dict[str, Any] = self._lines[self._name(target)]["said"]
        return said

    def begin(self) -> None:
        """The work begins: hold the journal."""
        try:
            self._out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(explanation(self._out, error)) from error
        try:
            self._open = self._file.open("ab", buffering=0)
            other = not hold(self._open) or os.fstat(self._open.fileno()).st_ino != self._file.stat().st_ino
            other = other or self._file.read_text(encoding="utf-8", errors="replace") != self._text
        except FileNotFoundError:  # it has just been removed
            other = True
        except OSError as error:
            raise InputError(explanation(self._out, error)) from error
        if other:
            self._close()
            raise InputError(f"{self._out}: the same command is running there; wait for it, or give another folder with --out.")
        if self._anew and self._open:
            self._open.truncate(0)
        if self._anew or not self.going_on:
            self._add(self._job)

    def writes(self, target: Path, files: Sequence[Path]) -> None:
        """These files are going to be written, which were found to be free.

        Args:
            target: as answered was told
        """
        self._add({"target": self._name(target), "begun": [self._name(file) for file in files]})

    @contextmanager
    def none_or_all(self, target: Path, files: Sequence[Path]) -> Iterator[None]:
        """Of an answer that fails inside, what was not there before is taken away, for it would bar the way of another command;
        and what lies there later is somebody's, which this command may not replace."""
        new = [path for path in files if not path.exists()]
        try:
            yield
        except Exception:
            for path in new:
                with suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            with suppress(InputError):  # of a full disk, which is what failed
                self.writes(target, [])
            raise

    def finish(self, target: Path, files: Sequence[Path], **said: Any) -> None:
        """An answer is whole, in these files.

        Args:
            target: as answered was told
            said: what is to be known of it when another command goes on
        """
        name = self._name(target)
        written = {self._name(file): stamp(file) for file in files}
        self._add({"target": name, "source": self._seen.get(name, ""), "files": written, "said": said})

    def end(self) -> None:
        """All was tried; what failed is left for the same command."""
        self._add(json.loads(ENDED))

    def remove(self) -> None:
        """Nothing is left to go on with."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)  # before another one can hold it
        self._close()
        with suppress(OSError):  # of systems that remove no open file
            self._file.unlink(missing_ok=True)
        if self._made:
            with suppress(OSError):  # something was written
                self._out.rmdir()

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _is_alone(self) -> bool:
        """Whether there is nothing beside the journal."""
        with suppress(OSError):
            return all(path == self._file for path in self._out.iterdir())
        return False

    def _name(self, path: Path) -> str:
        return path.relative_to(self._out).as_posix()

    def _add(self, line: Mapping[str, Any]) -> None:
        with self._lock:
            if self._open is None:  # left already; what was begun may be replaced
                return
            try:
                # A line break first: the last line of a killed command may be the half of one.
                data = f"\n{json.dumps(line, default=list)}\n".encode()
                while data:  # a nearly full disk takes a part of it
                    data = data[self._open.write(data) :]
            except OSError as error:
                raise InputError(explanation(self._out, error)) from error


def stamp(*paths: Path) -> str:
    """What tells that files, or those in folders, are others now; empty where one of them is not there."""
    if not paths or not all(path.exists() for path in paths):
        return ""
    parts: list[tuple[Any, ...]] = []
    for path in paths:
        for file in sorted(_files_of(path)):
            with suppress(OSError):  # a link to nothing
                s = file.stat()
                parts.append((file.name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino))
    return key_of(*parts)


def _files_of(path: Path) -> Iterator[Path]:
    yield from path.rglob("*") if path.is_dir() else [path]


def _file(out: Path, job: Job) -> Path:
    return out / f".predict-{key_of(json.dumps(job, sort_keys=True, default=list))[:16]}.jsonl"


def _read(text: str) -> tuple[dict[str, dict[str, Any]], dict[str, str], set[str]]:
    """The last finished line of each target, each file as it was written last, and the files that were being written."""
    lines: dict[str, dict[str, Any]] = {}
    files: dict[str, str] = {}
    begun: dict[str, list[str]] = {}
    for one in text.splitlines():
        with suppress(ValueError, KeyError, TypeError):  # half a line, or the job
            line = json.loads(one)
            if "begun" in line:
                begun[line["target"]] = [str(name) for name in line["begun"]]
                lines.pop(line["target"], None)
                continue
            lines[line["target"]] = {"source": line["source"], "files": dict(line["files"]), "said": dict(line["said"])}
            files |= line["files"]
            begun.pop(line["target"], None)
    return lines, files, {name for names in begun.values() for name in names}


def _is_left(file: Path) -> bool:
    """Whether a journal is there and nobody holds it."""
    try:
        with file.open("rb", buffering=0) as opened:
            return hold(opened)
    except OSError:
        return False
