"""The best of ours against segmentation-models-pytorch's U-Net on ResNet-34: the same data, loop, budget and start.

    python benchmarks/camvid_peer.py DATA [--ours bisenetv2] [--minutes 15] [--out runs/camvid-peer]

Both start from random weights and are trained by the same loop with the same augmentation for the same minutes on the drives
0006R0 and 0016E5 of camvid; 0001TP is scored. The difference has a paired interval. Needs segmentation-models-pytorch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import segmentation_models_pytorch as smp
from camvid_drive import CONFIGS, GROUP, HELD_OUT
from record import record
from torch import Tensor, nn

import maskwright
from maskwright.models.registry import MODELS, Entry
from maskwright.models.sizes import check_image, on_grid

PEER = "smp_unet"


class PeerUnet(nn.Module):
    """Their network behind our door: filled up to the multiple of 32 that it asks for."""

    def __init__(self, channels: int, classes: int, *, encoder: str = "resnet34") -> None:
        super().__init__()
        self.channels = channels
        self.net = smp.Unet(encoder, encoder_weights=None, in_channels=channels, classes=classes)

    def forward(self, image: Tensor) -> Tensor:
        check_image(image, self.channels)
        h, w = image.shape[-2:]
        logits: Tensor = self.net(on_grid(image, 32))
        return logits[..., :h, :w]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--ours", default="bisenetv2", help="a file of configs/camvid without weights to start from")
    arguments.add_argument("--minutes", type=float, default=15.0)
    arguments.add_argument("--out", type=Path, default=Path("runs/camvid-peer"))
    given = arguments.parse_args()
    MODELS[PEER] = Entry(PeerUnet, task="semantic", paper="1505.04597", summary="segmentation-models-pytorch")
    recipe = maskwright.Recipe.load(CONFIGS / f"{given.ours}.yaml")
    if recipe.weights is not None:
        raise SystemExit(f"{given.ours} starts from {recipe.weights}; choose one that starts from random weights.")
    shared = {
        key: getattr(recipe, key)
        for key in ("augment", "max_side_px", "patch_hw", "batch", "losses", "class_weights", "learning_rate")
    }
    runs = []
    for folder, options in (
        (given.out / given.ours, {"recipe": CONFIGS / f"{given.ours}.yaml"}),
        (given.out / PEER, {"settings": {"model": PEER, "model_args": {}, **shared}}),
    ):
        if (folder / "state" / "last.safetensors").is_file():
            runs.append(maskwright.train(given.data, out=folder, resume=True))
            continue
        runs.append(
            maskwright.train(given.data, out=folder, minutes=given.minutes, group=GROUP, holdout_groups=HELD_OUT, **options)
        )
    found = maskwright.compare(
        given.data,
        runs=[run.folder for run in runs],
        group=GROUP,
        holdout_groups=HELD_OUT,
        out=given.out / "comparison",
        against=PEER,
    )
    record(
        "camvid_peer",
        [dict(zip(found.columns, map(str, row), strict=True)) for row in found.rows()],
        command=f"python benchmarks/camvid_peer.py DATA --ours {given.ours} --minutes {given.minutes:g}",
        notes=[
            f"{run.folder.name}: learning rate {recipe.learning_rate:g}, {run.steps} steps in {run.minutes:.1f} minutes"
            for run in runs
        ],
    )


if __name__ == "__main__":
    main()
