import os
import subprocess
import sys

import pytest

from maskwright.inference import freed

KEPT_AND_GIVEN_BACK = """
from threading import Thread
from maskwright.inference.freed import give_back, held

kept = []

def fill_and_free():
    blocks = [b"x" * 100_000 for _ in range(2000)]
    kept.append(blocks[::20])  # what stays in use between them holds the heap together
    blocks.clear()

worker = Thread(target=fill_and_free)
worker.start()
worker.join()
before = held()
give_back()
print((before - held()) / 1e6)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and glibc are Linux's")
def test_memory_that_a_thread_freed_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", KEPT_AND_GIVEN_BACK], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 100


FAULTS = """
import resource
import numpy as np
from maskwright.inference.freed import reusing_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(16 << 20, np.uint8).fill(3)
        np.ones(50 << 20, np.uint8).fill(3)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
usual = faults()
with reusing_memory():
    with reusing_memory():
        faults()
    inside = faults()
print(usual, inside, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
@pytest.mark.parametrize("own", [False, True])
def test_large_arrays_take_the_memory_of_those_before(own: bool) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    env["NUMPY_MADVISE_HUGEPAGE"] = "0"  # pages are counted
    said = subprocess.run(
        [sys.executable, "-c", FAULTS],
        capture_output=True,
        text=True,
        check=True,
        env=env | ({"MALLOC_ARENA_MAX": "2"} if own else {}),
    )
    usual, inside, after = map(int, said.stdout.split())
    assert after > usual / 2
    assert (inside < usual / 10) == (not own)


FORKED = """
import os
from maskwright.inference import freed

with freed.reusing_memory():
    os.environ["MALLOC_X"] = "1"  # too late for this job
    if not os.fork():
        with freed.reusing_memory():
            pass
        os._exit(freed._inside)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    assert freed._inside == 1
assert freed._inside == 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_a_process_that_is_forked_off_within_is_none_of_it() -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    subprocess.run([sys.executable, "-c", FORKED], check=True, env=env, timeout=60)


@pytest.mark.parametrize(
    ("held_mb", "given_back"),
    [
        ([900, 950, 990, 996], []),  # of which 96 may be left over
        ([900, 997, 700, 790, 797], [1, 4]),  # the next piece says anew what one takes
        ([600, 900, 905, 1000], [1]),  # the first piece took nothing
        ([0, 0, 0], []),  # a system that does not say
    ],
)
def test_freed_memory_is_kept_until_much_is_left_over(monkeypatch, held_mb, given_back) -> None:
    now, given = iter(held_mb), []
    monkeypatch.setattr(freed, "held", lambda: next(now) << 20)
    limit = freed.Limit()
    for k in range(len(held_mb)):
        monkeypatch.setattr(freed, "give_back", lambda k=k: given.append(k))
        limit.check()
    assert given == given_back
