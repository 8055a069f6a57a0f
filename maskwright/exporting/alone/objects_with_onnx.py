"""Find the objects of one picture with model.onnx. Needs onnxruntime, numpy and Pillow: python predict.py picture.png mask.png"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image


def main(picture: str, mask: str) -> None:
    session = onnxruntime.InferenceSession(str(Path(__file__).with_name("model.onnx")))
    channels = session.get_inputs()[0].shape[3]
    image = Image.open(picture)
    pixels = np.asarray(image.convert("RGB") if channels == 3 else image)
    found = session.run(["boxes", "scores", "labels", "masks"], {"image": pixels.reshape(1, image.height, image.width, channels)})
    painted = np.zeros((image.height, image.width), np.uint16)
    for box, score, label, small in list(zip(*found, strict=True))[::-1]:  # the likeliest last, on top
        left, top, right, bottom = (round(float(side)) for side in box)
        if score < 0.5 or right <= left or bottom <= top:
            continue
        inside = np.asarray(Image.fromarray(small).resize((right - left, bottom - top), Image.Resampling.BILINEAR)) >= 0.5
        painted[top:bottom, left:right][inside] = label
        print(f"class {label}, score {score:.3f}, box {left} {top} {right} {bottom}")
    Image.fromarray(painted).save(mask)
    print("classes:", session.get_modelmeta().custom_metadata_map["classes"])


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) == 3 else sys.exit(__doc__)
