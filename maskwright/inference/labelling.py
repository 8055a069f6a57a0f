"""From an image to its class ids alone, on any runtime: what predict, evaluate and the comparison of runtimes all go through.

On torch the image is prepared, run and decoded step by step. On the other runtimes all of it is one graph, which takes the stored
pixels: bytes as they are, and anything else (deep values, scaling by an image's own statistics) scaled first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskwright import __version__
from maskwright.checkpoint import Manifest, weights_hash
from maskwright.errors import InputError
from maskwright.inference.backends import forward_on
from maskwright.inference.cache import key_of
from maskwright.inference.conversions import openvino_model
from maskwright.inference.converting import free_axes, joined
from maskwright.inference.decode import decode
from maskwright.inference.graph import PixelGraph
from maskwright.inference.object_parts import detect_by, parts_on
from maskwright.inference.objects import MIN_SCORE, Detect, decode_objects, detect_on
from maskwright.inference.prepared import Prepared
from maskwright.inference.runtimes import Run, Way, compiled, on_openvino, version_of
from maskwright.inference.tiled import Forward, in_pieces
from maskwright.io.image import Image

if TYPE_CHECKING:
    import openvino

Labels = Callable[[Image], NDArray[Any]]
BYTES = (0.0, 255.0)
FREE = (free_axes(0, 1, 2),)
EXAMPLE_HW = (96, 128)  # of the image that is traced; both are free in the graph


def labels_on_torch(model: nn.Module, manifest: Manifest, device: torch.device, precision: str, *, exact: bool = False) -> Labels:
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
    return detect_by(model, parts_on(model, way, key=conversion_key(model, manifest, way, "objects")))


class GraphLabels:
    """The class of each pixel by one graph on another runtime than eager torch, made when an image of its kind first comes.

    Args:
        model: a semantic network in evaluation mode; on the CPU but for torch.compile
        streams: images that are computed side by side when called from as many threads
        prepared: for int8, the model that was quantised (prepared.py)
    """

    def __init__(
        self, model: nn.Module, manifest: Manifest, way: Way, *, streams: int = 1, prepared: Prepared | None = None
    ) -> None:
        self.way, self.streams, self._prepared = way, streams, prepared
        self._model, self._manifest, self._classes = model, manifest, manifest.class_map()
        self._preprocess = manifest.preprocessing()
        self._runs: dict[tuple[bool, int], Run] = {}
        self._making = Lock()

    def __call__(self, image: Image) -> NDArray[Any]:
        """(H, W) class ids.

        Raises:
            InputError: the image's values are not finite, its channels are not the model's, or the runtime cannot answer it.
        """
        (labels,) = self._run(self.takes_bytes(image), image.channels)(torch.from_numpy(self.input_of(image)))
        return np.asarray(_checked(labels, (1, *image.hw), self.way.runtime)[0].cpu().numpy())

    def input_of(self, image: Image) -> NDArray[Any]:
        """(1, H, W, C): what the graph takes of an image."""
        values = image.pixels if self.takes_bytes(image) else self._preprocess.scaled(image)
        return np.require(values, requirements="W")[None]  # torch warns of what cannot be written

    def takes(self, image: Image) -> bool:
        """Whether the image's channels can be turned into the model's; where not, Preprocess says what is wrong."""
        have, wanted = image.channels, self._preprocess.channels
        return have == wanted or (have, wanted) in ((1, 3), (3, 1))

    def takes_bytes(self, image: Image) -> bool:
        """Whether the graph scales the stored pixels itself."""
        return self._preprocess.scaling == "range" and image.pixels.dtype == np.uint8 and image.value_range == BYTES

    def _run(self, plain: bool, channels: int) -> Run:
        with self._making:
            if (plain, channels) not in self._runs:
                self._runs[plain, channels] = self._made(plain, channels)
            return self._runs[plain, channels]

    def _made(self, plain: bool, channels: int) -> Run:
        if self._prepared is not None:
            model = self._around(self._prepared.network(), plain, channels)
            return on_openvino(model, "int8", streams=self.streams, threads=torch.get_num_threads())
        graph, example = self.graph(plain, channels)
        key = conversion_key(self._model, self._manifest, self.way, "labels", plain, channels)
        return compiled(graph, (example,), self.way, dynamic=FREE, streams=self.streams, key=key)

    def graph(self, plain: bool, channels: int) -> tuple[PixelGraph, Tensor]:
        """The graph for images of a kind, and an example of its input: bytes, or values that are scaled already."""
        preprocess = self._preprocess if plain else replace(self._preprocess, scaling="range")
        graph = PixelGraph(self._model, preprocess, self._classes, value_range=BYTES if plain else (0.0, 1.0))
        example = torch.zeros(2, *EXAMPLE_HW, channels, dtype=torch.uint8 if plain else torch.float32)
        return graph, example

    def _around(self, network: openvino.Model, plain: bool, channels: int) -> openvino.Model:
        """A prepared network with what is done before and after it, which is converted once for all networks."""
        graph, image = self.graph(plain, channels)
        preprocess, versions = graph.before.preprocess, (__version__, torch.__version__, version_of("openvino"))
        logits = torch.zeros(2, len(self._classes), *EXAMPLE_HW)
        kind = *versions, preprocess.to_dict(), self._classes.to_dict(), plain, channels
        before = openvino_model(graph.before, (image,), FREE, key_of("before", *kind))
        after = openvino_model(graph.after, (logits, image), (free_axes(0, 2, 3), *FREE), key_of("after", *kind))
        return joined(before, network, after)


def logits_on(model: nn.Module, manifest: Manifest, way: Way, prepared: Prepared | None = None) -> Forward:
    """The network alone on another runtime than eager torch: where more than labels is wanted, or an image comes in tiles.

    Args:
        prepared: as of GraphLabels
    """
    if prepared is not None:
        run = on_openvino(prepared.network(), "int8", threads=torch.get_num_threads())
    else:
        example = torch.zeros(2, manifest.preprocessing().channels, *EXAMPLE_HW)
        key = conversion_key(model, manifest, way, "logits")
        run = compiled(model, (example,), way, dynamic=(free_axes(0, 2, 3),), key=key)
    return lambda image: _checked(run(image)[0], (len(image), *image.shape[2:]), way.runtime)


def _checked(answer: Tensor, size: tuple[int, ...], runtime: str) -> Tensor:
    """An answer (B, H, W) or (B, K, H, W) that is of the size (B, H, W).

    OpenVINO gives an empty one, or that of the image before, where a map within the network would be empty.

    Raises:
        InputError: it is of another size.
    """
    if (*answer.shape[:1], *answer.shape[-2:]) != size:
        h, w = size[1:]
        raise InputError(f"the runtime {runtime!r} cannot run this network on an image of {h} x {w} px; give --runtime torch.")
    return answer


def conversion_key(model: nn.Module, manifest: Manifest, way: Way, *what: object) -> str:
    """Everything that decides what a converted model is."""
    versions = __version__, torch.__version__, version_of(way.runtime)
    described = manifest.model, manifest.model_args, manifest.preprocess, manifest.classes
    return key_of(weights_hash(model), way.runtime, *versions, *described, *what)
