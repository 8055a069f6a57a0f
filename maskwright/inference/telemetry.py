"""The one door to openvino and nncf: through it they come without their telemetry.

`import openvino` alone sends an event to its makers' analytics and writes a client number into the home folder; both packages
do without where the package openvino_telemetry is not installed, and this is what they are told here.
"""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Any

from maskwright.errors import MissingExtraError


def without_telemetry(package: str, purpose: str) -> Any:
    """The module `package` ("openvino" or "nncf"), imported so that it reports to nobody.

    Raises:
        MissingExtraError: it is not installed; says what `purpose` needs it for.
    """
    # None in sys.modules makes an import of the name fail as if the package were not there. One that the user's own program
    # has imported before is left to it.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # what the import system documents for it
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingExtraError(package, "fast", purpose) from error


def openvino_core(purpose: str) -> Any:
    """The process's one openvino.Core.

    The plugin that a Core loads for the CPU gives its thread another stack for signals and frees it when the Core goes. Where
    Cores go in another order than they came, the thread is left with a freed one, and the next signal (a child that ends, Ctrl-C)
    ends the process without a word. So there is one, which stays.

    Raises:
        MissingExtraError: see without_telemetry.
    """
    without_telemetry("openvino", purpose)
    return _core()


@functools.cache
def _core() -> Any:
    core = importlib.import_module("openvino").Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin, before anybody else's Core does
    return core
