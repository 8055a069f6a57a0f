"""Predictor: from a path or an array to a Segmentation of exactly its size.

    predictor = maskwright.load("runs/lungs")
    found = predictor("chest.png")
    found.save("out/")

One image takes the way read_image -> Preprocess -> net (flipped and tiled where wanted) -> decode, on torch. Where many come, or
another runtime was asked for or lies converted in the cache, and labels alone are wanted, all of it is one graph on the quickest
runtime (labelling.py).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from maskwright.checkpoint import Manifest, Network, module_of, weights_hash
from maskwright.errors import InputError
from maskwright.inference.backends import Precision
from maskwright.inference.border import border_px
from maskwright.inference.decode import decode
from maskwright.inference.engine import Engine
from maskwright.inference.labelling import GraphLabels
from maskwright.inference.machine import as_torch, device_of
from maskwright.inference.objects import MIN_SCORE, decode_objects
from maskwright.inference.proof import owned_bands
from maskwright.inference.runtimes import Way
from maskwright.inference.tiled import in_pieces, tiles_for
from maskwright.inference.tiled_objects import comes_in_tiles, objects_in_tiles, view_of_objects
from maskwright.inference.tiling import Tiling
from maskwright.inference.together import Kind, alike
from maskwright.inference.tta import flipped
from maskwright.instances import Instances
from maskwright.io.image import Image
from maskwright.io.read import read_image
from maskwright.later import torch
from maskwright.published import open_model
from maskwright.result import Segmentation
from maskwright.transforms import Frame

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
Source = str | Path | NDArray[Any] | PIL.Image.Image | Image
Sources = list[Any] | tuple[Source, ...]  # Any: a list[Path] is no list[Source] to a type checker
Prepared: TypeAlias = "tuple[Image, Tensor, Frame]"
Begun: TypeAlias = "Segmentation | Prepared | Image"  # answered already, prepared as a whole, or to be looked at in tiles
Options = tuple[bool, bool]  # whether confidence is wanted, whether probabilities are


@dataclass(frozen=True)
class Failure:
    """An input that has no answer, and why in one sentence."""

    source: str
    reason: str

    def __str__(self) -> str:
        return self.reason if self.source in self.reason else f"{self.source}: {self.reason}"


class Predictor:
    """A trained model, ready to answer images; holds nothing between calls, so threads may share it.

    Args:
        model: taken over: it is moved to the device and stays in evaluation mode; or a checkpoint.Stored, see Engine
        manifest: the checkpoint's; says what is done to an image first and what the channels mean
        device: "auto" takes CUDA or mps where there is one, else the CPU
        runtime: "torch", "openvino", "compile" (torch.compile) or "onnx"; "auto" is the quickest that agrees where many
            images come (see prepare) or where it lies converted in the cache, else torch
        precision: "auto" takes bf16 where it was measured to agree with fp32 and the device computes it; "int8" is to be prepared
            first (maskwright optimise)
        exact: eager fp32, the reference that the quick ways are compared with
        tile: side in px of overlapping tiles, a multiple of 32; None cuts only images that are too large for one pass (tiled.py,
            tiled_objects.py)
        flips: average over the image and its left-right mirror image; twice the time
        passes: 0 for one answer; 2 or more average so many passes with the model's dropout on, and answers carry `uncertainty`
        min_score: objects below it are left out, of models that find objects; MIN_SCORE where none is given
        run: the run folder, for its probes
        overlap: of neighbouring tiles in px, a multiple of 32 up to half a tile; default: a quarter, of images that are read by
            windows an eighth

    Attributes:
        classes: what the ids in the answers mean
        passes, exact, tile, overlap: as given
        device: what torch computes on

    Raises:
        InputError: the device, precision, tile, flips or passes cannot be had.
    """

    def __init__(
        self,
        model: Network,
        manifest: Manifest,
        *,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        exact: bool = False,
        tile: int | None = None,
        flips: bool = False,
        passes: int = 0,
        min_score: float | None = None,
        runtime: str = "auto",
        run: Path | None = None,
        overlap: int | None = None,
    ) -> None:
        tiles_for((1, 1), tile, overlap)  # a wish that cannot be had is refused now, not at the first large image
        self.finds_objects = manifest.task == "instance"
        _check_wishes(manifest, {"flips": flips, "passes": passes > 0}, min_score)
        self._device = device_of(device)
        self.manifest, self.classes, self.preprocess = manifest, manifest.class_map(), manifest.preprocessing()
        self._wished = f", runtime {runtime}, precision {precision}"
        self._marks = (", exact" if exact else "") + (", flips" if flips else "")
        self.min_score = MIN_SCORE if min_score is None else min_score
        if passes and runtime not in ("auto", "torch"):
            raise InputError(f"uncertainty draws dropout anew for each pass, which the runtime {runtime!r} cannot; take torch.")
        # A converted network has no dropout left: its passes would all be the same.
        wishes = {"runtime": "torch" if passes else runtime, "precision": precision, "exact": exact}
        self._labels_alone = not (self.finds_objects or flips or passes or tile)
        self._engine = Engine(model, manifest, self._device, run=run, labels_alone=self._labels_alone, **wishes)  # type: ignore[arg-type]  # each as declared
        self._forward = flipped(self._engine.forward) if flips else self._engine.forward
        self.exact, self.tile, self.overlap = exact, tile, overlap
        self._network, self.passes, self._sampling = model, passes, Lock()
        if passes:
            from maskwright.inference.uncertainty import check_samples

            check_samples(module_of(model), passes)

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        exact: bool = False,
        tile: int | None = None,
        flips: bool = False,
        passes: int = 0,
        min_score: float | None = None,
        runtime: str = "auto",
        overlap: int | None = None,
    ) -> Predictor:
        """From a run folder, a .safetensors file that maskwright wrote, or the name of a published model (see published.py);
        the other arguments are those of Predictor. Where graphs of the model lie in the cache, its weights are read from the file
        only when they are needed, so that it has to stay.

        Raises:
            CheckpointError, InputError: there is no usable checkpoint; see published.load_model.
        """
        model, manifest = open_model(path)
        wishes = {"device": device, "precision": precision, "exact": exact, "tile": tile, "flips": flips, "passes": passes}
        run = Path(path).resolve() if Path(path).is_dir() else None
        wishes |= {"runtime": runtime, "overlap": overlap}
        return cls(model, manifest, min_score=min_score, run=run, **wishes)  # type: ignore[arg-type]  # as declared

    def __reduce__(self) -> str:
        raise TypeError("a Predictor cannot be copied or pickled; load the run in each process: maskwright.load(run).")

    @property
    def device(self) -> torch.device:
        """What torch computes on."""
        return as_torch(self._device)

    @property
    def runtime(self) -> str:
        """What the next image runs on, for people: "cpu bf16" on torch, "cpu openvino bf16"."""
        return self._in_words([self._engine.way])

    @property
    def ran_on(self) -> str:
        """What has answered so far, for people; before the first answer as `runtime`."""
        return self._in_words(list(self._engine.answered) or [self._engine.way])

    def _in_words(self, ways: Sequence[Way]) -> str:
        words = [way.precision if way.runtime == "torch" and len(ways) == 1 else str(way) for way in ways]
        return f"{self._device.type} {' and '.join(words)}{self._marks}"

    @property
    def asked(self) -> str:
        """What answers follow from beside the weights: as in "tile 512, exact, flips, min score 0.5"."""
        score = f", min score {self.min_score:g}" if self.finds_objects else ""
        passes = f", passes {self.passes}" if self.passes else ""
        return f"tile {self.tile}, overlap {self.overlap}{self._marks}{score}{passes}{self._wished}"

    @cached_property
    def weights_hash(self) -> str:
        """See checkpoint.weights_hash."""
        return weights_hash(self._network)

    @cached_property
    def border_px(self) -> int | None:
        """How far a cut edge changes the answer, measured once; None where no tile can be exact (border.py)."""
        return border_px(self._forward, self.preprocess.channels)

    def logits(self, x: Tensor) -> Tensor:
        """Logits (B, K, h, w) of what Preprocess made of images, (B, C, h, w), in one pass."""
        return self._forward(x)

    def logits_of(self, x: NDArray[np.float32], frame: Frame) -> NDArray[np.float32]:
        """The same of one image as an array, brought to the size that it has in the file: (1, C, h, w) to (K, H, W)."""
        as_it_is = self._forward == self._engine.forward and frame.hw == frame.work_hw  # not flipped, not resized
        answer = self._engine.forward_arrays() if as_it_is else None
        if answer:
            return np.asarray(answer(x)[0])
        found: NDArray[np.float32] = frame.restore(self.logits(torch.from_numpy(x)))[0].cpu().numpy()
        return found

    @property
    def refused(self) -> tuple[str, ...]:
        """A line for each runtime that prepare() has just measured and that does not agree with eager fp32, or fails."""
        return self._engine.refused

    def prepare(self, images: int | None = None, *, tile_hw: tuple[int, int] | None = None) -> Predictor:
        """Get ready for many images: the quickest runtime that agrees is taken if they pay for its start; see Engine.prepare.

        predict_files, evaluate and calls with a list do this themselves; a program that sends image after image calls it once.

        Args:
            images: how many will come; None: enough to pay for any start
            tile_hw: where they are tiles of a larger image, the size at which the network sees them
        """
        self._engine.prepare(images, tile_hw=tile_hw)
        return self

    def graph(self) -> GraphLabels | None:
        """What gives the labels of many images on the present runtime; None on torch."""
        return self._graph((False, False), many=True)

    @overload
    def __call__(self, source: Source, *, confidence: bool = ..., probabilities: bool = ...) -> Segmentation: ...

    @overload
    def __call__(self, source: Sources, *, confidence: bool = ..., probabilities: bool = ...) -> list[Segmentation]: ...

    def __call__(
        self, source: Source | Sources, *, confidence: bool = False, probabilities: bool = False
    ) -> Segmentation | list[Segmentation]:
        """The answer for one image, or a list of answers for a list or tuple of images.

        Args:
            source: a path, an array (H, W) or (H, W, C), Pillow's image, or an Image
            confidence: keep the probability of the chosen class of each pixel
            probabilities: keep the probabilities of all classes

        Raises:
            InputError, FormatError: an image cannot be read, or its channels are not those the model was trained on.
        """
        if isinstance(source, (list, tuple)):
            self.prepare(len(source))
            answers = self._many(source, False, (confidence, probabilities), readers=2)
            return [answer for answer in answers if isinstance(answer, Segmentation)]
        return self._answer(self._begin(source, (confidence, probabilities)), (confidence, probabilities))

    def many(
        self,
        sources: Iterable[Source],
        *,
        on_error: Literal["raise", "yield"] = "raise",
        confidence: bool = False,
        probabilities: bool = False,
        readers: int = 2,
        live: bool = False,
    ) -> Generator[Segmentation | Failure, None, None]:
        """Answers in the order of the sources, one at a time, while the next images are read in the background.

        Args:
            sources: any iterable, a stack (B, H, W, C) too; it is read only a few images ahead of the answers
            on_error: "raise" stops at an image that cannot be used; "yield" gives a Failure in its place and goes on
            live: each image is answered before the next one is asked for, as those of a camera; else neighbours of one size may
                go through the network together, if that was measured to be quicker (prepare)
            readers: threads that read; as many images and one more are held in memory, and those that go together

        An array or a Pillow image may be filled anew once the next one is asked for: it is copied.
        """
        if on_error not in ("raise", "yield"):
            raise InputError(f"on_error is {on_error!r}; known: 'raise', 'yield'.")
        if isinstance(sources, (str, Path, Image, PIL.Image.Image)) or (isinstance(sources, np.ndarray) and sources.ndim != 4):
            raise InputError("many() takes several images; call the predictor itself for one.")
        return self._many(sources, on_error == "yield", (confidence, probabilities), readers, live)

    def _many(
        self, sources: Iterable[Source], keep_going: bool, wanted: Options, readers: int, live: bool = False
    ) -> Generator[Segmentation | Failure, None, None]:
        graph = self._graph(wanted, many=not live)
        # A graph computes in the threads that read: with as many as it has streams, none waits and none fights for a core.
        readers = graph.streams if graph else readers
        most = 1 if live else self._engine.together
        begun = _ahead(partial(self._begin, wanted=wanted, graph=graph), sources, 0 if live else readers)
        with closing(begun) as waiting:
            for group in alike(waiting, most, self._kind_of):
                answers = self._answers([found for _, found in group], wanted)
                for (source, _), answer in zip(group, answers, strict=True):
                    if isinstance(answer, Segmentation):
                        yield answer
                    elif keep_going:
                        yield Failure(_name(source), str(answer))
                    else:
                        raise answer

    def _kind_of(self, begun: Begun) -> Kind | None:
        """What images have in common that may go through the network in one pass; None of one that goes alone."""
        if not isinstance(begun, tuple) or self.finds_objects or self.passes or self.tile:
            return None
        image, x, _ = begun
        hw = x.shape[2], x.shape[3]
        return None if tiles_for(hw, None) else Kind(hw, max(math.prod(hw), math.prod(image.hw)))

    def _answers(
        self, begun: Sequence[Begun | InputError | OSError], wanted: Options
    ) -> Generator[Segmentation | InputError | OSError, None, None]:
        """Of images of one kind, in one pass where there are several; errors stay what they are."""
        passed: Sequence[Tensor | None] = [None] * len(begun)
        if len(begun) > 1:
            with suppress(InputError, torch.OutOfMemoryError):  # of one of them, which says so when it goes alone
                images = torch.cat([one[1] for one in begun if isinstance(one, tuple)])
                passed = self._forward(images).split(1)  # type: ignore[no-untyped-call]
        for one, logits in zip(begun, passed, strict=True):
            try:
                yield one if isinstance(one, (InputError, OSError)) else self._answer(one, wanted, logits)
            except (InputError, OSError) as error:
                yield error

    def _graph(self, wanted: Options, *, many: bool = False) -> GraphLabels | None:
        """The graph that answers where labels alone are wanted and the runtime is not torch."""
        return self._engine.graph(many=many) if self._labels_alone and not any(wanted) else None

    def _begin(self, source: Source, wanted: Options, graph: GraphLabels | None = None) -> Begun:
        """What can be done in a thread of its own: the whole answer of a graph, else the image read, and prepared as a whole."""
        image = read_image(source)
        doubt = self.preprocess.doubt(image)
        if doubt and doubt not in image.remarks:
            image = replace(image, remarks=(*image.remarks, doubt))
        if self.finds_objects and comes_in_tiles(self.preprocess, image.hw, self.tile):
            return image
        graph = graph or self._graph(wanted)
        if graph and tiles_for(self.preprocess.work_hw(image.hw), None) is None and graph.takes(image):
            labels = graph(image)
            self._engine.answered.setdefault(graph.way)
            return Segmentation(labels, self.classes, image)
        return self._prepared(image)

    def _prepared(self, image: Image) -> Prepared:
        x, frame = self.preprocess(image)
        return image, x, frame

    def _answer(self, prepared: Begun, wanted: Options, logits: Tensor | None = None) -> Segmentation:
        """From what was begun, and its logits where they are there already."""
        if isinstance(prepared, Segmentation):
            return prepared
        if isinstance(prepared, Image):
            return self._objects(prepared, None, wanted)
        confidence, probabilities = wanted
        image, x, frame = prepared
        if self.finds_objects:
            return self._objects(image, (x, frame), wanted)
        try:
            raw, variance = self._sampled(x) if self.passes else (self._pieces(x) if logits is None else [logits], None)
            found = decode(raw, frame, self.classes, confidence=confidence, probs=probabilities)
        except InputError as error:
            raise InputError(f"{image.path or image.name}: {error}") from error
        uncertainty = None if variance is None else frame.restore(variance[None])[0, 0].cpu().numpy()
        return Segmentation(found.labels, self.classes, image, found.confidence, found.probs, uncertainty=uncertainty)

    def _pieces(self, x: Tensor) -> Iterable[Tensor]:
        """The logits in one piece or in bands; exact ones are those of one pass, where any tile can be exact."""
        hw = x.shape[2], x.shape[3]
        if self.exact and tiles_for(hw, self.tile, self.overlap) and self.border_px is not None:
            return owned_bands(self._forward, x, Tiling.owned(hw, self.tile, self.border_px))
        return in_pieces(self._forward, x, self.tile, self.overlap)

    def all_objects(self, source: Source) -> Instances:
        """The objects of an image with whatever score, best first: what AP is taken over.

        Raises:
            InputError, FormatError: the image cannot be used, or the model does not find objects.
        """
        if not self.finds_objects:
            raise InputError(f"{self.manifest.model} gives each pixel a class and finds no objects.")
        image = read_image(source)
        in_tiles = comes_in_tiles(self.preprocess, image.hw, self.tile)
        return self._found(image, None if in_tiles else self.preprocess(image), min_score=0.0)

    def objects(self, x: Tensor, frame: Frame) -> Instances:
        """The objects of what Preprocess made of an image or a part of one, (1, C, h, w), from min_score on.

        Raises:
            InputError: the answer is not finite.
        """
        return decode_objects(self._engine.detect(x), frame, self.classes, min_score=self.min_score)

    def _objects(self, image: Image, seen: tuple[Tensor, Frame] | None, wanted: Options) -> Segmentation:
        if any(wanted):
            raise InputError(f"{self.manifest.model} scores objects, not pixels; ask for no confidence or probabilities.")
        return Segmentation.of_instances(self._found(image, seen, min_score=self.min_score), image)

    def _found(self, image: Image, seen: tuple[Tensor, Frame] | None, *, min_score: float) -> Instances:
        """Args:
        seen: what the net sees of the image; None: it comes in tiles
        """

        def look(x: Tensor, frame: Frame) -> Instances:
            return decode_objects(self._engine.detect(x), frame, self.classes, min_score=min_score, name=image.name)

        try:
            if seen is not None:
                return look(*seen)
            view = view_of_objects(self.preprocess, image.hw, self.tile, self.overlap)
            return objects_in_tiles(image, view, self.classes, look)
        except InputError as error:
            raise InputError(f"{image.path or image.name}: {error}") from error

    def _sampled(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Log-probabilities, whose softmax is the mean over the passes, in one band; and the uncertainty (1, h, w)."""

        def whole(image: Tensor) -> Tensor:
            return torch.cat(list(in_pieces(self._forward, image, self.tile, self.overlap)), dim=2)

        from maskwright.inference.uncertainty import monte_carlo

        with self._sampling:  # dropout is switched on in the model itself, which threads share
            found = monte_carlo(module_of(self._network), x, passes=self.passes, forward=whole)
        return [found.probs.clamp(min=1e-12).log()], found.uncertainty


load = Predictor.load  # maskwright.load(run)(image)


def _check_wishes(manifest: Manifest, wishes: dict[str, bool], min_score: float | None) -> None:
    """Refuse what a model of this task cannot do."""
    asked = [name for name, wanted in wishes.items() if wanted]
    if manifest.task == "instance" and asked:
        raise InputError(f"{manifest.model} finds objects; {', '.join(asked)} cannot be had with it, leave it out.")
    if manifest.task != "instance" and min_score is not None:
        raise InputError(f"{manifest.model} gives each pixel a class and scores no objects; leave min_score out.")
    if min_score is not None and not 0 <= min_score <= 1:
        raise InputError(f"min_score={min_score}: expected a number from 0 to 1.")


def _ahead(
    prepare: Callable[[Source], T], sources: Iterable[Source], readers: int
) -> Generator[tuple[Source, Future[T]], None, None]:
    """Each source with its prepared image, in order; so many next ones are prepared in threads meanwhile."""
    waiting: deque[tuple[Source, Future[T]]] = deque()
    pool = ThreadPoolExecutor(max(1, readers), "read")
    try:
        try:
            for source in sources:
                waiting.append((source, _submitted(pool, prepare, source)))
                if len(waiting) > readers:
                    yield waiting.popleft()
        except Exception:  # of the sources: what came before is answered first
            yield from waiting
            raise
        yield from waiting
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submitted(pool: ThreadPoolExecutor, prepare: Callable[[Source], T], source: Source) -> Future[T]:
    try:
        return pool.submit(prepare, _held(source))
    except (InputError, OSError) as error:
        failed: Future[T] = Future()
        failed.set_exception(error)
        return failed


def _held(source: Source) -> Source:
    """What stays as it is while threads read it: cameras fill one array again and again, and the pictures of a film are one."""
    if isinstance(source, PIL.Image.Image):
        return read_image(source)
    if isinstance(source, Image) and source.path is None:
        return replace(source, pixels=source.pixels.copy())
    return source.copy() if isinstance(source, np.ndarray) else source


def _name(source: Source) -> str:
    if isinstance(source, Image):
        return str(source.path or source.name)
    return str(source) if isinstance(source, (str, Path)) else "array"
