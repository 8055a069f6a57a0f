"""Find the objects of one picture with model.pt2: python predict.py picture.png mask.png

Needs torch, torchvision, numpy and Pillow.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision  # noqa: F401  # the graph calls its nms
from PIL import Image


def main(picture: str, mask: str) -> None:
    files = {"classes.json": ""}
    find = torch.export.load(Path(__file__).with_name("model.pt2"), extra_files=files).module()
    facts = json.loads(files["classes.json"])
    channels = facts["channels"]
    image = Image.open(picture)
    pixels = np.array(image.convert("RGB") if channels == 3 else image)
    with torch.inference_mode():
        found = [t.numpy() for t in find(torch.from_numpy(pixels.reshape(1, image.height, image.width, channels)))]
    painted = np.zeros((image.height, image.width), np.uint16)
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
