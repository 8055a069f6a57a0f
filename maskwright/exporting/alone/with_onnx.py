"""Segment one picture with model.onnx: python predict.py picture.png mask.png

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
    labels = session.run(["labels"], {"image": image})[0][0]
    Image.fromarray(labels).save(mask)
    print("class ids found:", np.unique(labels).tolist(), "of", facts["classes"])


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) == 3 else sys.exit(__doc__)
