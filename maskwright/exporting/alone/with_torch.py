"""Segment one picture with model.pt2. Needs torch, numpy and Pillow: python predict.py picture.png mask.png"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image


def main(picture: str, mask: str) -> None:
    files = {"classes.json": ""}
    program = torch.export.load(Path(__file__).with_name("model.pt2"), extra_files=files)
    facts = json.loads(files["classes.json"])
    channels = facts["channels"]
    image = Image.open(picture)
    pixels = np.array(image.convert("RGB") if channels == 3 else image)
    with torch.inference_mode():
        labels = program.module()(torch.from_numpy(pixels.reshape(1, image.height, image.width, channels)))[0].numpy()
    Image.fromarray(labels).save(mask)
    print("class ids found:", np.unique(labels).tolist(), "of", facts["classes"])


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) == 3 else sys.exit(__doc__)
