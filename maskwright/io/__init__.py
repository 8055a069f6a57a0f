"""Files to Image and back: pictures of any depth, masks as people store them, and writing that never leaves half a file."""

from maskwright.io.image import Image
from maskwright.io.masks import LabelReading, StoredMask, read_labels, read_mask
from maskwright.io.read import IMAGE_SUFFIXES, read_image
from maskwright.io.write import atomic, fresh_folder, write_bytes, write_json, write_mask, write_png, write_text

__all__ = [
    "IMAGE_SUFFIXES", "Image", "LabelReading", "StoredMask", "atomic", "fresh_folder", "read_image", "read_labels", "read_mask",
    "write_bytes", "write_json", "write_mask", "write_png", "write_text",
]  # fmt: skip
