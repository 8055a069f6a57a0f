"""What moves in a drawn street: cars, vans and buses from all sides, people, riders on bicycles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from maskwright.demo.street_camera import Points, Rgb
from maskwright.demo.street_things import BICYCLIST, CAR, PEDESTRIAN, VOID, Things, pick, varied

PAINTS: tuple[Rgb, ...] = (
    (30, 32, 36), (70, 74, 80), (150, 154, 160), (190, 192, 196), (232, 232, 230), (120, 24, 26), (30, 44, 90), (60, 100, 140),
    (34, 60, 48), (180, 160, 110), (170, 40, 30),
)  # fmt: skip
CLOTHES: tuple[Rgb, ...] = (
    (34, 34, 38),
    (54, 58, 70),
    (84, 72, 60),
    (120, 30, 34),
    (40, 60, 90),
    (150, 148, 140),
    (200, 196, 186),
    (70, 84, 60),
)
SKINS: tuple[Rgb, ...] = ((208, 168, 142), (176, 128, 98), (120, 84, 62), (224, 186, 160))

Profile = Sequence[tuple[float, float]]
Place = Callable[[Profile, float | Sequence[float]], Points]  # points of a side view, at this far to the right of the middle
Face = tuple[float, Points, Rgb, float]  # distance, outline, colour, facing

# Side views as (metres from the tail, height): a body of even width, and above it windows that lean inwards.
KINDS: dict[str, tuple[Profile, Profile, float]] = {
    "hatchback": (
        ((0, 0.3), (0, 0.85), (0.1, 0.95), (2.75, 0.95), (3.75, 0.78), (3.9, 0.6), (3.9, 0.3)),
        ((0.1, 0.95), (0.45, 1.45), (1.9, 1.47), (2.75, 0.95)), 1.7,
    ),
    "saloon": (
        ((0, 0.3), (0, 0.9), (0.9, 0.97), (3.1, 0.95), (4.35, 0.78), (4.5, 0.55), (4.5, 0.3)),
        ((0.75, 0.97), (1.25, 1.4), (2.4, 1.43), (3.2, 0.95)), 1.76,
    ),
    "estate": (
        ((0, 0.3), (0, 0.9), (0.05, 0.98), (3.2, 0.98), (4.4, 0.8), (4.55, 0.55), (4.55, 0.3)),
        ((0.05, 0.98), (0.3, 1.48), (2.5, 1.5), (3.3, 0.98)), 1.78,
    ),
    "van": (
        ((0, 0.3), (0, 1.2), (4.0, 1.15), (4.8, 0.95), (5.0, 0.6), (5.0, 0.3)),
        ((0, 1.2), (0.05, 2.3), (3.5, 2.3), (4.2, 1.15)), 1.95,
    ),
    "bus": (
        ((0, 0.35), (0, 1.4), (9.8, 1.4), (9.9, 0.35)),
        ((0, 1.4), (0.05, 3.1), (9.6, 3.1), (9.85, 1.4)), 2.5,
    ),
}  # fmt: skip


class Traffic(Things):
    """Draws what moves, on the same canvas."""

    def car(self, x: float, z: float, heading: float, kind: str) -> None:
        """A vehicle whose middle stands at (x, z); heading 0 drives away, pi comes towards the camera."""
        rng = self.rng
        body, cabin, width = KINDS[kind]
        length = body[-1][0]
        paint = pick(rng, PAINTS, 10)
        along = np.array([np.sin(heading), np.cos(heading)])
        across = np.array([np.cos(heading), -np.sin(heading)])

        def place(profile: Profile, s: float | Sequence[float]) -> Points:
            points, sides = np.asarray(profile, float), np.broadcast_to(s, len(profile))
            flat = np.array([x, z]) + (points[:, :1] - length / 2) * along + sides[:, None] * across
            return np.stack((flat[:, 0], points[:, 1], flat[:, 1]), 1)

        half, narrow = width / 2, width / 2 * (0.86 if kind not in ("van", "bus") else 0.97)
        if (place(body, 0)[:, 2] - half).min() < 1.2:
            return
        self._underneath(place(((-0.1, 0), (length + 0.1, 0)), -half), place(((length + 0.1, 0), (-0.1, 0)), half))
        faces: list[Face] = []
        glass = varied(rng, (36, 42, 48), 10)
        for outline, reach, is_cabin in ((body, (half, half), False), (cabin, (half, narrow), True)):
            sides = (
                [reach[0] if y <= outline[0][1] + 0.01 else reach[1] for _, y in outline] if is_cabin else [half] * len(outline)
            )
            for k, ((la, ya), (lb, yb)) in enumerate(pairwise(outline)):
                strip = np.concatenate(
                    (
                        place(((la, ya), (lb, yb)), [-sides[k], -sides[k + 1]]),
                        place(((lb, yb), (la, ya)), [sides[k + 1], sides[k]]),
                    )
                )
                flat = abs(yb - ya) < 0.3 * abs(lb - la)
                away, facing = self._distance(strip), self.light.up if flat else self.light.front
                faces.append((away, strip, paint, facing))
                if is_cabin and not flat and not (kind == "van" and k == 0 and rng.random() < 0.5):
                    middle = strip.mean(0)  # the roof rests on a rim around the pane
                    faces.append((away - 0.01, middle + (strip - middle) * np.array([0.88, 0.8, 0.88]), glass, facing))
            for sign in (-1, 1):
                panel = place(outline, [sign * s for s in sides])
                facing = self.light.side(-sign * across[0]) if abs(across[0]) > 0.5 else self.light.front
                faces.append((self._distance(panel) - 0.2 * is_cabin, panel, paint, facing))
                if is_cabin:
                    middle = panel.mean(0)
                    pane = middle + (panel - middle) * np.array([0.86, 0.72, 0.86])
                    if kind != "van":
                        faces.append((self._distance(panel) - 0.3, pane, glass, self.light.front))
        faces += self._wheels(place, length, half, kind)
        for _, points, colour, facing in sorted(faces, key=lambda f: -f[0]):
            self.face(points, colour, facing, CAR)
        self._ends(place, length, half, body)

    def _distance(self, points: Points) -> float:
        return float(np.hypot(points[:, 0], points[:, 2]).mean())

    def _underneath(self, left: Points, right: Points) -> None:
        """The dark space under a vehicle and the soft shadow around it."""
        outline = self.camera.project(np.concatenate((left, right)))
        self.canvas.polygon(outline, self.light.on((26, 26, 28), self.light.up * 0.6))
        middle = outline.mean(0)
        self.canvas.shadow(middle + (outline - middle) * np.array([1.12, 1.25]), 0.55)
        if self.light.sunny:
            self.canvas.shadow(outline + np.array([-self.light.sun_side * np.ptp(outline[:, 0]) * 0.4, 0]), 0.5)

    def _wheels(self, place: Place, length: float, half: float, kind: str) -> list[Face]:
        """Tyres and hubs of both sides; those on the far side end up behind the body."""
        radius = 0.45 if kind == "bus" else 0.31
        angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        hub = varied(self.rng, (120, 122, 126), 25)
        faces: list[Face] = []
        for sign in (-1, 1):
            for at in (length * 0.17, length * 0.81):
                for scale, colour in ((1.0, (18.0, 18.0, 20.0)), (0.58, hub)):
                    ring = [(at + radius * scale * np.cos(a), radius + radius * scale * np.sin(a)) for a in angles]
                    points = place(ring, sign * (half + 0.01))
                    faces.append(
                        (
                            self._side_distance(place, length, sign * half) - 0.4 - 0.1 * (scale < 1),
                            points,
                            colour,
                            self.light.front,
                        )
                    )
        return faces

    def _side_distance(self, place: Place, length: float, s: float) -> float:
        return self._distance(place(((0, 0.5), (length, 0.5)), s))

    def _ends(self, place: Place, length: float, half: float, body: Profile) -> None:
        """Lamps, number plate and bumper of the end that faces the camera."""
        tail, nose = place(((0, 0.6),), 0), place(((length, 0.6),), 0)
        rear = self._distance(tail) < self._distance(nose)
        at, top = (-0.02, body[1][1]) if rear else (length + 0.02, body[-2][1] + 0.12)
        lamp: Rgb = (176, 20, 18) if rear else (236, 236, 226)
        glow = 1.25 if self.rng.random() < 0.3 else self.light.front
        for sign in (-1, 1):
            outer, inner = sign * half * 0.97, sign * half * 0.68
            box = place(((at, top - 0.32), (at, top - 0.06), (at, top - 0.06), (at, top - 0.32)), [outer, outer, inner, inner])
            self.face(box, lamp, glow, CAR)
        for low, high, wide, colour in (
            (0.28, 0.42, 0.98, (36, 36, 38)),
            (0.46, 0.57, 0.3, (214, 186, 70) if rear else (226, 226, 220)),
        ):
            w = half * wide
            self.face(place(((at, low), (at, high), (at, high), (at, low)), [-w, -w, w, w]), colour, self.light.front, CAR)

    def person(self, x: float, z: float, *, label: int = PEDESTRIAN, seat_m: float = 0.0) -> None:
        """Someone who stands or walks; seat_m lifts the body, for riders."""
        rng, camera = self.rng, self.camera
        height = rng.uniform(1.5, 1.88) + seat_m
        foot, top = camera.project([(x, 0, z), (x, height, z)])
        tall = (foot[1] - top[1]) * (1 - seat_m / height)
        upper, lower, skin = (pick(rng, c, 12) for c in (CLOTHES, CLOTHES, SKINS))
        paint = [self.light.on(c, self.light.front, z) for c in (upper, lower, skin, varied(rng, (52, 40, 32), 20))]
        turned, stride, lean = rng.uniform(0.65, 1.0), rng.normal(0, 0.12), rng.normal(0, 0.02) + 0.08 * (seat_m > 0)

        def at(across: float, up: float) -> tuple[float, float]:
            return foot[0] + (across + lean * up) * tall, top[1] + (1 - up) * tall

        hip, shoulder = 0.095 * turned, 0.135 * turned
        for side, step in ((-1, stride), (1, -stride)):
            knee, ankle = at(side * 0.05 + step * 0.4, 0.26), at(side * 0.05 + step, 0.02)
            self.canvas.line(np.array([at(side * 0.05, 0.5), knee, ankle]), max(0.7, 0.085 * tall), paint[1], label)
            self.canvas.ellipse((ankle[0] + 0.02 * tall, ankle[1]), (0.05 * tall, 0.022 * tall), paint[3], label)
        coat = rng.uniform(0.36, 0.5)
        torso = [
            at(-hip * 1.1, coat),
            at(-hip, 0.6),
            at(-shoulder, 0.81),
            at(-0.04, 0.86),
            at(0.04, 0.86),
            at(shoulder, 0.81),
            at(hip, 0.6),
            at(hip * 1.1, coat),
        ]
        for side in (-1, 1):
            swing = rng.normal(0, 0.05)
            self.canvas.line(
                np.array(
                    [
                        at(side * shoulder, 0.79),
                        at(side * (shoulder + 0.02) + swing, 0.62),
                        at(side * shoulder + 1.6 * swing, 0.47),
                    ]
                ),
                max(0.6, 0.055 * tall),
                paint[0],
                label,
            )
        self.canvas.polygon(np.array(torso), paint[0], label)
        self.canvas.ellipse(at(0, 0.925), (0.052 * tall, 0.068 * tall), paint[2], label)
        self.canvas.ellipse(at(0, 0.95), (0.056 * tall, 0.05 * tall), paint[3], label)
        if rng.random() < 0.3 and not seat_m:  # a bag
            middle = at(rng.choice([-1, 1]) * 0.16, 0.42)
            self.canvas.ellipse(middle, (0.06 * tall, 0.08 * tall), self.light.on(pick(rng, CLOTHES), self.light.front, z), label)
        if not seat_m:
            self.canvas.shadow_spot(tuple(foot), (0.2 * tall, 0.035 * tall), 0.5)

    def bicycle(self, x: float, z: float, *, ridden: bool) -> None:
        """Seen from the side, from behind or between; without a rider it belongs to no class."""
        rng, camera = self.rng, self.camera
        label = BICYCLIST if ridden else VOID
        view = rng.uniform(0.15, 1.0) * rng.choice([-1, 1])
        ground, hub = camera.project([(x, 0, z), (x, 0.34, z)])
        radius, base = camera.px(0.34, z), camera.px(1.05, z) * view
        tyre, frame = self.light.on((24, 24, 26), self.light.front, z), self.light.on(pick(rng, PAINTS, 10), self.light.front, z)
        wide = max(0.5, camera.px(0.045, z))
        hubs = [hub + np.array([s * base / 2, 0]) for s in (-1, 1)]
        angles = np.linspace(0, 2 * np.pi, 22)
        for middle in hubs:
            squeeze = max(abs(view), 0.16)
            ring = middle + np.stack((radius * squeeze * np.cos(angles), radius * np.sin(angles)), 1)
            if ridden:
                self.canvas.polygon(ring, None, label)
            self.canvas.line(ring, wide, tyre, label)
            for a in angles[::3]:
                self.canvas.line(np.stack((middle, middle + radius * np.array([squeeze * np.cos(a), np.sin(a)]))), 0.3, tyre)
        saddle, bars, pedals = (
            hub + np.array([f * base, -camera.px(up, z)]) for f, up in ((-0.22, 0.5), (0.38, 0.6), (-0.05, -0.05))
        )
        for chain in ((hubs[0], saddle, bars, hubs[1]), (hubs[0], pedals, saddle), (pedals, bars)):
            self.canvas.line(np.stack(chain), wide, frame, label)
        self.canvas.shadow_spot(tuple(ground), (max(abs(base), radius * 0.3), radius * 0.12), 0.5)
        if ridden:
            self.person(x, z, label=label, seat_m=0.25)
