"""Segment one picture with model.pt2: python predict.py picture.png mask.png

Needs torch, numpy and Pillow. Takes every file that Pillow opens, with 8 bits a colour, and turns photos upright.
A model of other pictures (see dtype and channels in classes.json) takes just those, as PNG or TIFF, and needs imagecodecs.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from maskwright.exporting.alone.pictures import read


def main(picture: str, mask: str) -> None:
    files = {"classes.json": ""}
    program = torch.export.load(Path(__file__).with_name("model.pt2"), extra_files=files)
    facts = json.loads(files["classes.json"])
    image = read(picture, facts["channels"], facts["dtype"])
    with torch.inference_mode():
        labels = program.module()(torch.from_numpy(image))[0].numpy()
    Image.fromarray(labels).save(mask)
    print("class ids found:", np.unique(labels).tolist(), "of", facts["classes"])


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) == 3 else sys.exit(__doc__)
