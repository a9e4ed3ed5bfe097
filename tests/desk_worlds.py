"""A fleet whose truth is known, a real server that watches it, and people who sit at its desk.

The losses of each day are drawn anew from the day, whoever asks; troubles are planted. The trainer
is played: it answers on the day on which it is asked, and a new version takes off what heals.
"""

import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from live_server import serving, settings_of
from mlma.domain.inbox import Parcel, Rows
from mlma.domain.rows import LossRows
from mlma.service.bootstrap import build
from mlma.service.ground import lay_ground
from people_at_desks import user

START = datetime(2024, 1, 1, tzinfo=UTC)
"""A Monday; with the quiet days over it is the morning of Tuesday, 6 February."""
SLOTS = 4
CITIES = ("Antwerp", "Bruges", "Ghent", "Leuven")
KINDS = ("bakery", "bookshop", "café", "florist")
HELD_OUT = 28
QUIET = 36
"""So many days are judged before a test begins."""


@dataclass(frozen=True)
class Trouble:
    """What goes wrong: the losses of some streams times ``factor``; NaN = no actuals come.

    heals
        whether a version that was trained ``after`` days of it knows better.
    """

    rows: tuple[int, ...]
    begins: int
    ends: int = 10**6
    factor: float = 2.0
    heals: bool = True
    after: int = 1


@dataclass
class World:
    """Shops in four cities.

    trained
        day after which the live version of each stream was trained.
    """

    streams: int = 80
    seed: int = 5
    troubles: tuple[Trouble, ...] = ()
    noise: float = 0.2
    trained: dict[int, int] = field(default_factory=dict)

    @property
    def names(self):
        n = len(CITIES) * len(KINDS)
        return [
            f"{KINDS[row // 4 % 4]} {CITIES[row % 4]} {row // n + 1:02d}"
            for row in range(self.streams)
        ]

    @property
    def tags(self):
        city = {name: CITIES[row % 4] for row, name in enumerate(self.names)}
        return {"city": city, "kind": {name: name.split(" ")[0] for name in self.names}}

    def rows(self, city):
        """Rows of the streams of a city."""
        at = CITIES.index(city)
        return tuple(row for row in range(self.streams) if row % 4 == at)

    def losses(self, day):
        """Losses of a day ``(streams, SLOTS)``; NaN = no actual came."""
        rng = np.random.default_rng([self.seed, day])
        level = np.random.default_rng(self.seed).gamma(8.0, 0.5, self.streams)
        made = np.exp(rng.normal(0.0, self.noise, self.streams))[:, None] * level[:, None]
        made = made * rng.gamma(12.0, 1 / 12, (self.streams, SLOTS))
        for one in self.troubles:
            if not one.begins <= day < one.ends:
                continue
            for row in one.rows:
                if not (one.heals and self.trained.get(row, -1) >= one.begins + one.after):
                    made[row] *= one.factor
        return made

    def push(self, service, day):
        """Push forecasts and actuals of a day, straight into the store."""
        rng = np.random.default_rng([self.seed, day, 1])
        shape = (self.streams, SLOTS)
        y_hat = 40 + 10 * np.sin(np.arange(SLOTS) * np.pi / 2)[None] + rng.normal(0, 1, shape)
        loss = self.losses(day)
        y = y_hat + loss * rng.choice([-1.0, 1.0], shape)
        period = service.periods.at(np.datetime64((START + timedelta(days=day)).date(), "us"))
        stream = np.repeat(np.arange(self.streams, dtype=np.int32), SLOTS)
        place = np.tile(np.arange(SLOTS, dtype=np.int32), self.streams)
        there = ~np.isnan(y.ravel())
        parcels = [Parcel("forecasts", period, Rows(stream, place, y_hat.ravel()))]
        if there.any():
            seen = Rows(stream[there], place[there], y.ravel()[there])
            parcels.append(Parcel("actuals", period, seen))
        service.store.accept(parcels)

    def train(self, service, day):
        """Answer what was asked for: the new versions have seen the days up to this one."""
        asked = [one.request for _, one in service.store.requests(status=("open", "claimed"))]
        names = [one.unique_id for one in asked]
        if names:
            at = {name: row for row, name in enumerate(self.names)}
            self.trained |= {at[name]: day for name in names}
            held_out = self._held_out(names, at, day)
            service.live.deployed(names, held_out, requests=[one.id for one in asked])

    def _held_out(self, names, at, day):
        """Losses that new versions would have had on the last days."""
        days = range(max(day + 1 - HELD_OUT, 0), day + 1)
        rows = [at[name] for name in names]
        loss = np.array([self.losses(one)[rows].mean(axis=1) for one in days])
        starts = np.array([START.replace(tzinfo=None) + timedelta(days=one) for one in days])
        there = ~np.isnan(loss.ravel())
        code = np.tile(np.arange(len(rows)), len(days))
        ds = np.repeat(starts.astype("datetime64[us]"), len(rows))
        return LossRows(tuple(names), code[there], ds[there], loss.ravel()[there], ())


ROLES = {"ann": "engineer", "bob": "engineer", "rob": "read", "ada": "admin"}


def desk_settings(path, **more):
    tables = {
        "agent": {"slot": "6h", "policy": "mlma(pool=1, max_age=None, review_age=None)"},
        "store": {"url": f"sqlite:///{path}"},
        "clock": {"kind": "simulated"},
        "users": tuple(user(name, role) for name, role in ROLES.items()),
    }
    return settings_of(**tables | more)


@dataclass
class Desk:
    """A service, its world, and which day it is.

    today
        the day whose batch is the next one.
    base, app
        address and application of the server.
    """

    service: object
    world: World
    today: int
    base: str = ""
    app: object = None

    def passes(self, days=1, *, trains=True):
        """Let days pass: rows come, the agent judges them, the trainer answers if it is there."""
        for _ in range(days):
            self.world.push(self.service, self.today)
            self.today += 1
            self.service.clock.advance(START + timedelta(days=self.today, hours=7))
            self.service.scheduler.tick()  # or its thread was first
            assert self.judged == self.today, f"{self.judged} of {self.today} days were judged"
            if trains:
                self.world.train(self.service, self.today - 1)
        return self

    @property
    def judged(self):
        """Number of the newest cycle."""
        return self.service.store.cycles(newest_first=True, limit=1)[0].cycle

    def looks(self):
        """Have the agent look now: it takes up what people ordered."""
        return self.service.scheduler.tick()

    def incidents(self, **asked):
        return self.service.store.incidents(**asked)

    def waits(self, minutes):
        """Let nobody touch a key for so long, as the sessions count it."""
        now = time.time() + 60 * minutes
        self.app.state.people.sessions.clock = lambda: now


_PASTS = {}


def quiet_past(factory):
    """Path of a store with quiet days, written once in each process, and who was trained when."""
    if not _PASTS:
        world, path = World(), factory.mktemp("desk") / "past.db"
        service = build(desk_settings(path))
        lay_ground(service.settings, service.store)
        service.store.register(world.names)
        service.live.tag(world.tags)
        Desk(service, world, 0).passes(QUIET)
        service.stop(5.0)
        _PASTS["quiet"] = path, dict(world.trained)
    return _PASTS["quiet"]


@contextmanager
def at_work(folder, factory, troubles=(), **more):
    """Serve a copy of the quiet past, in which troubles are planted for the days to come."""
    past, trained = quiet_past(factory)
    path = folder / "store.db"
    shutil.copy(past, path)
    world = World(troubles=tuple(troubles), trained=dict(trained))
    apps = []
    with serving(desk_settings(path, **more), apps.append) as (service, client):
        yield Desk(service, world, QUIET, str(client.base_url).rstrip("/"), apps[0])
