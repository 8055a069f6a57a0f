"""Find the objects of one picture with model.xml: python predict.py picture.png mask.png

Needs openvino, numpy and Pillow. Takes every file that Pillow opens, with 8 bits a colour, and turns photos upright.
A model of other pictures (see dtype and channels in classes.json) takes just those, as PNG or TIFF, and needs imagecodecs.
"""

import sys
from pathlib import Path

import numpy as np
import openvino
from PIL import Image

from maskwright.exporting.alone.pictures import read


def main(picture: str, mask: str) -> None:
    core = openvino.Core()
    model = core.read_model(Path(__file__).with_name("model.xml"))
    names = ("precision", "channels", "dtype", "classes")
    precision, channels, dtype, classes = (model.get_rt_info(["maskwright", name]).astype(str) for name in names)
    hint = "bf16" if precision == "bf16" else "f32"
    find = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
    image = read(picture, int(channels), dtype)
    answer = find(image)
    found = [answer[name] for name in ("boxes", "scores", "labels", "masks")]
    painted = np.zeros(image.shape[1:3], np.uint16)
    for box, score, label, small in list(zip(*found, strict=True))[::-1]:  # the likeliest last, on top
        left, top, right, bottom = (round(float(side)) for side in box)
        if score < 0.5 or right <= left or bottom <= top:
            continue
        inside = np.asarray(Image.fromarray(small).resize((right - left, bottom - top), Image.Resampling.BILINEAR)) >= 0.5
        painted[top:bottom, left:right][inside] = label
        print(f"class {label}, score {score:.3f}, box {left} {top} {right} {bottom}")
    Image.fromarray(painted).save(mask)
    print("classes:", classes)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) == 3 else sys.exit(__doc__)
