"""Networks without their first random numbers: where weights come from a file, or names and shapes are all that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_DRAWING = {"normal_", "uniform_", "bernoulli_", "kaiming_uniform_"}  # methods of tensors, and functions of nn.init


class Undrawn(TorchFunctionMode):
    """Within it tensors that would be filled with random numbers stay as they are, whatever is in them."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _DRAWING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def outlined() -> Iterator[None]:
    """Within it modules have names and shapes alone: no memory, no random numbers.

    Drawing on the "meta" device would load torch's compiler first, which takes seconds.
    """
    with torch.device("meta"), Undrawn():
        yield
