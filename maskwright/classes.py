"""ClassMap: the only place where the meaning of a label lives.

Label arrays and written masks hold class *ids*; a model's channel k is the class at position k. Mask files that people
bring may store other values for the same class (255 for lung, a colour for roads): those are the class's `values`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from maskwright.errors import InputError

Colour = tuple[int, int, int]
StoredValue = int | Colour

IGNORE_ID = 255
MAX_ID = 65534
BRIGHT_COLOURS: tuple[Colour, ...] = (
    (0, 158, 224), (255, 128, 14), (38, 180, 90), (232, 46, 92), (146, 84, 222), (255, 212, 40), (0, 196, 180), (255, 118, 190),
    (160, 98, 50), (164, 218, 48), (58, 86, 214), (255, 168, 138), (12, 112, 84), (196, 164, 255), (150, 22, 62), (128, 142, 158),
)  # fmt: skip

# Label sets by name: ids in order, as the usual masks of each set store them; `void` is what these hold where nothing counts.
# fmt: off
LABEL_SETS: dict[str, dict[str, Any]] = {
    "coco": {  # COCO's 80 classes of objects under their category ids; ten ids of the 90 were never given out
        "names": "background, person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire "
                 "hydrant, unused-12, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, "
                 "bear, zebra, giraffe, unused-26, backpack, umbrella, unused-29, unused-30, handbag, tie, suitcase, "
                 "frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, "
                 "tennis racket, bottle, unused-45, wine glass, cup, fork, knife, spoon, bowl, banana, apple, "
                 "sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, "
                 "unused-66, dining table, unused-68, unused-69, toilet, unused-71, tv, laptop, mouse, remote, "
                 "keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, unused-83, book, clock, vase, "
                 "scissors, teddy bear, hair drier, toothbrush",
        "void": 255,
    },
    "camvid": {  # Brostow et al. 2009 in the 11 classes of SegNet, arXiv:1511.00561; colours of the CamVid database
        "names": "Sky Building Pole Road Pavement Tree SignSymbol Fence Car Pedestrian Bicyclist",
        "colours": ((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (0, 0, 192), (128, 128, 0), (192, 128, 128),
                    (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
        "void": 11,
    },
    "voc": {  # PASCAL VOC 2012; its colours are the bits of the id, see spread()
        "names": "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
                 "pottedplant sheep sofa train tvmonitor",
        "void": 255,
    },
    "cityscapes": {  # Cordts et al. 2016, arXiv:1604.01685, as *_labelTrainIds.png
        "names": "road sidewalk building wall fence pole traffic-light traffic-sign vegetation terrain sky person rider car "
                 "truck bus train motorcycle bicycle",
        "colours": ((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
                    (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
                    (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)),
        "void": 255,
    },
}
# fmt: on


@dataclass(frozen=True)
class ClassMap:
    """Which classes exist: ids, names, colours, what mask files store for them, and which pixels count nowhere.

    Attributes:
        ids: unique, in channel order, each in [0, 65534], never ignore_id
        names: one a class, unique
        colours: one a class, RGB in 0..255, for overlays, palettes and legends
        values: what mask files store for each class: integers, or RGB triples for colour-coded masks; default: the id
        ignore_id: the label of pixels that count nowhere (neither loss nor score)
        ignore_values: what mask files store for ignored pixels
        background: id of the class that means "none of the others", or None; scores are printed with and without it

    Raises:
        InputError: lengths differ, an id, a name or a stored value stands twice, or a value is out of range.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    colours: tuple[Colour, ...] = ()
    values: tuple[tuple[StoredValue, ...], ...] = ()
    ignore_id: int = IGNORE_ID
    ignore_values: tuple[StoredValue, ...] = (IGNORE_ID,)
    background: int | None = 0
    source: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.colours:
            object.__setattr__(self, "colours", default_colours(len(self.ids), self.background in self.ids))
        if not self.values:
            object.__setattr__(self, "values", tuple((i,) for i in self.ids))
        where = f"{self.source}: " if self.source else ""
        if not self.ids:
            raise InputError(f"{where}a class map needs at least one class.")
        for what, given in (("names", self.names), ("colours", self.colours), ("values", self.values)):
            if len(given) != len(self.ids):
                raise InputError(f"{where}{len(self.ids)} class ids but {len(given)} {what}; give one a class.")
        if len(self.ids) > IGNORE_ID:
            raise InputError(f"{where}{len(self.ids)} classes; at most {IGNORE_ID} can be told from ignored pixels. Merge some.")
        if not 0 <= self.ignore_id <= 65535:
            raise InputError(f"{where}ignore_id {self.ignore_id} is out of range; expected 0..65535 (usually {IGNORE_ID}).")
        _no_doubles(where, "class id", self.ids)
        _no_doubles(where, "class name", self.names)
        stored = [v for values in self.values for v in values]
        _no_doubles(where, "stored value", stored)
        # A stored 255 may be a class (0/255 masks): then it is not ignored in files, though label 255 still is.
        object.__setattr__(self, "ignore_values", tuple(v for v in self.ignore_values if v not in stored))
        bad = [i for i in self.ids if not 0 <= i <= MAX_ID or i == self.ignore_id]
        if bad:
            raise InputError(
                f"{where}class ids {bad} cannot be used (allowed: 0..{MAX_ID} except {self.ignore_id}, which marks ignored "
                f"pixels). Give the class another id and list what the files store under `values`."
            )
        if self.background is not None and self.background not in self.ids:
            object.__setattr__(self, "background", None)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned type that holds every id and ignore_id."""
        return np.dtype(np.uint8 if max(*self.ids, self.ignore_id) < 256 else np.uint16)

    def name_of(self, class_id: int) -> str:
        return "ignored" if class_id == self.ignore_id else self.names[self.ids.index(class_id)]

    def to_indices(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        """Channel number of each pixel's class; IGNORE_ID (255) where the label is ignored or unknown.

        Shapes:
            labels: any shape, integer ids
            returns: same shape, int64 in [0, K) or 255
        """
        table = np.full(65536, IGNORE_ID, np.int64)
        table[list(self.ids)] = np.arange(len(self.ids))
        if labels.dtype not in (np.uint8, np.uint16):
            # Negative labels are unknown; clipped to 0 they would become the first class.
            wide = labels.astype(np.int64)
            labels = np.where((wide < 0) | (wide > 65535), 65535, wide)
        return table.take(labels)

    def to_ids(self, indices: NDArray[Any]) -> NDArray[Any]:
        """Ids of channel numbers, in the smallest type that holds them: the inverse of to_indices for known classes."""
        return np.asarray(self.ids, self.dtype).take(indices)

    def to_dict(self) -> dict[str, Any]:
        """What classes.yaml and the manifest hold; from_dict gives an equal map back."""
        classes = []
        for i, name, colour, values in zip(self.ids, self.names, self.colours, self.values, strict=True):
            row: dict[str, Any] = {"id": i, "name": name, "colour": list(colour)}
            if values != (i,):
                row["values"] = [list(v) if isinstance(v, tuple) else v for v in values]
            classes.append(row)
        return {
            "classes": classes,
            "background": self.background,
            "ignore_id": self.ignore_id,
            "ignore_values": [list(v) if isinstance(v, tuple) else v for v in self.ignore_values],
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], source: str = "class map") -> ClassMap:
        """Build from the form of classes.yaml; a plain `classes: [road, car]` numbers them 0, 1, ...

        Raises:
            InputError: a key is unknown or missing, or a value has the wrong type; the message names it.
        """
        known = {"classes", "background", "ignore_id", "ignore_values"}
        if not isinstance(given, Mapping) or "classes" not in given:
            raise InputError(f"{source}: expected a key `classes` with a list of names or of {{id, name, colour, values}}.")
        unknown = sorted(set(map(str, given)) - known)
        if unknown:
            raise InputError(f"{source}: unknown keys {unknown}; known: {sorted(known)}.")
        rows = given["classes"]
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise InputError(f"{source}: `classes` is {rows!r}; expected a list of names or of {{id, name, colour, values}}.")
        rows = [{"name": r} if isinstance(r, str) else r for r in rows]
        _no_unknown_row_keys(source, rows)
        try:
            ids = tuple(int(r.get("id", k)) for k, r in enumerate(rows))
            names = tuple(str(r["name"]) for r in rows)
            background = given.get("background", ids[0] if names and names[0].lower() == "background" else None)
            fallback = default_colours(len(rows), background is not None)
            colours = tuple(_colour(r["colour"]) if "colour" in r else c for r, c in zip(rows, fallback, strict=True))
            values = tuple(tuple(map(_stored, r.get("values", [i]))) for r, i in zip(rows, ids, strict=True))
            ignore_id = int(given.get("ignore_id", IGNORE_ID))
            ignore_values = tuple(map(_stored, given.get("ignore_values", [ignore_id])))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{source}: a class could not be read ({error!r}); "
                f"expected {{id: 1, name: lung, colour: [r, g, b], values: [255]}}."
            ) from error
        if background is not None and background not in ids:
            raise InputError(f"{source}: background {background!r} is no class id; expected one of {list(ids)}, or null.")
        return cls(ids, names, colours, values, ignore_id, ignore_values, background, source)

    @classmethod
    def known(cls, name: str) -> ClassMap:
        """A label set that many data sets share, see LABEL_SETS.

        Raises:
            InputError: there is none of that name; the message shows near ones.
        """
        if name not in LABEL_SETS:
            near = get_close_matches(name, LABEL_SETS) or list(LABEL_SETS)
            raise InputError(f"no label set named {name!r}; did you mean {', '.join(near)}, or the path of a classes.yaml?")
        given = LABEL_SETS[name]
        names = tuple(given["names"].split(", " if ", " in given["names"] else None))
        colours = given.get("colours") or tuple(spread(k) for k in range(len(names)))
        background = 0 if names[0] == "background" else None
        return cls(
            tuple(range(len(names))), names, colours,
            ignore_id=given["void"], ignore_values=(given["void"],), background=background, source=name,
        )  # fmt: skip

    @classmethod
    def load(cls, path: str | Path) -> ClassMap:
        """Read a classes.yaml."""
        try:
            given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path}: no such class map; leave the option out to have classes found in the masks.") from None
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise InputError(f"{path}: not a readable YAML class map ({error}).") from error
        return cls.from_dict(given, str(path))

    def to_yaml(self) -> str:
        """The text of a classes.yaml, one class a line, for the user to edit."""
        given = self.to_dict()
        flow = [yaml.safe_dump(r, default_flow_style=True, sort_keys=False, width=200).strip() for r in given.pop("classes")]
        rows = "".join(f"  - {row}\n" for row in flow)
        rest = yaml.safe_dump(given, sort_keys=False, default_flow_style=None)
        header = "# id: what label arrays and written masks hold; values: what your mask files store for it"
        return f"{header}\nclasses:\n{rows}{rest}"


def default_colours(count: int, background: bool = True) -> tuple[Colour, ...]:
    """Colours that stay apart for any number of classes; the first is black when there is a background.

    The first sixteen are chosen by hand to be told apart and to show on grey and on colour pictures; beyond, the bits of a
    counter are spread over the top bits of red, green and blue, leaving out used ones.
    """
    colours = [(0, 0, 0), *BRIGHT_COLOURS] if background else list(BRIGHT_COLOURS)
    for n in range(1, count):
        if len(colours) >= count:
            break
        colours += [spread(n)] if spread(n) not in colours else []
    return tuple(colours[:count])


def spread(n: int) -> Colour:
    """The n-th colour of the PASCAL VOC colour map: the bits of n, three at a time, from the top bits down."""
    rgb = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            rgb[channel] |= ((n >> (3 * bit + channel)) & 1) << (7 - bit)
    return rgb[0], rgb[1], rgb[2]


def _no_doubles(where: str, what: str, given: Sequence[Any]) -> None:
    doubles = sorted({v for v in given if list(given).count(v) > 1}, key=str)
    if doubles:
        raise InputError(f"{where}{what} {doubles[0]!r} stands twice; each may stand once.")


def _no_unknown_row_keys(source: str, rows: Sequence[Any]) -> None:
    known = {"id", "name", "colour", "values"}
    unknown = sorted({str(key) for row in rows if isinstance(row, Mapping) for key in row} - known)
    if unknown:
        raise InputError(f"{source}: unknown keys {unknown} in a class; known: {sorted(known)}.")


def _colour(given: Any) -> Colour:
    r, g, b = (int(v) for v in given)
    if not all(0 <= v <= 255 for v in (r, g, b)):
        raise ValueError(f"colour {given} is not three numbers in 0..255")
    return r, g, b


def _stored(given: Any) -> StoredValue:
    return _colour(given) if isinstance(given, (list, tuple)) else int(given)
