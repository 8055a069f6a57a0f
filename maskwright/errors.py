"""The errors a user can meet: each message says what was found, where, what was expected and the way out."""


class MaskwrightError(Exception):
    """Anything that maskwright explains in one sentence; the command line prints it and exits with 2."""


class InputError(MaskwrightError, ValueError):
    """What the user gave cannot be used: a value, a folder, a combination of options."""


class FormatError(InputError):
    """A file is not what its name says, is cut short, or holds something that cannot be read."""


class CheckpointError(MaskwrightError):
    """A run folder or a weights file cannot be loaded, saved or resumed."""


class MissingExtraError(MaskwrightError, ImportError):
    """An optional package is needed; the message holds the install command."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}: pip install 'maskwright[{extra}]'.")


class Interrupted(MaskwrightError):
    """Ctrl-C or a stop signal came; everything is saved and the message says how to go on (exit code 130)."""
