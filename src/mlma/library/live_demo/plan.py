"""The plan of a demo: how large, what goes wrong, and what the server is told.

Takes numbers, gives the simulated world, the settings of the agent and the text of ``mlma.toml``.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np

from mlma.domain.errors import SettingsError
from mlma.domain.live import LiveSettings
from mlma.domain.periods import Periods
from mlma.domain.settings import one_model
from mlma.library.simulate import Simulated, simulate

SLOTS = 24
WARM_UP_DAYS, WINDOW_DAYS = 14, 28
HISTORY_DAYS = WARM_UP_DAYS + WINDOW_DAYS
"""Days that are known before the first one that is played: lags, and a training window."""

POLICY = "mlma"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TIMEOUT = HOUR
"""A day is judged so long after its end, with what is there; the clock is set to this time."""

_LEAST_DAYS, _MOST_DAYS = 14, 730
_LEAST_STREAMS, _MOST_STREAMS = 8, 5000
_FUNCTION = "mlma.library.live_demo:retrain"


@dataclass(frozen=True)
class Plan:
    """What is played: so many streams over so many days after a history of `HISTORY_DAYS`.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    streams: int = 200
    days: int = 70
    seed: int = 0

    def __post_init__(self) -> None:
        _check("streams", self.streams, _LEAST_STREAMS, _MOST_STREAMS)
        _check("days", self.days, _LEAST_DAYS, _MOST_DAYS)
        _check("seed", self.seed, 0, 2**31 - 1)

    @property
    def all_days(self) -> int:
        """Days of the history and of the play."""
        return HISTORY_DAYS + self.days

    @cached_property
    def world(self) -> Simulated:
        """The platform: no break in its history, then one in about one stream of three.

        Breaks are those that a new model mends and a higher loss shows: demand that rises for good,
        a daily profile that comes three hours later, half of a city that grows at once.
        """
        quiet = max(self.days // 7, 3)
        return simulate(
            streams=self.streams,
            days=self.all_days,
            slot="1h",
            seed=self.seed,
            kinds=("level", "shape"),
            level_sizes=(0.5, 1.0),
            shift_hours=3.0,
            group_size=0.5,
            group_breaks=0.15,
            breaks=0.35,
            quiet_days=HISTORY_DAYS + quiet,
            break_every=max((self.days - quiet) * 3 // 4, 1),
            births=0.0,
            deaths=0.0,
            late=0.03,
            late_hours=24.0,
        )

    @cached_property
    def starts_at(self) -> datetime:
        """First instant of the history, UTC."""
        made: datetime = np.datetime64(self.world.platform.start, "us").item()
        return made.replace(tzinfo=UTC)

    def start(self, day: int) -> datetime:
        """Return the start of a day, counted from the start of the history, UTC."""
        return self.starts_at + day * DAY

    def judged_at(self, day: int) -> datetime:
        """Return the time at which a day is judged."""
        return self.start(day + 1) + TIMEOUT

    def settings(self) -> LiveSettings:
        """Return what the agent of the server knows, as far as its ledger depends on it."""
        hour = np.timedelta64(HOUR, "us")
        periods = Periods(SLOTS * hour, hour, None)
        return LiveSettings(policy=one_model(POLICY), periods=periods, timeout=TIMEOUT)


def configuration(port: int, store: str | None) -> str:
    """Return the text of ``mlma.toml``; ``store`` None = the environment tells it."""
    tables: dict[str, dict[str, str | float]] = {
        "agent": {"policy": POLICY, "batch": "1d", "slot": "1h"},
        "batches": {"complete_share": 0.9, "timeout": "1h", "reopen": "7d"},
        "clock": {"kind": "simulated"},
        "server": {"host": "127.0.0.1", "port": port, "requests_per_minute": 0, "level": "warning"},
        "retraining": {"function": _FUNCTION, "executor": "threads", "time_limit": "never"},
    }
    if store is not None:
        tables["store"] = {"url": store}
    lines = ["# Settings of the server of a demo, written by `mlma serve-demo`."]
    for name, keys in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(keys[key])}" for key in keys)]
    return "\n".join(lines) + "\n"


def store_file(folder: Path) -> str:
    """Return the address of the SQLite file of a folder."""
    return f"sqlite:///{folder.resolve() / 'mlma.db'}"


def _check(name: str, got: int, least: int, most: int) -> None:
    if not least <= got <= most:
        raise SettingsError(
            f"`{name}` of `serve-demo` must be a whole number from {least} to {most}. Got {got}."
        )
