"""Token buckets: how much a key or an address may do in a minute.

Takes a clock that only runs forwards, gives how long one has to wait.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic

_MOST_BUCKETS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """A bucket per name, which holds a minute's worth and fills evenly.

    Parameters
    ----------
    per_minute
        tokens a minute; 0 = no limit.

    >>> now = [0.0]
    >>> calls = Buckets(2, lambda: now[0])
    >>> [calls.take("a") for _ in range(3)]
    [0.0, 0.0, 30.0]
    >>> now[0] = 30.0
    >>> calls.take("a")
    0.0
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = monotonic) -> None:
        self._most, self._clock = float(per_minute), clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = Lock()

    def take(self, name: str, tokens: float = 1.0) -> float:
        """Take tokens; return 0, or the seconds until they are there: then nothing was taken."""
        with self._lock:
            wait = self._wait(name, min(tokens, self._most))
            if not wait and self._most:
                self._buckets[name].tokens -= tokens
            return wait

    def wait(self, name: str) -> float:
        """Return the seconds until there is a token; take nothing."""
        with self._lock:
            return self._wait(name, 1.0)

    def charge(self, name: str, tokens: float) -> None:
        """Take tokens whether they are there or not: a debt makes those who come next wait."""
        with self._lock:
            self._wait(name, 0.0)
            if self._most:
                self._buckets[name].tokens -= tokens

    def _wait(self, name: str, tokens: float) -> float:
        if not self._most:
            return 0.0
        now = self._clock()
        bucket = self._buckets.setdefault(name, _Bucket(self._most, now))
        self._buckets.move_to_end(name)
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
        filled = bucket.tokens + (now - bucket.at) * self._most / 60
        bucket.tokens, bucket.at = min(filled, self._most), now
        missing = tokens - bucket.tokens
        return missing * 60 / self._most if missing > 1e-9 else 0.0
