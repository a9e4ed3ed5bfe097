"""A fleet whose truth is known: what happens to it, its losses, and what a re-training heals.

Takes size and seed, gives for each day which batches come, with which loss, and what a re-training
brings. Next is `desk`, which plays the agent on it and looks at the incidents.

Losses are simulated as such, one per stream and day: gamma (standard deviation 20 to 35 % of the
mean), weekends 20 % higher for half of the streams, a lognormal factor of 4 % per day that all have
in common, and one per city and day.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

WARM_UP, WEEKS = 28, 26
DAYS = WARM_UP + 7 * WEEKS
NEVER = 10_000
COMMON_NOISE = 0.04
HELD_OUT = 28


@dataclass(frozen=True, slots=True)
class Planted:
    """Something that happens.

    kind
        ``break`` (one stream), ``group``, ``fleet`` (all of them losses that rise), ``missing``
        (actuals), ``gone`` (forecasts), ``dead`` (losses of 0), ``failing``, ``silent`` (trainer).
    scope
        ``fleet``, ``tag=value`` or empty: ``rows`` are all there is to say.
    begins, ends
        days, the last one exclusive; `NEVER` = for good, unless a re-training heals it.
    factor
        by which losses are multiplied.
    ripe
        days after the begin from which on a re-training heals it; `NEVER` = none does.
    """

    kind: str
    scope: str
    rows: Ints
    begins: int
    ends: int
    factor: float = 1.0
    ripe: int = NEVER

    @property
    def lasting(self) -> bool:
        """Whether it is a break: for good, unless it is healed."""
        return self.ends == NEVER and self.kind in ("break", "group", "fleet")


@dataclass(slots=True)
class World:
    """A fleet, what was planted in it, and which breaks are healed so far."""

    n: int
    seed: int
    names: list[str]
    tags: dict[str, dict[str, str]]
    planted: list[Planted]
    level: Floats
    shape: Floats
    weekend: Floats
    healed: list[dict[int, int]] = field(default_factory=list)
    losses: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    def factors(self, day: int) -> Floats:
        """Return by what the losses of each stream are multiplied on a day."""
        made = np.ones(self.n)
        for one, healed in zip(self.planted, self.healed, strict=True):
            if one.begins <= day < one.ends and one.factor != 1.0:
                rows = one.rows
                if healed:
                    rows = rows[[healed.get(row, NEVER) > day for row in rows.tolist()]]
                made[rows] *= one.factor
        return made

    def day(self, day: int) -> tuple[Ints, Floats, Bools]:
        """Return the streams with a forecast, their losses, and which of them have actuals."""
        losses = self.losses[day] * self.factors(day)
        forecast, actual = np.ones(self.n, dtype=np.bool_), np.ones(self.n, dtype=np.bool_)
        for one in self.planted:
            if one.begins <= day < one.ends:
                if one.kind == "dead":
                    losses[one.rows] = 0.0
                elif one.kind == "missing":
                    actual[one.rows] = False
                elif one.kind == "gone":
                    forecast[one.rows] = False
        rows = np.flatnonzero(forecast)
        return rows, losses[rows], actual[rows]

    def retrain(self, rows: Ints, day: int) -> Floats:
        """Let new versions go live from ``day`` on; return their losses held out, ``(n, 28)``.

        They are losses on the days before: of a version that heals a break they are low there too.
        Those of days before the first one are made up, and not told.
        """
        for one, healed in zip(self.planted, self.healed, strict=True):
            if one.lasting and one.begins + one.ripe <= day:
                for row in np.intersect1d(one.rows, rows).tolist():
                    healed.setdefault(row, day)
        span = range(day - HELD_OUT, day)
        made = self.losses[np.maximum(np.array(span), 0)][:, rows].T.copy()
        for one, healed in zip(self.planted, self.healed, strict=True):
            hit = np.isin(rows, one.rows)
            hit &= np.array([row not in healed for row in rows.tolist()])
            days = np.array([one.begins <= at < one.ends for at in span])
            made[np.ix_(hit, days)] *= one.factor
        return made

    def trainer(self, day: int) -> str:
        """Return what the trainer does on a day: empty = it works."""
        kinds = (one.kind for one in self.planted if one.begins <= day < one.ends)
        return next((kind for kind in kinds if kind in ("failing", "silent")), "")


def world(n: int, seed: int) -> World:
    """Return a fleet of ``n`` streams in cities of areas, with all that is planted in it."""
    rng = np.random.default_rng(seed)
    cities = max(16, n // 250)
    weights = rng.uniform(0.4, 1.6, cities)
    city = rng.choice(cities, n, p=weights / weights.sum())
    area = city // 4
    kind = rng.integers(0, 3, n)
    names = [f"stream {row:06d}" for row in range(n)]
    tags = {
        "city": {name: f"C{at:02d}" for name, at in zip(names, city.tolist(), strict=True)},
        "area": {name: f"A{at:02d}" for name, at in zip(names, area.tolist(), strict=True)},
        "kind": {name: f"K{at}" for name, at in zip(names, kind.tolist(), strict=True)},
    }
    made = World(
        n=n,
        seed=seed,
        names=names,
        tags=tags,
        planted=_planted(rng, n, city, area),
        level=rng.lognormal(0, 1, n),
        shape=1 / rng.uniform(0.20, 0.35, n) ** 2,
        weekend=np.where(rng.random(n) < 0.5, 1.2, 1.0),
    )
    made.healed = [{} for _ in made.planted]
    made.losses = _losses(made, rng, city, cities)
    return made


def _losses(made: World, rng: np.random.Generator, city: Ints, cities: int) -> Floats:
    """Return the losses of all days as if nothing had happened, ``(days, n)``."""
    days = np.arange(DAYS)
    alone = rng.gamma(made.shape, 1 / made.shape, (DAYS, made.n))
    fleet = rng.lognormal(0, COMMON_NOISE, (DAYS, 1))
    groups = rng.lognormal(0, COMMON_NOISE, (DAYS, cities))[:, city]
    weekend = np.where((days % 7 >= 5)[:, None], made.weekend, 1.0)
    return np.asarray(alone * fleet * groups * weekend * made.level)


def _planted(rng: np.random.Generator, n: int, city: Ints, area: Ints) -> list[Planted]:
    """Return what happens: the calendar of common events is fixed, who they hit is drawn."""
    every = np.arange(n)
    n_cities, n_areas = int(city.max()) + 1, int(area.max()) + 1
    picked = rng.permutation(n_cities).tolist()
    zones = rng.permutation(n_areas).tolist()

    def at(week: int) -> int:
        return WARM_UP + 7 * week + int(rng.integers(0, 5))

    def in_city(number: int) -> tuple[str, Ints]:
        one = picked[number % len(picked)]
        return f"city=C{one:02d}", np.flatnonzero(city == one)

    def in_area(number: int) -> tuple[str, Ints]:
        one = zones[number % len(zones)]
        return f"area=A{one:02d}", np.flatnonzero(area == one)

    def spell(kind: str, where: tuple[str, Ints], week: int, days: int, factor: float) -> Planted:
        begins = at(week)
        return Planted(kind, *where, begins, begins + days, factor)

    def shift(
        kind: str, where: tuple[str, Ints], week: int, factor: float, ripe: int, *, share: float = 1
    ) -> Planted:
        scope, rows = where
        hit = np.sort(rng.choice(rows, max(1, int(share * len(rows))), replace=False))
        return Planted(kind, scope, hit, at(week), NEVER, factor, ripe)

    fleet = ("fleet", every)
    made = [
        spell("fleet", fleet, 2, 2, 1.5),
        spell("group", in_city(0), 3, 3, 1.6),
        shift("group", in_city(1), 5, 1.5, 3),
        spell("missing", in_city(2), 6, 3, 1.0),
        spell("group", in_area(0), 7, 4, 1.4),
        spell("fleet", fleet, 9, 4, 1.25),
        shift("group", in_city(3), 11, 1.8, NEVER),
        spell("failing", ("", every), 12, 4, 1.0),
        spell("missing", fleet, 14, 1, 1.0),
        shift("group", in_city(4), 15, 1.5, 3, share=0.5),
        shift("fleet", fleet, 17, 1.4, 4),
        spell("missing", in_area(1), 20, 2, 1.0),
        spell("silent", ("", every), 21, 8, 1.0),
        spell("gone", in_city(5), 23, 12, 1.0),
        spell("fleet", fleet, 24, 1, 2.0),
    ]
    return made + _alone(rng, n)


def _alone(rng: np.random.Generator, n: int) -> list[Planted]:
    """Return what happens to single streams: breaks of 5 %, holes and dead sensors of few."""
    n_breaks, n_dead, n_holes = (max(2, int(share * n)) for share in (0.05, 0.002, 0.002))
    rows = rng.permutation(n)[: n_breaks + n_dead + n_holes]
    made = []
    for row in rows[:n_breaks].tolist():
        begins = int(rng.integers(WARM_UP + 7, DAYS))
        ripe = NEVER if rng.random() < 0.15 else int(rng.integers(1, 11))
        factor = float(rng.uniform(1.3, 2.5))
        made.append(Planted("break", "", np.array([row]), begins, NEVER, factor, ripe))
    for row in rows[n_breaks : n_breaks + n_dead].tolist():
        begins = int(rng.integers(WARM_UP + 7, DAYS - 21))
        made.append(Planted("dead", "", np.array([row]), begins, NEVER))
    for row in rows[n_breaks + n_dead :].tolist():
        begins = int(rng.integers(WARM_UP + 7, DAYS - 21))
        length = int(rng.integers(5, 21))
        made.append(Planted("missing", "", np.array([row]), begins, begins + length))
    short = rng.poisson(0.001 * n, DAYS)  # a hole of a day: no incident
    for day in range(WARM_UP, DAYS):
        hit = np.sort(rng.choice(n, short[day], replace=False))
        made.append(Planted("missing", "", hit, day, day + 1))
    return made
