"""Find the objects of one picture with model.pt2: python predict.py picture.png mask.png

Needs torch, torchvision, numpy and Pillow. Takes every file that Pillow opens, with 8 bits a colour, and turns photos upright.
A model of other pictures (see dtype and channels in classes.json) takes just those, as PNG or TIFF, and needs imagecodecs.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision  # noqa: F401  # the graph calls its nms
from PIL import Image

from maskwright.exporting.alone.pictures import read


def main(picture: str, mask: str) -> None:
    files = {"classes.json": ""}
    find = torch.export.load(Path(__file__).with_name("model.pt2"), extra_files=files).module()
    facts = json.loads(files["classes.json"])
    image = read(picture, facts["channels"], facts["dtype"])
    with torch.inference_mode():
        found = [t.numpy() for t in find(torch.from_numpy(image))]
    painted = np.zeros(image.shape[1:3], np.uint16)
    for box, score, label, small in list(zip(*found, strict=True))[::-1]:  # the likeliest last, on top
        left, top, right, bottom = (round(float(side)) for side in box)
        if score < 0.5 or right <= left or bottom <= top:
            continue
        inside = np.asarray(Image.fromarray(small).resize((right - left, bottom - top), Image.Resampling.BILINEAR)) >= 0.5
        painted[top:bottom, left:right][inside] = label
        print(f"class {label}, score {score:.3f}, box {left} {top} {right} {bottom}")
    Image.fromarray(painted).save(mask)
    print("classes:", facts["classes"])


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) == 3 else sys.exit(__doc__)
