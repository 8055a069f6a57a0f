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
        if not _is_whole(value):
            raise InputError(f"{name}={value!r} is not usable; expected a whole number of 1 or more.")


def check_counts(**given: object) -> None:
    """Refuse what is no list of whole numbers of 1 or more; how many there must be, the network says.

    Raises:
        InputError: the message names the argument.
    """
    for name, value in given.items():
        if not isinstance(value, list | tuple) or not all(_is_whole(number) for number in value):
            shown = list(value) if isinstance(value, tuple) else value
            raise InputError(f"{name}={shown!r} is not usable; expected a list of whole numbers of 1 or more.")


def check_flag(**given: object) -> None:
    """Refuse what is neither True nor False: a word would count as True, whatever it says.

    Raises:
        InputError: the message names the argument.
    """
    for name, value in given.items():
        if not isinstance(value, bool):
            raise InputError(f"{name}={value!r} is not usable; expected true or false.")


def check_encoder(name: object) -> None:
    """Refuse what cannot be the name of an encoder; whether timm has it, FromTimm finds out.

    Raises:
        InputError: the message shows a name.
    """
    if not isinstance(name, str):
        raise InputError(f"encoder={name!r} is not usable; expected the name of a timm model, as resnet34.")


def check_share(**given: float) -> None:
    """Refuse what is no share from 0 up to, but not, 1.

    Raises:
        InputError: the message names the argument.
    """
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise InputError(f"{name}={value!r} is not usable; expected a share from 0 up to, but not, 1.")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
