"""From an image to its class ids alone, on any runtime: what predict, evaluate and the comparison of runtimes all go through.

On torch the image is prepared, run and decoded step by step. On the other runtimes all of it is one graph, which takes the stored
pixels: bytes as they are, and anything else (deep values, scaling by an image's own statistics) scaled first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskwright import __version__
from maskwright.checkpoint import Manifest, Network, module_of, weights_hash
from maskwright.errors import InputError, MissingExtraError
from maskwright.inference.backends import forward_on
from maskwright.inference.cache import key_of
from maskwright.inference.conversions import is_kept, kept_openvino_model, openvino_model
from maskwright.inference.decode import decode
from maskwright.inference.machine import Device, thread_count
from maskwright.inference.objects import MIN_SCORE, Detect, decode_objects, detect_on
from maskwright.inference.prepared import Prepared
from maskwright.inference.rewriting import joined
from maskwright.inference.runtimes import ArrayRun, Way, arrays_on_openvino, compiled, version_of
from maskwright.inference.tiled import Forward, in_pieces
from maskwright.io.image import Image
from maskwright.later import torch

if TYPE_CHECKING:
    import openvino
    from torch import Tensor, nn

    from maskwright.inference.converting import Dynamic
    from maskwright.inference.graph import PixelGraph
    from maskwright.transforms import Preprocess

Labels = Callable[[Image], NDArray[Any]]
Arrays = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # (B, C, h, w) -> (B, K, h, w)
Making: TypeAlias = "tuple[nn.Module, Tensor, Dynamic]"  # what is converted, an example of its input, and its free axes
A = TypeVar("A", "NDArray[Any]", "Tensor")
BYTES = (0.0, 255.0)
EXAMPLE_HW = (96, 128)  # of the image that is traced; both are free in the graph


def labels_on_torch(model: nn.Module, manifest: Manifest, device: Device, precision: str, *, exact: bool = False) -> Labels:
    """The class of each pixel, eager, of many images; of models that find objects the class of the object on top."""
    preprocess, classes = manifest.preprocessing(), manifest.class_map()
    if manifest.task == "instance":
        return covered_by(detect_on(model, device, precision, exact=exact, many=True), manifest)
    forward = forward_on(model, device, precision, exact=exact, many=True)

    def labels(image: Image) -> NDArray[Any]:
        x, frame = preprocess(image)
        return decode(in_pieces(forward, x), frame, classes).labels

    return labels


def covered_by(detect: Detect, manifest: Manifest) -> Labels:
    """The class of each pixel: of the likeliest object there that is sure enough to be shown, or background."""
    preprocess, classes = manifest.preprocessing(), manifest.class_map()

    def covered(image: Image) -> NDArray[Any]:
        x, frame = preprocess(image)
        return decode_objects(detect(x), frame, classes, min_score=MIN_SCORE).to_labels()

    return covered


def objects_on(model: nn.Module, manifest: Manifest, way: Way) -> Detect:
    """The objects of a prepared image, the network's dense parts on another runtime than eager torch.

    Raises:
        InputError: the network finds objects in another way than Mask R-CNN.
    """
    from maskwright.inference.object_parts import detect_by, parts_on

    return detect_by(model, parts_on(model, way, key=conversion_key(model, manifest, way, "objects")))


class GraphLabels:
    """The class of each pixel by one graph on another runtime than eager torch, made when an image of its kind first comes.

    Args:
        network: a semantic network in evaluation mode; on the CPU but for torch.compile
        streams: images that are computed side by side when called from as many threads
        prepared: for int8, the model that was quantised (prepared.py)
        kept_alone: it takes such images alone whose graph lies converted in the cache
    """

    def __init__(
        self,
        network: Network,
        manifest: Manifest,
        way: Way,
        *,
        streams: int = 1,
        prepared: Prepared | None = None,
        kept_alone: bool = False,
    ) -> None:
        self.way, self.streams, self._prepared, self._kept_alone = way, streams, prepared, kept_alone
        self._network, self._manifest, self._classes = network, manifest, manifest.class_map()
        self._preprocess = manifest.preprocessing()
        self._runs: dict[tuple[bool, int], ArrayRun | None] = {}
        self._making = Lock()

    def __call__(self, image: Image) -> NDArray[Any]:
        """(H, W) class ids.

        Raises:
            InputError: the image's values are not finite, its channels are not the model's, or the runtime cannot answer it.
        """
        run = self._run(self.takes_bytes(image), image.channels)
        if run is None:
            raise InputError(f"{image.path or image.name}: no graph for such images is kept.")
        return np.asarray(_checked(run(self.input_of(image))[0], (1, *image.hw), self.way.runtime)[0])

    def input_of(self, image: Image) -> NDArray[Any]:
        """(1, H, W, C): what the graph takes of an image."""
        values = image.pixels if self.takes_bytes(image) else self._preprocess.scaled(image)
        return np.require(values, requirements="W")[None]  # torch warns of what cannot be written

    def takes(self, image: Image) -> bool:
        """Whether the image's channels can be turned into the model's; where not, Preprocess says what is wrong."""
        have, wanted = image.channels, self._preprocess.channels
        fits = have == wanted or (have, wanted) in ((1, 3), (3, 1))
        return fits and not (self._kept_alone and self._run(self.takes_bytes(image), have) is None)

    def takes_bytes(self, image: Image) -> bool:
        """Whether the graph scales the stored pixels itself."""
        return self._preprocess.scaling == "range" and image.pixels.dtype == np.uint8 and image.value_range == BYTES

    def _run(self, plain: bool, channels: int) -> ArrayRun | None:
        with self._making:
            if (plain, channels) not in self._runs:
                self._runs[plain, channels] = self._made(plain, channels)
            return self._runs[plain, channels]

    def _made(self, plain: bool, channels: int) -> ArrayRun | None:
        """The graph ready to run; None where it is not kept and may not be made."""
        if self._prepared is not None:
            model = self._around(self._prepared.network(), plain, channels)
            return arrays_on_openvino(model, "int8", streams=self.streams, threads=thread_count())
        key = conversion_key(self._network, self._manifest, self.way, "labels", plain, channels)
        if self.way.runtime == "openvino":
            if self._kept_alone:
                return _kept_on_openvino(key, self.way, self.streams)
            return _on_openvino(key, self.way, lambda: (*self.graph(plain, channels), free(0, 1, 2)), self.streams)
        graph, example = self.graph(plain, channels)
        run = compiled(graph, (example,), self.way, dynamic=free(0, 1, 2), streams=self.streams, key=key)
        return lambda image: tuple(answer.cpu().numpy() for answer in run(torch.from_numpy(image)))

    def graph(self, plain: bool, channels: int) -> tuple[PixelGraph, Tensor]:
        """The graph for images of a kind, and an example of its input: bytes, or values that are scaled already."""
        from maskwright.inference.graph import PixelGraph

        graph = PixelGraph(module_of(self._network), self._seen(plain), self._classes, value_range=BYTES if plain else (0.0, 1.0))
        example = torch.zeros(2, *EXAMPLE_HW, channels, dtype=torch.uint8 if plain else torch.float32)
        return graph, example

    def _seen(self, plain: bool) -> Preprocess:
        return self._preprocess if plain else replace(self._preprocess, scaling="range")

    def _around(self, network: openvino.Model, plain: bool, channels: int) -> openvino.Model:
        """A prepared network with what is done before and after it, which is converted once for all networks."""
        versions = __version__, version_of("torch"), version_of("openvino")
        kind = *versions, self._seen(plain).to_dict(), self._classes.to_dict(), plain, channels
        keys = key_of("before", *kind), key_of("after", *kind)
        before, after = map(kept_openvino_model, keys)
        if before is None or after is None:
            graph, image = self.graph(plain, channels)
            logits = torch.zeros(2, len(self._classes), *EXAMPLE_HW)
            before = openvino_model(graph.before, (image,), free(0, 1, 2), keys[0])
            after = openvino_model(graph.after, (logits, image), (*free(0, 2, 3), *free(0, 1, 2)), keys[1])
        return joined(before, network, after)


def logits_on(model: nn.Module, manifest: Manifest, way: Way) -> Forward:
    """The network alone on torch.compile or ONNX Runtime: where more than labels is wanted, or an image comes in tiles."""
    example = torch.zeros(2, manifest.preprocessing().channels, *EXAMPLE_HW)
    run = compiled(model, (example,), way, dynamic=free(0, 2, 3), key=conversion_key(model, manifest, way, "logits"))
    return lambda image: _checked(run(image)[0], (len(image), *image.shape[2:]), way.runtime)


def arrays_of_logits(network: Network, manifest: Manifest, way: Way, prepared: Prepared | None = None) -> Arrays:
    """The same on OpenVINO, from arrays to arrays: where the converted network is kept torch is not needed.

    Args:
        prepared: as of GraphLabels
    """

    def made() -> Making:
        example = torch.zeros(2, manifest.preprocessing().channels, *EXAMPLE_HW)
        return module_of(network).eval(), example, free(0, 2, 3)

    if prepared is not None:
        run = arrays_on_openvino(prepared.network(), "int8", threads=thread_count())
    else:
        run = _on_openvino(conversion_key(network, manifest, way, "logits"), way, made)
    return _of_logits(run, way)


def kept_arrays_of_logits(network: Network, manifest: Manifest, way: Way) -> Arrays | None:
    """The same, if it lies converted in the cache and can be used."""
    run = _kept_on_openvino(conversion_key(network, manifest, way, "logits"), way)
    return None if run is None else _of_logits(run, way)


def of_tensors(answer: Arrays) -> Forward:
    """The same from tensors to tensors."""
    return lambda image: torch.from_numpy(answer(image.detach().contiguous().numpy()))


def _of_logits(run: ArrayRun, way: Way) -> Arrays:
    return lambda image: _checked(run(image)[0], (len(image), *image.shape[2:]), way.runtime)


def _on_openvino(key: str, way: Way, make: Callable[[], Making], streams: int = 1) -> ArrayRun:
    """The model that is kept, else the one that is made and converted."""
    found = kept_openvino_model(key, way.precision)
    if found is None:
        module, example, free_axes = make()
        found = openvino_model(module, (example,), free_axes, key, precision=way.precision)
    return arrays_on_openvino(found, way.precision, streams=streams, threads=thread_count())


def _kept_on_openvino(key: str, way: Way, streams: int = 1) -> ArrayRun | None:
    """The model that is kept; None where there is none, or it cannot be read or run as it lies there."""
    try:
        found = kept_openvino_model(key, way.precision)
        return None if found is None else arrays_on_openvino(found, way.precision, streams=streams, threads=thread_count())
    except (ImportError, AttributeError, RuntimeError, OSError, ValueError, MissingExtraError):  # a broken runtime: torch serves
        return None


def are_kept(network: Network, manifest: Manifest, way: Way) -> tuple[bool, bool]:
    """Whether graphs for OpenVINO lie converted in the cache: of the labels of images as they mostly come, and of logits."""
    channels = manifest.preprocessing().channels
    labels = conversion_key(network, manifest, way, "labels", True, channels)
    return is_kept(labels, way.precision), is_kept(conversion_key(network, manifest, way, "logits"), way.precision)


def free(*axes: int) -> Dynamic:
    """The free axes of an input, see converting.free_axes."""
    from maskwright.inference.converting import free_axes

    return (free_axes(*axes),)


def _checked(answer: A, size: tuple[int, ...], runtime: str) -> A:
    """An answer (B, H, W) or (B, K, H, W) that is of the size (B, H, W).

    OpenVINO gives an empty one, or that of the image before, where a map within the network would be empty.

    Raises:
        InputError: it is of another size.
    """
    if (*answer.shape[:1], *answer.shape[-2:]) != size:
        h, w = size[1:]
        raise InputError(f"the runtime {runtime!r} cannot run this network on an image of {h} x {w} px; give --runtime torch.")
    return answer


def conversion_key(network: Network, manifest: Manifest, way: Way, *what: object) -> str:
    """Everything that decides what a converted model is."""
    versions = __version__, version_of("torch"), version_of(way.runtime)
    described = manifest.model, manifest.model_args, manifest.preprocess, manifest.classes
    return key_of(weights_hash(network), way.runtime, *versions, *described, *what)
