"""Ships of a drawn sea: hulls with their outlines, and what stands on a tanker's deck.

All sizes follow the length as they do at sea: a 60 m bunker barge has one crane and a small house, a 330 m carrier of crude oil
has a manifold, two cranes, a helicopter deck and a house as high as a block of flats.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskwright.demo.tanker_view import SHIP, Brush, Canvas, Frame, Point, Rgb, View, lighter, pick, varied

# Most tankers have a deck of rust-red or brown paint, some a green one; other ships are mostly grey under what they carry.
TANKER_DECKS: tuple[Rgb, ...] = (
    (124, 66, 54), (142, 76, 60), (98, 60, 52), (150, 84, 62), (112, 62, 50), (132, 80, 66), (72, 104, 80), (62, 98, 84),
)  # fmt: skip
DECKS: tuple[Rgb, ...] = (
    (120, 122, 120), (92, 96, 98), (62, 62, 64), (74, 88, 106), (134, 134, 128), (152, 150, 142), (104, 112, 120),
)  # fmt: skip
HULLS: tuple[Rgb, ...] = (
    (34, 34, 36), (36, 46, 74), (118, 46, 40), (96, 100, 104), (38, 68, 56), (206, 206, 202), (168, 84, 44), (52, 52, 56),
)  # fmt: skip
HOUSES: tuple[Rgb, ...] = ((232, 230, 224), (224, 218, 204), (238, 238, 238), (206, 204, 198))
FUNNELS: tuple[Rgb, ...] = ((190, 92, 36), (44, 66, 128), (36, 36, 38), (164, 48, 42), (214, 186, 70), (48, 104, 76))
PIPES: tuple[Rgb, ...] = ((176, 172, 160), (150, 148, 142), (198, 192, 168), (132, 108, 90), (204, 204, 200))
ORANGE: Rgb = (216, 96, 36)


@dataclass(frozen=True)
class Hull:
    """The outline of a deck.

    Attributes:
        bow: share of the length that tapers; blunt: how full it stays (1 a wedge, 3 nearly round)
        stern: breadth of the transom as share of the beam
        deck_m: height of the deck above the water
    """

    length: float
    beam: float
    bow: float
    blunt: float
    stern: float
    deck_m: float

    def outline(self, inset: float = 0.0) -> NDArray[np.float64]:
        """Closed outline (n, 2) of s and t in metres, bow at +s."""
        half, long = self.beam / 2 - inset, self.length / 2 - inset
        x = np.linspace(0, 1, 10) ** 0.7
        taper = (1 - x**self.blunt) ** (0.55 + 0.35 / self.blunt)
        run = np.linspace(0, 1, 4)
        quarter = self.stern + (1 - self.stern) * np.sin(run * math.pi / 2)
        s = np.concatenate((-long + run * 0.11 * self.length, long - self.bow * self.length * (1 - x)))
        t = np.concatenate((quarter, taper)) * half
        return np.concatenate((np.stack((s, t), 1), np.stack((s, -t), 1)[-2::-1]))

    def half_at(self, s: float) -> float:
        """Half the breadth of the deck at s."""
        along, half = self._side
        return float(np.interp(s, along, half))

    @functools.cached_property
    def _side(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The starboard half of the outline: s, ascending, and t."""
        outline = self.outline()
        along, half = outline[: len(outline) // 2 + 1].T
        return along, half


@dataclass(frozen=True)
class Ship:
    """A ship where it lies."""

    kind: str
    hull: Hull
    frame: Frame
    knots: float = 0.0

    def outline_px(self, around_m: float = 0.0) -> NDArray[np.float64]:
        return self.frame.to_px(self.hull.outline(-around_m))


class Drawer(ABC):
    """Draws one ship; each kind puts these parts together in `draw`."""

    def __init__(self, rng: np.random.Generator, canvas: Canvas, view: View, ship: Ship) -> None:
        self.rng, self.hull, self.view = rng, ship.hull, view
        self.long, self.wide, self.deck = ship.hull.length, ship.hull.beam, ship.hull.deck_m
        self.brush = Brush(canvas, view, ship.frame, ship.hull.deck_m)
        self.px = self.brush.px_a_m

    @abstractmethod
    def draw(self) -> None:
        """The whole ship."""

    def lay_deck(self, deck: Rgb, hull: Rgb) -> None:
        """The hull's edge and the deck within."""
        edge = min(max(0.6, 0.3 / self.px), 0.16 * self.wide)
        self.brush.shape(as_points(self.hull.outline()), hull, self.deck, SHIP)
        self.brush.shape(as_points(self.hull.outline(edge)), deck)

    def foredeck(self, deck: Rgb) -> float:
        """A raised forecastle with anchor gear and the foremast; gives where it ends."""
        rng, front = self.rng, self.long / 2
        start = front - max(self.hull.bow * 0.75, 0.07) * self.long
        points = [(s, t) for s, t in as_points(self.hull.outline(0.06 * self.wide)) if s >= start]
        half = self.hull.half_at(start) - 0.06 * self.wide
        colour = varied(rng, lighter(deck, rng.uniform(0.85, 1.15)), 5)
        self.brush.shape([(start, half), *points, (start, -half)], colour, self.deck + 2.5)
        self.brush.line((start, -half), (start, half), max(0.5, 0.3 / self.px), lighter(colour, 1.45))
        if self.px * self.wide > 5:
            for side in (-1, 1):
                self.dot(start + 0.25 * (front - start), side * half * 0.4, 1.4, lighter(colour, 0.55), 1)
        self.dot(start + 0.45 * (front - start), 0.0, 0.8, (220, 218, 210), 5)
        return start

    def dot(self, s: float, t: float, size: float, colour: Rgb, rise: float) -> None:
        """Something small and square, never thinner than can be seen."""
        half = max(size / 2, 0.22 / self.px)
        self.brush.box(s - half, s + half, t - half, t + half, colour, self.deck + rise)

    def house(self, rear: float, front: float, width: float, rise: float, colour: Rgb) -> None:
        """A superstructure in tiers with the bridge and its wings at the front, seen from above."""
        rng, brush, deck, half = self.rng, self.brush, self.deck, width / 2
        long = front - rear
        brush.block(rear, front, -half, half, deck, deck + 0.5 * rise, lighter(colour, rng.uniform(0.82, 0.95)))
        inner = half * rng.uniform(0.7, 0.95)
        brush.block(rear + 0.12 * long, front - 0.03 * long, -inner, inner, deck + 0.5 * rise, deck + 0.85 * rise, colour)
        wing = max(0.9 * half, rng.uniform(0.8, 0.99) * self.wide / 2 * min(1.0, self.hull.half_at(front) * 2 / self.wide))
        deep = max(0.28 * long, 0.5 / self.px)
        brush.box(front - deep, front, -wing, wing, lighter(colour, 1.05), deck + 0.8 * rise)
        top = (front - 1.25 * deep, front - 0.1 * deep, -0.6 * half, 0.6 * half)
        brush.block(*top, deck + 0.8 * rise, deck + rise, lighter(colour, 1.1))
        self.dot(front - 0.8 * deep, 0, 0.9, (180, 182, 184), rise + 3)
        if long * self.px > 5:  # what stands on its roof
            for _ in range(int(rng.integers(2, 6))):
                s, t = rng.uniform(rear + 0.2 * long, front - deep), rng.uniform(-0.7, 0.7) * inner
                self.dot(s, t, rng.uniform(1, 2.5), lighter(colour, rng.uniform(0.5, 0.8)), 0.9 * rise)

    def funnel(self, s: float, t: float, size: float, rise: float) -> None:
        rng, brush = self.rng, self.brush
        colour, half = pick(rng, FUNNELS, 10), max(size / 2, 0.45 / self.px)
        brush.block(s - 1.2 * half, s + 1.2 * half, t - half, t + half, self.deck, self.deck + rise, colour)
        self.dot(s - 0.3 * half, t, size * 0.55, (28, 28, 30), rise + 1)

    def lifeboats(self, s: float, half: float, rise: float) -> None:
        if self.px * 7 < 2.0:
            return
        for side in (-1, 1):
            self.brush.box(s - 3.5, s + 3.5, side * half - 1.3, side * half + 1.3, varied(self.rng, ORANGE, 10), self.deck + rise)


def as_points(outline: NDArray[np.float64]) -> list[Point]:
    return [(s, t) for s, t in outline.tolist()]


class Tanker(Drawer):
    """A tanker for oil or chemicals: pipes along a clean deck, the manifold amidships, everything high at the stern."""

    def draw(self) -> None:
        rng, long = self.rng, self.long
        deck = pick(rng, TANKER_DECKS, 9)
        self.lay_deck(deck, varied(rng, deck, 6) if rng.random() < 0.3 else pick(rng, HULLS, 8))
        fore = self.foredeck(deck)
        rear = -long / 2 + rng.uniform(0.035, 0.075) * long
        front = rear + float(np.clip(rng.uniform(0.085, 0.13) * long, 6, 34))
        rise = float(np.clip(0.1 * long + 4, 7, 26)) * rng.uniform(0.85, 1.15)
        pipes = pick(rng, PIPES, 10)
        if rng.random() < 0.25:  # the deck around the house has a colour of its own
            self.brush.box(-long / 2 + 0.1 * self.wide, front + 2, -0.4 * self.wide, 0.4 * self.wide, pick(rng, TANKER_DECKS, 8))
        self._tanks(deck, front + 0.02 * long, fore - 0.02 * long)
        middle = rng.uniform(-0.06, 0.05) * long
        self._pipes(pipes, front, fore, middle)
        self._manifold(pipes, deck, middle)
        if long > 180 and rng.random() < 0.3:
            self._helideck(rng.uniform(0.1, 0.3) * long)
        self._stern(rear, front, rise)

    def _tanks(self, deck: Rgb, rear: float, front: float) -> None:
        """Seams between the tanks, hatches and vents beside the pipes."""
        rng, count = self.rng, int(self.rng.integers(4, 9))
        step, half = (front - rear) / count, 0.43 * self.wide
        if step * self.px < 2.5:
            return
        seam = lighter(deck, rng.uniform(0.72, 0.9) if rng.random() < 0.6 else rng.uniform(1.15, 1.3))
        raised = rng.random() < 0.5  # small tankers have a trunk deck in the middle
        if raised and self.long < 150:
            self.brush.box(rear, front, -0.3 * self.wide, 0.3 * self.wide, lighter(deck, 1.12), self.deck + 1.5)
        for k in range(count + 1):
            s = rear + k * step
            self.brush.line((s, -half), (s, half), max(0.35, 0.2 / self.px), seam)
        if self.wide * self.px < 6:
            return
        hatch = lighter(deck, rng.choice([0.6, 1.5])) if rng.random() < 0.6 else (205, 203, 196)
        for k in range(count):
            for side in (-1, 1):
                self.dot(rear + (k + 0.5) * step, side * 0.27 * self.wide, 1.8, hatch, 1.5)
                self.dot(rear + (k + 0.2) * step, side * 0.14 * self.wide, 1.0, (196, 194, 186), 3)

    def _pipes(self, pipes: Rgb, rear: float, front: float, middle: float) -> None:
        """The rack along the centre line, with a catwalk; the main pipes end short of the bow."""
        rng = self.rng
        count = int(np.clip(0.2 * self.wide * self.px / 0.9, 1, 6))
        spread = rng.uniform(0.05, 0.09) * self.wide
        if rng.random() < 0.8:
            self.brush.box(rear, front, -1.5 * spread, 1.5 * spread, lighter(pipes, rng.uniform(0.5, 0.75)), self.deck + 1)
        for k in range(count):
            t = 0.0 if count == 1 else spread * (2 * k / (count - 1) - 1)
            end = front if k % 2 else middle + rng.uniform(0.3, 0.95) * (front - middle)
            self.brush.line((rear, t), (end, t), max(0.6, 0.28 / self.px), lighter(pipes, rng.uniform(0.85, 1.2)), self.deck + 2)

    def _manifold(self, pipes: Rgb, deck: Rgb, middle: float) -> None:
        """Pipes from side to side amidships, drip trays at their ends, and the cranes that lift hoses."""
        rng, half = self.rng, self.rng.uniform(0.40, 0.46) * self.wide
        count = int(np.clip(0.05 * self.long * self.px, 1, 6))
        pitch = max(2.2, 0.9 / self.px)
        first = middle - pitch * (count - 1) / 2
        for side in (-1, 1):
            tray = (first - pitch, first + count * pitch, side * half * 0.78, side * half)
            self.brush.box(*tray, lighter(deck, 0.55) if rng.random() < 0.7 else lighter(pipes, 0.8))
        for k in range(count):
            s = first + k * pitch
            thick, colour = max(0.8, 0.32 / self.px), lighter(pipes, rng.uniform(0.95, 1.25))
            self.brush.line((s, -half), (s, half), thick, colour, self.deck + 2)
        crane = (224, 222, 214) if rng.random() < 0.65 else (206, 170, 62)
        for side in (-1, 1) if self.long > 110 else (int(rng.choice([-1, 1])),):
            s, t = first + (count + 1) * pitch, side * 0.22 * self.wide
            reach = float(np.clip(0.09 * self.long, 6, 20))
            self.dot(s, t, 2.2, crane, min(9, 3 + 0.04 * self.long))
            aft = (s - reach, t * rng.uniform(0.7, 1.1))
            self.brush.line((s, t), aft, max(0.7, 0.28 / self.px), crane, self.deck + 6)

    def _helideck(self, s: float) -> None:
        t, r = float(self.rng.choice([-1, 1])) * 0.28 * self.wide, 0.17 * self.wide
        self.brush.disc(s, t, r, pick(self.rng, ((84, 112, 90), (110, 112, 114), (150, 70, 58)), 6))
        self.brush.disc(s, t, 0.7 * r, (222, 206, 96) if self.rng.random() < 0.5 else (226, 226, 222))
        self.brush.disc(s, t, 0.55 * r, (96, 118, 100))
        self.brush.box(s - 0.25 * r, s + 0.25 * r, t - 0.06 * r, t + 0.06 * r, (230, 230, 226))

    def _stern(self, rear: float, front: float, rise: float) -> None:
        rng, colour = self.rng, pick(self.rng, HOUSES, 6)
        width = rng.uniform(0.62, 0.88) * self.wide * min(1.0, self.hull.half_at(rear) * 2 / self.wide + 0.1)
        self.house(rear + 0.3 * (front - rear), front, width, rise, colour)
        casing = (rear, rear + 0.4 * (front - rear), -0.3 * width, 0.3 * width)
        self.brush.block(*casing, self.deck, self.deck + 0.6 * rise, lighter(colour, 0.9))
        self.funnel(rear + 0.12 * (front - rear), rng.choice([0.0, 0.0, 0.18, -0.18]) * self.wide, 0.16 * self.wide, 1.0 * rise)
        if self.long > 70:
            self.lifeboats(front - 0.6 * (front - rear), 0.5 * width, 0.5 * rise)
        if self.long > 90 and rng.random() < 0.6:  # the boat that falls from the stern
            s = -self.long / 2 + 0.012 * self.long
            self.brush.box(s, s + 8, -1.5, 1.5, varied(rng, ORANGE, 8), self.deck + 5)
