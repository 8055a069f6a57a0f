"""What stands beside a drawn street: buildings with their windows, trees and hedges, poles, signs, fences."""

from __future__ import annotations

import numpy as np

from maskwright.demo.street_camera import Camera, Canvas, Light, Points, Rgb

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST, VOID = range(12)

WALLS: tuple[Rgb, ...] = (
    (150, 92, 70), (128, 78, 62), (172, 150, 118), (196, 182, 150), (214, 210, 200), (236, 234, 228), (120, 116, 110),
    (166, 160, 150), (98, 88, 80), (186, 140, 96), (146, 134, 112), (80, 84, 92),
)  # fmt: skip
ROOFS: tuple[Rgb, ...] = ((74, 76, 82), (96, 70, 60), (120, 84, 68), (58, 58, 62))
BRIGHT: tuple[Rgb, ...] = (
    (190, 40, 36),
    (30, 70, 150),
    (24, 110, 70),
    (226, 180, 40),
    (230, 110, 30),
    (40, 40, 46),
    (235, 235, 230),
)
LEAVES: tuple[Rgb, ...] = ((88, 118, 56), (112, 134, 64), (70, 96, 58), (142, 132, 76), (60, 80, 52), (124, 118, 96))
BARK: tuple[Rgb, ...] = ((92, 82, 72), (70, 62, 56), (120, 112, 100))


def varied(rng: np.random.Generator, colour: Rgb, spread: float = 14) -> Rgb:
    """A colour near the given one: brightness varies more than hue."""
    level, red, green, blue = rng.normal(0, spread / 5, 4).tolist()
    (r, g, b), level = colour, 5 * level
    return _albedo(r + level + red), _albedo(g + level + green), _albedo(b + level + blue)


def _albedo(value: float) -> float:
    return min(250.0, max(4.0, value))


def pick(rng: np.random.Generator, colours: tuple[Rgb, ...], spread: float = 14) -> Rgb:
    return varied(rng, colours[rng.integers(len(colours))], spread)


def wall(x: float, z0: float, z1: float, y0: float, y1: float) -> Points:
    """A rectangle along the road."""
    return np.array([(x, y0, z0), (x, y1, z0), (x, y1, z1), (x, y0, z1)], float)


def front(x0: float, x1: float, z: float, y0: float, y1: float) -> Points:
    """A rectangle that faces the camera."""
    return np.array([(x0, y0, z), (x0, y1, z), (x1, y1, z), (x1, y0, z)], float)


class Things:
    """Draws things at places of the world; one a scene, since all share camera, light and canvas."""

    def __init__(self, rng: np.random.Generator, camera: Camera, light: Light, canvas: Canvas) -> None:
        self.rng, self.camera, self.light, self.canvas = rng, camera, light, canvas

    def face(self, points: Points, colour: Rgb, facing: float, label: int | None = None) -> None:
        """A flat polygon of the world, faded by its mean distance."""
        seen = self.light.on(colour, facing, float(points[:, 2].mean()))
        self.canvas.polygon(self.camera.project(points), seen, label)

    def building(self, x: float, z0: float, z1: float, height: float, *, shop: bool) -> None:
        """A house along the road at x from z0 to z1: roof, end wall towards the camera, facade with windows."""
        rng, out = self.rng, np.sign(x)
        colour, roof = pick(rng, WALLS, 22), pick(rng, ROOFS, 8)
        deep = x + out * rng.uniform(7, 14)
        side = self.light.side(x)
        pitch = rng.uniform(1.5, 3.5) if rng.random() < 0.6 else 0.0
        if pitch:
            ridge = x + out * rng.uniform(3, 5)
            slope = [(x, height, z0), (ridge, height + pitch, z0), (ridge, height + pitch, z1), (x, height, z1)]
            self.face(np.array(slope), roof, self.light.up * 0.8, BUILDING)
            self.face(
                np.array([(x, height, z0), (ridge, height + pitch, z0), (deep, height, z0)]), colour, self.light.front, BUILDING
            )
            for _ in range(rng.integers(0, 3)):
                at = rng.uniform(z0, max(z0 + 0.1, z1 - 0.9))
                chimney = front(ridge - 0.4, ridge + 0.4, at, height + pitch - 0.5, height + pitch + rng.uniform(0.6, 1.4))
                self.face(chimney, colour, self.light.front, BUILDING)
        self.face(front(x, deep, z0, 0, height), colour, self.light.front, BUILDING)
        if rng.random() < 0.4:
            self.openings(colour, height, None, (x, deep), z0, self.light.front)
        self.face(wall(x, z0, z1, 0, height), colour, side, BUILDING)
        self.openings(colour, height, x, (z0, z1), 0.0, side, shop=shop)
        if rng.random() < 0.5:  # eaves
            self.face(wall(x - out * 0.1, z0, z1, height - 0.25, height), varied(rng, colour, 30), side)

    def openings(
        self,
        colour: Rgb,
        height: float,
        x: float | None,
        span: tuple[float, float],
        z: float,
        facing: float,
        *,
        shop: bool = False,
    ) -> None:
        """Rows of windows on a facade along the road (x given), or on one that faces the camera at z."""
        rng = self.rng

        def pane(a: float, b: float, y0: float, y1: float, paint: Rgb, shine: float, label: int | None = None) -> None:
            self.face(wall(x, a, b, y0, y1) if x is not None else front(a, b, z, y0, y1), paint, shine, label)

        low, high = min(span), max(span)
        near_z = max(low, 1.0) if x is not None else z
        storey, wide, pitch = rng.uniform(2.7, 3.6), rng.uniform(0.8, 1.6), rng.uniform(1.9, 3.4)
        tall = storey * rng.uniform(0.42, 0.65)
        glass = varied(rng, (54, 60, 68), 16)
        frame = varied(rng, (225, 222, 214), 20) if rng.random() < 0.6 else varied(rng, colour, 35)
        framed = self.camera.px(0.12, near_z) > 0.5
        base = 0.0
        if shop:
            base = rng.uniform(3.0, 3.9)
            pane(low, high, 0, base, varied(rng, (70, 66, 62), 25), facing)
            at = low
            while at < high - 1:
                end = min(high, at + rng.uniform(2.0, 4.5))
                pane(at + 0.2, end - 0.2, 0.5, base - 0.9, varied(rng, (44, 46, 50), 18), facing)
                at = end
            pane(low + 0.1, high - 0.1, base - 0.75, base - 0.1, pick(rng, BRIGHT, 18), facing)
        elif rng.random() < 0.7:  # a door
            at = rng.uniform(low, max(low + 0.1, high - 1.2))
            pane(at, at + 1.0, 0, 2.1, pick(rng, BRIGHT, 25), facing * 0.8)
        y = base + (storey - tall) * 0.6
        while y + tall < height:
            at = low + pitch * 0.3
            while at + wide < high:
                if self.camera.px(tall, max(at if x is not None else z, 1.0)) > 2.0:
                    if framed:
                        pane(at - 0.12, at + wide + 0.12, y - 0.14, y + tall + 0.12, frame, facing)
                    shine = varied(rng, (150, 160, 170), 30) if rng.random() < 0.2 else varied(rng, glass, 14)
                    pane(at, at + wide, y, y + tall, shine, 0.55 + 0.45 * facing)
                    if framed and rng.random() < 0.8:
                        pane(at, at + wide, y + tall * 0.48, y + tall * 0.54, frame, facing)
                at += pitch
            y += storey

    def tree(self, x: float, z: float, height: float, *, bare: bool) -> None:
        """A trunk and a crown: leaves as many small patches, or branches without leaves."""
        rng, camera = self.rng, self.camera
        foot, top = camera.project([(x, 0, z), (x, height, z)])
        tall = foot[1] - top[1]
        if tall < 3:
            return
        bark, leaf = pick(rng, BARK, 10), pick(rng, LEAVES, 10)
        if bare:
            colour = self.light.on(bark, self.light.front * 0.8, z)
            self.branch(
                foot,
                np.array([rng.normal(0, 0.05), -1.0]),
                tall * rng.uniform(0.2, 0.36),
                max(1.0, tall * rng.uniform(0.02, 0.04)),
                colour,
                0,
            )
            return
        trunk = max(1.0, tall * rng.uniform(0.03, 0.06))
        self.canvas.line(np.stack((foot, (foot + top) / 2)), trunk, self.light.on(bark, self.light.front * 0.7, z), TREE)
        bottom = rng.uniform(0.2, 0.4)
        self.leaves(
            (foot[0], foot[1] - tall * (1 + bottom) / 2), (tall * rng.uniform(0.25, 0.45), tall * (1 - bottom) / 2), leaf, z
        )

    def branch(self, start: Points, way: Points, length: float, width: float, colour: tuple[int, int, int], level: int) -> None:
        end = start + way * length
        self.canvas.line(np.stack((start, end)), width, colour, TREE)
        if level >= 5 or length < 2.5:
            return
        for turn in self.rng.normal(0, 0.45, 2 if level > 1 else 4):
            c, s = np.cos(turn), np.sin(turn)
            turned = np.array([way[0] * c - way[1] * s, way[0] * s + way[1] * c])
            along = start + way * length * self.rng.uniform(0.6, 1.0)
            self.branch(along, turned, length * self.rng.uniform(0.6, 0.85), width * 0.58, colour, level + 1)

    def leaves(self, centre: tuple[float, float], radii: tuple[float, float], leaf: Rgb, z: float) -> None:
        """A crown: patches of leaves inside an ellipse, brighter above."""
        rng = self.rng
        count = int(np.clip(radii[0] * radii[1] / 5, 20, 240))
        angle, reach = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1.15, count))
        size = np.hypot(*radii) * rng.uniform(0.03, 0.2, count) * (1.2 - 0.85 * np.minimum(reach, 1))
        order = np.argsort(-reach)
        for k in order:
            at = centre[0] + radii[0] * reach[k] * np.cos(angle[k]), centre[1] + radii[1] * reach[k] * np.sin(angle[k])
            lit = 0.7 - 0.3 * np.sin(angle[k]) * reach[k] + rng.normal(0, 0.2)
            shape = size[k] * rng.uniform(0.6, 1.1), size[k] * rng.uniform(0.5, 0.9)
            self.canvas.ellipse(at, shape, self.light.on(leaf, self.light.up * lit, z), TREE)

    def hedge(self, x: float, z0: float, z1: float, height: float) -> None:
        rng, leaf = self.rng, pick(self.rng, LEAVES, 10)
        self.face(wall(x, z0, z1, 0, height * 0.85), leaf, self.light.side(x) * 0.6, TREE)
        for z in np.geomspace(max(z0, 2.0), z1, 14)[::-1]:
            (u, v), size = self.camera.project([(x, height * rng.uniform(0.5, 0.9), z)])[0], self.camera.px(height * 0.35, z)
            self.canvas.ellipse((u, v), (size * 1.3, size), self.light.on(leaf, self.light.up * rng.uniform(0.45, 0.8), z), TREE)

    def lamp(self, x: float, z: float) -> None:
        """A lamp post, a telegraph pole or a flag pole."""
        rng, height = self.rng, self.rng.uniform(5, 10)
        foot, top = self.camera.project([(x, 0, z), (x, height, z)])
        width = max(0.6, self.camera.px(rng.uniform(0.12, 0.22), z))
        colour = self.light.on(pick(rng, ((90, 94, 96), (60, 62, 64), (150, 152, 150), (50, 70, 60)), 10), self.light.front, z)
        self.canvas.line(np.stack((foot, top)), width, colour, POLE)
        self.canvas.line(np.stack((foot, foot + (top - foot) * 0.14)), width * 1.7, colour, POLE)
        if rng.random() < 0.7:
            arm = top + np.array([-np.sign(x) * self.camera.px(rng.uniform(0.8, 2.0), z), -self.camera.px(0.25, z)])
            self.canvas.line(np.stack((top, arm)), width * 0.8, colour, POLE)
            self.canvas.ellipse(tuple(arm), (self.camera.px(0.4, z), self.camera.px(0.12, z)), colour, POLE)

    def bollard(self, x: float, z: float) -> None:
        dark = self.rng.random() < 0.7
        colour = self.light.on((40, 40, 42) if dark else (220, 215, 200), self.light.front, z)
        foot, top = self.camera.project([(x, 0, z), (x, 1.0, z)])
        self.canvas.line(np.stack((foot, top)), max(0.8, self.camera.px(0.16, z)), colour, POLE)

    def sign(self, x: float, z: float) -> None:
        """A traffic sign or a traffic light on its pole."""
        rng, camera = self.rng, self.camera
        height = rng.uniform(2.2, 3.4)
        foot, top = camera.project([(x, 0, z), (x, height, z)])
        self.canvas.line(
            np.stack((foot, top)), max(0.6, camera.px(0.09, z)), self.light.on((110, 112, 112), self.light.front, z), POLE
        )
        if rng.random() < 0.35:
            box = camera.project(front(x - 0.17, x + 0.17, z, height - 1.0, height))
            self.canvas.polygon(box, self.light.on((24, 24, 26), self.light.front, z), SIGN)
            lamp = int(rng.integers(3))
            centre = (box[0] + box[2]) / 2 + np.array([0, camera.px(0.3, z) * (lamp - 1)])
            glow = ((255, 60, 40), (255, 180, 40), (70, 255, 140))[lamp]
            self.canvas.ellipse(tuple(centre), (max(0.6, camera.px(0.11, z)),) * 2, glow, SIGN)
            return
        size, rim, face = camera.px(rng.uniform(0.28, 0.5), z), pick(rng, BRIGHT, 10), varied(rng, (232, 230, 224), 10)
        shown = [self.light.on(c, self.light.front * 1.1, z) for c in (rim, face)]
        kind = rng.integers(3)
        for scale, colour in zip((1.0, 0.68), shown, strict=True):
            if kind == 0:
                self.canvas.ellipse(tuple(top), (size * scale, size * scale), colour, SIGN)
            elif kind == 1:
                corners = np.array([(0, -1.1), (1, 0.75), (-1, 0.75)]) * size * scale
                self.canvas.polygon(top + corners, colour, SIGN)
            else:
                corners = np.array([(-1.2, -0.9), (1.2, -0.9), (1.2, 0.9), (-1.2, 0.9)]) * size * scale
                self.canvas.polygon(top + corners, colour, SIGN)

    def shop_sign(self, x: float, z: float) -> None:
        """A board that stands out from a facade."""
        rng, y = self.rng, self.rng.uniform(2.8, 4.5)
        wide, tall = rng.uniform(0.5, 1.1), rng.uniform(0.5, 1.3)
        inner = x - np.sign(x) * wide
        self.face(front(min(x, inner), max(x, inner), z, y, y + tall), pick(rng, BRIGHT), self.light.front, SIGN)
        self.face(
            front(min(x, inner) + 0.1, max(x, inner) - 0.1, z, y + tall * 0.4, y + tall * 0.6),
            pick(rng, BRIGHT),
            self.light.front,
            None,
        )

    def fence(self, x: float, z0: float, z1: float, *, solid: bool) -> None:
        """Railings, which show what is behind them and are a fence all the same, or boards and low walls."""
        rng, height = self.rng, self.rng.uniform(0.9, 1.7)
        colour, facing = (
            pick(rng, ((40, 40, 42), (60, 66, 60), (130, 110, 84), (150, 120, 96), (110, 108, 104)), 12),
            self.light.side(x),
        )
        if solid:
            self.face(wall(x, z0, z1, 0, height), colour, facing, FENCE)
            for z in np.arange(z0, z1, 1.8):
                self.face(wall(x, z, z + 0.12, 0, height + 0.1), varied(rng, colour, 18), facing, FENCE)
            return
        self.canvas.polygon(self.camera.project(wall(x, z0, z1, 0, height)), None, FENCE)
        for y in (0.15, height):
            ends = self.camera.project([(x, y, z0), (x, y, z1)])
            self.canvas.line(ends, max(0.5, self.camera.px(0.05, z0)), self.light.on(colour, facing, z0))
        step = 0.13 * (1 + z0 / 12)  # far bars melt into each other
        for z in np.arange(z0, z1, step):
            bar = self.camera.project([(x, 0.1, z), (x, height, z)])
            self.canvas.line(bar, max(0.4, self.camera.px(0.025, z)), self.light.on(colour, facing, z))
