"""Pieces: the decoded segments of a file that were wanted last; neighbouring windows share them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from numpy.typing import NDArray

# Windows of 1024 px and their neighbours share a dozen pieces of 512 px.
KEPT_BYTES = 32 << 20


class Pieces:
    """Decoded pieces by their place in the file; the oldest are forgotten, never the last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, NDArray[Any] | None] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, decode: Callable[[], NDArray[Any] | None], *, at_least: int = 0) -> NDArray[Any] | None:
        """A piece, decoded where it is not kept.

        Args:
            at_least: bytes of pieces that the windows at hand share, where those are more than KEPT_BYTES: pieces as wide as the
                image all stay until the next row of windows
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        piece = self._kept[key] = decode()
        self._bytes += _bytes_of(piece)
        while self._bytes > max(KEPT_BYTES, at_least) and len(self._kept) > 1:
            self._bytes -= _bytes_of(self._kept.popitem(last=False)[1])
        return piece

    def clear(self) -> None:
        self._kept.clear()
        self._bytes = 0


def _bytes_of(piece: NDArray[Any] | None) -> int:
    return 0 if piece is None else piece.nbytes
