"""Memory that was freed, given back to the system: glibc keeps what threads free, a part for each of them.

Arrays of some megabytes that one thread makes and another frees leave gaps in its heaps, after many tiles some hundred megabytes
of them. malloc_trim returns them in some 10 ms.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from contextlib import suppress


def give_back() -> None:
    """Return freed memory to the system; without effect where the C library is not glibc."""
    trim = _trim()
    if trim:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # musl has no malloc_trim
            found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
            return found
    return None
