"""The one door to openvino and nncf: through it they come without their telemetry.

`import openvino` alone sends an event to its makers' analytics and writes a client number into the home folder; both packages
do without where the package openvino_telemetry is not installed, and this is what they are told here.
"""

from __future__ import annotations

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
