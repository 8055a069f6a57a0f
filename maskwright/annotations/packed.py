"""Many small records in two arrays.

A million Python objects cost gigabytes once every worker process touches their reference counts, since each touch copies the
page; arrays are shared as they are. JSON is what the records came from, so it is what they are kept as: nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np


class Packed:
    """A list of JSON values, kept as bytes and parsed when one is asked for."""

    def __init__(self, records: Iterable[Any]) -> None:
        texts = [json.dumps(record, separators=(",", ":")).encode() for record in records]
        self._ends = np.cumsum([len(t) for t in texts], dtype=np.int64)
        self._bytes = np.frombuffer(b"".join(texts), np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, k: int) -> Any:
        if not 0 <= k < len(self):
            raise IndexError(k)
        start = int(self._ends[k - 1]) if k else 0
        return json.loads(self._bytes[start : int(self._ends[k])].tobytes())
