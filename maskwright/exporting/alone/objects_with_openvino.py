"""Find the objects of one picture with model.xml. Needs openvino, numpy and Pillow: python predict.py picture.png mask.png"""

import sys
from pathlib import Path

import numpy as np
import openvino
from PIL import Image


def main(picture: str, mask: str) -> None:
    core = openvino.Core()
    model = core.read_model(Path(__file__).with_name("model.xml"))
    hint = "bf16" if model.get_rt_info(["maskwright", "precision"]).astype(str) == "bf16" else "f32"
    find = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
    channels = model.input(0).partial_shape[3].get_length()
    image = Image.open(picture)
    pixels = np.asarray(image.convert("RGB") if channels == 3 else image)
    answer = find(pixels.reshape(1, image.height, image.width, channels))
    found = [answer[name] for name in ("boxes", "scores", "labels", "masks")]
    painted = np.zeros((image.height, image.width), np.uint16)
    for box, score, label, small in list(zip(*found, strict=True))[::-1]:  # the likeliest last, on top
        left, top, right, bottom = (round(float(side)) for side in box)
        if score < 0.5 or right <= left or bottom <= top:
            continue
        inside = np.asarray(Image.fromarray(small).resize((right - left, bottom - top), Image.Resampling.BILINEAR)) >= 0.5
        painted[top:bottom, left:right][inside] = label
        print(f"class {label}, score {score:.3f}, box {left} {top} {right} {bottom}")
    Image.fromarray(painted).save(mask)
    print("classes:", model.get_rt_info(["maskwright", "classes"]).astype(str))


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) == 3 else sys.exit(__doc__)
