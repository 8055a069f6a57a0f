"""Fixtures for all tests: the shared real data where it is there, and threads that leave the machine usable."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("MASKWRIGHT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """The folder of a real data set; skips the test with a reason where it is missing."""

    def folder(name: str) -> Path:
        path = SHARED / name
        if not path.is_dir():
            pytest.skip(f"real data set {name!r} is not here ({SHARED}; set MASKWRIGHT_DATA)")
        return path

    return folder
