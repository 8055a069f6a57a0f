"""Find the objects of one picture with model.onnx: python predict.py picture.png mask.png

Needs onnxruntime, numpy and Pillow. Takes every file that Pillow opens, with 8 bits a colour, and turns photos upright.
A model of other pictures (see dtype and channels in classes.json) takes just those, as PNG or TIFF, and needs imagecodecs.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from maskwright.exporting.alone.pictures import read


def main(picture: str, mask: str) -> None:
    session = onnxruntime.InferenceSession(str(Path(__file__).with_name("model.onnx")))
    facts = session.get_modelmeta().custom_metadata_map
    image = read(picture, int(facts["channels"]), facts["dtype"])
    found = session.run(["boxes", "scores", "labels", "masks"], {"image": image})
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
