"""What stands where in a drawn street: houses, trees, lamps, people and cars by the plan of the place, drawn from far to near."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image as Pillow

from maskwright.demo.street_camera import SCALE, Camera, Canvas, Light, draw_camera, draw_light
from maskwright.demo.street_ground import FAR_M, Ground, Plan, Side, draw_plan
from maskwright.demo.street_picture import draw_sky
from maskwright.demo.street_things import BUILDING, WALLS, front, pick, varied
from maskwright.demo.street_traffic import Traffic

Row = tuple[float, Callable[[], None]]  # how far away, and what draws it

SKIES = {"white": 0.36, "clear": 0.2, "broken": 0.18, "overcast": 0.16, "dusk": 0.1}


@dataclass(frozen=True)
class Drawn:
    """A street before it was photographed."""

    camera: Camera
    light: Light
    canvas: Canvas
    sky: str


def draw_street(rng: np.random.Generator, hw: tuple[int, int]) -> Drawn:
    """Everything of a scene, on one canvas."""
    camera, plan = draw_camera(rng, hw), draw_plan(rng)
    sky = str(rng.choice(list(SKIES), p=list(SKIES.values())))
    light = draw_light(rng, sky)
    picture = Pillow.fromarray(draw_sky(rng, camera, sky)).resize((hw[1] * SCALE, hw[0] * SCALE), Pillow.Resampling.BICUBIC)
    canvas = Canvas(hw, picture)
    ground = Ground(rng, camera, light, canvas, plan)
    ground.backdrop()
    ground.lay()
    ground.shadows()
    Street(rng, camera, light, canvas, plan).things()
    ground.bonnet()
    return Drawn(camera, light, canvas, sky)


class Street(Traffic):
    """The place as a whole; draws by the plan."""

    def __init__(self, rng: np.random.Generator, camera: Camera, light: Light, canvas: Canvas, plan: Plan) -> None:
        super().__init__(rng, camera, light, canvas)
        self.plan = plan

    def between(self, one: float, other: float) -> float:
        """A random place between two, in whatever order."""
        return self.rng.uniform(min(one, other), max(one, other))

    def things(self) -> None:
        """All that stands on the ground, drawn from far to near."""
        rows: list[Row] = []
        for side in self.plan.sides:
            rows += [*self._houses(side), *self._green(side), *self._furniture(side), *self._people(side)]
        if self.plan.end < FAR_M:
            rows.append((self.plan.end, self._closing_houses))
        rows += self._vehicles()
        for _, draw in sorted(rows, key=lambda row: -row[0]):
            draw()

    def _houses(self, side: Side) -> list[Row]:
        rng = self.rng
        rows: list[Row] = []
        z = rng.uniform(-2, 6) if self.plan.kind == "town" else rng.uniform(4, 30)
        gap = {"town": 0.12, "suburb": 0.6, "open": 0.6}[self.plan.kind]
        storeys = rng.uniform(6.5, 15)
        shops = self.plan.kind == "town" and rng.random() < 0.75
        while z < min(self.plan.end, 180):
            length = rng.uniform(5, 14) if z < 70 else rng.uniform(12, 30)
            if side.crossing and z < side.crossing[1] + 1 and z + length > side.crossing[0] - 1:
                z = side.crossing[1] + 1.5
                continue
            height = float(np.clip(storeys + rng.normal(0, 1.8), 3.2, 20)) * (0.75 if self.plan.kind == "suburb" else 1)
            x = side.front + side.sign * abs(rng.normal(0, 0.15 if self.plan.kind == "town" else 1.5))
            near, far = max(z, 1.0), z + length

            if far > 2.5:
                rows.append((far, partial(self.building, x, near, far, height, shop=shops and rng.random() < 0.8)))
                if shops and rng.random() < 0.8:
                    at = rng.uniform(max(near, 4.0), max(far, 4.1))
                    rows.append((at, partial(self.shop_sign, x, at)))
            z = far + (rng.uniform(2, 12) if rng.random() < gap else 0)
        return rows

    def _closing_houses(self) -> None:
        """A row of houses that faces the camera where the street ends or turns."""
        rng, x, z = self.rng, -70.0, self.plan.end
        while x < 70:
            wide, height, colour = rng.uniform(6, 16), rng.uniform(5, 12), pick(self.rng, WALLS)
            self.face(front(x, x + wide, z, -0.5, height), colour, self.light.front, BUILDING)
            if rng.random() < 0.6:
                roof = np.array([(x, height, z), (x + wide / 2, height + rng.uniform(1.5, 4), z), (x + wide, height, z)])
                self.face(roof, varied(rng, (84, 78, 76), 12), self.light.up * 0.8, BUILDING)
            self.openings(colour, height, None, (x, x + wide), z - 0.05, self.light.front)
            x += wide + (rng.uniform(2, 10) if rng.random() < 0.25 else 0)

    def _green(self, side: Side) -> list[Row]:
        """Trees along the pavement and in gardens, hedges and fences at the edge of the pavement."""
        rng, kind = self.rng, self.plan.kind
        rows: list[Row] = []
        count = rng.poisson({"town": 1.6, "suburb": 8, "open": 7}[kind])
        for _ in range(count):
            z = rng.uniform(5, 90)
            if rng.random() < 0.4:
                x = side.path + side.sign * rng.uniform(-0.8, 0.4)
            else:
                x = self.between(side.path, side.front + side.sign * (2 if kind == "town" else 12))
            bare = self.plan.bare if rng.random() < 0.85 else not self.plan.bare
            rows.append((z, partial(self.tree, x, z, rng.uniform(4, 15), bare=bare)))
        z = rng.uniform(2, 30)
        while z < 80 and rng.random() < (0.35 if kind == "town" else 0.8):
            length, choice, solid = rng.uniform(4, 20), rng.random(), rng.random() < 0.45
            x = side.path if rng.random() < 0.75 else side.kerb + side.sign * 0.3
            if side.crossing and z < side.crossing[1] and z + length > side.crossing[0]:
                z = side.crossing[1] + 1
            for a in np.arange(z, z + length, 4.0):
                b = min(a + 4.0, z + length)
                if choice < 0.35:
                    rows.append((b, partial(self.hedge, x, a, b, 1.5)))
                else:
                    rows.append((b, partial(self.fence, x, a, b, solid=solid)))
            z += length + rng.uniform(1, 12)
        return rows

    def _furniture(self, side: Side) -> list[Row]:
        rng = self.rng
        rows: list[Row] = []
        edge = side.kerb + side.sign * 0.45
        spacing = rng.uniform(18, 40)
        makers: list[tuple[float, Callable[[float, float], None]]] = [
            (z, self.lamp) for z in np.arange(rng.uniform(4, 25), 120, spacing)
        ]
        makers += [(rng.uniform(5, 45), self.sign) for _ in range(rng.poisson(2.6))]
        if rng.random() < 0.3:
            start = rng.uniform(5, 20)
            makers += [(z, self.bollard) for z in np.arange(start, start + rng.uniform(4, 14), 1.6)]
        for z, draw in makers:
            rows.append((z, partial(draw, edge, float(z))))
        return rows

    def _people(self, side: Side) -> list[Row]:
        rng = self.rng
        rows: list[Row] = []
        crowd = rng.poisson({"town": 4, "suburb": 1.0, "open": 1.2}[self.plan.kind])
        for _ in range(crowd):
            z = rng.gamma(2.2, 8) + 4
            x = self.between(side.kerb + side.sign * 0.4, side.path)
            for k in range(rng.integers(1, 3)):
                rows.append((z + 0.3 * k, partial(self.person, x + 0.6 * k, z + 0.3 * k)))
        if rng.random() < 0.12:
            z = rng.uniform(8, 30)
            rows.append((z, partial(self.person, rng.uniform(-3, 4), z)))  # crossing the road
        for _ in range(rng.poisson(0.35)):
            z, x = rng.uniform(6, 40), side.kerb - side.sign * rng.uniform(0.4, 1.4)
            rows.append((z, partial(self.bicycle, x, z, ridden=True)))
        if rng.random() < 0.12:
            z, x = rng.uniform(5, 20), side.path - side.sign * 0.4
            rows.append((z, partial(self.bicycle, x, z, ridden=False)))
        return rows

    def _vehicles(self) -> list[Row]:
        """Ahead in the own lane, coming on the other, parked along the kerbs, crossing."""
        rng = self.rng
        rows: list[Row] = []
        right = self.plan.sides[1].kerb
        kinds, shares = ("hatchback", "saloon", "estate", "van", "bus"), (0.42, 0.2, 0.18, 0.14, 0.06)
        lane = max(2.9, right - 1.9) if right < 6.5 else rng.uniform(3.0, 4.2)
        places: list[tuple[float, float, float]] = []
        places += [(rng.normal(0, 0.35), z, rng.normal(0, 0.05)) for z in 3 + np.cumsum(rng.uniform(6, 30, rng.poisson(0.9)))]
        places += [
            (lane, z, np.pi + rng.normal(0, 0.05)) for z in np.cumsum(rng.uniform(6, 28, rng.poisson(1.4))) + rng.uniform(0, 12)
        ]
        for side in self.plan.sides:
            if rng.random() < 0.5 and abs(side.kerb) > 3.0:
                start, x = rng.uniform(4, 40), side.kerb - side.sign * 1.05
                step = rng.uniform(5.3, 7.5)
                row = np.arange(rng.integers(1, 9)) * step + start
                places += [(x, z, (0.0 if side.sign < 0 or rng.random() < 0.4 else np.pi)) for z in row]
        if rng.random() < 0.25 or self.plan.kind == "open":
            places += [
                (rng.uniform(-14, 14), rng.uniform(12, 60), rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.35))
                for _ in range(rng.integers(1, 5))
            ]
        taken: list[tuple[float, float]] = []
        for x, z, heading in sorted(places, key=lambda p: p[1]):
            if any(abs(x - a) < 2.1 and abs(z - b) < 5.2 for a, b in taken) or z < 4.5:
                continue
            taken.append((x, z))
            kind = str(rng.choice(kinds, p=shares)) if z > 11 else "hatchback"  # a bus right ahead would hide the street
            rows.append((float(z), partial(self.car, float(x), float(z), float(heading), kind)))
        return rows
