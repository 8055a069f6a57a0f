"""Engine: a network on the runtime that suits the images to come.

The first images run on torch, which needs no preparation, unless the quickest way lies converted in the cache: that is there
before torch would be. prepare() looks up, or measures once, which way is quickest of those that agree with eager fp32, and takes
it where the images to come pay for its start.
"""

from __future__ import annotations

import copy
import math
import statistics
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from maskwright.checkpoint import Manifest, Network, Stored, module_of, weights_hash
from maskwright.inference.agreement import refusals
from maskwright.inference.backends import Precision, forward_on
from maskwright.inference.choice import best_way, first_way, wished
from maskwright.inference.freed import give_back
from maskwright.inference.labelling import (
    Arrays,
    GraphLabels,
    are_kept,
    arrays_of_logits,
    kept_arrays_of_logits,
    logits_on,
    objects_on,
    of_tensors,
)
from maskwright.inference.machine import Device, as_torch, thread_count
from maskwright.inference.measuring import (
    FAILED,
    Measurement,
    cost_s,
    first_line,
    keep_measurement,
    kept_measurement,
    measure,
    time_tile,
)
from maskwright.inference.objects import Detect, detect_on
from maskwright.inference.prepared import Prepared
from maskwright.inference.probes import read_probes
from maskwright.inference.runtimes import RUNTIMES, Way, ways_on
from maskwright.inference.tiled import Forward

if TYPE_CHECKING:
    from torch import Tensor, nn

    from maskwright.models.outputs import Detections

MOST_STREAMS = 4  # where it was not measured how many are best
MANY = 8  # images from which a lean copy of the network (lean.py) pays
EXPECTED_MS = 100.0  # of an image, where nothing was ever measured
TILES_A_RIVAL = 10  # at least so many of a job for each way that is timed on three of them
WORTH_TIMING_S = 20.0  # a job of tiles that takes less is not worth a conversion, in which the ways might be timed on tiles


class Engine:
    """What runs the network; threads may share it.

    Args:
        network: taken over: it is moved to the device and stays in evaluation mode. One that is not built yet (Stored) is built
            now, unless what lies converted in the cache answers without it, sooner than torch would be there
        runtime, precision: as wished, "auto" for what is best
        run: the run folder, where there is one: its probes are what runtimes are measured on
        labels_alone: whether images are answered by graphs of their labels, mostly; else by logits

    Attributes:
        way: what the next image runs on
        answered: the ways that have answered something, in the order in which they first did
        streams: images that the graph computes side by side, where many come
        together: images that go through the network in one pass, where many come and torch computes
        refused: a line for each way that was measured just now and does not agree, or fails

    Raises:
        InputError, MissingExtraError: the wishes cannot be had.
    """

    def __init__(
        self,
        network: Network,
        manifest: Manifest,
        device: Device,
        *,
        runtime: str = "auto",
        precision: Precision = "auto",
        exact: bool = False,
        run: Path | None = None,
        labels_alone: bool = True,
    ) -> None:
        self.way = self._first = first_way(manifest, device, runtime, precision, exact=exact)
        self._prepared = Prepared.find(run, weights_hash(network)) if self.way.precision == "int8" else None
        self.device, self.streams, self._run = device, min(MOST_STREAMS, thread_count()), run
        self.refused: tuple[str, ...] = ()
        self.together = 1
        self._network, self._manifest, self._exact = network, manifest, exact
        self._wishes = runtime, precision
        self._kept_alone = False  # what is not converted yet is computed on torch
        self.answered: dict[Way, None] = {}
        if not (isinstance(network, Stored) and self._stands(labels_alone)):
            self._model.eval()
        self._lock = Lock()
        self._many = False
        self._graphs: dict[tuple[Way, int, bool], GraphLabels] = {}
        self._arrays: dict[Way, Arrays | None] = {}  # None: nothing is kept that can be used
        self._forwards: dict[Way, Forward] = {}
        self._detects: dict[Way, Detect] = {}

    def prepare(self, images: int | None = None, *, tile_hw: tuple[int, int] | None = None) -> Way:
        """Settle on the way for images to come, and give it.

        Measured is at most once for the same weights, versions and processor, and only where the images take longer than
        that, and once on tiles of a size; which way is taken then follows from what was measured alone.

        Args:
            images: how many come; None: enough to pay for any start, but not for measuring
            tile_hw: where they are tiles, the size at which the network sees them: a way that is the quickest on the probes
                need not be so on large tiles, and is timed on them where the job is long
        """
        with self._lock:
            if self._exact or self.way.precision == "int8":
                return self.way
            if not self._many and (images is None or images >= MANY):
                self._many = True
                for way in {self.way, self._first}:
                    self._forwards.pop(way, None)
                    self._detects.pop(way, None)
            tiles = images
            if tile_hw is not None and images is not None:
                images = self._as_probes(images, tile_hw)
            measured, fixed = kept_measurement(self._network, self._manifest, self.device), self._fixed()
            if measured is None and images is not None and not fixed:
                measured = self._measured_now(images, of_tiles=tile_hw is not None)
            if measured is None:
                return self.way
            if not fixed:
                on_tiles, before = None, self._first if self._kept_alone else self.way
                if tile_hw is not None and tiles is not None and images is not None:
                    on_tiles = self._timed_on(tile_hw, measured, before, tiles, images)
                chosen = (measured, images) if on_tiles is None else (on_tiles, tiles)
                pays = best_way(chosen[0], before, *self._wishes, chosen[1])
                if self._kept_alone and tile_hw is None and pays == before:
                    self.streams = min(measured.streams, max(1, images or 1))
                    return self.way
                # A job of tiles that was interrupted has to find the same way again, whatever is kept by then.
                self.way, self._kept_alone = pays, False
                self._graphs = {kind: graph for kind, graph in self._graphs.items() if not kind[-1]}
                self._forwards = {way: forward for way, forward in self._forwards.items() if way == self.way}
                self._arrays = {way: answer for way, answer in self._arrays.items() if way == self.way and answer}
                self.streams = measured.streams
            best = measured.best()
            self.together = measured.together if best and str(self.way) == best.way else 1
        return self.way

    def graph(self, *, many: bool) -> GraphLabels | None:
        """Labels by one graph on the present runtime, side by side for many images; None on torch."""
        if self.way.runtime == "torch":
            return None
        with self._lock:
            # torch.compile shares all threads among the calls, as torch does.
            streams = self.streams if many and self.way.runtime != "compile" else 1
            kind = self.way, streams, self._kept_alone
            if kind not in self._graphs:
                network = self._network if self.way.runtime == "openvino" else self._model
                wishes = {"streams": streams, "prepared": self._prepared, "kept_alone": self._kept_alone}
                self._graphs[kind] = GraphLabels(network, self._manifest, self.way, **wishes)  # type: ignore[arg-type]
            return self._graphs[kind]

    def forward(self, image: Tensor) -> Tensor:
        """Logits of a prepared image, (B, C, h, w) to (B, K, h, w), on the present runtime."""
        with self._lock:
            way = self._way_of_logits()
            if way not in self._forwards:
                self._forwards[way] = self._forward_on(way)
            forward = self._forwards[way]
            self.answered.setdefault(way)
        return forward(image)

    def forward_arrays(self) -> Arrays | None:
        """What forward does, of arrays, where that needs no torch; else None."""
        with self._lock:
            way = self._way_of_logits()
            if way.runtime != "openvino":
                return None
            self.answered.setdefault(way)
            return self._arrays_on(way)

    def detect(self, image: Tensor) -> Detections:
        """The objects of a prepared image, (1, C, h, w), on the present runtime; of models that find objects."""
        with self._lock:
            if self.way not in self._detects:
                self._detects[self.way] = self._detect_on(self.way)
            detect = self._detects[self.way]
            self.answered.setdefault(self.way)
        return detect(image)

    @property
    def _model(self) -> nn.Module:
        """The network where it computes."""
        return module_of(self._network).to(as_torch(self.device))

    def _stands(self, labels_alone: bool) -> bool:
        """Whether what is kept converted answers at all; it is then the way from the first image on."""
        if self._exact or self._manifest.task == "instance" or self.device.type != "cpu":
            return False
        if self._prepared is not None:
            # Whoever has converted this network has found that its weights are those of its manifest.
            return any(any(are_kept(self._network, self._manifest, Way("openvino", kind))) for kind in ("fp32", "bf16"))
        way = self.way
        if self._wishes[0] == "auto":
            measured = kept_measurement(self._network, self._manifest, self.device)
            best = measured.best(*wished(*self._wishes)) if measured else None
            way = Way(*best.way.split()) if best else way  # type: ignore[arg-type]  # as it was written
        if way.runtime != "openvino" or not are_kept(self._network, self._manifest, way)[0 if labels_alone else 1]:
            return False
        self.way, self._kept_alone = way, self._wishes[0] == "auto"
        return True

    def _way_of_logits(self) -> Way:
        return self._first if self._kept_alone and self._arrays_on(self.way) is None else self.way

    def _fixed(self) -> bool:
        """Whether there is nothing to choose: both wishes are said, or no other runtime is there."""
        if "auto" not in self._wishes or self._wishes[0] == "torch":
            return True
        return all(way.runtime == "torch" for way in ways_on(self.device))

    def _as_probes(self, images: int, hw: tuple[int, int]) -> int:
        """As many images of the probes' size, on which times are measured; as many as there are where no probes are."""
        probes = read_probes(self._run) if self._run is not None else []
        if not probes:
            return images
        sizes = [math.prod(self._manifest.preprocessing().work_hw(probe.labels.shape)) for probe in probes]
        return max(1, round(images * math.prod(hw) / statistics.median(sizes)))

    def _timed_on(self, hw: tuple[int, int], measured: Measurement, present: Way, tiles: int, images: int) -> Measurement | None:
        """What was measured, with the times of tiles of this size: known, or taken now where the job is long enough.

        Timed are the quickest way of each runtime that the wishes leave open, and the present one; what fails is left out.

        Args:
            present: the way that is taken if no other is
            tiles, images: how many come, and as how many images of the probes' size they count
        """
        if self._manifest.task == "instance":
            return None
        rivals = {Way(*way.way.split()) for way in measured.rivals(*wished(*self._wishes))}  # type: ignore[arg-type]
        now = measured.of(present)
        rivals |= {present} if now is not None and now.agrees else set()
        known = measured.on_tiles(hw, rivals)
        if known is not None or len(rivals) < 2:
            return known
        quickest_ms = min(way.ms for way in map(measured.of, rivals) if way is not None)
        if tiles < TILES_A_RIVAL * len(rivals) or images * quickest_ms / 1000 < WORTH_TIMING_S:
            return None
        spent: dict[str, float] = {}
        for way in sorted(rivals, key=lambda way: (RUNTIMES.index(way.runtime), way.precision)):
            try:
                if way not in self._forwards:
                    self._forwards[way] = self._forward_on(way)
                spent[str(way)] = time_tile(self._forwards[way], self._manifest.preprocessing().channels, hw)
            except Exception as error:  # whatever a compiler or a runtime trips over, the others still serve
                if way.runtime == "torch":
                    raise
                spent[str(way)] = FAILED
                where = f"on tiles of {hw[0]} x {hw[1]}"
                self.refused += (f"{way} is not used {where}: it fails on them ({first_line(error)}).",)
        give_back()
        measured = measured.with_tiles(hw, spent)
        keep_measurement(self._network, self.device, measured)
        return measured.on_tiles(hw, rivals)

    def _forward_on(self, way: Way) -> Forward:
        if way.runtime == "torch":
            return forward_on(self._model, self.device, way.precision, exact=self._exact, many=self._many)
        if way.runtime != "openvino":
            return logits_on(self._model, self._manifest, way)
        answer = self._arrays_on(way)
        if answer is None:
            answer = self._arrays[way] = arrays_of_logits(self._network, self._manifest, way)
        return of_tensors(answer)

    def _arrays_on(self, way: Way) -> Arrays | None:
        if way not in self._arrays:
            if self._kept_alone:
                self._arrays[way] = kept_arrays_of_logits(self._network, self._manifest, way)
            else:
                self._arrays[way] = arrays_of_logits(self._network, self._manifest, way, self._prepared)
        return self._arrays[way]

    def _detect_on(self, way: Way) -> Detect:
        from maskwright.inference.object_parts import detect_by

        if self._prepared is not None:
            return detect_by(self._model, self._prepared.parts())
        if way.runtime == "torch":
            return detect_on(self._model, self.device, way.precision, exact=self._exact, many=self._many)
        return objects_on(self._model, self._manifest, way)

    def _measured_now(self, images: int, *, of_tiles: bool) -> Measurement | None:
        """Measured and kept, if there are probes and the images take longer than that.

        Of tiles, where a second graph is converted and timed, twice as long on the present way: one large image is often all.
        """
        before = self._manifest.runtimes or {}
        ms = float(before.get("reference_ms", EXPECTED_MS))
        now = next((float(way["ms"]) for way in before.get("ways", ()) if way["way"] == str(self.way)), ms) if of_tiles else ms
        probes = read_probes(self._run) if self._run is not None else []
        if not probes or images * now / 1000 < cost_s(ms, len(probes)) * (2 if of_tiles else 1):
            return None
        found = measure(copy.deepcopy(self._model), self._manifest, self.device, probes)
        keep_measurement(self._network, self.device, found)
        self.refused = tuple(refusals(found.ways))
        return found
