"""How the scripts read a picture: the function stands in each of them, where they import it here, when an export is written."""

import sys

import numpy as np
from PIL import Image


def read(picture: str, channels: int, dtype: str) -> np.ndarray:
    """(1, height, width, channels), upright and of the type that the model takes; what cannot be brought to it is refused."""
    try:
        if dtype == "uint8" and channels in (1, 3):
            from PIL import ImageOps

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
    # UnboundLocalError is imagecodecs' word for an empty file, DecompressionBombError Pillow's for a huge picture.
    except (OSError, SyntaxError, ValueError, UnboundLocalError, ImportError, Image.DecompressionBombError) as error:
        print(f"{picture} cannot be used: {(str(error) or type(error).__name__).splitlines()[0]}", file=sys.stderr)
        sys.exit(2)
    return pixels[None]
