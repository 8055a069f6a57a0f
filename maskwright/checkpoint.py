"""Checkpoints: weights and everything needed to use them in one safetensors file, which holds no code.

The manifest (JSON) stands in the header of model.safetensors, so the weights file alone is enough; manifest.json beside
it is the same text for people to read and is never read back. Loading trusts nothing: the header's length, the manifest
and every tensor's name, type and shape are checked against the model that the manifest names, built without memory on
torch's "meta" device, before a single weight is allocated.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open

from maskwright import __version__, models
from maskwright.classes import ClassMap
from maskwright.errors import CheckpointError, InputError
from maskwright.io.write import write_bytes, write_text
from maskwright.later import torch
from maskwright.transforms import Preprocess

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = 1
WEIGHTS_FILE = "model.safetensors"
MANIFEST_FILE = "manifest.json"

_KEY = "maskwright"  # where the manifest stands in the metadata of the safetensors header
_MAX_HEADER_BYTES = 16 << 20  # a net of 5,000 tensors needs less than 1 MiB
_MAX_NUMBER = 1 << 16  # of any number in model_args and of the channels
_HASHED_BYTES = 1 << 20  # at a time
_MAX_ITEMS = 1024  # of any list or text in model_args, and of the classes
_PICKLES = {".pth", ".pt", ".ckpt", ".bin", ".pkl", ".tar"}


class Manifest(BaseModel):
    """What a checkpoint says about itself.

    Attributes:
        format: of the file; another number is refused
        version: of the maskwright that wrote it
        task, model, model_args: `models.build(model, channels=..., classes=..., **model_args)` is the net
        classes: ClassMap.to_dict(); channel k of the net is its k-th class
        preprocess: Preprocess.to_dict(): what is done to an image before the net sees it
        recipe: the settings of the training run
        scores: of the weights, on the validation images
        data_hash: fingerprint of the training data
        weight_licence: of the weights the training started from, where there were any
        created: date and time in UTC, ISO 8601
        precision: number type that was the quickest on torch of those that agreed with fp32 on the validation images
        agreement: how bf16 agreed, as version 0.1 wrote it; still read
        runtimes: how every runtime agreed on the machine that trained and how long it took, see inference/measuring.py
    """

    # Unknown keys are refused: one that this version does not know could change the answer.
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    format: Literal[1] = 1
    version: str = __version__
    task: Literal["semantic", "instance"] = "semantic"
    model: str
    model_args: dict[str, Any] = Field(default_factory=dict)
    classes: dict[str, Any]
    preprocess: dict[str, Any]
    recipe: dict[str, Any] | None = None
    scores: dict[str, Any] | None = None
    data_hash: str | None = None
    weight_licence: str | None = None
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    precision: Literal["fp32", "bf16"] = "fp32"
    agreement: dict[str, Any] | None = None
    runtimes: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _usable(self) -> Self:
        """A file must not be able to ask for more time or memory than any model needs."""
        rows = self.classes.get("classes")
        if isinstance(rows, list) and len(rows) > _MAX_ITEMS:
            raise InputError(f"{len(rows)} classes; at most {_MAX_ITEMS} are allowed")
        _check_bounds(self.model_args)
        _check_bounds(self.preprocess)
        self.class_map(), self.preprocessing()
        return self

    def class_map(self) -> ClassMap:
        return ClassMap.from_dict(self.classes)

    def preprocessing(self) -> Preprocess:
        return Preprocess.from_dict(self.preprocess)


def save_checkpoint(folder: str | Path, model: nn.Module, manifest: Manifest) -> None:
    """Write model.safetensors and manifest.json into folder, each whole or not at all.

    The weights file is replaced first and alone decides what is loaded: if the machine stops between the two, the folder
    holds the new checkpoint with the old copy of its manifest for people.

    Raises:
        CheckpointError: a weight is not a finite number, the manifest does not describe the model, or the disk refuses
            (full, read-only); the previous checkpoint is kept in every case.
    """
    import safetensors.torch

    folder = Path(folder)
    weights = {name: t.detach().to("cpu").contiguous() for name, t in model.state_dict().items()}
    _check_finite(folder / WEIGHTS_FILE, weights)
    shapes = {name: (tuple(t.shape), t.dtype) for name, t in weights.items()}
    _check_fit(folder / WEIGHTS_FILE, manifest, shapes)
    text = manifest.model_dump_json(indent=2) + "\n"
    try:
        # Serialised in memory: the library's own writer replaces nothing atomically and hides the system's error number.
        write_bytes(folder / WEIGHTS_FILE, safetensors.torch.save(weights, metadata={_KEY: text}))
        write_text(folder / MANIFEST_FILE, text)
    except (InputError, OSError) as error:
        raise CheckpointError(f"the checkpoint was not saved: {error}") from error


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> tuple[nn.Module, Manifest]:
    """The model with its weights, in evaluation mode, and its manifest.

    Args:
        path: a run folder, or a .safetensors file that maskwright wrote

    Raises:
        CheckpointError: there is no checkpoint, it is cut short or damaged, it was written in another format, or its
            weights are not those of the model it names. Nothing is allocated before that is known.
    """
    from maskwright.models.outline import Undrawn

    file = weights_file(path)
    with _opened(file, framework="pt") as stored:
        manifest = _manifest(file, stored.metadata())
        names = list(stored.keys())
        slices = {name: stored.get_slice(name) for name in names}
        _check_fit(file, manifest, {name: (tuple(s.get_shape()), _dtype_of(s.get_dtype())) for name, s in slices.items()})
        weights = {name: stored.get_tensor(name) for name in names}
        _check_finite(file, weights)
        with torch.random.fork_rng(devices=[]), Undrawn():  # the first weights are overwritten, and cost nobody a random number
            model = _build(manifest)
        model.load_state_dict(weights)
    return model.to(device).eval(), manifest


class Stored:
    """A checkpoint whose network is built when something computes with it: what was converted of it before needs it not.

    Threads may share it. The file is taken to be sound (whoever has converted the same weights has loaded them), and has to stay
    as it is until the network is built.

    Attributes:
        manifest: of the file
        weights_hash: see weights_hash
    """

    def __init__(self, file: Path, manifest: Manifest, weights: str, state: tuple[int, ...]) -> None:
        self.manifest, self.weights_hash = manifest, weights
        self._file, self._state, self._loading = file.resolve(), state, threading.Lock()
        self._module: nn.Module | None = None

    @property
    def is_loaded(self) -> bool:
        return self._module is not None

    def module(self) -> nn.Module:
        """The network with its weights, in evaluation mode.

        Raises:
            CheckpointError: see load_checkpoint; or the file holds other weights now.
        """
        with self._loading:
            if self._module is None:
                found, manifest = load_checkpoint(self._file)
                if _state(self._file) != self._state and not self._is(found, manifest):
                    raise CheckpointError(f"{self._file}: was replaced by another model while it was being used; start again.")
                self._module = found
            return self._module

    def _is(self, module: nn.Module, manifest: Manifest) -> bool:
        """Whether what was loaded answers as what was opened would."""
        one, other = ((m.task, m.model, m.model_args, m.classes, m.preprocess) for m in (manifest, self.manifest))
        return one == other and weights_hash(module) == self.weights_hash


Network: TypeAlias = "nn.Module | Stored"


def stored(path: str | Path) -> Stored | None:
    """A checkpoint whose weights are hashed as they lie in the file; None where that cannot be done and they have to be loaded.

    Raises:
        CheckpointError: there is no checkpoint, or its manifest cannot be used.
    """
    file = weights_file(path)
    before = _state(file)
    manifest, weights = read_manifest(file), _hash_of(file)
    # A training may save another one at any moment: its weights are not those of this manifest.
    return None if weights is None or _state(file) != before else Stored(file, manifest, weights, before)


def module_of(network: Network) -> nn.Module:
    return network.module() if isinstance(network, Stored) else network


def weights_hash(network: Network) -> str:
    """SHA-256 of a model's weights by name: the same for the same weights, wherever they lie and however they are laid out."""
    if isinstance(network, Stored):
        return network.weights_hash
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_manifest(path: str | Path) -> Manifest:
    """The manifest of a run folder or weights file, without its weights."""
    file = weights_file(path)
    with _opened(file) as stored:
        return _manifest(file, stored.metadata())


def weights_file(path: str | Path) -> Path:
    """The .safetensors file that a run folder or a file name means.

    Raises:
        CheckpointError: there is none, with what the path is instead.
    """
    path = Path(path)
    run = f"a run folder is what `maskwright train` writes and holds {WEIGHTS_FILE}"
    if path.is_dir():
        if (path / WEIGHTS_FILE).is_file():
            return path / WEIGHTS_FILE
        if (path / "state").is_dir():
            raise CheckpointError(f"{path}: it has saved no model yet. Go on with maskwright train ... --out {path} --resume.")
        raise CheckpointError(f"{path}: not a run folder, it has no {WEIGHTS_FILE}; {run}.")
    if not path.exists():
        raise CheckpointError(f"{path}: no such run folder or file; {run}.")
    if path.suffix.lower() in _PICKLES:
        raise CheckpointError(f"{path}: not read, for a pickle can run code. Give a run folder or a .safetensors file.")
    if path.suffix.lower() != ".safetensors":
        raise CheckpointError(f"{path}: not a model; give a run folder or a .safetensors file ({run}).")
    return path


# ---- reading ----

# Number types of safetensors, as torch calls them.
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_OF_NETWORKS = {"F32", "I64"}  # in which networks hold their numbers; what is stored in another one changes when it is loaded
_Shapes: TypeAlias = "Mapping[str, tuple[tuple[int, ...], torch.dtype | None]]"


def _dtype_of(name: str) -> torch.dtype | None:
    return getattr(torch, _DTYPES[name]) if name in _DTYPES else None


def _state(file: Path) -> tuple[int, ...]:
    """What changes when another file takes a file's place."""
    try:
        stat = file.stat()
    except OSError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _hash_of(file: Path) -> str | None:
    """weights_hash of the network that a file's weights are for; None where they are not as a network holds them."""
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(size))
            for name, entry in sorted((name, entry) for name, entry in header.items() if name != "__metadata__"):
                if entry["dtype"] not in _OF_NETWORKS:
                    return None
                digest.update(f"{name} torch.{_DTYPES[entry['dtype']]} {tuple(entry['shape'])}".encode())
                begin, end = entry["data_offsets"]
                stream.seek(8 + size + begin)
                for block in range(begin, end, _HASHED_BYTES):
                    digest.update(stream.read(min(_HASHED_BYTES, end - block)))
    except (OSError, ValueError, TypeError, KeyError):  # whoever loads it says what is wrong
        return None
    return digest.hexdigest()


@contextmanager
def _opened(file: Path, framework: str = "np") -> Iterator[Any]:
    """The safetensors file, its header checked; whatever is wrong with its bytes is a CheckpointError.

    Args:
        framework: whose tensors it gives, "np" or "pt"
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as f:
            header_bytes = int.from_bytes(f.read(8), "little")
        if size < 8 or header_bytes > size - 8:
            raise CheckpointError(f"{file}: cut short or not a safetensors file ({size} bytes); copy it again, or train again.")
        if header_bytes > _MAX_HEADER_BYTES:
            raise CheckpointError(f"{file}: a header of {header_bytes} bytes; no model needs more than {_MAX_HEADER_BYTES}.")
        with safe_open(file, framework=framework) as stored:
            yield stored
    except SafetensorError as error:
        raise CheckpointError(f"{file}: damaged or not a safetensors file ({error}); copy it again, or train again.") from error
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror or error}).") from error


def _manifest(file: Path, metadata: Mapping[str, str] | None) -> Manifest:
    text = (metadata or {}).get(_KEY)
    if text is None:
        raise CheckpointError(f"{file}: weights without maskwright's manifest, so not written by `maskwright train`.")
    try:
        found = json.loads(text)
        written = found["format"]
        if written != FORMAT:
            raise CheckpointError(
                f"{file}: written in format {written} by maskwright {found.get('version')}; this is {__version__}, which reads "
                f"format {FORMAT}. Install the maskwright that wrote it, or train again."
            )
        return Manifest.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{file}: its manifest cannot be used ({where}: {first['msg']}).") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{file}: its manifest cannot be used ({type(error).__name__}: {error}).") from error


def _check_bounds(given: Any) -> None:
    """Refuse numbers, texts and lists so large that building from them would take the machine down.

    Raises:
        InputError: names the value.
    """
    values = [*given.keys(), *given.values()] if isinstance(given, dict) else given if isinstance(given, list) else []
    if len(values) > _MAX_ITEMS or (isinstance(given, str) and len(given) > _MAX_ITEMS):
        raise InputError(f"a value has {len(given)} items or letters; at most {_MAX_ITEMS} are allowed")
    if isinstance(given, (int, float)) and not abs(given) <= _MAX_NUMBER:  # "not <=" also catches nan
        raise InputError(f"the number {given} is out of range; at most {_MAX_NUMBER} is allowed")
    for value in values:
        _check_bounds(value)


# ---- fitting weights to the model ----


def _build(manifest: Manifest) -> nn.Module:
    channels, classes = manifest.preprocessing().channels, len(manifest.class_map())
    return models.build(manifest.model, channels=channels, classes=classes, **manifest.model_args)


def _check_fit(file: Path, manifest: Manifest, found: _Shapes) -> None:
    """Compare names, shapes and types with those of the model that the manifest names, without memory for its weights.

    Raises:
        CheckpointError: the model is unknown or cannot be built so, or a tensor differs; the first one is named.
    """
    from maskwright.models.outline import outlined

    try:
        with outlined(), _parameters_at_most(2 * len(found) + 1000):
            wanted = {name: (tuple(t.shape), t.dtype) for name, t in _build(manifest).state_dict().items()}
    except (InputError, ValueError, TypeError, RuntimeError, OverflowError, RecursionError) as error:
        raise CheckpointError(
            f"{file}: model {manifest.model!r} with {manifest.model_args} cannot be built ({error}). It was written by "
            f"maskwright {manifest.version}, this is {__version__}."
        ) from error
    says = f"{file}: the weights are not those of model {manifest.model!r} with {manifest.model_args}"
    for name in [*wanted, *found]:
        if name not in found:
            raise CheckpointError(f"{says}: {name} is missing.")
        if name not in wanted:
            raise CheckpointError(f"{says}: {name} is not part of it.")
        (shape, dtype), (want, want_dtype) = found[name], wanted[name]
        alike = dtype == want_dtype or (dtype is not None and dtype.is_floating_point and want_dtype.is_floating_point)
        if shape != want or not alike:
            raise CheckpointError(f"{says}: {name} is {dtype} {list(shape)}, expected {want_dtype} {list(want)}.")


@contextmanager
def _parameters_at_most(count: int) -> Iterator[None]:
    """Stop a model that makes many more parameters than the file holds while it is being built, in this thread.

    Parts that a net makes and drops again (an encoder's classifier) are why the limit is not the exact number.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    here, seen = threading.get_ident(), 0

    def register(_module: nn.Module, _name: str, _parameter: Tensor | None) -> None:
        nonlocal seen
        if threading.get_ident() != here:
            return
        seen += 1
        if seen > count:
            raise ValueError("it has many more weights than the file")

    handle = register_module_parameter_registration_hook(register)
    try:
        yield
    finally:
        handle.remove()


def _check_finite(file: Path, weights: Mapping[str, Tensor]) -> None:
    for name, t in weights.items():
        if t.is_floating_point() and not bool(torch.isfinite(t).all()):
            raise CheckpointError(
                f"{file}: {name} holds numbers that are not finite, so the training has diverged. Use an earlier checkpoint, or "
                f"train with a lower learning rate."
            )
