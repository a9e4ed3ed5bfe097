"""Detectors of river, fed loss by loss in an environment of their own.

Takes worlds, gives alarms as every detector does. They are slow, so they see fewer streams.

There they are as river ships them, and tuned, with what an engineer would give them: losses are
standardised by the reference per slot, only rises count, and a dial is turned on other seeds.
"""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from peers_env import peers_python
from quality.detectors import Detection
from quality.worlds import World


class Player:
    """A process that plays detectors, one job after the other; close it when done."""

    def __init__(self, python: Path) -> None:
        self._folder = TemporaryDirectory()
        script = Path(__file__).with_name("river_player.py")
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([python, script], stdin=pipe, stdout=pipe, text=True)

    def play(self, world: World, spec: dict[str, object]) -> Detection:
        """Return the alarms of one detector."""
        folder = Path(self._folder.name)
        losses, out = str(folder / "losses.npy"), str(folder / "alarms.npy")
        np.save(losses, world.losses)
        job = {"losses": losses, "reference": world.reference, "spec": spec, "out": out}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "done\n":
            raise RuntimeError("The process of the peers has died.")
        return Detection(np.load(out))

    def close(self) -> None:
        """End the process and remove its files."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()


def player() -> Player | None:
    """Return a player; None = the peers' environment cannot be made."""
    python = peers_python()
    return None if python is None else Player(python)


@dataclass(frozen=True, slots=True)
class RiverDetector:
    """One detector of river with its settings; it should see no more streams than `STREAMS`."""

    name: str
    player: Player
    detector: str
    settings: dict[str, object] = field(default_factory=dict)
    prepared: bool = False

    @property
    def most_streams(self) -> int:
        """How many streams it can be shown in reasonable time."""
        return STREAMS[self.detector]

    def detect(self, world: World) -> Detection:
        spec = {"detector": self.detector, "settings": self.settings, "prepared": self.prepared}
        return self.player.play(world, spec)


STREAMS = {"ADWIN": 240, "KSWIN": 40, "PageHinkley": 240}
"""Most streams that each is shown: KSWIN takes about a quarter of a millisecond per loss."""

SEEDED = {"KSWIN": {"seed": 1}}

DIALS: dict[str, tuple[float, ...]] = {
    "ADWIN": tuple(np.geomspace(1e-12, 0.9, 40).tolist()),
    "KSWIN": (1e-7, 1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3),
    "PageHinkley": tuple(np.geomspace(400.0, 10.0, 40).tolist()),
}
"""delta, alpha, threshold: strict to sensitive."""


def default_detectors(play: Player) -> list[RiverDetector]:
    """Return the detectors as river ships them."""
    names = ("ADWIN", "KSWIN", "PageHinkley")
    return [RiverDetector(f"river {one}", play, one, SEEDED.get(one, {})) for one in names]


def maker(play: Player, detector: str) -> Callable[[float], RiverDetector]:
    """Return a function from the dial to a prepared detector."""

    def make(dial: float) -> RiverDetector:
        settings = {
            "ADWIN": {"delta": dial},
            "KSWIN": {"alpha": dial, **SEEDED["KSWIN"]},
            "PageHinkley": {"threshold": dial, "delta": 0.1, "mode": "up"},
        }[detector]
        return RiverDetector(f"river {detector}, tuned", play, detector, settings, prepared=True)

    return make
