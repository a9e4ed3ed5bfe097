"""`Loop`: a thread that does one thing again and again, and does not end because of an error.

Takes a step, calls it when its time has come or somebody pokes; after an error it waits, longer
each time. Used by the scheduler, the feeds, the outbox and the trainer.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from threading import Condition, Thread, current_thread
from time import monotonic

from mlma.domain.errors import MlmaError

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class LoopFacts:
    """How a loop stands.

    failures
        errors since a step last went well; ``errors`` are all since the start.
    last_at, last_error_at
        seconds of a monotonic clock at the end of the last step; None = none yet.
    """

    steps: int = 0
    failures: int = 0
    errors: int = 0
    last_error: str = ""
    last_at: float | None = None
    last_error_at: float | None = None


class Loop:
    """Calls ``step`` until it is stopped.

    Parameters
    ----------
    step
        returns the seconds until it wants to be called again; None = when it is poked.
    first, longest
        seconds of the pause after one error and after many, less a random share of up to a half.
        A poke does not shorten them.
    breath
        seconds after a `nudge` in which more is waited for.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        *,
        first: float = FIRST_PAUSE_SECONDS,
        longest: float = LONGEST_PAUSE_SECONDS,
        breath: float = 0.0,
    ) -> None:
        self.name, self._step, self._breath = name, step, breath
        self._first, self._longest = first, longest
        self._chance = Random(name)
        self._changed = Condition()
        self._poked = self._nudged = self._stopping = False
        self._facts = LoopFacts()
        self._thread: Thread | None = None

    @property
    def facts(self) -> LoopFacts:
        """How it stands."""
        return self._facts

    @property
    def stopping(self) -> bool:
        """Whether it is to end; a long step looks here."""
        return self._stopping

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name=f"mlma-{self.name}", daemon=True)
            self._thread.start()

    def poke(self) -> None:
        """Have the step called soon."""
        with self._changed:
            self._poked = True
            self._changed.notify_all()

    def nudge(self) -> None:
        """Have the step called after a breath: what nudges all the time costs one step for many."""
        with self._changed:
            self._nudged = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Tell it to end after the step that runs."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end; False = it has not ended in time."""
        if self._thread is not None and self._thread is not current_thread():
            self._thread.join(timeout)
        return not self.alive

    def wait(self, seconds: float) -> bool:
        """Wait within a step; True = it is to end."""
        with self._changed:
            return self._changed.wait_for(lambda: self._stopping, seconds)

    def _run(self) -> None:
        while not self._stopping:
            try:
                pause, patient = self._step(), False
            except Exception as error:
                pause, patient = self._failed(error), True
            else:
                self._note(failures=0)
            self._rest(pause, patient)

    def _rest(self, seconds: float | None, patient: bool) -> None:
        with self._changed:
            if patient:
                self._changed.wait_for(lambda: self._stopping, seconds)
                return
            self._changed.wait_for(lambda: self._awake or self._nudged, seconds)
            if self._nudged:
                self._changed.wait_for(lambda: self._awake, self._breath)
            self._poked = self._nudged = False

    @property
    def _awake(self) -> bool:
        return self._stopping or self._poked

    def _failed(self, error: Exception) -> float:
        failures = self._facts.failures + 1
        most = min(self._first * 2.0 ** min(failures - 1, 60), self._longest)
        pause = most * (1 - self._chance.random() / 2)
        told = str(error) if isinstance(error, MlmaError) else f"{type(error).__name__}: {error}"
        if self._stopping:  # what it works with may be gone already
            log.info("%s ended with an error: %s", self.name, told)
            return 0.0
        log.warning(
            "%s failed (%d in a row), again in %.1f s: %s",
            self.name,
            failures,
            pause,
            told,
            exc_info=None if isinstance(error, MlmaError) else error,
        )
        self._note(
            failures=failures,
            errors=self._facts.errors + 1,
            last_error=told,
            last_error_at=monotonic(),
        )
        return pause

    def _note(self, **changes: object) -> None:
        steps = self._facts.steps + 1
        self._facts = replace(self._facts, steps=steps, last_at=monotonic(), **changes)  # type: ignore[arg-type]  # by name


def stopped(loops: Sequence[Loop], timeout: float | None = None) -> bool:
    """End loops together; False = one of them has not ended in time."""
    for loop in loops:
        loop.stop()
    until = None if timeout is None else monotonic() + timeout
    ended = [loop.join(None if until is None else max(until - monotonic(), 0.0)) for loop in loops]
    return all(ended)
