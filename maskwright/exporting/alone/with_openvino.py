"""Segment one picture with model.xml and model.bin. Needs openvino, numpy and Pillow: python predict.py picture.png mask.png"""

import sys
from pathlib import Path

import numpy as np
import openvino
from PIL import Image


def main(picture: str, mask: str) -> None:
    core = openvino.Core()
    model = core.read_model(Path(__file__).with_name("model.xml"))
    hint = "bf16" if model.get_rt_info(["maskwright", "precision"]).astype(str) == "bf16" else "f32"
    segment = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
    channels = model.input(0).partial_shape[3].get_length()
    image = Image.open(picture)
    pixels = np.asarray(image.convert("RGB") if channels == 3 else image)
    labels = segment(pixels.reshape(1, image.height, image.width, channels))[0][0]
    Image.fromarray(labels).save(mask)
    names = model.get_rt_info(["maskwright", "classes"]).astype(str)
    print("class ids found:", np.unique(labels).tolist(), "of", names)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) == 3 else sys.exit(__doc__)
