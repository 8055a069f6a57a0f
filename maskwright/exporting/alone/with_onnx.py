"""Segment one picture with model.onnx. Needs onnxruntime, numpy and Pillow: python predict.py picture.png mask.png"""

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
    labels = session.run(["labels"], {"image": pixels.reshape(1, image.height, image.width, channels)})[0][0]
    Image.fromarray(labels).save(mask)
    names = session.get_modelmeta().custom_metadata_map["classes"]
    print("class ids found:", np.unique(labels).tolist(), "of", names)


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) == 3 else sys.exit(__doc__)
