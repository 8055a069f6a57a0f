"""The doctor's look at one image whose truth tells objects apart: what the file says of each object, and does it hold?"""

from __future__ import annotations

from collections import Counter

import numpy as np

from maskwright.annotations.drawn import Annotations, Remark
from maskwright.annotations.examine import examine
from maskwright.data.dataset import Pair
from maskwright.data.findings import Finding, finding
from maskwright.errors import InputError
from maskwright.instances import Instances
from maskwright.io.image import Image


def of_objects(annotations: Annotations, pair: Pair, image: Image | None) -> tuple[list[Finding], dict[int, int], dict[int, int]]:
    """Findings, pixels of each class id (and of ignore_id), and objects of each class id; empty where nothing can be counted."""
    if image is None or pair.objects is None:
        return [], {}, {}
    file = annotations.images[pair.objects].file
    try:
        found, remarks = examine(annotations, pair.objects, image.hw)
    except InputError as error:
        return [finding("unreadable", file, "", str(error), pair.name)], {}, {}
    said = [found_by_reader(remark, pair.name) for remark in remarks]
    if not len(found):
        text = f"{pair.name}: has no object. Fine if nothing is there to be found; else the annotations are missing."
        said.append(finding("no-objects", file, "", text, pair.name))
    return said, _pixels(found), dict(Counter(found.class_ids[~found.crowds].tolist()))


def found_by_reader(remark: Remark, name: str = "") -> Finding:
    """A remark of a reader as a finding."""
    return finding(remark.code, remark.path, "", remark.text, name or remark.image)


def _pixels(found: Instances) -> dict[int, int]:
    table = np.bincount(found.to_labels().ravel())
    return {int(i): int(table[i]) for i in np.flatnonzero(table)}
