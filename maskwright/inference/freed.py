"""Memory that was freed: kept for the next map while a network computes, given back to the system afterwards.

glibc takes arrays of 32 MB and more from the system and returns each when it is freed; a network that makes such a map in every
layer waits for the system's zeroed pages a fifth of its time and more. And what threads free, it keeps, a part for each of them:
arrays of some megabytes that one thread makes and another frees leave gaps in its heaps, after many tiles some hundred megabytes.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

# Of malloc.h: what each setting is called, what it is while memory is reused, and where glibc's own adjusting ends up.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_REUSED = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1}
_USUAL = {_M_MMAP_MAX: 1 << 16, _M_MMAP_THRESHOLD: 32 << 20, _M_TRIM_THRESHOLD: 64 << 20}
_OWN = ("MALLOC_", "GLIBC_TUNABLES")  # how a person sets the same; theirs stays

# Bytes that may be left over: giving back at every other tile of 1,024 px takes a seventh of a small network's time.
LEFT_OVER = 96 << 20

_counting = Lock()
_inside = 0


@contextmanager
def reusing_memory() -> Iterator[None]:
    """Inside, freed memory stays with the process, whose peak grows little by it; afterwards it goes back to the system.

    May be entered several times at once, and is a decorator too. Without effect where the C library is not glibc, or where its
    allocation is set by hand.
    """
    set_option = None if any(name.startswith(_OWN) for name in os.environ) else _of_glibc("mallopt")
    if set_option is None:
        yield
        return
    _count(+1, set_option)
    try:
        yield
    finally:
        _count(-1, set_option)


def give_back() -> None:
    """Return freed memory to the system, some 10 ms; without effect where the C library is not glibc."""
    trim = _of_glibc("malloc_trim")
    if trim:
        trim(0)


class Limit:
    """Freed memory of a job of many pieces: kept until the process holds much more than one piece took."""

    def __init__(self) -> None:
        self._needed = 0

    def check(self) -> None:
        """To be called after each piece."""
        now = held()
        if not self._needed:
            self._needed = now
        elif now > self._needed + LEFT_OVER:
            give_back()
            self._needed = 0


def held() -> int:
    """Bytes of memory that the process takes up now, with what was freed and not given back; 0 where the system does not say."""
    with suppress(OSError):  # no Linux
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _count(step: int, set_option: Callable[..., int]) -> None:
    """The first that comes in and the last that goes out change how memory is allocated."""
    global _inside
    with _counting:
        _inside += step
        if _inside == max(0, step):
            for option, value in (_REUSED if _inside else _USUAL).items():
                set_option(option, value)
            if not _inside:
                give_back()


def _as_usual_in_a_child() -> None:
    """A process that was forked off within a job is none of it, and its lock may have been taken by a thread that it has not."""
    global _counting, _inside
    _counting = Lock()
    if _inside and (set_option := _of_glibc("mallopt")):
        for option, value in _USUAL.items():
            set_option(option, value)
    _inside = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_as_usual_in_a_child)


@functools.cache
def _of_glibc(name: str) -> Callable[..., int] | None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # musl has neither
            found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
            return found
    return None
