"""Converted models are kept, and done without a cache where the disk is full."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from maskwright.inference.conversions import openvino_model, save_openvino_model

pytest.importorskip("openvino")

EXAMPLE = (torch.zeros(1, 3, 8, 8),)


@contextmanager
def no_file_above(size: int):
    """A disk on which writing ends after so many bytes of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def net() -> nn.Module:
    return nn.Conv2d(3, 1024, 3).eval()


def test_a_full_disk_is_done_without_the_cache(net, monkeypatch, tmp_path):
    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path))
    with no_file_above(50_000), pytest.warns(UserWarning, match="the cache cannot be written"):
        model = openvino_model(net, EXAMPLE, key="a")
    assert model.output(0).get_partial_shape()[1] == 1024
    assert os.listdir(tmp_path / "models") == []
    openvino_model(net, EXAMPLE, key="a")
    assert os.listdir(tmp_path / "models") == ["a"]


@pytest.mark.parametrize(("free", "cause"), [(100_000, errno.ENOSPC), (1 << 30, errno.EIO)])
def test_what_cannot_be_saved_says_why(net, monkeypatch, tmp_path, free, cause):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    model = openvino_model(net, EXAMPLE)
    with no_file_above(50_000), pytest.raises(OSError, match=os.strerror(cause)) as error:
        save_openvino_model(model, tmp_path / "model.xml")
    assert (error.value.errno, error.value.filename) == (cause, str(tmp_path / "model.xml"))
