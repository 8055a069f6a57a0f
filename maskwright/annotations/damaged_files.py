"""Files that may be meant as annotations but cannot be read at all: empty, cut short, no text.

A format is recognised by the first bytes of its files, so nobody else would name such a file.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Collection
from pathlib import Path

from maskwright.annotations.image_files import files_below
from maskwright.annotations.records import load_json, read_text
from maskwright.errors import InputError

SUFFIXES = (".json", ".xml", ".csv")
MOST_NAMED = 3
_MOST_LOOKED_AT = 40
_MOST_BYTES = 1 << 20  # what is larger is neither empty nor cut short at once: its format knows it, and says what is wrong


def damaged_files(root: Path, known: Collection[Path] = ()) -> list[tuple[Path, str]]:
    """JSON, XML and CSV files below root that cannot be read, each with a sentence that says why; the nearest ones first.

    Args:
        known: files that a format has read already
    """
    files = sorted((path for path in files_below(root, SUFFIXES) if path not in known), key=lambda path: (len(path.parts), path))
    looked_at = [(path, _why(path)) for path in files[:_MOST_LOOKED_AT]]
    return [(path, why) for path, why in looked_at if why]


def like_those_read(path: Path, read: Collection[Path]) -> bool:
    """Whether a file lies beside one that was read and is of its kind, as one split's json beside another's."""
    return any((path.parent, path.suffix) == (one.parent, one.suffix) for one in read)


def damaged_text(root: Path) -> str:
    """Why files below root cannot be read, for a message; "" where all can."""
    found = [why for _, why in damaged_files(root)]
    more = f" There are {len(found) - MOST_NAMED} more of such files." if len(found) > MOST_NAMED else ""
    return " ".join(found[:MOST_NAMED]) + more


def _why(path: Path) -> str:
    suffix = path.suffix.lower()
    try:
        if path.stat().st_size > _MOST_BYTES:
            return ""
        if suffix == ".json":
            load_json(path)
            return ""
        content = read_text(path)
        if not content.strip():
            return f"{path}: the file is empty; expected {suffix[1:].upper()}. Copy or export it again."
        # Declared entities are how XML files do harm, and no format here has them.
        if suffix == ".xml" and "<!DOCTYPE" not in content and "<!ENTITY" not in content:
            ET.fromstring(content)
    except InputError as error:
        return str(error)
    except (ET.ParseError, ValueError, RecursionError) as error:
        return f"{path}: is not whole XML ({error}). Copy or export it again."
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror or error}). Check the permissions and the disk."
    return ""
