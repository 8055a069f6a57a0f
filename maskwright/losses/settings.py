"""Settings of losses are checked when a loss is put together, not at its first batch: the same sentence for all of them."""

from __future__ import annotations

import math

from maskwright.errors import InputError


def check_choice(loss: str, name: str, value: object, known: tuple[str, ...]) -> None:
    """Refuse a word that is not among the known ones.

    Raises:
        InputError: names the loss, the setting and its choices.
    """
    if value not in known:
        raise InputError(f"{loss} takes {name}={' or '.join(map(repr, known))}, found {value!r}.")


def check_number(
    loss: str, name: str, value: object, *, low: float = 0, high: float = math.inf, above: bool = False, unit: str = ""
) -> None:
    """Refuse what is no finite number from low to high; with `above`, low itself is refused as well.

    Raises:
        InputError: names the loss, the setting, its range and what was found.
    """
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if math.isfinite(number) and (low < number <= high or (number == low and not above)):
        return
    lower = f"above {low:g}{unit}" if above else f"of {low:g}{unit} or more"
    upper = "" if math.isinf(high) else f" and at most {high:g}{unit}"
    raise InputError(f"{loss} takes {name} {lower}{upper}, found {value!r}.")
