"""`ExternalModels`: an agent whose models are trained elsewhere.

Takes the frames of `mlma.Agent`, hands over a request per stream that is to be re-trained, by
webhook or queue, and tells the agent when the new version is live or the training failed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from os import PathLike, fspath
from typing import Any

import numpy as np
import polars as pl

from mlma.adapters.frames.native import like
from mlma.adapters.notify.book import RequestBook
from mlma.adapters.notify.documents import utc_now
from mlma.adapters.notify.file_queue import FileQueue
from mlma.adapters.notify.news import Asked, asked_in, request_of
from mlma.adapters.notify.signature import verify_signature
from mlma.adapters.notify.sql_queue import SQLQueue
from mlma.adapters.notify.webhook import Webhook
from mlma.domain.durations import duration
from mlma.domain.errors import SettingsError
from mlma.domain.verdicts import Reason
from mlma.library.agent import Agent
from mlma.library.calls import named
from mlma.ports import DeliveryError, RetrainingQueue, RetrainingRequest, RetrainingRequests

__all__ = [
    "Collected",
    "DeliveryError",
    "ExternalModels",
    "FileQueue",
    "Handover",
    "RetrainingRequest",
    "SQLQueue",
    "Webhook",
    "verify_signature",
]

_SCHEMA: dict[str, Any] = {
    "reason": pl.String,
    "version": pl.Int64,
    "cycle": pl.Int64,
    "asked_at": pl.Datetime("us", "UTC"),
    "cycles": pl.Int64,
    "delivered": pl.Boolean,
    "id": pl.String,
}


@dataclass(frozen=True, slots=True)
class Handover:
    """What became of requests in one call.

    asked, delivered, waiting
        numbers of requests: new in this call, handed over in it, still in the outbox.
    error
        why some are still there; None = none is.
    """

    asked: int
    delivered: int
    waiting: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """The streams of which a queue told that their new version is live, or that it failed."""

    live: tuple[str, ...]
    failed: tuple[str, ...]


class ExternalModels:
    """An agent, and the way on which it asks for re-trainings.

    Parameters
    ----------
    agent
        watches the losses; you go on calling its `observe`.
    via
        a `Webhook`, a `FileQueue` or a `SQLQueue`, or an object of yours with ``batches`` and
        ``send`` (`RetrainingRequests`).
    clock
        tells the time, with a time zone.

    Raises
    ------
    SettingsError
        ``agent`` is no agent, or ``via`` cannot send.

    >>> import tempfile
    >>> queue = SQLQueue(tempfile.mkdtemp() + "/queue.db")
    >>> models = ExternalModels(Agent("always"), queue)
    >>> news = models.agent.observe_losses(pl.DataFrame({"unique_id": ["a", "b"], "loss": 1.0}))
    >>> models.request(news), models.request(news)
    (Handover(asked=2, delivered=2, waiting=0, error=None),
     Handover(asked=0, delivered=0, waiting=0, error=None))
    >>> queue.done(queue.claim(limit=1, by="trainer 1"))
    >>> models.collect().live, models.agent.state.version.tolist()
    (('a',), [2, 1])
    """

    def __init__(
        self,
        agent: Agent,
        via: RetrainingRequests,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        if not isinstance(agent, Agent):
            raise SettingsError(
                f"`agent` of `ExternalModels` must be a `mlma.Agent`. Got {type(agent).__name__}."
            )
        if not (callable(getattr(via, "batches", None)) and callable(getattr(via, "send", None))):
            raise SettingsError(
                f"`via` of `ExternalModels` must be a `Webhook`, a `FileQueue` or a `SQLQueue`, or "
                f"have `batches` and `send`. Got {type(via).__name__}."
            )
        self.agent, self.via = agent, via
        self._clock = clock
        self._book = RequestBook()

    @property
    def requests(self) -> Any:
        """The open requests, oldest first: asked for, and neither live nor failed.

        One row per stream: its name, ``reason``, ``version`` (that is to be replaced), ``cycle``
        and ``asked_at`` (when it was asked), ``cycles`` (batches of the stream since then),
        ``delivered`` (handed over), ``id``. The kind of the agent's last frame.
        """
        self._settle()
        return self._frame(list(self._book.open.values()))

    @property
    def unasked(self) -> list[str]:
        """Streams whose re-training the agent waits for, and which have no open request.

        There are some if a frame never came to `request`, such as after a crash, or if you train
        them by other means.
        """
        self._settle()
        rows = set(np.flatnonzero(self.agent.state.pending).tolist())
        return [
            name
            for name, row in self.agent.rows.items()
            if row in rows and name not in self._book.open
        ]

    def request(self, news: Any = None) -> Handover:
        """Ask for the re-trainings that a frame decided on, and hand over what is in the outbox.

        Each is asked for once, however often the frame is handed in: stream, version and cycle
        tell. What the agent does not wait for any more is passed over. A delivery that fails is no
        exception: it is the ``error`` of what is returned, and the requests stay in the outbox.

        Parameters
        ----------
        news
            the frame that `Agent.observe` or `Agent.observe_losses` returned; None = ask for
            the streams that are `unasked`.

        Raises
        ------
        DataError
            It is not a frame of the agent, or names a stream that the agent does not know.
        """
        self._settle()
        asked = self._forgotten() if news is None else asked_in(news, self._id_column)
        named([one.unique_id for one in asked], (), self.agent.rows, "request")
        new = self._new(asked)
        self._book.add(new, self.via)
        return self._handed_over(len(new))

    def flush(self) -> Handover:
        """Hand over what is in the outbox, oldest first; errors as for `request`."""
        self._settle()
        return self._handed_over(0)

    def live(self, unique_ids: Iterable[str] | str | None = None, *, held_out: Any = None) -> None:
        """Take note that new versions are live: `Agent.retrained`, and their requests are closed.

        Parameters and errors as there. Versions that nobody asked for may be reported too.
        """
        before, row = self.agent.state.version, self.agent.rows
        self.agent.retrained(unique_ids, held_out=held_out)
        after = self.agent.state.version
        changed = set(np.flatnonzero(before != after).tolist())
        self._book.close_where(lambda request: row.get(request.unique_id) in changed)

    def failed(self, unique_ids: Iterable[str] | str) -> None:
        """Take note that trainings failed: the old versions stay, and the agent may ask again.

        It does when its evidence, follow-ups or the age of the version say so anew.

        Raises
        ------
        DataError
            A stream is unknown.
        """
        names = named(unique_ids, (), self.agent.rows, "failed")
        self.agent.not_retrained(names)
        self._book.close(names)

    def collect(self, *, held_out: Any = None) -> Collected:
        """Read in the queue what became of the open requests: `live` and `failed` for you.

        ``held_out`` are losses of the new versions, as for `live`; those of other streams are
        counted in the agent's ``left_out``.

        Raises
        ------
        SettingsError
            Requests do not go by a queue: nothing tells what became of them.
        StateError
            The queue cannot be read.
        """
        if not isinstance(self.via, RetrainingQueue):
            raise SettingsError(
                f"`collect` needs a queue. Got {self.via!r}. Hint: call `live` or `failed` where "
                f"your trainer reports."
            )
        self._settle()
        name_of = {request.id: name for name, request in self._book.open.items()}
        told = self.via.outcomes(list(name_of))
        live = tuple(name_of[key] for key in name_of if told.get(key) == "done")
        failed = tuple(name_of[key] for key in name_of if told.get(key) == "failed")
        if live:
            self.live(live, held_out=held_out)
        self.failed(failed)
        return Collected(live, failed)

    def overdue(self, after: int | str | timedelta) -> Any:
        """Return the open requests that are old: ``after`` cycles of the stream, or a time.

        ``3`` is three batches of the stream, ``"2d"`` two days. Columns as in `requests`.

        Raises
        ------
        SettingsError
            ``after`` is neither.
        """
        self._settle()
        old = self._is_old(after)
        return self._frame([request for request in self._book.open.values() if old(request)])

    def save(self, path: str | PathLike[str]) -> None:
        """Write the agent to ``path``, as `Agent.save`, and the requests beside it.

        The second file has the same name with ``.requests.json`` behind. Each is replaced as a
        whole or not at all; after a crash between the two, `unasked` tells what is missing.

        Raises
        ------
        StateError
            A file cannot be written.
        """
        self.agent.save(path)
        self._book.save(_beside(path))

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        via: RetrainingRequests,
        *,
        loss: Any = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> "ExternalModels":
        """Return what `save` wrote: the agent, its open requests and the outbox.

        ``loss`` as for `Agent.load`. ``via`` is given anew, because it may hold secrets.

        Raises
        ------
        StateError
            A file is missing, damaged or of another version.
        """
        models = cls(Agent.load(path, loss=loss), via, clock=clock)
        models._book = RequestBook.load(_beside(path))
        return models

    def __repr__(self) -> str:
        book = self._book
        return (
            f"ExternalModels({self.agent!r}, {self.via!r}, {len(book.open)} open, "
            f"{len(book.waiting)} in the outbox)"
        )

    @property
    def _id_column(self) -> str:
        return str(self.agent._columns["id_column"])

    def _forgotten(self) -> list[Asked]:
        state, row = self.agent.state, self.agent.rows
        return [
            Asked(
                unique_id=name,
                reason=Reason.PENDING.label,
                version=int(state.version[row[name]]),
                age=int(state.age[row[name]]),
                evidence={},
            )
            for name in self.unasked
        ]

    def _new(self, asked: Sequence[Asked]) -> list[RetrainingRequest]:
        """Return requests for what the agent still waits for and was not asked for before."""
        state, now = self.agent.state, self._clock()
        new: dict[str, RetrainingRequest] = {}
        for one in asked:
            row = self.agent.rows[one.unique_id]
            if not state.pending[row] or state.version[row] != one.version:
                continue
            cycle = int(state.cycle[row] - state.age[row]) + one.age  # both count batches
            if self._book.is_new(one.unique_id, cycle):
                new[one.unique_id] = request_of(one, cycle, now)
        return list(new.values())

    def _handed_over(self, asked: int) -> Handover:
        delivered = self._book.hand_over(self.via)
        return Handover(asked, delivered, len(self._book.waiting), self._book.error)

    def _settle(self) -> None:
        """Close requests whose new version was reported to the agent itself."""
        state, rows = self.agent.state, self.agent.rows

        def over(request: RetrainingRequest) -> bool:
            row = rows.get(request.unique_id)
            return row is not None and bool(state.version[row] > request.version)

        self._book.close_where(over)

    def _is_old(self, after: int | str | timedelta) -> Callable[[RetrainingRequest], bool]:
        if isinstance(after, int):
            if isinstance(after, bool) or after < 0:
                raise SettingsError(f"`after` must be a number of cycles or a time. Got {after}.")
            return lambda request: self._cycles(request) >= after
        length = duration(after, "after").astype(object)
        now = self._clock()
        return lambda request: bool(now - request.asked_at >= length)

    def _cycles(self, request: RetrainingRequest) -> int:
        """Return how many batches of the stream came after the one that asked."""
        row = self.agent.rows.get(request.unique_id)
        return 0 if row is None else max(int(self.agent.state.cycle[row]) - request.cycle, 0)

    def _frame(self, requests: Sequence[RetrainingRequest]) -> Any:
        waiting = self._book.waiting
        rows = [
            {
                self._id_column: one.unique_id,
                "reason": one.reason,
                "version": one.version,
                "cycle": one.cycle,
                "asked_at": one.asked_at,
                "cycles": self._cycles(one),
                "delivered": one.id not in waiting,
                "id": one.id,
            }
            for one in requests
        ]
        frame = pl.DataFrame(rows, schema={self._id_column: pl.String, **_SCHEMA})
        return like(frame, self.agent._example)


def _beside(path: str | PathLike[str]) -> str:
    return f"{fspath(path)}.requests.json"
