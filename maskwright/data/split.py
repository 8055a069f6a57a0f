"""Splits: those that are there are kept; where there are none they are drawn by a seeded hash, group by group.

Groups that are named (one drive, one hospital) can be held out: they are neither fitted to nor chosen by.

The hash of a name decides alone, so adding or removing a file moves no other, and every machine draws the same split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from maskwright.annotations.damaged_files import damaged_files
from maskwright.data.dataset import Dataset, Pair
from maskwright.data.wording import counted
from maskwright.errors import InputError

INNER = "inner"
HELD_OUT = "held-out"


def ensure_splits(dataset: Dataset, *, seed: int = 0, val: float = 0.15, test: float = 0.15) -> Dataset:
    """The data set with a split to fit on and one to choose by; what was drawn is said in its layout line.

    train and val are kept where both are there. Without val, val is drawn from train. Without any split train, val and
    test are drawn; test stays empty with test=0 or with fewer than three groups (images, where there are no groups).

    Raises:
        InputError: fewer than two groups to draw from, shares that leave nothing to fit on, or splits without a train.
    """
    if not 0 < val < 1 or not 0 <= test < 1 or val + test >= 1:
        raise InputError(f"val={val}, test={test}: shares must be in (0, 1), test may be 0, and together they must stay below 1.")
    have = dataset.splits
    if {"train", "val"} <= set(have):
        return dataset
    if set(have) == {"all"}:
        return _drawn(dataset, "all", {"test": test, "val": val}, "train", seed)
    if "train" in have:
        return _drawn(dataset, "train", {"val": val}, "train", seed)
    # Train may be there, in a file that says nothing.
    root = dataset.root
    damaged = (
        [] if root is None else [said for path, said in damaged_files(root) if "train" in str(path.relative_to(root)).lower()]
    )
    why = "".join(f" {said}" for said in damaged)
    raise InputError(
        f"{dataset.name}: there is no train split (found: {', '.join(have)}).{why} Name the folder to fit on train, or put "
        f"all images into one images folder to have splits drawn."
    )


def carve(dataset: Dataset, share: float, seed: int = 0) -> Dataset:
    """Take a share of the train groups away as split "inner", to choose by while val stays unseen.

    Raises:
        InputError: share is not in (0, 1), or train is one group only.
    """
    if not 0 < share < 1:
        raise InputError(f"share={share}: the share of train to hold back must lie between 0 and 1.")
    return _drawn(dataset, "train", {INNER: share}, "train", seed)


def hold_out(dataset: Dataset, groups: Sequence[str]) -> Dataset:
    """Take all images of named groups but those of test away as split "held-out": one whole drive, one hospital.

    A test split stays as it is: what a publisher set apart is scored as the publisher meant it. Without any split the rest
    becomes train.

    Raises:
        InputError: a name is no group of these images, or nothing would be left to fit on.
    """
    pairs = [p for p in dataset.pairs if p.split != "test"]
    known = sorted({p.group for p in pairs if p.group is not None})
    missing = [g for g in groups if g not in known]
    if missing or not groups:
        shown = f"there are {', '.join(known[:12])}" if known else "no groups were named: say with --group what in a name is one"
        raise InputError(f"{dataset.name}: no group {', '.join(map(repr, missing)) or 'to hold out'}; {shown}.")
    left = [p for p in pairs if p.group not in groups and p.split in ("train", "all")]
    if not left:
        raise InputError(f"{dataset.name}: holding out {', '.join(groups)} leaves nothing in train; hold out fewer groups.")
    moved = {p.name: HELD_OUT for p in pairs if p.group in groups}
    rest = {p.name: "train" for p in left if p.split == "all"}
    return dataset.with_splits({**moved, **rest}, f"{counted(len(moved), 'image')} of {', '.join(groups)} held out")


def pool(dataset: Dataset, splits: Sequence[str]) -> Dataset:
    """Make the images of the named splits train together; test stays apart.

    Raises:
        InputError: there is no such split, or it is test.
    """
    known = [s for s in dataset.splits if s != "test"]
    wrong = [s for s in splits if s not in known]
    if wrong:
        raise InputError(
            f"{dataset.name}: split {wrong[0]!r} cannot be fitted to; there are {', '.join(known)}, and test is for scores alone."
        )
    moved = {p.name: "train" for p in dataset.pairs if p.split in splits}
    return dataset.with_splits(moved, f"{' and '.join(splits)} fitted to together, {counted(len(moved), 'image')}")


def as_trained(
    dataset: Dataset, *, seed: int, holdout: float | None = None, held_out: Sequence[str] = (), fit: Sequence[str] = ()
) -> Dataset:
    """The splits that a run with these options works with: the same for training and for whoever scores the run later.

    Args:
        holdout: share of train to choose by, see carve; held_out: groups to leave alone, see hold_out
        fit: splits that become train together, see pool; val among them is drawn anew where there is no holdout

    Raises:
        InputError: see pool, hold_out, ensure_splits and carve.
    """
    if fit:
        dataset = pool(dataset, fit)
    if held_out:
        dataset = hold_out(dataset, held_out)
    if not (fit and holdout is not None):  # what is pooled stays together, but for the share to choose by
        dataset = ensure_splits(dataset, seed=seed, test=0.0 if holdout or HELD_OUT in dataset.splits else 0.15)
    return carve(dataset, holdout, seed) if holdout is not None and INNER not in dataset.splits else dataset


def _drawn(dataset: Dataset, source: str, shares: Mapping[str, float], rest: str, seed: int) -> Dataset:
    pairs = dataset.split(source)
    units = _units(pairs)
    if len(units) < 2:
        what, way_out = "one image", "Add images."
        if pairs[0].group is not None:
            what, way_out = f"one group ({pairs[0].group})", "Give a --group that tells them apart, or none."
        raise InputError(
            f"{dataset.name}: {what} cannot be split into images to fit on and images to choose by; two are needed. {way_out}"
        )
    split_of = draw(units, shares, rest, seed)
    splits = {p.name: split_of[_unit(p)] for p in pairs}
    counts = ", ".join(f"{list(splits.values()).count(s)} {s}" for s in (rest, *shares) if s in splits.values())
    by = f"by group, {len(units)} groups, " if any(p.group for p in pairs) else ""
    return dataset.with_splits(splits, f"split drawn from {source} {by}seed {seed}: {counts}".replace("from all ", ""))


def draw(units: Iterable[str], shares: Mapping[str, float], rest: str, seed: int) -> dict[str, str]:
    """Split of each unit: each share in turn takes the units whose hash falls into its stretch of [0, 1), rest the others.

    A share that got nothing takes the unit nearest to its stretch, as long as two units are left for rest and for the
    last share. So a small set always has a val, at the price that there an added file may move one other.
    """
    places = {unit: _place(unit, seed) for unit in units}
    result = dict.fromkeys(places, rest)
    low = 0.0
    for k, (split, share) in enumerate(shares.items()):
        high = low + share
        taken = [u for u, x in places.items() if low <= x < high and result[u] == rest]
        still_needed = len(shares) - k - 1
        left = [u for u in places if result[u] == rest]
        # Never all: rest and the shares to come need a unit each.
        taken = sorted(taken, key=places.__getitem__)[: max(0, len(left) - 1 - still_needed)]
        if not taken and share > 0 and len(left) > 1 + still_needed:
            taken = [min(left, key=lambda u: (min(abs(places[u] - low), abs(places[u] - high)), u))]
        result.update(dict.fromkeys(taken, split))
        low = high
    return result


def _place(unit: str, seed: int) -> float:
    return int.from_bytes(hashlib.sha256(f"{seed}/{unit}".encode()).digest()[:8], "big") / 2**64


def _units(pairs: Sequence[Pair]) -> list[str]:
    return list(dict.fromkeys(_unit(p) for p in pairs))


def _unit(pair: Pair) -> str:
    # The prefix keeps a group "7" and an ungrouped image "7" apart.
    return f"name:{pair.name}" if pair.group is None else f"group:{pair.group}"
