"""How a command ends: 0 done, 1 done but some inputs failed, 2 wrong use or bad input, 130 interrupted and resumable."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from maskwright.errors import Interrupted, MaskwrightError

SOME_FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130


class Commands(TyperGroup):
    """The group of all commands: what goes wrong for a known reason is said in one sentence, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Interrupted as stopped:
            raise ended(str(stopped), INTERRUPTED) from None
        except KeyboardInterrupt:
            raise ended("interrupted; every file written so far is whole.", INTERRUPTED) from None
        except MaskwrightError as error:
            raise ended(str(error), BAD_INPUT) from None
        except OSError as error:
            # Rooms explain the files they know of; what is left is the system's own word on a file, such as "Permission denied".
            if error.filename is None:
                raise
            raise ended(f"{error.filename}: {error.strerror}.", BAD_INPUT) from None


def ended(message: str, code: int) -> typer.Exit:
    """Say why the command ends, and the exception that ends it with this code."""
    typer.echo(f"maskwright: {message}", err=True)
    return typer.Exit(code)
