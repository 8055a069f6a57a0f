"""Images that go through the network together: neighbours of one size, so many as were measured to be best.

Which images those are follows from the sources alone, never from what happens to be ready: the same files give the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

from maskwright.errors import InputError
from maskwright.inference.tiled import WHOLE_IMAGE_PX

S = TypeVar("S")
T = TypeVar("T")
Begun = tuple[S, "T | InputError | OSError"]


class Kind(NamedTuple):
    """What neighbours must have in common.

    Attributes:
        hw: height and width of what the network sees
        px: pixels of that, or of the image itself where those are more: what one costs in memory
    """

    hw: tuple[int, int]
    px: int


def alike(
    waiting: Iterable[tuple[S, Future[T]]], most: int, kind_of: Callable[[T], Kind | None]
) -> Generator[list[Begun[S, T]], None, None]:
    """Sources with what was begun for them, in order, in groups of one kind; what failed is alone with its error.

    Args:
        most: of a group; of large images fewer, so that a group has no more pixels than one image may have
        kind_of: None for what goes alone
    """
    group: list[Begun[S, T]] = []
    kind: Kind | None = None
    try:
        for source, future in waiting:
            found: T | InputError | OSError
            try:
                found = begun = future.result()
                its_kind = kind_of(begun)
            except (InputError, OSError) as error:
                found, its_kind = error, None
            if group and its_kind != kind:
                yield group
                group = []
            group.append((source, found))
            kind = its_kind
            if kind is None or len(group) >= min(most, WHOLE_IMAGE_PX // kind.px):
                yield group
                group = []
    except Exception:  # of the sources: what came before is answered first
        if group:
            yield group
        raise
    if group:
        yield group
