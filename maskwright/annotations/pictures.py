"""The images of a folder that also holds masks: masks are picture files too, and often of the image's own name."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from maskwright.annotations.image_files import ALL, NOTHING_KNOWN, ImageFiles, Known, files_below
from maskwright.annotations.imagesize import image_hw
from maskwright.errors import InputError

# Words are compared in lower case, without blanks, dots, dashes and underscores.
IMAGE_WORDS = ("images", "image", "imgs", "img", "jpegimages", "pictures", "photos", "inputs", "input")
_DEPTH = 3


class Pictures(ImageFiles):
    """Picture files below a folder, without those that are masks."""

    def __init__(self, folder: Path, masks: Collection[Path]) -> None:
        super().__init__(folder)
        self._masks = frozenset(masks)
        self.paths = [path for path in self.paths if path not in self._masks]

    def find(
        self,
        listed: str,
        *,
        near: Path | None = None,  # noqa: ARG002 - see below
        split: str = ALL,
        known: Known = NOTHING_KNOWN,
    ) -> list[Path]:
        """See ImageFiles.find. The annotation file is a mask: lying near it speaks against a picture, so it does not count."""
        return [path for path in super().find(listed, split=split, known=known) if path not in self._masks]


def stated_hw(files: ImageFiles, listed: str, split: str, mask: Path) -> tuple[int, int] | None:
    """The size that a mask states for its image, looked up only where the image is not on disk: else the image itself says it."""
    return None if files.find(listed, split=split) else hw_of_mask(mask)


def hw_of_mask(path: Path) -> tuple[int, int] | None:
    """The size of a mask, for an image that is not on disk; None where the mask cannot be read either."""
    try:
        return image_hw(path)
    except InputError:
        return None


def plain(folder: str) -> str:
    """A folder's name for comparing with the words above."""
    return "".join(c for c in folder.lower() if c not in " ._-")


def place_without(path: Path, root: Path, words: Collection[str]) -> str:
    """Where a file lies below root without its ending and without folders of these names: train/masks/a.png -> train/a."""
    below = path.relative_to(root)
    return "/".join([*(part for part in below.parent.parts if plain(part) not in words), below.stem])


def files_in(root: Path, words: Collection[str], suffixes: Collection[str]) -> list[Path]:
    """Files below root with these endings, of which a folder on the way below root has one of these names."""
    found = files_below(root, tuple(suffixes))
    return [path for path in found if any(plain(part) in words for part in path.relative_to(root).parent.parts)]


def folder_named(root: Path, words: Collection[str], depth: int = _DEPTH) -> Path | None:
    """The first folder of one of these names that is not deep below root; None where there is none. For looks_like."""
    if not root.is_dir() or not depth:
        return None
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"{root}: cannot be listed ({error.strerror}); check its permissions.") from error
    own = next((path for path in folders if plain(path.name) in words), None)
    return own or next((found for path in folders if (found := folder_named(path, words, depth - 1))), None)
