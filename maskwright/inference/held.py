"""A file that one process holds, so that no other one works on what it stands for."""

from __future__ import annotations

from io import FileIO


def hold(opened: FileIO) -> bool:
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
