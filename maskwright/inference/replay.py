"""CUDA graphs: a forward pass recorded once for a size of image, and played again for the next ones.

A small network on a fast GPU waits for the processor, which starts its kernels one by one; a recorded pass is one start (Gray,
"Getting Started with CUDA Graphs", NVIDIA 2019). A recording is used only where it answers as the pass itself does, to the bit,
and sooner.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from threading import Lock

import torch
from torch import Tensor

MOST_SIZES = 4  # that are recorded: each holds memory
TIMED = 3  # passes, of which the quickest counts
QUICKER = 0.97  # of the pass's own time, which a recording must stay below

Answer = Callable[[Tensor], Tensor]

_recording = Lock()  # torch records one pass at a time in a process
_failed: set[torch.device] = set()  # on which a recording failed: torch may believe that it goes on, so there are no more


class Replay:
    """The same answers, from a recording where there is one; threads may share it.

    A size is recorded when it comes for the second time: the first pass chooses kernels, which a recording must not.

    Args:
        answer: what is recorded; it must do the same for each image of a size, and wait for nothing
        device: that it runs on, a CUDA device
        weights: that it computes with: recordings read them where they lie when they are made, whatever takes their place later
    """

    def __init__(self, answer: Answer, device: torch.device, weights: Callable[[], Iterable[Tensor]]) -> None:
        self._answer, self._device, self._weights = answer, device, weights
        self._recordings: dict[torch.Size, Recording | None] = {}  # None: it did not pay
        self._seen: set[torch.Size] = set()
        self._lock = Lock()

    def __call__(self, image: Tensor) -> Tensor:
        with self._lock, torch.inference_mode():
            size = image.shape
            if size in self._seen and size not in self._recordings and len(self._recordings) < MOST_SIZES:
                self._recordings[size] = self._recorded(image)
            self._seen.add(size)
            try:
                return (self._recordings.get(size) or self._answer)(image)
            except torch.OutOfMemoryError:
                if not any(self._recordings.values()):
                    raise
            # Not in the handler: the error keeps alive what the pass had computed.
            self._recordings = dict.fromkeys(self._recordings)
            torch.cuda.empty_cache()
            return self._answer(image)

    def _recorded(self, image: Tensor) -> Recording | None:
        """The pass for this size; None where it cannot be recorded, answers otherwise, or takes as long.

        Equal to the bit, since a clock decides: what is answered must not follow from it.
        """
        with _recording:
            if self._device in _failed:
                return None
            try:
                expected = self._answer(image)
                recording = self._record(image)
                if not torch.equal(recording(image), expected):
                    return None
                return recording if self._seconds(recording, image) < QUICKER * self._seconds(self._answer, image) else None
            except RuntimeError:  # memory, or something that waits for the GPU
                return None

    def _record(self, image: Tensor) -> Recording:
        try:
            return Recording(self._answer, image, self._device, [weight.detach() for weight in self._weights()])
        except RuntimeError:
            _failed.add(self._device)
            raise

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
    """One recorded pass, for images of one size; threads that take turns may play it, each on its own stream.

    Raises:
        RuntimeError: it cannot be recorded.
    """

    def __init__(self, answer: Answer, image: Tensor, device: torch.device, weights: Sequence[Tensor]) -> None:
        self._weights, self._device = weights, device  # weights: kept alive
        self._image = image.to(device, copy=True).contiguous(memory_format=torch.channels_last)
        self._graph = torch.cuda.CUDAGraph()
        self._played = torch.cuda.Event()  # type: ignore[no-untyped-call]
        # Other threads may go on using the GPU meanwhile.
        with torch.cuda.device(device):
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            # Around it once more, for where recording fails torch stays on the stream.
            with (
                torch.cuda.stream(aside),
                torch.cuda.graph(self._graph, stream=aside, capture_error_mode="thread_local"),
            ):
                self._answer = answer(self._image)

    def __call__(self, image: Tensor) -> Tensor:
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(self._played)  # what another stream still reads must not be overwritten
        self._image.copy_(image)
        self._graph.replay()
        answer = self._answer.clone()
        self._played.record(stream)
        return answer
