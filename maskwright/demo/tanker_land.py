"""The land of a drawn sea: ports with quays, piers, tanks, sheds, stacks and streets; open coasts with fields; islands.

A shore has a frame: s along it, t inland, so that the water is at t < 0. Quays are frames of the same kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from maskwright.demo.tanker_vessels import BOXES
from maskwright.demo.tanker_view import PAVED, SOIL, Brush, Canvas, Frame, Point, Rgb, View, lighter, pick, varied

CONCRETE: tuple[Rgb, ...] = ((150, 146, 136), (168, 164, 154), (128, 126, 120), (140, 130, 114))
ASPHALT: tuple[Rgb, ...] = ((92, 92, 92), (108, 106, 102), (78, 80, 82))
GREENS: tuple[Rgb, ...] = ((64, 86, 52), (80, 98, 60), (96, 104, 66), (52, 74, 50))
SOILS: tuple[Rgb, ...] = ((146, 124, 94), (164, 146, 112), (122, 104, 80), (130, 122, 84), (104, 112, 68))
ROOFS: tuple[Rgb, ...] = (
    (206, 206, 204),
    (150, 156, 160),
    (112, 118, 124),
    (86, 116, 150),
    (150, 84, 66),
    (176, 166, 150),
    (228, 228, 226),
)
TANKS: tuple[Rgb, ...] = ((222, 222, 216), (206, 200, 186), (188, 190, 188), (168, 150, 130), (232, 232, 230))
SAND: Rgb = (206, 188, 150)


@dataclass(frozen=True)
class Quay:
    """Where ships berth: the frame stands in the middle of the edge, s along it, the water at t < 0."""

    frame: Frame
    length: float


@dataclass
class Shore:
    """What the land gives the scene: berths, and how strong the surf is."""

    quays: list[Quay] = field(default_factory=list)
    surf: float = 0.0


class Land:
    """Draws one shore."""

    def __init__(self, rng: np.random.Generator, canvas: Canvas, view: View) -> None:
        self.rng, self.canvas, self.view = rng, canvas, view
        h, w = view.hw
        inland, out = rng.uniform(0, 2 * math.pi), rng.uniform(-0.1, 0.42)
        middle = (w / 2 + math.cos(inland) * w * out, h / 2 + math.sin(inland) * h * out)
        self.frame = Frame(middle, inland - math.pi / 2, view.metres_per_px)
        self.brush = Brush(canvas, view, self.frame)
        self.reach = 2.0 * view.reach_m

    def port(self) -> Shore:
        """A straight quay with its yards; perhaps piers or a jetty into the water."""
        rng, shore = self.rng, Shore()
        paving = pick(rng, CONCRETE, 10)
        trade = str(rng.choice(["oil", "boxes", "goods", "town"], p=[0.42, 0.2, 0.23, 0.15]))
        self.brush.box(-self.reach, self.reach, 0, self.reach, paving, 3, PAVED)
        self.brush.box(-self.reach, self.reach, 0, 1.2, lighter(paving, 1.2))
        apron = rng.uniform(14, 45)
        if rng.random() < 0.5:
            self.brush.box(-self.reach, self.reach, apron, apron + rng.uniform(7, 14), pick(rng, ASPHALT, 6))
        self._yards(trade, apron + 16)
        reach = self.view.reach_m
        form = rng.random()
        if form < 0.35:
            self._pier(shore, paving, rng.uniform(-0.4, 0.4) * reach)
        elif form < 0.7 and trade == "oil":
            self._jetty(shore, rng.uniform(-0.35, 0.35) * reach)
        else:
            shore.quays.append(Quay(self.frame.moved(rng.uniform(-0.1, 0.1) * reach, 0), 1.5 * reach))
            if trade == "boxes":
                self._gantries(shore.quays[0], apron)
        return shore

    def _pier(self, shore: Shore, paving: Rgb, s: float) -> None:
        """A finger into the water: berths on both sides, and beside its root."""
        rng, reach = self.rng, self.view.reach_m
        half, out = min(rng.uniform(8, 40), 0.2 * reach), rng.uniform(0.45, 1.0) * reach
        self.brush.box(s - half, s + half, -out, 3, paving, 3, PAVED)
        if half > 14 and rng.random() < 0.7:
            self._shed(s - 0.5 * half, s + 0.5 * half, -0.9 * out, -0.1 * out)
        for side in (-1, 1):
            self.brush.line((s + side * (half - 0.6), -out), (s + side * (half - 0.6), 0), 1.2, lighter(paving, 1.2))
            shore.quays.append(Quay(self.frame.moved(s + side * half, -out / 2, side * math.pi / 2), 0.94 * out))
            if rng.random() < 0.5:
                length = 0.6 * reach
                shore.quays.append(Quay(self.frame.moved(s + side * (half + 0.15 * reach + length / 2), 0), length))

    def _jetty(self, shore: Shore, s: float) -> None:
        """Where large tankers load: a narrow trestle, a platform with arms, dolphins that take the ropes."""
        rng, reach = self.rng, self.view.reach_m
        out, colour = rng.uniform(0.2, 0.6) * reach, pick(rng, CONCRETE, 10)
        wide, deep = max(3.0, 0.8 / self.brush.px_a_m), rng.uniform(12, 24)
        self.brush.box(s - wide, s + wide, -out, 2, colour, 5, PAVED)
        self.brush.line((s, -out), (s, 40), 0.8 * wide, lighter(colour, 0.7))
        platform = rng.uniform(14, 26)
        self.brush.box(s - platform, s + platform, -out - deep, -out, lighter(colour, 1.05), 6, PAVED)
        for k in range(4):
            self.brush.block(s - 9 + 5 * k, s - 7 + 5 * k, -out - 0.8 * deep, -out - 0.6 * deep, 6, 17, (196, 190, 170))
        edge = -out - deep
        for side in (-1, 1):
            for away in (1.8, 3.6):
                at = s + side * platform * away
                self.brush.box(at - 4, at + 4, edge, edge + 8, lighter(colour, 1.1), 5, PAVED)
                self.brush.line(
                    (s + side * platform * (away - 1.0), edge + 5),
                    (at, edge + 5),
                    max(1.4, 0.4 / self.brush.px_a_m),
                    colour,
                    5,
                    PAVED,
                )
        shore.quays.append(Quay(self.frame.moved(s, edge), 0.9 * reach))

    def _yards(self, trade: str, start: float) -> None:
        """Plots with streets between them; the farther inland, the more of a town."""
        rng, reach = self.rng, self.reach
        t, depth = start, rng.uniform(55, 110)
        while t < reach:
            s = -reach + rng.uniform(0, 60)
            while s < reach:
                long = rng.uniform(70, 150)
                if self.brush.sees(s + long / 2, t + depth / 2, (long + depth) / 2):
                    use = trade if rng.random() < (0.8 if t < start + 1.5 * depth else 0.35) else "town"
                    self._plot(use, s, s + long, t, t + depth)
                s += long + rng.uniform(7, 13)
            self.brush.box(-reach, reach, t + depth, t + depth + 9, pick(rng, ASPHALT, 5))
            t += depth + 10

    def _plot(self, use: str, s0: float, s1: float, t0: float, t1: float) -> None:
        rng = self.rng
        ground = pick(rng, {"oil": (*SOILS[:3], *CONCRETE), "town": (*GREENS, *SOILS)}.get(use, CONCRETE), 10)
        self.brush.box(s0, s1, t0, t1, ground, None, SOIL if use == "town" else PAVED)
        if use == "oil":
            self._tank_farm(s0, s1, t0, t1)
        elif use == "boxes":
            self._stacks(s0, s1, t0, t1)
        elif use == "goods":
            self._shed(s0 + 5, s0 + rng.uniform(0.5, 0.95) * (s1 - s0), t0 + 4, t0 + rng.uniform(0.4, 0.9) * (t1 - t0))
        else:
            self._houses(s0, s1, t0, t1)

    def _tank_farm(self, s0: float, s1: float, t0: float, t1: float) -> None:
        """Tanks of one size in rows within their bund."""
        rng = self.rng
        radius = rng.uniform(7, min(30, 0.42 * (t1 - t0)))
        pitch, colour = 2 * radius * rng.uniform(1.2, 1.5), pick(rng, TANKS, 8)
        floating = rng.random() < 0.4  # the roof swims on the oil: a dark disc within the rim
        self.brush.box(s0 + 1, s1 - 1, t0 + 1, t1 - 1, pick(rng, SOILS, 8))
        for s in np.arange(s0 + 0.6 * pitch, s1 - 0.4 * pitch, pitch).tolist():
            for t in np.arange(t0 + 0.6 * pitch, t1 - 0.4 * pitch, pitch).tolist():
                if rng.random() < 0.12 or not self.brush.sees(s, t, radius):
                    continue
                high = rng.uniform(10, 18)
                self.brush.disc(s, t, radius, lighter(colour, 0.72), high)
                roof = self.brush.at(s, t, high)
                top = Brush(self.canvas, self.view, Frame(roof, self.frame.heading, self.frame.metres_per_px))
                top.disc(0, 0, radius, colour)
                if floating:
                    top.disc(0, 0, 0.9 * radius, lighter(colour, rng.uniform(0.55, 0.8)))
                top.line((0, 0), (radius, 0), max(0.5, 0.25 / top.px_a_m), lighter(colour, 0.85))

    def _stacks(self, s0: float, s1: float, t0: float, t1: float) -> None:
        """Containers in blocks along the quay."""
        rng = self.rng
        for t in np.arange(t0, t1 - 12, 26).tolist():
            for s in np.arange(s0, s1 - 13, 13.4).tolist():
                if rng.random() < 0.25 or not self.brush.sees(s + 6, t + 8, 12):
                    continue
                row = max(2.5, 1.3 / self.brush.px_a_m)
                for n in range(int(15 / row)):
                    if rng.random() < 0.8:
                        colour = lighter(BOXES[int(rng.integers(len(BOXES)))], rng.uniform(0.85, 1.15))
                        self.brush.box(s, s + 12.2, t + n * row, t + (n + 0.9) * row, colour, 3 + 2.6 * int(rng.integers(1, 5)))

    def _shed(self, s0: float, s1: float, t0: float, t1: float) -> None:
        """A long roof with its ridge; one side is lit less."""
        rng, roof, high = self.rng, pick(self.rng, ROOFS, 10), self.rng.uniform(7, 14)
        self.brush.block(s0, s1, t0, t1, 3, 3 + high, roof)
        top = Brush(self.canvas, self.view, self.frame, 0.0)
        if s1 - s0 > t1 - t0:
            half = [(s0, t0), (s1, t0), (s1, (t0 + t1) / 2), (s0, (t0 + t1) / 2)]
        else:
            half = [(s0, t0), (s0, t1), ((s0 + s1) / 2, t1), ((s0 + s1) / 2, t0)]
        shown = [top.at(s, t, 3 + high) for s, t in half]
        self.canvas.polygon(shown, lighter(roof, rng.uniform(0.82, 0.94)))

    def _houses(self, s0: float, s1: float, t0: float, t1: float) -> None:
        """A green or bare plot with a few buildings and trees."""
        rng = self.rng
        for _ in range(int(rng.integers(0, 7))):
            s, t = rng.uniform(s0 + 8, s1 - 8), rng.uniform(t0 + 8, t1 - 8)
            if self.brush.sees(s, t, 20):
                a, b = rng.uniform(4, 14), rng.uniform(4, 9)
                self.brush.block(s - a, min(s1, s + a), t - b, t + b, 3, rng.uniform(7, 16), pick(rng, ROOFS, 14))
        for _ in range(int(rng.integers(0, 12))):
            self._tree(rng.uniform(s0, s1), rng.uniform(t0, t1))

    def _tree(self, s: float, t: float) -> None:
        if self.brush.sees(s, t, 6):
            self.brush.disc(s, t, self.rng.uniform(2, 5.5), lighter(pick(self.rng, GREENS, 8), 0.75), self.rng.uniform(6, 12))

    def _gantries(self, quay: Quay, apron: float) -> None:
        """Container cranes with their booms raised, so that they hang over no ship."""
        rng, brush = self.rng, Brush(self.canvas, self.view, quay.frame)
        colour = pick(rng, ((60, 92, 150), (190, 72, 52), (196, 196, 192), (206, 168, 60)), 10)
        for s in np.arange(-0.35, 0.36, rng.uniform(0.14, 0.3)).tolist():
            at = (s + rng.uniform(-0.03, 0.03)) * quay.length
            for side in (-8, 8):
                brush.line((at + side, 2), (at + side, min(30, apron)), 1.8, colour, 30)
            brush.line((at, 2), (at, min(55, apron + 26)), 4.0, lighter(colour, 1.1), 40)

    def coast(self) -> Shore:
        """A shore as nature made it: beach, fields, woods, a road, surf."""
        rng = self.rng
        s = np.linspace(-self.reach, self.reach, 140)
        t = np.zeros_like(s)
        for waves in (1.5, 3, 7, 15, 30):
            bend = np.sin(s / self.reach * waves * math.pi + rng.uniform(0, 2 * math.pi))
            t += rng.normal(0, 0.1 / waves**0.9) * self.view.reach_m * bend
        sandy, beach = rng.random() < 0.65, rng.uniform(5, 30)
        edge = varied(rng, SAND, 14) if sandy else pick(rng, ((112, 106, 96), (92, 88, 80)), 10)
        self.brush.shape(self._inland(s, t), edge, 1, SOIL)
        self.brush.shape(self._inland(s, t + beach + np.abs(rng.normal(0, 2.0, 140))), pick(rng, GREENS, 8), 1, SOIL)
        self._fields(float(t.max()) + beach + 12)
        for _ in range(int(rng.integers(10, 60))):
            at, in_ = rng.uniform(-0.5, 0.5) * self.reach, rng.uniform(0, 0.3) * self.reach
            self._tree(at, float(np.interp(at, s, t)) + beach + in_)
        return Shore(surf=rng.uniform(0.2, 0.9) if rng.random() < 0.8 else 0.0)

    def _inland(self, s: NDArray[np.float64], t: NDArray[np.float64]) -> list[Point]:
        return [*zip(s.tolist(), t.tolist(), strict=True), (self.reach, 2 * self.reach), (-self.reach, 2 * self.reach)]

    def _fields(self, start: float) -> None:
        """Fields of one farm lie alike; a lane along the shore, some houses."""
        rng, reach, turn = self.rng, self.reach, self.rng.normal(0, 0.3)
        brush = Brush(self.canvas, self.view, self.frame.moved(0, start + 20, turn))
        deep = rng.uniform(70, 160)
        for row in range(int(2 * reach / deep)):
            s = -reach + rng.uniform(0, 90)
            while s < reach:
                long, t = rng.uniform(60, 220), row * deep + abs(math.sin(turn)) * reach * 0.6
                if brush.sees(s + long / 2, t + deep / 2, (long + deep) / 2):
                    colour = pick(rng, (*SOILS, *GREENS), 12)
                    brush.box(s, s + long, t, t + deep, colour, None, SOIL)
                    for k in range(1, int(rng.integers(1, 7))):  # tracks of the plough
                        at = t + k * deep / 7
                        brush.line((s, at), (s + long, at), 1.5, lighter(colour, rng.uniform(0.9, 1.08)))
                s += long + 5
        self.brush.box(-reach, reach, start + 4, start + 10, pick(rng, (*ASPHALT, (176, 164, 138)), 6))
        self._houses(-0.4 * reach, 0.4 * reach, start + 14, start + 60)
