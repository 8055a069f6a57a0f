"""Safe reading of what people's files hold: JSON that ends in one sentence where it is damaged, and values of the type expected.

Every function takes `where` (file and place, as "a.json: annotation 17") and `what` (the value's name there) for the sentence.
What is wrong is a FormatError: for a whole file it ends the reading, for one object the reader makes a remark of it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwright.annotations.packed import Packed
from maskwright.errors import FormatError, InputError

HEAD_BYTES = 16384
_LONGEST_SHOWN = 40
# What a file may claim: beyond, it is damaged, and filling it would cost more memory than there is.
LARGEST_SIDE_PX = 1 << 18
LARGEST_MASK_PX = 1 << 28
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"(?P<key>\s*:)?|[{}\[\]]')


def read_text(path: Path) -> str:
    """The whole of a UTF-8 text file, a byte order mark taken off.

    Raises:
        FormatError: it is not UTF-8 text, or empty.
        InputError: it is not there or cannot be read.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path}: is not UTF-8 text (byte {error.start}); expected an annotation file. Export it again."
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}). Check the permissions and the disk.") from error
    if "\0" in content:
        raise FormatError(f"{path}: holds zero bytes; expected text. Copy or export it again.")
    return content


def load_json(path: Path) -> Any:
    """The value that a JSON file holds.

    Raises:
        FormatError: it is cut short, not JSON, or nested without end; the sentence says where.
        InputError: it is not there or cannot be read.
    """
    content = read_text(path)
    if not content.strip():
        raise FormatError(f"{path}: the file is empty; expected JSON. Copy or export it again.")
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        cut = " (it is cut short)" if error.pos >= len(content.rstrip()) - 1 or "Unterminated" in error.msg else ""
        raise FormatError(
            f"{path}: is not whole JSON{cut}: {error.msg} in line {error.lineno}, column {error.colno}. Copy or export it again."
        ) from error
    except RecursionError as error:
        raise FormatError(f"{path}: its JSON is nested too deeply; no annotation file is. Export it again.") from error
    except ValueError as error:
        raise FormatError(f"{path}: its JSON cannot be read ({error}). Export it again.") from error


def pack(values: Iterable[Any], path: Path) -> Packed:
    """Records as bytes; values nested without end are an error with the file's name.

    Raises:
        FormatError: a record is nested too deeply.
    """
    try:
        return Packed(values)
    except RecursionError as error:
        raise FormatError(f"{path}: its JSON is nested too deeply; no annotation file is. Export it again.") from error


class Refused(FormatError):
    """One object cannot be used, for a reason that has its own code; any other FormatError about an object is "bad-object"."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Head:
    """What the first bytes of a JSON file show, for recognising its format without parsing it.

    Attributes:
        opens: "{" or "[", "" where the file is no JSON
        keys: the names of fields by their depth: keys[0] those of the outermost value
    """

    opens: str
    keys: tuple[frozenset[str], ...]

    def has(self, depth: int, *names: str) -> bool:
        return len(self.keys) > depth and self.keys[depth] >= set(names)


def head_of(path: Path, count: int = HEAD_BYTES) -> Head:
    """Look at the first bytes of a file; anything that is no JSON has no keys, and nothing is raised."""
    content = head_text(path, count).lstrip("\ufeff \t\r\n")
    if content[:1] not in ("{", "["):
        return Head("", ())
    depth, keys = 0, [set[str]() for _ in range(6)]
    for token in _TOKEN.finditer(content):
        sign = token[0][0]
        if sign == '"':
            if token["key"] and 1 <= depth <= len(keys):
                keys[depth - 1].add(token[0][1 : token[0].rindex('"')])
        else:
            depth += 1 if sign in "{[" else -1
    return Head(content[0], tuple(map(frozenset, keys)))


def head_text(path: Path, count: int = HEAD_BYTES) -> str:
    """The first bytes of a file as text, "" where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count).decode("utf-8", "replace")
    except OSError:
        return ""


def shown(value: object) -> str:
    """A value in a few words, for a sentence."""
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "a record"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, int) and abs(value) > 1 << 62:
        # The decimals of a number of thousands of digits are refused by Python itself.
        return "a number beyond all use"
    words = repr(value)
    words = words if len(words) <= _LONGEST_SHOWN else f"{words[: _LONGEST_SHOWN - 3]}..."
    return f"the text {words}" if isinstance(value, str) else words


def _wrong(where: str, what: str, value: object, expected: str) -> FormatError:
    return FormatError(f"{where}: {what} is {shown(value)}; expected {expected}.")


def record(value: object, where: str, what: str) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(value, Mapping):
        raise _wrong(where, what, value, "a record {...}")
    return value


def rows(value: object, where: str, what: str) -> list[Any]:
    """A JSON list of anything."""
    if not isinstance(value, list):
        raise _wrong(where, what, value, "a list [...]")
    return value


def text(value: object, where: str, what: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise _wrong(where, what, value, "a text")
    # Half a surrogate pair is legal JSON, but no file name and no output can hold it.
    return value.encode("utf-8", "replace").decode("utf-8")


def number(value: object, where: str, what: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _finite(value):
        raise _wrong(where, what, value, "a number")
    return float(value)


def whole(value: object, where: str, what: str) -> int:
    """A whole number; 3.0 is one."""
    given = number(value, where, what)
    if not given.is_integer():
        raise _wrong(where, what, value, "a whole number")
    return int(given)


def numbers(value: object, where: str, what: str) -> NDArray[np.float64]:
    """A list of finite numbers, (n,) float64."""
    given = rows(value, where, what)
    # Not isinstance: true and false are no coordinates.
    bad = [v for v in given if type(v) not in (int, float) or not _finite(v)]
    if bad:
        raise _wrong(where, f"a value in {what}", bad[0], "numbers only")
    return np.array(given, np.float64).reshape(-1)


def pairs(value: object, where: str, what: str) -> NDArray[np.float64]:
    """A flat list x, y, x, y, ... as points (n, 2)."""
    flat = numbers(value, where, what)
    if flat.size % 2:
        raise FormatError(f"{where}: {what} holds {flat.size} numbers; expected x and y in turns.")
    return flat.reshape(-1, 2)


def points(value: object, where: str, what: str) -> NDArray[np.float64]:
    """A list of [x, y] as points (n, 2)."""
    given = rows(value, where, what)
    bad = [v for v in given if not isinstance(v, list) or len(v) != 2]
    if bad:
        raise _wrong(where, f"a point of {what}", bad[0], "[x, y]")
    return numbers([v for point in given for v in point], where, what).reshape(-1, 2)


def size_hw(height: object, width: object, where: str) -> tuple[int, int] | None:
    """The stated size of an image; None where the file states none.

    Raises:
        FormatError: one of the two is no whole number from 1 on, or larger than any image.
    """
    if height is None and width is None:
        return None
    h, w = whole(height, where, "the height"), whole(width, where, "the width")
    if not (1 <= h <= LARGEST_SIDE_PX and 1 <= w <= LARGEST_SIDE_PX):
        raise FormatError(f"{where}: its size is {w}x{h}; expected 1 to {LARGEST_SIDE_PX} pixels a side.")
    return h, w


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
