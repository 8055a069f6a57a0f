"""CUDA graphs: a forward pass recorded once for a size of image, and played again for the next ones.

A small network on a fast GPU waits for the processor, which starts its kernels one by one; a recorded pass is one start (Gray,
"Getting Started with CUDA Graphs", NVIDIA 2019). A recording is kept only where it answers as the pass itself does, and sooner.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

import torch
from torch import Tensor

MOST_SIZES = 4  # that are recorded: each holds memory
TIMED = 3  # passes, of which the quickest counts
QUICKER = 0.97  # of the pass's own time, which a recording must stay below
MOST_OFF = 1e-2  # of the largest value: kernels for the same size may be others

Answer = Callable[[Tensor], Tensor]


class Replay:
    """The same answers, from a recording where there is one; threads may share it.

    A size is recorded when it comes for the second time: the first pass chooses kernels, which a recording must not.

    Args:
        answer: what is recorded; it must do the same for each image of a size, and wait for nothing
        device: that it runs on, a CUDA device
    """

    def __init__(self, answer: Answer, device: torch.device) -> None:
        self._answer, self._device = answer, device
        self._recordings: dict[torch.Size, Recording | None] = {}  # None: it did not pay
        self._seen: set[torch.Size] = set()
        self._lock = Lock()

    def __call__(self, image: Tensor) -> Tensor:
        with self._lock, torch.inference_mode():
            size = image.shape
            if size in self._seen and size not in self._recordings and len(self._recordings) < MOST_SIZES:
                self._recordings[size] = self._recorded(image)
            self._seen.add(size)
            recording = self._recordings.get(size)
            if recording is not None:
                return recording(image)
            try:
                return self._answer(image)
            except torch.OutOfMemoryError:
                if not any(self._recordings.values()):
                    raise
                self._recordings = dict.fromkeys(self._recordings)
                torch.cuda.empty_cache()
                return self._answer(image)

    def _recorded(self, image: Tensor) -> Recording | None:
        """The pass for this size; None where it cannot be recorded, answers otherwise, or takes as long."""
        expected = self._answer(image)
        try:
            recording = Recording(self._answer, image, self._device)
            found = recording(image)
        except RuntimeError:  # memory, or something that waits for the GPU
            return None
        if not torch.allclose(found, expected, rtol=MOST_OFF, atol=MOST_OFF * float(expected.abs().max())):
            return None
        return recording if self._seconds(recording, image) < QUICKER * self._seconds(self._answer, image) else None

    def _seconds(self, answer: Answer, image: Tensor) -> float:
        spent = []
        for _ in range(TIMED):
            torch.cuda.synchronize(self._device)
            began = time.perf_counter()
            answer(image)
            torch.cuda.synchronize(self._device)
            spent.append(time.perf_counter() - began)
        return min(spent)


class Recording:
    """One recorded pass, for images of one size.

    Raises:
        RuntimeError: it cannot be recorded.
    """

    def __init__(self, answer: Answer, image: Tensor, device: torch.device) -> None:
        self._image = image.to(device, copy=True).contiguous(memory_format=torch.channels_last)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the GPU meanwhile.
        with torch.cuda.device(device):
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            with torch.cuda.graph(self._graph, stream=aside, capture_error_mode="thread_local"):
                self._answer = answer(self._image)

    def __call__(self, image: Tensor) -> Tensor:
        self._image.copy_(image)
        self._graph.replay()
        return self._answer.clone()  # which the next pass overwrites
