"""What every network refuses of its arguments, in the same words."""

from __future__ import annotations

from collections.abc import Sequence

from maskwright.errors import InputError


def check_choice(name: str, value: object, known: Sequence[str]) -> None:
    """Refuse a word that is not in the list.

    Raises:
        InputError: the message names the argument and its choices.
    """
    if value not in known:
        raise InputError(f"{name}={value!r} is not known; expected one of {', '.join(known)}.")


def check_whole(**given: int) -> None:
    """Refuse what is no whole number of 1 or more.

    Raises:
        InputError: the message names the argument.
    """
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name}={value!r} is not usable; expected a whole number of 1 or more.")


def check_share(**given: float) -> None:
    """Refuse what is no share from 0 up to, but not, 1.

    Raises:
        InputError: the message names the argument.
    """
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise InputError(f"{name}={value!r} is not usable; expected a share from 0 up to, but not, 1.")
