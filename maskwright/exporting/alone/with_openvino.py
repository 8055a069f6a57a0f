"""Segment one picture with model.xml: python predict.py picture.png mask.png

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
    segment = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
    image = read(picture, int(channels), dtype)
    labels = segment(image)[0][0]
    Image.fromarray(labels).save(mask)
    print("class ids found:", np.unique(labels).tolist(), "of", classes)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) == 3 else sys.exit(__doc__)
