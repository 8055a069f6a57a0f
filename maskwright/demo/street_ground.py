"""The plan of a drawn street and all that lies flat: gardens, pavements, the road with its marks and shade; the far skyline."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from maskwright.demo.street_camera import Camera, Canvas, Light, Points, Rgb
from maskwright.demo.street_things import BUILDING, PAVEMENT, ROAD, TREE, VOID, WALLS, Things, pick, varied

FAR_M = 260.0
KINDS = {"town": 0.45, "suburb": 0.33, "open": 0.22}


@dataclass(frozen=True)
class Side:
    """One side of the road, from the kerb outwards, as x of each edge (negative on the left)."""

    sign: int
    kerb: float
    path: float  # where the pavement ends
    front: float  # where houses begin
    crossing: tuple[float, float] | None  # z of a road that turns off


@dataclass(frozen=True)
class Plan:
    kind: str
    sides: tuple[Side, Side]
    end: float  # where houses close the street
    bare: bool  # winter: trees without leaves
    grass: bool  # between pavement and houses


def draw_plan(rng: np.random.Generator) -> Plan:
    """Town: houses behind the pavement. Suburb: gardens, hedges, trees. Open: a wide place, houses far away."""
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    sides = []
    for sign in (-1, 1):
        kerb = rng.uniform(1.7, 4.2) if sign < 0 else rng.uniform(3.2, 8.0)
        if kind == "open":
            kerb += rng.uniform(0, 14)
        wide = rng.uniform(1.2, 5.0) if rng.random() < 0.92 else 0.3
        setback = {"town": rng.uniform(0, 0.6), "suburb": rng.uniform(3, 14), "open": rng.uniform(2, 25)}[kind]
        start = rng.uniform(9, 45)
        crossing = (start, start + rng.uniform(5, 9)) if rng.random() < 0.35 else None
        sides.append(Side(sign, sign * kerb, sign * (kerb + wide), sign * (kerb + wide + setback), crossing))
    end = rng.uniform(60, 200) if rng.random() < 0.5 else FAR_M
    return Plan(kind, (sides[0], sides[1]), end, bool(rng.random() < 0.45), bool(rng.random() < 0.8))


class Ground(Things):
    """Draws what everything else stands on."""

    def __init__(self, rng: np.random.Generator, camera: Camera, light: Light, canvas: Canvas, plan: Plan) -> None:
        super().__init__(rng, camera, light, canvas)
        self.plan = plan

    def backdrop(self) -> None:
        """Far trees and houses along the horizon."""
        rng, width = self.rng, self.camera.hw[1]
        skyline = self.camera.px(1, FAR_M)
        leafy = pick(rng, ((96, 104, 84), (84, 84, 78), (70, 84, 62)), 8)
        u = 0.0
        while u < width:
            base = self.camera.horizon_y + self.camera.roll * (u - self.camera.centre_x)
            tall, wide = skyline * rng.uniform(4, 22), skyline * rng.uniform(6, 26)
            if rng.random() < 0.6:
                spots = rng.uniform((0, 0.2), (1, 1), (8, 2))
                colour = self.light.on(varied(rng, leafy, 8), self.light.up * 0.6, 150)
                for across, up in spots:
                    self.canvas.ellipse((u + across * wide, base - up * tall * 0.5), (wide * 0.22, tall * 0.45), colour, TREE)
            else:
                box = np.array([(u, base + 2), (u, base - tall), (u + wide, base - tall), (u + wide, base + 2)])
                self.canvas.polygon(box, self.light.on(pick(rng, WALLS), self.light.front, 150), BUILDING)
            u += wide * rng.uniform(0.5, 1.0)

    def _strip(self, left: float, right: float, z0: float = 0.8, z1: float = FAR_M) -> Points:
        """A stretch of ground between two lines along the road, as pixels."""
        z = np.geomspace(z0, z1, 24)
        left_edge, right_edge = (np.stack((np.full(24, x), np.zeros(24), z), 1) for x in (left, right))
        return self.camera.project(np.concatenate((left_edge, right_edge[::-1])))

    def _lay(self, left: float, right: float, colour: Rgb, label: int | None, z0: float = 0.8, z1: float = FAR_M) -> None:
        self.canvas.polygon(self._strip(left, right, z0, z1), self.light.on(colour, self.light.up), label)

    def lay(self) -> None:
        """Gardens or paving, pavements with their kerbs, the road with its marks, roads that turn off."""
        rng = self.rng
        tar = varied(rng, (104, 104, 106) if rng.random() < 0.75 else (140, 138, 136), 16)
        slabs = varied(rng, (128, 124, 118) if rng.random() < 0.6 else tar, 14)
        grass = varied(rng, (96, 116, 58), 16)
        kerb = varied(rng, (160, 156, 148), 16)
        for side in self.plan.sides:
            out = side.sign * 160.0
            green = self.plan.grass and self.plan.kind != "town"
            self._lay(side.path, out, grass if green else slabs, TREE if green else PAVEMENT)
            if self.plan.kind == "open" and not green:
                self._lay(side.path, out, tar, ROAD, 25, FAR_M)
            self._lay(side.kerb, side.path, slabs, PAVEMENT)
            if side.crossing:
                self._lay(side.kerb, out, tar, ROAD, *side.crossing)
        left, right = (side.kerb for side in self.plan.sides)
        self._lay(left, right, tar, ROAD)
        for side in self.plan.sides:
            edge = side.kerb
            if rng.random() < 0.85:
                self._lay(edge, edge + side.sign * 0.16, kerb, PAVEMENT)
            if side.crossing:
                self._lay(edge - 0.2, edge + 0.2, tar, ROAD, *side.crossing)
            gutter = varied(rng, tar, 10)
            self._lay(edge - side.sign * 0.25, edge, tuple(0.82 * c for c in gutter), None)  # type: ignore[arg-type]
        self._wear(left, right, tar)
        self._marks(left, right)

    def _wear(self, left: float, right: float, tar: Rgb) -> None:
        """Patches of other tar, seams, manholes."""
        rng = self.rng
        for _ in range(rng.integers(0, 5)):
            x, z, wide, far = rng.uniform(left, right), rng.uniform(3, 30), rng.uniform(0.4, 2.5), rng.uniform(0.6, 8)
            self._lay(x, min(x + wide, right), varied(rng, tar, 12), None, z, z + far)
        for _ in range(rng.integers(0, 4)):
            x, z = rng.uniform(left, right), rng.uniform(4, 25)
            middle, size = self.camera.project([(x, 0, z)])[0], self.camera.px(0.32, z)
            dark = self.light.on((70, 68, 66), self.light.up)
            self.canvas.ellipse(tuple(middle), (size, size * self.camera.height_m / z), dark)

    def _marks(self, left: float, right: float) -> None:
        """Centre lines, edge lines, zigzags, arrows, stop lines and zebra crossings; some worn."""
        rng = self.rng
        worn = rng.uniform(0.55, 1.0)
        white: Rgb = (225 * worn, 225 * worn, 220 * worn)
        yellow: Rgb = (200 * worn, 170 * worn, 70 * worn)
        if rng.random() < 0.75:
            self._centre_line(white)
        for side in self.plan.sides:
            if rng.random() < 0.45:
                for offset in (0.35, 0.6)[: rng.integers(1, 3)]:
                    x = side.kerb - side.sign * offset
                    self._lay(x - 0.05, x + 0.05, yellow if rng.random() < 0.7 else white, None, 1.0, 80)
            if rng.random() < 0.18:
                self._zigzag(side, white)
        if rng.random() < 0.3:
            self._crossing_marks(left, right, white)
        if rng.random() < 0.15:  # an arrow
            z = rng.uniform(6, 18)
            self._lay(-0.08, 0.08, white, None, z, z + 2.4)
            self.face(np.array([(-0.45, 0, z + 2.2), (0.45, 0, z + 2.2), (0, 0, z + 3.8)]), white, self.light.up)

    def _centre_line(self, white: Rgb) -> None:
        rng = self.rng
        middle, dash, gap = rng.uniform(1.4, 2.4), rng.uniform(1.5, 5), rng.uniform(1.5, 7)
        if rng.random() < 0.2:
            gap = 0.0
        for z in np.arange(rng.uniform(1, 6), 90, dash + gap + 0.01):
            self._lay(middle - 0.06, middle + 0.06, white, None, max(z, 1.0), z + dash)

    def _zigzag(self, side: Side, white: Rgb) -> None:
        z = np.arange(self.rng.uniform(3, 7), 28, 2.0)
        x = side.kerb - side.sign * (0.7 + 0.5 * (np.arange(len(z)) % 2))
        wide = np.array([0.07, 0, 0])
        for a, b in pairwise(np.stack((x, np.zeros(len(z)), z), 1)):
            self.face(np.array([a - wide, a + wide, b + wide, b - wide]), white, self.light.up)

    def _crossing_marks(self, left: float, right: float, white: Rgb) -> None:
        """A stop line, or the stripes of a zebra crossing."""
        z = self.rng.uniform(5, 22)
        if self.rng.random() < 0.5:
            self._lay(left + 0.2, min(right, 1.6) - 0.2, white, None, z, z + 0.3)
            return
        for x in np.arange(left + 0.3, right - 0.5, 1.1):
            self._lay(x, x + 0.55, white, None, z, z + 2.6)

    def shadows(self) -> None:
        """Where the sun shines: shade of the houses along one side, of trees and poles across the road."""
        if not self.light.sunny:
            return
        rng, side = self.rng, self.plan.sides[0 if self.light.sun_side < 0 else 1]
        reach, amount = rng.uniform(-0.3, 1.0), rng.uniform(0.35, 0.6)
        if self.plan.kind == "town" or rng.random() < 0.3:
            ends = np.array([0.8, *np.sort(rng.uniform(3, 120, 12)), FAR_M])
            kinks = side.kerb - side.sign * np.repeat(rng.uniform(-2, 6, 7), 2) * reach
            edge = np.stack((kinks, np.zeros(14), ends), 1)
            far = np.stack((np.full(14, side.sign * 60.0), np.zeros(14), ends), 1)
            self.canvas.shadow(self.camera.project(np.concatenate((edge, far[::-1]))), amount)
        for _ in range(rng.integers(0, 6)):
            z, slant, wide = rng.uniform(3, 40), rng.normal(0, 2.5), rng.uniform(0.1, 0.6)
            across, end = -side.kerb * rng.uniform(0.2, 1.5), max(1.0, z + slant)
            band = [(side.kerb, 0.0, z), (side.kerb, 0.0, z + wide), (across, 0.0, end + wide), (across, 0.0, end)]
            self.canvas.shadow(self.camera.project(band), amount)
        if self.plan.kind != "town" and rng.random() < 0.6:
            self._dapple(side, amount)

    def _dapple(self, side: Side, amount: float) -> None:
        """The broken shade of a crown."""
        rng = self.rng
        x0, z0 = side.kerb - side.sign * rng.uniform(0, 4), rng.uniform(5, 25)
        places = rng.normal((x0, z0), (2.4, 3.0), (140, 2))
        for x, z in places[places[:, 1] > 2]:
            size = rng.uniform(0.06, 0.4)
            (u, v), r = self.camera.project([(x, 0, z)])[0], self.camera.px(size, z)
            self.canvas.shadow_spot((u, v), (r, max(0.5, r * self.camera.height_m / z)), amount)

    def bonnet(self) -> None:
        """Now and then the own bonnet or dashboard stands in the picture: it counts nowhere."""
        if self.rng.random() > 0.16:
            return
        h, w = self.camera.hw
        u = np.linspace(0, w, 16)
        rise, tilt = h * self.rng.uniform(0.02, 0.11), self.rng.normal(0, 0.6)
        v = h - rise * np.clip(np.sin(np.pi * np.linspace(0.1, 0.9, 16)) + tilt * (u / w - 0.5), 0.0, None)
        outline = np.concatenate((np.stack((u, v), 1), [(w, h + 2), (0, h + 2)]))
        dark = varied(self.rng, (34, 36, 40) if self.rng.random() < 0.7 else (110, 112, 116), 10)
        self.canvas.polygon(outline, self.light.on(dark, self.light.up), VOID)
