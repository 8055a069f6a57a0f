"""Encoders from timm: any image classifier of that library whose maps halve from step to step, for any number of channels.

Source: timm (Apache-2.0), its `features_only` models. Weights: timm.models.adapt_input_conv fits a first convolution of three
channels to another number: one channel takes the sum over the three, C channels repeat them in order and scale by 3 / C.
Differs: nothing is ever downloaded; fixed-size encoders are refused at the start instead of at the first odd image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

import timm
import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from maskwright.errors import CheckpointError, InputError
from maskwright.models.weight_files import read_weights, spelling


@dataclass(frozen=True)
class EncoderWeights:
    """What was loaded into an encoder, for the manifest.

    Attributes:
        source: file, or name of the package that brought it
        licence: where the source states one
        mean, std: of the images (in [0, 1]) that timm's own weights of this encoder were trained with, where it lists them
        first_layer: "as stored", or how three channels became another number
    """

    source: str
    licence: str | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    first_layer: str


class TimmEncoder(nn.Module):
    """A timm model without its head, as the contracting path of a U-Net.

    Attributes:
        widths, strides: channels and pixels per step of each map, shallowest first

    Shapes:
        forward: (B, C, H, W), H and W multiples of strides[-1], to maps (B, widths[i], H / strides[i], W / strides[i])

    Raises:
        InputError: timm has no such model (near names are shown), its maps do not halve, or it takes one size only.
    """

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        if not timm.is_model(name):
            near = get_close_matches(name, timm.list_models(), n=5)
            raise InputError(
                f"no encoder named {name!r} in timm {timm.__version__}; did you mean {', '.join(near) or 'resnet34'}?"
            )
        # Swin pads its windows to any size, but only if told to.
        options = {"strict_img_size": False} if name.startswith("swin") else {}
        self.name, self.channels = name, channels
        net = _features(name, in_chans=channels, **options)
        self.net: nn.Module = net
        self.widths: tuple[int, ...] = tuple(net.feature_info.channels())
        self.strides: tuple[int, ...] = tuple(net.feature_info.reduction())
        self.channels_last_axis = str(getattr(net, "output_fmt", "")).endswith("NHWC")
        if any(s & (s - 1) for s in self.strides) or any(a >= b for a, b in pairwise(self.strides)):
            raise InputError(
                f"encoder {name!r} gives maps at strides {list(self.strides)}; a U-Net needs sizes that halve, as in resnet34."
            )
        self._try_two_sizes()

    def forward(self, image: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.net(image)
        return [m.permute(0, 3, 1, 2) for m in maps] if self.channels_last_axis else maps

    def _try_two_sizes(self) -> None:
        """One pass over an oblong image: transformers of fixed size fail here rather than on the user's first image."""
        h, w = 2 * self.strides[-1], 3 * self.strides[-1]
        expected = [(1, c, h // s, w // s) for c, s in zip(self.widths, self.strides, strict=True)]
        self.net.eval()
        try:
            with torch.no_grad():
                found = [tuple(m.shape) for m in self(torch.zeros(1, self.channels, h, w))]
        except (RuntimeError, AssertionError) as error:
            raise InputError(
                f"encoder {self.name!r} does not take images of any size ({error}); choose another, as resnet34."
            ) from error
        self.net.train()
        if found != expected:
            raise InputError(
                f"encoder {self.name!r} turns {h} x {w} px into {found}, expected {expected}; choose another, as resnet34."
            )


def load_encoder_weights(encoder: nn.Module, source: str) -> EncoderWeights:
    """Start an encoder from weights trained elsewhere; nothing changes if anything does not fit.

    Weights of the classifier and of layers behind the last map are passed over. Prefixes that training tools add
    ("module.", "model.", "encoder.", "backbone.") are ignored.

    Arguments:
        encoder: a TimmEncoder
        source: path of a .safetensors, .pth, .pt or .bin file, or "pip:efficientnet_lite0" for weights that a package brings

    Raises:
        InputError: not a timm encoder, no such file, or an unknown kind or name.
        CheckpointError: the file cannot be read, or keys or shapes do not fit; the message lists them.
        MissingExtraError: the package of a "pip:" source is not installed.
    """
    if not isinstance(encoder, TimmEncoder):
        raise InputError(
            f"encoder weights {source} go into a timm encoder; this model has its own contracting path, so leave them out."
        )
    given = read_weights(source, blocks_per_stage=[len(s) for s in getattr(encoder.net, "blocks", [])])
    own = encoder.net.state_dict()
    fitted, first_layer = _fit(given.tensors, own, encoder, given.source)
    encoder.net.load_state_dict(fitted)
    known = timm.get_pretrained_cfg(encoder.name)
    mean, std = (tuple(known.mean), tuple(known.std)) if known else (None, None)
    return EncoderWeights(given.source, given.licence, mean, std, first_layer)


def _fit(
    stored: Mapping[str, Tensor], own: Mapping[str, Tensor], encoder: TimmEncoder, source: str
) -> tuple[dict[str, Tensor], str]:
    """The file's tensors under the encoder's keys, every one of them."""
    by_spelling = {spelling(key): tensor for key, tensor in stored.items()}
    # Counters of batches play no part in the result and are missing from old files.
    missing = [k for k in own if spelling(k) not in by_spelling and not k.endswith("num_batches_tracked")]
    known = {spelling(k) for k in own} | _all_keys(encoder.name)
    unexpected = [k for k in stored if spelling(k) not in known]
    fitted, wrong, first_layer = {}, [], "as stored"
    c = encoder.channels
    for key, tensor in own.items():
        found = by_spelling.get(spelling(key), tensor)
        if _is_first_layer(found, tensor):
            found = adapt_input_conv(c, found.float())
            first_layer = "sum over 3 channels" if c == 1 else f"3 channels repeated to {c}, times 3/{c}"
        if found.shape != tensor.shape:
            wrong.append(f"{key} {tuple(found.shape)} instead of {tuple(tensor.shape)}")
        fitted[key] = found
    problems = [
        f"{len(v)} {what} ({_some(v)})"
        for what, v in (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong))
        if v
    ]
    if problems:
        raise CheckpointError(
            f"{source}: not weights of the encoder {encoder.name!r}: {'; '.join(problems)}. "
            "Choose the encoder that they were made for."
        )
    return fitted, first_layer


def _is_first_layer(found: Tensor, own: Tensor) -> bool:
    """Whether the two differ in nothing but the image's channels, three in the file."""
    return own.ndim == 4 and own.shape[1] != 3 and found.shape == (own.shape[0], 3, *own.shape[2:])


def _all_keys(name: str) -> set[str]:
    """Every key that the whole classifier has, head included; on the meta device, so that it costs no memory."""
    with torch.device("meta"):
        return {spelling(k) for k in timm.create_model(name, pretrained=False).state_dict()}


def _features(name: str, **options: Any) -> Any:
    """timm's features_only model, an nn.Module with a `feature_info`."""
    try:
        return timm.create_model(name, features_only=True, pretrained=False, **options)
    except (RuntimeError, AttributeError, ValueError) as error:
        raise InputError(f"timm cannot give the maps of {name!r} ({error}); choose another encoder, as resnet34.") from error


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
