"""A plain vision transformer from timm, opened up: its tokens, its blocks one by one, attention that may be masked.

Source: Dosovitskiy et al. 2021, arXiv:2010.11929; timm (Apache-2.0), class VisionTransformer, whose keys the weights have.
Differs: nothing is pooled; any image of whole patches goes in, positions resampled to its grid by timm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch.nn.functional as F
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from maskwright.errors import InputError
from maskwright.models.encoders import FromTimm


class PlainViT(FromTimm):
    """A timm ViT without its head.

    Attributes:
        width: channels of the tokens
        patch: pixels along the side of a patch
        prefix: tokens before the patches' (class, registers)
        blocks: to be called in order on the tokens

    Shapes:
        forward: (B, C, H, W), H and W multiples of patch, to the tokens (B, prefix + H / patch x W / patch, width) that enter
            the first block

    Raises:
        InputError: timm has no such model (near names are shown), or it is no plain ViT of square patches.
    """

    net: VisionTransformer

    def __init__(self, name: str, channels: int) -> None:
        super().__init__(name, channels)
        net = _opened(name, channels)
        patch_hw = tuple(net.patch_embed.patch_size)
        if not all(type(block) is Block and getattr(block.attn, "gate", None) is None for block in net.blocks):
            raise InputError(f"encoder {name!r} has blocks of its own kind; choose a plain ViT, as vit_small_patch16_224.")
        if patch_hw[0] != patch_hw[1]:
            raise InputError(f"encoder {name!r} has patches of {patch_hw} px; choose square ones, as vit_small_patch16_224.")
        self.net = net
        self.width, self.patch, self.prefix = int(net.embed_dim), int(patch_hw[0]), int(net.num_prefix_tokens)

    @property
    def blocks(self) -> list[Block]:
        return [block for block in self.net.blocks if isinstance(block, Block)]

    def forward(self, image: Tensor) -> Tensor:
        tokens: Tensor = self.net.norm_pre(self.net.patch_drop(self.net._pos_embed(self.net.patch_embed(image))))
        return tokens

    def fitted(self, stored: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights of images of another size: their positions resampled to this grid; without the token of masked pretraining."""
        fitted = {key: tensor for key, tensor in stored.items() if key != "mask_token"}
        own, found = self.net.pos_embed, fitted.get("pos_embed")
        if own is not None and found is not None and found.ndim == 3 and found.shape[1:] != own.shape[1:]:
            embedded = 0 if self.net.no_embed_class else self.prefix
            grid = list(self.net.patch_embed.grid_size)
            fitted["pos_embed"] = resample_abs_pos_embed(found, grid, num_prefix_tokens=embedded)
        return fitted

    def normed(self, tokens: Tensor) -> Tensor:
        """What leaves a block, as the last norm hands it to a head."""
        out: Tensor = self.net.norm(tokens)
        return out

    def attend(self, block: Block, tokens: Tensor, allowed: Tensor) -> Tensor:
        """One block in which a token sees only those that are allowed to it.

        timm's own blocks take a mask from version 1.0.16 on; written out here, older ones do as well.

        Shapes:
            tokens: (B, T, width)
            allowed: (B, 1, T, T) bool, [.., i, j]: token i sees token j; every row has at least one
            returns: (B, T, width)
        """
        tokens = tokens + block.drop_path1(block.ls1(_attention(block.attn, block.norm1(tokens), allowed)))
        out: Tensor = tokens + block.drop_path2(block.ls2(block.mlp(block.norm2(tokens))))
        return out


def _attention(attn: Any, x: Tensor, allowed: Tensor) -> Tensor:  # timm's Attention, which has moved between versions
    b, t, _ = x.shape
    q, k, v = attn.qkv(x).reshape(b, t, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)  # each (B, heads, T, D)
    dropped = attn.attn_drop.p if attn.training else 0.0
    x = F.scaled_dot_product_attention(attn.q_norm(q), attn.k_norm(k), v, attn_mask=allowed, dropout_p=dropped)
    x = x.transpose(1, 2).flatten(2)
    x = getattr(attn, "norm", nn.Identity())(x)
    out: Tensor = attn.proj_drop(attn.proj(x))
    return out


def _opened(name: str, channels: int) -> VisionTransformer:
    """timm's ViT without pooling and classifier, for images of any size."""
    try:
        net = timm.create_model(name, pretrained=False, in_chans=channels, num_classes=0, global_pool="", dynamic_img_size=True)
    except (TypeError, RuntimeError, AttributeError, ValueError, AssertionError) as error:
        raise InputError(f"encoder {name!r} is no plain ViT ({error}); choose one, as vit_small_patch16_224.") from error
    if not isinstance(net, VisionTransformer):
        raise InputError(f"encoder {name!r} is a {type(net).__name__}, not a plain ViT; choose one, as vit_small_patch16_224.")
    return net
