"""The other ships of a drawn sea, and which ships there are: sizes, proportions and who draws them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskwright.demo.tanker_ships import DECKS, HOUSES, HULLS, ORANGE, Drawer, Hull, Ship, Tanker
from maskwright.demo.tanker_view import Canvas, Rgb, View, lighter, pick, varied

BOXES: tuple[Rgb, ...] = (
    (150, 62, 48), (48, 82, 136), (56, 110, 84), (196, 194, 188), (206, 150, 66), (120, 52, 60), (84, 96, 104), (214, 110, 56),
    (86, 140, 160), (168, 164, 156),
)  # fmt: skip
COVERS: tuple[Rgb, ...] = (
    (160, 160, 154),
    (128, 128, 124),
    (96, 124, 104),
    (172, 166, 152),
    (110, 118, 124),
    (88, 96, 112),
    (198, 180, 140),
)
BOATS: tuple[Rgb, ...] = (
    (226, 226, 222),
    (210, 214, 218),
    (52, 80, 124),
    (126, 106, 84),
    (214, 206, 188),
    (70, 110, 112),
    (170, 70, 54),
)


class Container(Drawer):
    """Boxes of all colours in bays from bow to stern, the house between them."""

    def draw(self) -> None:
        rng, long = self.rng, self.long
        deck = pick(rng, ((92, 88, 84), (100, 102, 104), (84, 90, 92)), 8)
        self.lay_deck(deck, pick(rng, HULLS, 8))
        fore = self.foredeck(deck)
        house_long = float(np.clip(0.06 * long, 8, 17))
        back = rng.uniform(0.05, 0.32) * long if long > 150 else rng.uniform(0.04, 0.08) * long
        rear = -long / 2 + back
        self._bays(-long / 2 + 0.03 * long, rear - 3)
        self._bays(rear + house_long + 3, fore - 2)
        width, rise = rng.uniform(0.75, 0.95) * self.wide, float(np.clip(0.11 * long + 6, 12, 36))
        self.house(rear, rear + house_long, width, rise, pick(rng, HOUSES, 6))
        self.funnel(rear - 1.0, 0.0, 0.2 * self.wide, 0.9 * rise)

    def _bays(self, rear: float, front: float) -> None:
        rng, pitch = self.rng, max(14.2, 2.6 / self.px)
        load = rng.uniform(0.45, 1.0)
        row = max(2.55, 1.0 / self.px)
        favourites = rng.integers(len(BOXES), size=4)
        for k in range(max(0, int((front - rear) / pitch))):
            s = rear + k * pitch
            half = min(self.hull.half_at(s), self.hull.half_at(s + pitch)) - 0.06 * self.wide
            rows = max(1, int(2 * half / row))
            step = 2 * half / rows
            tiers = rng.integers(1, 6)
            dark = lighter(pick(rng, ((74, 70, 68), (96, 76, 66)), 5), 1)
            self.brush.box(s, s + pitch - 1.6, -half, half, dark, self.deck + 1)
            for n in np.flatnonzero(rng.random(rows) < load).tolist():
                chosen = favourites[int(rng.integers(4))] if rng.random() < 0.6 else int(rng.integers(len(BOXES)))
                top = self.deck + 2.6 * max(1, int(tiers) - int(rng.random() < 0.3))
                colour = lighter(BOXES[chosen], 0.85 + 0.3 * rng.random())
                t = -half + n * step
                self.brush.box(s, s + pitch - 1.6, t, t + 0.9 * step, colour, top)


class Bulk(Drawer):
    """A row of hatches, with cranes between them or without, the house at the stern."""

    def draw(self) -> None:
        rng, long = self.rng, self.long
        deck = pick(rng, DECKS, 9)
        self.lay_deck(deck, pick(rng, HULLS, 8))
        fore = self.foredeck(deck)
        rear = -long / 2 + rng.uniform(0.03, 0.05) * long
        front = rear + float(np.clip(rng.uniform(0.09, 0.13) * long, 7, 28))
        rise, colour = float(np.clip(0.1 * long + 4, 7, 25)), pick(rng, HOUSES, 6)
        self._hatches(deck, front + 0.02 * long, fore - 0.01 * long)
        width = rng.uniform(0.65, 0.92) * self.wide * min(1.0, self.hull.half_at(rear) * 2 / self.wide + 0.1)
        self.house(rear + 0.25 * (front - rear), front, width, rise, colour)
        self.funnel(rear + 0.1 * (front - rear), 0.0, 0.17 * self.wide, rise)
        self.lifeboats(front - 0.6 * (front - rear), 0.5 * width, 0.5 * rise)

    def _hatches(self, deck: Rgb, rear: float, front: float) -> None:
        rng = self.rng
        most = 9 if self.long > 200 else 7 if self.long > 140 else 5 if self.long > 90 else 2
        count = int(rng.integers(max(1, most - 2), most + 1))
        cover = pick(rng, COVERS, 8)
        if max(abs(a - b) for a, b in zip(cover, deck, strict=True)) < 34:
            cover = lighter(deck, 1.6)
        pitch, half = (front - rear) / count, rng.uniform(0.26, 0.36) * self.wide
        share = rng.uniform(0.68, 0.8)
        geared = self.long < 210 and rng.random() < 0.6
        crane = (228, 226, 218) if rng.random() < 0.5 else (212, 176, 70)
        for k in range(count):
            s, end = rear + (k + 0.5 - share / 2) * pitch, rear + (k + 0.5 + share / 2) * pitch
            if rng.random() < 0.06:  # open: the dark hold
                self.brush.box(s, end, -half, half, (48, 44, 42), self.deck)
            else:
                self.brush.box(s, end, -half, half, lighter(cover, rng.uniform(0.94, 1.06)), self.deck + 2.5)
            if half * self.px > 2:
                self.brush.line((s, 0), (end, 0), max(0.4, 0.2 / self.px), lighter(cover, 0.75))
            if geared and k > 0:
                self._crane(rear + k * pitch, crane, 0.9 * pitch)

    def _crane(self, s: float, colour: Rgb, reach: float) -> None:
        self.dot(s, 0, 3.4, colour, 12)
        side = self.rng.uniform(-0.12, 0.12) * self.wide
        self.brush.line((s, 0), (s + reach, side), max(1.0, 0.35 / self.px), lighter(colour, 0.95), self.deck + 11)


class Ferry(Drawer):
    """White from end to end: ferries, cruise ships."""

    def draw(self) -> None:
        rng, long, wide = self.rng, self.long, self.wide
        colour = pick(rng, HOUSES, 5)
        self.lay_deck(
            pick(rng, ((96, 122, 104), (124, 124, 122), (150, 120, 96), (92, 112, 136)), 8),
            pick(rng, ((220, 220, 216), *HULLS), 6),
        )
        fore = self.foredeck((134, 134, 130))
        rear, rise = -long / 2 + rng.uniform(0.03, 0.12) * long, float(np.clip(0.09 * long + 4, 5, 26))
        self.brush.block(
            rear, fore - 0.02 * long, -0.44 * wide, 0.44 * wide, self.deck, self.deck + 0.6 * rise, lighter(colour, 0.92)
        )
        a, b = rear + rng.uniform(0.05, 0.25) * long, fore - rng.uniform(0.04, 0.2) * long
        roof = colour if rng.random() < 0.6 else pick(rng, ((110, 132, 112), (150, 148, 142), (96, 116, 142)), 6)
        self.brush.block(a, b, -0.34 * wide, 0.34 * wide, self.deck + 0.6 * rise, self.deck + 0.85 * rise, roof)
        bridge = max(0.06 * long, 0.8 / self.px)
        self.brush.box(b - bridge, b, -0.47 * wide, 0.47 * wide, lighter(colour, 1.05), self.deck + rise)
        self.funnel(a + rng.uniform(0.15, 0.4) * (b - a), 0.0, 0.24 * wide, rise + 5)
        if long > 120 and rng.random() < 0.5:
            self.brush.box(
                a + 0.6 * (b - a), a + 0.72 * (b - a), -0.16 * wide, 0.16 * wide, (86, 150, 176), self.deck + 0.85 * rise
            )
        if long > 60:
            for s in np.linspace(a, b, int(long / 28) + 2)[1:-1].tolist():
                self.lifeboats(s, 0.45 * wide, 0.4 * rise)


class Tug(Drawer):
    """Short and broad, fenders all around, the wheelhouse before the middle."""

    def draw(self) -> None:
        rng, long, wide = self.rng, self.long, self.wide
        deck = pick(rng, ((140, 136, 128), (110, 108, 104), (96, 104, 110)), 10)
        self.lay_deck(deck, varied(rng, (36, 36, 38), 6))
        front, colour = rng.uniform(0.18, 0.3) * long, pick(rng, (*HOUSES, (206, 150, 70)), 8)
        rear = front - rng.uniform(0.28, 0.38) * long
        self.brush.block(rear, front, -0.3 * wide, 0.3 * wide, self.deck, self.deck + 3, lighter(colour, 0.9))
        self.brush.block(rear + 0.1 * long, front - 0.05 * long, -0.2 * wide, 0.2 * wide, self.deck + 3, self.deck + 6.5, colour)
        for side in (-1, 1):
            self.dot(rear + 0.03 * long, side * 0.2 * wide, 1.4, pick(rng, ((36, 36, 38), ORANGE), 6), 7)
        self.dot(-0.22 * long, 0, 2.4, lighter(deck, 0.6), 1.5)


class Boat(Drawer):
    """Yachts, launches and fishing boats."""

    def draw(self) -> None:
        rng, long, wide = self.rng, self.long, self.wide
        hull = pick(rng, BOATS, 10)
        deck = lighter(hull, 0.86) if rng.random() < 0.5 else pick(rng, ((196, 184, 160), (150, 130, 104), (120, 128, 130)), 10)
        self.lay_deck(deck, hull)
        fishing = rng.random() < 0.5
        front = rng.uniform(0.12, 0.32) * long
        rear = front - rng.uniform(0.22, 0.42) * long
        cabin = pick(rng, HOUSES, 8)
        self.brush.block(rear, front, -0.3 * wide, 0.3 * wide, self.deck, self.deck + 2.2, cabin)
        self.brush.box(front - 0.1 * long, front - 0.04 * long, -0.24 * wide, 0.24 * wide, (62, 72, 84), self.deck + 2.4)
        if fishing:  # nets and gear aft
            self.brush.box(
                -0.4 * long,
                rear - 0.05 * long,
                -0.3 * wide,
                0.3 * wide,
                pick(rng, ((70, 120, 110), (176, 96, 56), (72, 76, 80)), 10),
            )
            self.dot(rear, 0, 0.6, (200, 200, 196), 3.5)
        else:
            self.brush.box(-0.42 * long, rear - 0.04 * long, -0.28 * wide, 0.28 * wide, lighter(deck, rng.uniform(0.7, 1.1)))


class Barge(Drawer):
    """A floating box with sand, coal or deck cargo."""

    def draw(self) -> None:
        rng, long, wide = self.rng, self.long, self.wide
        deck = pick(rng, ((110, 104, 96), (92, 92, 92), (124, 120, 112)), 10)
        self.lay_deck(deck, lighter(deck, 0.7))
        heap = pick(rng, ((60, 58, 56), (168, 146, 108), (128, 122, 114), (104, 78, 62)), 10)
        self.brush.box(-0.42 * long, 0.4 * long, -0.36 * wide, 0.36 * wide, lighter(heap, 0.8), self.deck)
        for s in np.linspace(-0.34, 0.32, max(3, int(2.2 * long / wide))).tolist():
            self.brush.disc(
                s * long, rng.normal(0, 0.04) * wide, rng.uniform(0.2, 0.3) * wide, varied(rng, heap, 4), self.deck + 1
            )
        if rng.random() < 0.4:
            self.brush.block(-0.49 * long, -0.44 * long, -0.25 * wide, 0.25 * wide, self.deck, self.deck + 4, (214, 212, 206))


@dataclass(frozen=True)
class Kind:
    """A row of KINDS; ranges of what differs from ship to ship. deck is the height of the deck as share of the beam."""

    drawer: type[Drawer]
    metres: tuple[float, float]
    slender: tuple[float, float]  # length over beam
    bow: tuple[float, float]
    blunt: tuple[float, float]
    stern: tuple[float, float]
    deck: tuple[float, float]


KINDS = {
    "tanker": Kind(Tanker, (55, 385), (5.2, 6.4), (0.10, 0.17), (1.9, 2.7), (0.6, 0.9), (0.1, 0.32)),
    "bulk carrier": Kind(Bulk, (75, 330), (5.6, 6.6), (0.10, 0.17), (1.8, 2.6), (0.65, 0.9), (0.1, 0.32)),
    "container ship": Kind(Container, (95, 400), (6.2, 7.6), (0.18, 0.28), (1.4, 1.9), (0.85, 1.0), (0.3, 0.45)),
    "coaster": Kind(Bulk, (40, 100), (5.2, 6.6), (0.12, 0.2), (1.6, 2.3), (0.7, 0.95), (0.15, 0.3)),
    "ferry": Kind(Ferry, (28, 290), (5.0, 7.2), (0.16, 0.28), (1.5, 2.1), (0.85, 1.0), (0.25, 0.4)),
    "tug": Kind(Tug, (16, 42), (2.5, 3.3), (0.26, 0.4), (1.8, 2.6), (0.75, 0.95), (0.15, 0.25)),
    "boat": Kind(Boat, (6, 32), (3.0, 4.2), (0.38, 0.55), (1.5, 2.2), (0.7, 0.95), (0.2, 0.35)),
    "barge": Kind(Barge, (26, 110), (3.2, 5.0), (0.03, 0.06), (2.0, 3.0), (0.92, 1.0), (0.08, 0.2)),
}


def draw_hull(rng: np.random.Generator, kind: str, length: float) -> Hull:
    row = KINDS[kind]
    beam = length / rng.uniform(*row.slender)
    deck = max(1.0, beam * rng.uniform(*row.deck))
    return Hull(length, beam, rng.uniform(*row.bow), rng.uniform(*row.blunt), rng.uniform(*row.stern), deck)


def draw_kind(rng: np.random.Generator, length: float, tanker_share: float) -> str:
    """What a ship of this length is."""
    if "tanker" in fitting(length) and rng.random() < tanker_share:
        return "tanker"
    others = [name for name in fitting(length) if name != "tanker"]
    return others[int(rng.integers(len(others)))] if others else "tanker"


def fitting(length: float) -> list[str]:
    return [name for name, row in KINDS.items() if row.metres[0] <= length <= row.metres[1]]


def draw_ship(rng: np.random.Generator, canvas: Canvas, view: View, ship: Ship) -> None:
    KINDS[ship.kind].drawer(rng, canvas, view, ship).draw()
