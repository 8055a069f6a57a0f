"""CUDA graphs: all kernels of a pass recorded once for each size of input, then started by one call instead of hundreds.

Small networks on a GPU otherwise wait for Python to launch the next kernel. What is recorded reads and writes the same memory
every time, so inputs are copied in and answers copied out.
Source: the CUDA C++ programming guide, "CUDA graphs"; torch.cuda.CUDAGraph.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor

Pass = Callable[..., tuple[Tensor, ...]]

MOST_RECORDED = 8  # sizes; each holds the memory of a whole pass
WARM_UP = 3  # passes before the recording: libraries choose their kernels and make their workspaces in the first ones


class Recording(NamedTuple):
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def recorded(run: Pass, device: torch.device) -> Pass:
    """The same function, played back where a size came before; calls from several threads wait for each other.

    Args:
        run: reads nothing but its inputs and what never moves, and asks for no value of a tensor on the way
        device: a CUDA device, where its answers lie too

    Edge cases: beyond MOST_RECORDED sizes the one that was not used for longest is forgotten.
    """
    known: dict[tuple[object, ...], Recording] = {}
    lock = Lock()

    def play(*given: Tensor) -> tuple[Tensor, ...]:
        kind = tuple((x.shape, x.dtype) for x in given)
        with lock:
            recording = known.pop(kind, None)
            if recording is None:
                if len(known) >= MOST_RECORDED:
                    del known[next(iter(known))]
                recording = _record(run, tuple(x.to(device, copy=True) for x in given), device)
            known[kind] = recording  # at the end: the last to be forgotten
            for place, x in zip(recording.inputs, given, strict=True):
                place.copy_(x)
            recording.graph.replay()
            return tuple(out.clone() for out in recording.outputs)

    return play


def _record(run: Pass, inputs: tuple[Tensor, ...], device: torch.device) -> Recording:
    aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # a recording must not see work of the usual stream
    aside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            run(*inputs)
    torch.cuda.current_stream(device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = run(*inputs)
    return Recording(graph, inputs, outputs)
