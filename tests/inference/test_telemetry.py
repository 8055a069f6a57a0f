"""Nothing phones home: a fresh process converts and runs on OpenVINO and writes nothing into the home folder."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from maskwright.errors import MissingExtraError
from maskwright.inference.telemetry import without_telemetry

CONVERTS = """
import socket, sys, torch
def refuse(*given): raise AssertionError(f"asked the network for {given}")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from maskwright.inference.converting import to_openvino
to_openvino(torch.nn.ReLU(), (torch.zeros(2),))
import nncf
print(sys.modules["openvino_telemetry"])
"""


def test_a_conversion_reports_to_nobody(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    for name in ("CI", "TF_BUILD", "JENKINS_URL"):  # on these the telemetry stays off by itself
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CONVERTS], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("None")
    assert not (tmp_path / "intel").exists()


def test_a_package_that_is_missing_comes_with_its_command():
    with pytest.raises(MissingExtraError, match=r"int8 needs the package 'no_such_nncf': pip install 'maskwright\[fast\]'"):
        without_telemetry("no_such_nncf", "int8")


SIGNAL_STACK = """
import ctypes
from maskwright.inference.telemetry import openvino_core, without_telemetry
class Stack(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
def stack():
    found = Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    return found.start
assert openvino_core("this test") is openvino_core("another")
ours = stack()
other = without_telemetry("openvino", "this test").Core()  # as a library makes one for itself
other.get_property("CPU", "FULL_DEVICE_NAME")
del other
assert stack() == ours
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signal stacks of Linux")
def test_cores_that_come_and_go_leave_the_signal_stack():
    done = subprocess.run([sys.executable, "-c", SIGNAL_STACK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
