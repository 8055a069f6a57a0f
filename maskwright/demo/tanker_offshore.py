"""What stands in a drawn sea and is no ship: platforms, turbines, fish farms, buoys, rocks, breakwaters."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from maskwright.demo.tanker_view import PAVED, SOIL, TURN, Brush, Canvas, Frame, Point, Rgb, View, lighter, pick

STEEL: tuple[Rgb, ...] = ((196, 150, 60), (150, 150, 146), (124, 84, 66), (190, 186, 174), (104, 112, 116))
STONE: tuple[Rgb, ...] = ((104, 100, 92), (128, 120, 108), (84, 80, 74), (96, 100, 84))


class Offshore:
    """Draws one thing at a frame."""

    def __init__(self, rng: np.random.Generator, canvas: Canvas, view: View, frame: Frame) -> None:
        self.rng, self.canvas, self.view, self.frame = rng, canvas, view, frame
        self.brush = Brush(canvas, view, frame)

    def platform(self) -> None:
        """A deck on legs with modules, a crane, a helicopter deck and the boom of a flare."""
        rng, brush, half = self.rng, self.brush, min(self.rng.uniform(11, 32), 0.06 * self.view.reach_m + 9)
        deck, foot, low = pick(rng, STEEL, 10), rng.uniform(0.6, 1.0), 18.0
        sides = (-half, half, -half * foot, half * foot)
        for s in sides[:2]:
            for t in sides[2:]:
                brush.block(s * 0.85 - 1.5, s * 0.85 + 1.5, t * 0.85 - 1.5, t * 0.85 + 1.5, 0, low, (120, 112, 96))
        if rng.random() < 0.5:
            end = (half * rng.uniform(2.2, 3.2), half * rng.uniform(-0.8, 0.8))
            brush.line((half * 0.9, 0), end, max(2.0, 0.5 / brush.px_a_m), lighter(deck, 0.85), low + 8, PAVED)
        brush.block(*sides, low - 6, low, deck)
        for t in np.linspace(-0.9, 0.9, 7).tolist():  # gratings
            brush.line((-0.95 * half, t * half * foot), (0.95 * half, t * half * foot), 0.5, lighter(deck, 0.8))
        for _ in range(int(rng.integers(8, 20))):
            s, t = rng.uniform(-0.92, 0.6) * half, rng.uniform(-0.92, 0.6) * half * foot
            a, b = rng.uniform(0.08, 0.4, 2) * half
            brush.block(s, s + a, t, t + b, low, low + rng.uniform(2, 12), pick(rng, (*STEEL, (222, 222, 216)), 14))
        if rng.random() < 0.75:
            pad = brush.at(half * 0.75, half * foot * 0.75, low + 16)
            top = Brush(self.canvas, self.view, Frame(pad, self.frame.heading, self.frame.metres_per_px))
            top.disc(0, 0, max(10.0, 0.35 * half), pick(rng, ((86, 110, 92), (110, 114, 116)), 8), low + 16, PAVED)
            top.disc(0, 0, max(6.0, 0.22 * half), (206, 196, 120))
            top.disc(0, 0, max(5.0, 0.18 * half), (96, 116, 102))

    def turbine(self) -> None:
        """A wind turbine: its shadow is seen better than itself."""
        brush, white = self.brush, (228, 230, 230)
        brush.disc(0, 0, max(4.0, 0.7 / brush.px_a_m), (206, 176, 64), 10, PAVED)
        brush.prism([(1.8 * math.cos(a), 1.8 * math.sin(a)) for a in TURN[::3].tolist()], 2, 85, white)
        first = self.rng.uniform(0, 2)
        hub = brush.at(0, 0, 85)
        rotor = Brush(self.canvas, self.view, Frame(hub, self.rng.uniform(0, 6.28), self.frame.metres_per_px))
        for k in range(3):
            angle = first + k * 2 * math.pi / 3
            end = (6 * math.cos(angle), 48 * math.sin(angle))  # seen from above, nearly edge on
            rotor.line((0, 0), end, max(1.6, 0.45 / rotor.px_a_m), white, None, PAVED)  # heights know no gap below it

    def farm(self) -> None:
        """Cages of a fish farm: rings in two rows."""
        rng, radius = self.rng, self.rng.uniform(7, 14)
        ring, inside = pick(rng, ((62, 66, 68), (150, 150, 148)), 8), lighter(self.canvas.water, rng.uniform(0.65, 0.9))
        for k in range(int(rng.integers(2, 6))):
            for t in (-1.3, 1.3):
                self.brush.disc(2.7 * radius * (k - 2), t * radius, radius, ring, 1, PAVED)
                self.brush.disc(2.7 * radius * (k - 2), t * radius, radius - max(1.2, 0.5 / self.brush.px_a_m), inside)

    def buoy(self) -> None:
        radius = max(3.0, 1.0 / self.brush.px_a_m)
        self.brush.disc(0, 0, radius, pick(self.rng, ((206, 120, 48), (196, 60, 48), (214, 196, 80)), 8), 5, PAVED)
        self.brush.disc(0, 0, 0.5 * radius, (220, 218, 210), 7)

    def rock(self) -> None:
        """A bare rock or an island with some green; some are as long as ships."""
        rng, radius = self.rng, self.rng.uniform(3, 17) / self.brush.px_a_m
        slim = rng.uniform(0.25, 0.9)
        stone = pick(rng, STONE, 10)
        ragged = 1 + 0.5 * np.sin(3 * TURN + rng.uniform(0, 6)) * rng.uniform(0, 0.5) + rng.normal(0, 0.14, TURN.size)
        for size, colour in ((1.12, lighter(stone, 1.5)), (1.0, stone), (0.7, lighter(stone, 1.15))):
            self.brush.shape(_blob(size * radius * ragged, slim), colour, 3 if size == 1.0 else 1, SOIL)
        if rng.random() < 0.5:
            self.brush.shape(_blob(0.62 * radius * ragged, slim), pick(rng, ((82, 98, 62), (66, 84, 54)), 8), 6, SOIL)

    def breakwater(self) -> None:
        """A long dam of stones, straight or with a knee."""
        rng, long = self.rng, self.rng.uniform(25, 110) / self.brush.px_a_m
        wide = max(rng.uniform(5, 14), 2.2 / self.brush.px_a_m)
        stone, knee = pick(rng, STONE, 10), rng.normal(0, 0.25) * long
        for width, shade, high in ((wide, 0.85, 2), (0.6 * wide, 1.15, 4)):
            self.brush.line((-long / 2, 0), (0, 0), width, lighter(stone, shade), high, SOIL)
            self.brush.line((0, 0), (long / 2, knee), width, lighter(stone, shade), high, SOIL)
        for s in np.arange(-long / 2, 0, max(4.0, 1.2 / self.brush.px_a_m)).tolist():
            self.brush.disc(s, rng.uniform(-0.5, 0.5) * wide, 0.22 * wide, lighter(stone, rng.uniform(0.6, 1.4)), None, SOIL)


THINGS: dict[str, tuple[float, Callable[[Offshore], None]]] = {  # how often, and what draws it
    "platform": (0.3, Offshore.platform),
    "turbine": (0.12, Offshore.turbine),
    "farm": (0.12, Offshore.farm),
    "buoy": (0.16, Offshore.buoy),
    "rock": (0.2, Offshore.rock),
    "breakwater": (0.1, Offshore.breakwater),
}


def draw_thing(rng: np.random.Generator, canvas: Canvas, view: View, frame: Frame) -> None:
    names = list(THINGS)
    name = str(rng.choice(names, p=[THINGS[n][0] for n in names]))
    THINGS[name][1](Offshore(rng, canvas, view, frame))


def _blob(radii: NDArray[np.float64], slim: float) -> list[Point]:
    return [(r * math.cos(a), slim * r * math.sin(a)) for r, a in zip(radii.tolist(), TURN.tolist(), strict=True)]
