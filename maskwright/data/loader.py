"""Training batches: which image stands at which place of the stream, and how it is varied, follows from the seed alone.

The stream is endless: one seeded permutation of the training images after the other. Step s takes places s*B .. s*B+B-1,
and the augmentation of a place is seeded by that place. So a run that starts again at step s sees exactly the batches that it
would have seen, whatever the number of loader processes; and N processes that split each batch see together what one sees.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from maskwright.data.dataset import Dataset, Pair
from maskwright.data.truths import truth_of_layers
from maskwright.errors import InputError
from maskwright.models.mask_rcnn.truth import Truth
from maskwright.sample import Sample
from maskwright.transforms import Preprocess, resize_target
from maskwright.transforms.objects import ObjectLayers, layered, paste_objects

# What is true of an image: channel numbers (h, w) uint8, or its objects.
Target = Tensor | ObjectLayers
Targets = Tensor | list[Truth]  # of a batch
STOPPING = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Place:
    """One entry of the stream: its number and the image that stands there."""

    number: int
    image: int


class StepBatches(Sampler[list[Place]]):
    """The places of each step, one list a step, for this process's share of the batch.

    Place n of the endless stream holds image order[n % count] of the permutation number n // count.
    """

    def __init__(self, count: int, seed: int, steps: range, batch: int, rank: int = 0, processes: int = 1) -> None:
        if batch % processes:
            fit = processes * max(1, batch // processes)
            raise InputError(f"batch {batch} does not divide among {processes} processes; use --set batch={fit}.")
        self.count, self.seed, self.steps = count, seed, steps
        self.batch, self.share, self.rank = batch, batch // processes, rank

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[Place]]:
        permutation = lru_cache(maxsize=2)(lambda epoch: np.random.default_rng((self.seed, epoch)).permutation(self.count))
        for step in self.steps:
            first = step * self.batch + self.rank * self.share
            yield [Place(n, int(permutation(n // self.count)[n % self.count])) for n in range(first, first + self.share)]


class PreparedPairs:
    """Images and targets as the network sees them, read once where they fit into memory_bytes, else at every use.

    Shapes (of one entry):
        image: (C, h, w) float32; target: (h, w) uint8 channel indices, 255 ignored, or the objects
    """

    def __init__(
        self,
        dataset: Dataset,
        pairs: Sequence[Pair],
        preprocess: Preprocess,
        *,
        memory_bytes: int,
        objects: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if not pairs:
            raise InputError(f"{dataset.name}: there are no images to train on.")
        self.dataset, self.pairs, self.preprocess, self.objects = dataset, tuple(pairs), preprocess, objects
        self.kept: list[tuple[Tensor, Target]] | None = None
        first = self._prepare(self.pairs[0])
        if len(self.pairs) * sum(t.nbytes for t in first) <= memory_bytes:
            self.kept = [first]
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                for prepared in pool.map(self._prepare, self.pairs[1:]):
                    self.kept.append(prepared)
                    if progress:
                        progress(len(self.kept), len(self.pairs))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        return self.kept[index] if self.kept is not None else self._prepare(self.pairs[index])

    def class_counts(self, classes: int) -> tuple[list[int], list[int]]:
        """(K,) pixels of each class over all images, and (K,) counted pixels of the images that the class is in."""
        pixels, around = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
        for index in range(len(self)):
            target = self[index][1]
            assert isinstance(target, Tensor)  # objects have no pixels to weigh
            counts = np.bincount(target.numpy().ravel(), minlength=256)[:classes]
            pixels += counts
            around += np.where(counts > 0, counts.sum(), 0)
        return pixels.tolist(), around.tolist()

    def _prepare(self, pair: Pair) -> tuple[Tensor, Target]:
        sample = self.dataset.read(pair)
        x, frame = self.preprocess(sample.image)
        return x[0], self._target(sample, frame.work_hw)

    def _target(self, sample: Sample, work_hw: tuple[int, int]) -> Target:
        if self.objects and sample.instances is not None:
            return layered(sample.instances).resized(work_hw)
        if sample.labels is None:
            raise InputError(f"{sample.name}: has no mask and cannot be trained on; run `maskwright check` for the whole list.")
        target = self.dataset.classes.to_indices(sample.labels).astype(np.uint8)
        return torch.from_numpy(resize_target(target, work_hw))


class _Augmented(TorchDataset[tuple[Tensor, Tensor | Truth]]):
    """Places of the stream, augmented; the torch generator is seeded by the place and given back as it was."""

    def __init__(self, prepared: PreparedPairs, augment: v2.Compose, seed: int, copy_paste: float) -> None:
        self.prepared, self.augment, self.seed, self.copy_paste = prepared, augment, seed, copy_paste

    def __getitem__(self, place: Place) -> tuple[Tensor, Tensor | Truth]:
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: it seeds the GPUs too, which nothing gives back, and writes down where it was called from.
            torch.default_generator.manual_seed(_seed_of(self.seed, place.number))
            x, y = self._varied(place.image)
            if isinstance(y, ObjectLayers) and torch.rand(()) < self.copy_paste:
                other, others = self._varied(int(torch.randint(len(self.prepared), ())))
                assert isinstance(others, ObjectLayers)
                x, y = paste_objects(x, y, other, others)
        return x, truth_of_layers(y) if isinstance(y, ObjectLayers) else y

    def _varied(self, index: int) -> tuple[Tensor, Target]:
        image, target = self.prepared[index]
        stored = target.layers if isinstance(target, ObjectLayers) else target
        x, y = self.augment(tv_tensors.Image(image), tv_tensors.Mask(stored))
        moved = y.as_subclass(Tensor)
        return x.as_subclass(Tensor), replace(target, layers=moved) if isinstance(target, ObjectLayers) else moved


def training_batches(
    prepared: PreparedPairs,
    augment: v2.Compose,
    *,
    batch: int,
    first_step: int,
    stop_step: int,
    seed: int,
    workers: int,
    copy_paste: float = 0.0,
    rank: int = 0,
    processes: int = 1,
) -> Generator[tuple[Tensor, Targets]]:
    """The batches of steps first_step .. stop_step-1; with several processes, this one's share of each.

    Loader processes start with the first batch. Close what you stop taking from before its end: nothing else ends them while an
    error is on its way, and Python would wait for them.

    Shapes (of one batch):
        images: (B / processes, C, h, w) float32; targets: (B / processes, h, w) uint8, or one Truth an image

    Raises:
        InputError: the batch does not divide among the processes.
    """
    sampler = StepBatches(len(prepared), seed, range(first_step, stop_step), batch, rank, processes)
    loader = DataLoader(
        _Augmented(prepared, augment, seed, copy_paste),
        batch_sampler=sampler,
        collate_fn=_batch,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_begin_worker,
        # Its own generator: the loader must not draw from the one that dropout uses, or a resumed run would differ.
        generator=torch.Generator(),
    )
    return _taken_from(loader)


def _taken_from(loader: DataLoader[Any]) -> Generator[tuple[Tensor, Targets]]:
    with _for_this_process_alone():
        batches = iter(loader)
    try:
        yield from batches
    finally:
        end = getattr(batches, "_shutdown_workers", None)  # of loader processes
        if end is not None:  # else they end only when no traceback knows of the iterator any more
            end()


def _seed_of(seed: int, number: int) -> int:
    """Of one place of the stream, in [0, 2^63)."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0] >> 1)


def _batch(entries: list[tuple[Tensor, Tensor | Truth]]) -> tuple[Tensor, Targets]:
    images, targets = zip(*entries, strict=True)
    truths = [t for t in targets if isinstance(t, Truth)]
    return torch.stack(images), truths or torch.stack(targets)


@contextmanager
def _for_this_process_alone() -> Iterator[None]:
    """Ctrl-C and SIGTERM that come while loader processes start reach none of them: they begin with both held back."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(_: int) -> None:
    torch.set_num_threads(1)
    # A signal to the whole group (timeout, SLURM) is for the training, which saves its state and then ends its loaders.
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    # The thread that hands tensors over tells this hook, and nobody else, when the training is gone before it took them.
    sys.excepthook = _unless_the_other_end_is_gone


def _unless_the_other_end_is_gone(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, (ConnectionError, EOFError)):
        sys.__excepthook__(kind, error, trace)
