"""Part: what is finished of an answer that takes long, kept beside its target so that an interrupted job goes on.

    .<name>.part/
        state.json     what the answer follows from, and how many rows of tiles are finished
        labels.raw     (H, W) class ids, row after row
        between*.raw   what the next row of tiles needs of those before (blend.py)
        held           by the process that is at work: a second one would take its rows away

state.json is written after the rows that it speaks of are on the disk. What a killed process left behind it is computed again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import InputError
from maskwright.inference.held import hold
from maskwright.io.write import explanation, write_json

STATE, HELD = "state.json", "held"


def part_folder(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


class Raw:
    """An array (H, W) on the disk, row after row; zeros where nothing was written.

    Args:
        path: of an existing file
    """

    def __init__(self, path: Path, hw: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self._hw, self._dtype, self._file = hw, dtype, os.open(path, os.O_RDWR)

    def write(self, rows: slice, cols: slice, values: NDArray[Any]) -> None:
        """Put values (h, w) where they belong."""
        for y, line in zip(range(rows.start, rows.stop), np.ascontiguousarray(values, self._dtype), strict=True):
            self._put(line.data.cast("B"), y, cols.start)

    def paint(self, corner_xy: tuple[int, int], mask: NDArray[np.bool_], value: int) -> None:
        """Give the pixels of a mask (h, w), whose first pixel is the array's at corner_xy, one value."""
        x, y = corner_xy
        change = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        for (row, start), (_, stop) in zip(np.argwhere(change == 1).tolist(), np.argwhere(change == -1).tolist(), strict=True):
            self._put(np.full(stop - start, value, self._dtype).data.cast("B"), y + row, x + start)

    def read(self, rows: slice) -> NDArray[Any]:
        """(h, W) values."""
        wide = self._hw[1] * self._dtype.itemsize
        wanted = (rows.stop - rows.start) * wide
        data = bytearray(os.pread(self._file, wanted, rows.start * wide))
        data.extend(bytes(wanted - len(data)))
        return np.frombuffer(data, self._dtype).reshape(-1, self._hw[1])

    def close(self) -> None:
        os.close(self._file)

    def _put(self, data: memoryview, y: int, x: int) -> None:
        at = (y * self._hw[1] + x) * self._dtype.itemsize
        while data:  # a nearly full disk takes a part of it
            written = os.pwrite(self._file, data, at)
            data, at = data[written:], at + written


class Part:
    """The folder of one job.

    Args:
        target: the file that the answer becomes, without suffix
        key: everything that the answer follows from; finished rows of another key are thrown away

    Attributes:
        folder: for what else is to be kept
        rows_done: rows of tiles that are finished

    Raises:
        InputError: another command is at work on this answer, or the folder cannot be made or written.
    """

    def __init__(self, target: Path, key: Mapping[str, Any], hw: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self.folder, self._key = part_folder(target), json.loads(json.dumps(key, default=str))
        with self.explained():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._hold = (self.folder / HELD).open("ab", buffering=0)
        if not self._is_ours():
            self._hold.close()
            raise InputError(f"{target}: another command is writing this answer; wait for it, or give another folder with --out.")
        with self._let_go(), self.explained():
            self.rows_done = self._found()
            if not self.rows_done:
                self._empty()
                (self.folder / "labels.raw").touch()
            self._raw = Raw(self.folder / "labels.raw", hw, dtype)
            if not self.rows_done:
                self.commit(0)

    @contextmanager
    def _let_go(self) -> Iterator[None]:
        """What fails at the start holds nothing."""
        try:
            yield
        except BaseException:
            self._hold.close()
            raise

    def write(self, rows: slice, cols: slice, labels: NDArray[Any]) -> None:
        """Put labels (h, w) where they belong."""
        with self.explained():
            self._raw.write(rows, cols, labels)

    def read(self, rows: slice) -> NDArray[Any]:
        """(h, W) labels; zeros where nothing was written."""
        return self._raw.read(rows)

    def commit(self, rows_done: int) -> None:
        """All that was written so far is the first rows_done rows of tiles; from here an interrupted job goes on."""
        with self.explained():
            for file in self.folder.glob("*.raw"):
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
            write_json(self.folder / STATE, {"key": self._key, "rows_done": rows_done})
        self.rows_done = rows_done

    def close(self) -> None:
        self._raw.close()
        self._hold.close()

    def remove(self) -> None:
        """The answer is written; nothing is to be kept."""
        self._raw.close()
        with suppress(OSError):
            self._empty()
            (self.folder / HELD).unlink()  # the last, as from here on another command may hold the folder
            self.folder.rmdir()
        self._hold.close()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """What the system says of a full disk or a folder that may not be written, in a sentence that says how to go on."""
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{explanation(self.folder, error)} What is finished is kept; the same command goes on with it."
            ) from error

    def _is_ours(self) -> bool:
        """Hold the folder; False where another one does, or has just removed it."""
        try:
            return hold(self._hold) and os.fstat(self._hold.fileno()).st_ino == (self.folder / HELD).stat().st_ino
        except FileNotFoundError:
            return False

    def _empty(self) -> None:
        """Remove all but the file that is held."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != HELD:
                path.unlink()

    def _found(self) -> int:
        """Rows of tiles that an earlier job with the same key finished."""
        with suppress(FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
            state = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
            if state["key"] == self._key and (self.folder / "labels.raw").is_file():
                return int(state["rows_done"])
        return 0
