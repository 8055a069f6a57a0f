"""Segment one picture with model.xml: python predict.py picture.png mask.png

Needs openvino, numpy and Pillow. Takes every file that Pillow opens, with 8 bits a colour, and turns photos upright.
A model of other pictures (see dtype and channels in classes.json) takes just those, as PNG or TIFF, and needs imagecodecs.
"""

import sys
from pathlib import Path

import numpy as np
import openvino
from PIL import Image, ImageOps


def read(picture: str, channels: int, dtype: str) -> np.ndarray:
    """(1, height, width, channels), upright and of the type that the model takes; what cannot be brought to it is refused."""
    try:
        if dtype == "uint8" and channels in (1, 3):
            image = Image.open(picture)
            if image.mode[0] in "IF" or ";16" in str(image.tile):
                raise ValueError("it has more than 8 bits a colour, the model takes 8")
            pixels = np.array(ImageOps.exif_transpose(image).convert("RGB" if channels == 3 else "L"))
        else:
            import imagecodecs  # Pillow would cut deep colours to 8 bits

            pixels = imagecodecs.imread(picture)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if (pixels.shape[2:], pixels.dtype) != ((channels,), np.dtype(dtype)):
            raise ValueError(f"it is {pixels.dtype} of shape {pixels.shape}, the model takes {dtype} with {channels} channel(s)")
    except (OSError, SyntaxError, ValueError, UnboundLocalError) as error:  # the last is imagecodecs' word for an empty file
        print(f"{picture} cannot be used: {str(error).splitlines()[0]}", file=sys.stderr)
        sys.exit(2)
    return pixels[None]


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
