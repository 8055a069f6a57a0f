"""Arrays in temporary files: their room is there from the start, or a sentence says that it is not."""

from __future__ import annotations

import errno
import os
import tempfile

import numpy as np
import pytest

from maskwright.errors import InputError
from maskwright.io.scratch import mapped


def test_what_is_written_is_read():
    with tempfile.TemporaryFile() as file:
        array = mapped(file, np.uint16, (3, 4, 5), order="F")
        array[:] = np.arange(60).reshape(3, 4, 5)
        assert os.fstat(file.fileno()).st_blocks * 512 >= 120
        assert (array.flags.f_contiguous, int(array[2, 3, 4])) == (True, 59)


def test_a_full_disk_is_a_sentence_and_no_signal(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with tempfile.TemporaryFile() as file, pytest.raises(InputError, match=r"no room for 12 MB of labels .*TMPDIR"):
        mapped(file, np.uint8, (3, 2000, 2000))
