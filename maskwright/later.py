"""Packages that are imported when something is first asked of them: torch costs a second and half a gigabyte.

    from maskwright.later import torch

Modules that an answer passes through whatever computes it take torch from here, and its types under TYPE_CHECKING alone. Those
that only a network of torch needs import it as usual, and are themselves imported where they are called.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any


class _Later(ModuleType):
    """Stands for a module until one of its names is asked for, and hands it on."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)


def torch_is_loaded() -> bool:
    """Whether this process has imported torch already."""
    return "torch" in sys.modules


if TYPE_CHECKING:
    import torch as torch
    from scipy import ndimage as ndimage
else:
    torch, ndimage = _Later("torch"), _Later("scipy.ndimage")
