"""Small fleets for tests of the live agent: forecasts and actuals, in any order of arrival."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from mlma.adapters.store import open_store
from mlma.agent.live import LiveAgent
from mlma.agent.recomputing import read_entry
from mlma.domain.inbox import Parcel, Rows
from mlma.domain.live import LiveSettings
from mlma.domain.periods import Periods
from mlma.domain.settings import policy_from

HOUR = np.timedelta64(3600 * 10**6, "us")
DAY = 24 * HOUR
START = datetime(2024, 1, 1, tzinfo=UTC)
POLICY = "mlma(level=0.01, pool=1, max_age=None, review_age=None)"
SLOTS = 6


class SetClock:
    """A clock that is set."""

    def __init__(self, now=START):
        self.time = now

    def now(self):
        return self.time

    def day(self, number, hours=0.0):
        """Set it to the start of a day, and hours later."""
        self.time = START + timedelta(days=number, hours=hours)


def grid(zone=None):
    return Periods(DAY, DAY // SLOTS, zone)


FIRST = grid().at(np.datetime64("2024-01-01"))


def live_settings(policy=POLICY, **others):
    return LiveSettings(policy_from(policy), others.pop("periods", grid()), **others)


def live_agent(store=None, clock=None, **settings):
    clock = clock or SetClock()
    store = store or open_store("memory://")
    holder = settings.pop("holder", "one")
    return LiveAgent(live_settings(**settings), store, clock, holder=holder), store, clock


def fleet(days=30, streams=12, *, seed=0, breaks_at=18, broken=3):
    """Return forecasts and actuals of a small fleet; the first streams break."""
    rng = np.random.default_rng(seed)
    names = [f"shop {number:02d}" for number in range(streams)]
    parts = []
    for day in range(days):
        level = np.where((np.arange(streams) < broken) & (day >= breaks_at), 2.5, 1.0)
        ds = [datetime(2024, 1, 1) + timedelta(days=day, hours=4 * slot) for slot in range(SLOTS)]
        y_hat = rng.gamma(20, 1.0, (streams, SLOTS))
        noise = rng.gamma(10, level[:, None] / 10, (streams, SLOTS))
        sign = rng.choice([-1.0, 1.0], (streams, SLOTS))
        parts.append(
            pl.DataFrame(
                {
                    "unique_id": np.repeat(names, SLOTS),
                    "ds": ds * streams,
                    "y_hat": y_hat.ravel(),
                    "y": (y_hat + sign * noise).ravel(),
                    "cutoff": [datetime(2024, 1, 1) + timedelta(days=day)] * (streams * SLOTS),
                },
                schema_overrides={"ds": pl.Datetime("us"), "cutoff": pl.Datetime("us")},
            )
        )
    return pl.concat(parts)


def parcels(frame, names, kind):
    """Return rows of a frame as parcels; ``names`` are the registered streams by row."""
    row = {name: at for at, name in enumerate(names)}
    period, place = grid().locate(frame["ds"].to_numpy())
    value = frame["y_hat" if kind == "forecasts" else "y"].to_numpy()
    stream = np.array([row[name] for name in frame["unique_id"]], dtype=np.int32)
    cutoff = None
    if kind == "forecasts" and "cutoff" in frame.columns:
        cutoff = frame["cutoff"].to_numpy().astype("datetime64[us]").astype(np.int64)
    made = []
    for number in dict.fromkeys(period.tolist()):
        at = period == number
        rows = Rows(
            stream[at],
            place[at].astype(np.int32),
            value[at],
            None if cutoff is None else cutoff[at],
        )
        made.append(Parcel(kind, int(number), rows))
    return made


def push(store, frame, kinds=("forecasts", "actuals")):
    """Register the streams of a frame and store its rows."""
    known = set(store.streams())
    store.register([name for name in dict.fromkeys(frame["unique_id"]) if name not in known])
    names = store.streams()
    for kind in kinds:
        made = parcels(frame, names, kind)
        if made:
            store.accept(made)


def on_day(frame, day):
    begins = datetime(2024, 1, 1) + timedelta(days=day)
    return frame.filter(pl.col("ds") >= begins, pl.col("ds") < begins + timedelta(days=1))


def played(frame, days, agent, store, clock):
    """Push and judge day after day."""
    for day in range(days):
        push(store, on_day(frame, day))
        clock.day(day + 1)
        agent.tick()


def ledger(store):
    """Return the newest evidence by period and stream: what two ledgers are compared by."""
    names = store.streams()
    made = {}
    for info in store.cycles():
        entry = read_entry(store, info.cycle)
        for row, record in zip(entry.streams.tolist(), entry.evidence, strict=True):
            made[info.period, names[row]] = record.tobytes()
    return made


def asked(store):
    """Return what was asked for: stream, version, cycle of the stream and status."""
    return sorted(
        (one.request.unique_id, one.request.version, one.request.cycle, one.status)
        for _, one in store.requests()
    )
