import subprocess
import sys

import pytest

KEPT_AND_GIVEN_BACK = """
from pathlib import Path
from threading import Thread
from maskwright.inference.freed import give_back

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

kept = []

def fill_and_free():
    blocks = [b"x" * 100_000 for _ in range(2000)]
    kept.append(blocks[::20])  # what stays in use between them holds the heap together
    blocks.clear()

worker = Thread(target=fill_and_free)
worker.start()
worker.join()
before = resident_mb()
give_back()
print(before - resident_mb())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and glibc are Linux's")
def test_memory_that_a_thread_freed_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", KEPT_AND_GIVEN_BACK], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 100
