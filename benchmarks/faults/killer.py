"""The killer: SIGKILL at moments that a seed draws.

Takes notice of what the player and the server under test do just now, kills the server a little
later. Next the player notices that nobody answers, and sends again.
"""

from collections import Counter
from dataclasses import dataclass, field
from threading import Event, Lock, Thread, Timer

import numpy as np

from faults.servers import Server


@dataclass(frozen=True)
class Phase:
    """When a kill is drawn: with a probability, and how many seconds later at most."""

    chance: float
    within: float


PHASES = {
    "body": Phase(0.07, 0.03),
    "clock": Phase(0.12, 0.01),
    "cycle": Phase(0.45, 0.12),
    "fit": Phase(0.5, 0.15),
    "delivery": Phase(0.35, 0.03),
    "start": Phase(0.12, 2.5),
    "stop": Phase(0.015, 0.4),
    "any": Phase(1.0, 30.0),
}
"""``any`` is uniform in time. ``start``: while the server starts. ``stop``: after it was asked to
end. The others: after a body or the clock began to be sent, after a batch could be judged, after a
fit or a delivery began."""


MOST_A_DAY = 6
"""Kills between two settings of the clock: a server that is always dead gets nowhere."""


@dataclass
class Killer:
    """Kills one server, ``most`` times."""

    server: Server
    seed: int
    most: int
    phases: dict[str, Phase] = field(default_factory=lambda: dict(PHASES))
    kills: Counter[str] = field(default_factory=Counter)
    _today: int = 0
    _lock: Lock = field(default_factory=Lock)
    _ended: Event = field(default_factory=Event)
    _timers: list[Timer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = {
            name: np.random.default_rng([self.seed, 2, at]) for at, name in enumerate(self.phases)
        }
        self._thread = Thread(target=self._at_any_time, daemon=True)

    @property
    def total(self) -> int:
        """How many kills hit."""
        return sum(self.kills.values())

    def start(self) -> None:
        """Begin to kill at any time."""
        self._thread.start()

    def end(self) -> None:
        """Kill no more."""
        self._ended.set()
        for timer in self._timers:
            timer.cancel()
        for timer in self._timers:
            timer.join()
        self._thread.join()

    def at(self, phase: str) -> None:
        """Take notice that something begins; perhaps it is the end of the server."""
        with self._lock:
            if phase == "clock":
                self._today = 0
            drawn, later = self._chance[phase].random(2)
            if drawn > self.phases[phase].chance or self._ended.is_set():
                return
            seconds = later * self.phases[phase].within
            timer = Timer(seconds, self._hit, (phase, self.server.incarnation))
            timer.daemon = True
            self._timers.append(timer)
            timer.start()

    def _at_any_time(self) -> None:
        chance, within = self._chance["any"], self.phases["any"].within
        while not self._ended.wait(chance.random() * within):
            self._hit("any", self.server.incarnation)

    def _hit(self, phase: str, incarnation: int) -> None:
        if min(self.most - self.total, MOST_A_DAY - self._today) <= 0 or self._ended.is_set():
            return
        asked = 0.0
        if phase == "stop":
            asked = float(self._chance["stop"].random()) * self.phases["stop"].within
        if not self.server.kill(incarnation, asked_seconds=asked or None):
            return
        with self._lock:
            self.kills[phase] += 1
            self._today += 1
        self.at("start")
