"""What lies where in a drawn sea: ships under way, at anchor, side by side and at berth, and who of them is in the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskwright.demo.tanker_land import Land, Quay, Shore
from maskwright.demo.tanker_offshore import draw_thing
from maskwright.demo.tanker_ships import Ship
from maskwright.demo.tanker_vessels import draw_hull, draw_kind, draw_ship
from maskwright.demo.tanker_view import Canvas, Frame, View, draw_view
from maskwright.demo.tanker_water import Mood, draw_mood
from maskwright.ops.polygons import fill

PLACES = {"open": 0.31, "anchorage": 0.19, "port": 0.38, "coast": 0.12}
LENGTH_PX = (24, 170)
LONGER = 0.65  # the lower, the more long ships; 1: as many of 24 to 48 px as of 48 to 96 px
LONGEST_M = 385
TANKER_SHARE = 0.6
EMPTY_SHARE = 0.1
LEAST_IN_PICTURE = 0.4  # of the hull


@dataclass(frozen=True)
class Drawn:
    """A scene before the satellite takes it.

    Attributes:
        ships: in the order of their numbers in `owners`
        land: (H, W), pixels of the shore
        owners: (H, W) uint16, 1 for a pixel of the first ship and so on, 0 for none
    """

    view: View
    mood: Mood
    canvas: Canvas
    shore: Shore
    land: NDArray[np.bool_]
    ships: tuple[Ship, ...]
    owners: NDArray[np.uint16]


def draw_sea(rng: np.random.Generator, hw: tuple[int, int]) -> Drawn:
    """Everything above the water of one scene."""
    view = draw_view(rng, hw, 0.5 * 6 ** rng.random() ** 0.75)
    place = str(rng.choice(list(PLACES), p=list(PLACES.values())))
    mood = draw_mood(rng, sheltered=place == "port")
    canvas = Canvas(hw, mood.colour)
    shore = Land(rng, canvas, view).port() if place == "port" else Shore()
    if place == "coast":
        shore = Land(rng, canvas, view).coast()
    land = canvas.solid()
    if rng.random() < (0.12 if place == "port" else 0.3):
        for _ in range(int(rng.integers(1, 4))):
            _add_thing(rng, canvas, view)
    fleet = Fleet(rng, canvas, view)
    if rng.random() > EMPTY_SHARE:
        _populate(fleet, place, shore, mood)
    return Drawn(view, mood, canvas, shore, land, tuple(fleet.ships), fleet.owners)


def _populate(fleet: Fleet, place: str, shore: Shore, mood: Mood) -> None:
    rng = fleet.rng
    if place == "anchorage":
        fleet.anchored(int(rng.integers(2, 7)), mood.wind + rng.normal(0, 0.3))
        fleet.under_way(int(rng.integers(0, 2)))
    elif place == "port":
        for quay in shore.quays:
            fleet.berthed(quay)
        fleet.under_way(int(rng.integers(0, 3)), hurry=0.45)
    else:
        fleet.under_way(int(rng.integers(1, 5)))
        if rng.random() < 0.3:
            fleet.anchored(int(rng.integers(1, 3)), mood.wind)
    if not fleet.ships:
        fleet.under_way(4)


def _add_thing(rng: np.random.Generator, canvas: Canvas, view: View) -> None:
    """A distractor on open water; none where something is near."""
    x, y = _anywhere(rng, view.hw)
    near = int(35 / view.metres_per_px) + 8
    if not canvas.solid()[max(0, int(y) - near) : int(y) + near, max(0, int(x) - near) : int(x) + near].any():
        draw_thing(rng, canvas, view, Frame((x, y), rng.uniform(0, 2 * math.pi), view.metres_per_px))


def _anywhere(rng: np.random.Generator, hw: tuple[int, int]) -> tuple[float, float]:
    return rng.uniform(-0.02, 1.02) * hw[1], rng.uniform(-0.02, 1.02) * hw[0]


class Fleet:
    """Places ships where there is water and draws them."""

    def __init__(self, rng: np.random.Generator, canvas: Canvas, view: View) -> None:
        self.rng, self.canvas, self.view = rng, canvas, view
        self.land = canvas.solid()
        self.owners = np.zeros(view.hw, np.uint16)
        self.ships: list[Ship] = []

    def length(self, lowest_px: float = LENGTH_PX[0]) -> float:
        """Metres, so that the ship is lowest_px to 170 px long; few are very short."""
        share = self.rng.random() ** LONGER
        pixels = lowest_px * (LENGTH_PX[1] / lowest_px) ** share
        return float(min(LONGEST_M * self.rng.uniform(0.9, 1), pixels * self.view.metres_per_px))

    def kind(self, length: float) -> str:
        return draw_kind(self.rng, length, TANKER_SHARE)

    def add(self, ship: Ship, clear_m: float) -> bool:
        """Draw a ship unless it would lie on land, on another one or mostly outside; says whether it did."""
        outline = ship.outline_px()
        mask = fill([outline], self.view.hw)
        if mask.area_px < LEAST_IN_PICTURE * _area(outline) or mask.area_px < 12:
            return False
        around = fill([ship.outline_px(clear_m)], self.view.hw) if clear_m > 0 else mask
        x0, y0, x1, y1 = around.box_xyxy
        wanted = around.crop((x0, y0, x1, y1))
        if (self.owners[y0:y1, x0:x1][wanted] > 0).any() or np.mean(self.land[y0:y1, x0:x1][wanted]) > 0.01:
            return False
        self.ships.append(ship)
        x0, y0, x1, y1 = mask.box_xyxy
        self.owners[y0:y1, x0:x1][mask.crop((x0, y0, x1, y1))] = len(self.ships)
        draw_ship(self.rng, self.canvas, self.view, ship)
        return True

    def ship(self, kind: str, length: float, frame: Frame, knots: float = 0.0) -> Ship:
        return Ship(kind, draw_hull(self.rng, kind, length), frame, knots)

    def under_way(self, count: int, hurry: float = 1.0) -> None:
        """Ships on courses of their own; most make a wake, and none has just left the land."""
        rng = self.rng
        for _ in range(count):
            length = self.length()
            kind = self.kind(length)
            for _ in range(6):
                frame = Frame(_anywhere(rng, self.view.hw), rng.uniform(0, 2 * math.pi), self.view.metres_per_px)
                moves = rng.random() < 0.75 and kind != "barge" and self._free_astern(frame, length)
                knots = hurry * rng.uniform(6, 17) if moves else 0.0
                if self.add(self.ship(kind, length, frame, knots), 0.1 * length):
                    break

    def _free_astern(self, frame: Frame, length: float) -> bool:
        path = frame.to_px([(-length * k, 0.0) for k in (0.75, 1.0, 1.5, 2.0)]).astype(int)
        h, w = self.view.hw
        return not any(self.land[y, x] for x, y in path.tolist() if 0 <= x < w and 0 <= y < h)

    def anchored(self, count: int, wind: float) -> None:
        """Ships that lie in the wind, all alike; some with another one alongside."""
        rng = self.rng
        for _ in range(count):
            length = self.length()
            for _ in range(6):
                frame = Frame(_anywhere(rng, self.view.hw), wind + rng.normal(0, 0.12), self.view.metres_per_px)
                ship = self.ship(self.kind(length), length, frame)
                if self.add(ship, 0.12 * length):
                    if rng.random() < 0.35:
                        self.alongside(ship, float(rng.choice([-1, 1])))
                    break

    def alongside(self, ship: Ship, side: float) -> Ship | None:
        """A ship moored to another one: nothing but fenders between them."""
        rng = self.rng
        length = max(ship.hull.length * rng.uniform(0.55, 1.05), LENGTH_PX[0] * self.view.metres_per_px)
        kind = ship.kind if rng.random() < 0.5 and ship.kind != "boat" else self.kind(length)
        other = self.ship(kind, length, ship.frame)
        gap = rng.uniform(0.2, 2.0) + 0.2 * self.view.metres_per_px
        away = side * (ship.hull.beam / 2 + other.hull.beam / 2 + gap)
        along = rng.uniform(-0.15, 0.15) * ship.hull.length
        turned = math.pi if rng.random() < 0.3 else 0.0
        other = Ship(kind, other.hull, ship.frame.moved(along, away, turned))
        return other if self.add(other, 0.0) else None

    def berthed(self, quay: Quay) -> None:
        """Ships along a quay, one behind the other; some with others moored to their outer side."""
        rng, half = self.rng, quay.length / 2
        s = -half + rng.uniform(0, 0.3) * half
        while s < half and len(self.ships) < 14:
            length = self.length(lowest_px=28)
            if rng.random() < 0.85 and s + length < 1.15 * half:
                kind = self.kind(length)
                hull = draw_hull(rng, kind, length)
                gap = rng.uniform(0.5, 2.5) + 0.3 * self.view.metres_per_px
                frame = quay.frame.moved(s + length / 2, -gap - hull.beam / 2, math.pi if rng.random() < 0.5 else 0.0)
                ship = Ship(kind, hull, frame)
                if self.add(ship, 0.0):
                    self._raft(ship, quay.frame)
            s += length + max(2.0, rng.uniform(0.05, 0.6) * length)

    def _raft(self, ship: Ship, quay: Frame) -> None:
        """Up to three ships abreast."""
        water_to_starboard = math.cos(ship.frame.heading - quay.heading) < 0
        outer: Ship | None = ship
        while outer is not None and self.rng.random() < 0.32:
            turned = math.cos(outer.frame.heading - ship.frame.heading) < 0
            outer = self.alongside(outer, 1.0 if water_to_starboard != turned else -1.0)


def _area(outline: NDArray[np.float64]) -> float:
    x, y = outline.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)
