"""Requests for re-training: open, claimed, then done, failed or withdrawn."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from mlma.adapters.store.bulk import insert_all, slices
from mlma.adapters.store.codec import micros, moment, named, plain, read, written
from mlma.adapters.store.numbers import locked, taken
from mlma.adapters.store.part import Part
from mlma.adapters.store.schema import REQUESTS
from mlma.domain.errors import ConflictError, StoreError
from mlma.domain.ledger import OpenRequest
from mlma.domain.requests import RetrainingRequest

_FINISHED = ("done", "failed")
_USUAL: tuple[Any, ...] = ("retrain", [], None, "")
_RUNNING = ("open", "claimed")
_ASK_AGAIN = (
    update(REQUESTS)
    .where(REQUESTS.c.id == bindparam("asked"))
    .values(status="open", error="", terms=bindparam("now"))
)


class RequestsPart(Part):
    """Requests and what became of them."""

    def requests(
        self, *, status: Iterable[str] | None = None, start: int = 0, limit: int | None = None
    ) -> list[tuple[int, OpenRequest]]:
        """Return requests with a number above ``start``, by number."""
        asked = select(REQUESTS).where(REQUESTS.c.number > start).order_by(REQUESTS.c.number)
        if status is not None:
            asked = asked.where(REQUESTS.c.status.in_(list(status)))
        with self._database.read() as connection:
            found = connection.execute(asked.limit(limit))
            return [(row.number, _request(row)) for row in found]

    def claim(self, limit: int) -> list[OpenRequest]:
        """Take up to ``limit`` open requests, oldest first: they are ``claimed`` now."""
        table = REQUESTS.c
        asked = select(REQUESTS).where(table.status == "open").order_by(table.number).limit(limit)
        with self._database.write() as connection:
            locked(connection)
            numbers = [row.number for row in connection.execute(asked)]
            for some in slices(numbers):
                change = update(REQUESTS).where(table.number.in_(some))
                connection.execute(change.values(status="claimed", attempts=table.attempts + 1))
            taken_ones: list[OpenRequest] = []
            for some in slices(numbers):
                again = select(REQUESTS).where(table.number.in_(some)).order_by(table.number)
                taken_ones += [_request(row) for row in connection.execute(again)]
        return taken_ones

    def release(self) -> int:
        """Open all claimed requests again; return how many."""
        change = update(REQUESTS).where(REQUESTS.c.status == "claimed").values(status="open")
        with self._database.write() as connection:
            locked(connection)
            return connection.execute(change).rowcount


def ask(connection: Connection, requests: Sequence[RetrainingRequest]) -> None:
    """Write new requests.

    One that is there stays, and a withdrawn one is open again; while no fit runs on it, its terms
    (`_terms`) are the new ones: spans may have been excluded since it was asked.
    """
    wanted = {named(request.id, "The id of a request"): request for request in requests}
    there: dict[str, str] = {}
    for some in slices(list(wanted)):
        asked = select(REQUESTS.c.id, REQUESTS.c.status).where(REQUESTS.c.id.in_(some))
        there.update((row.id, row.status) for row in connection.execute(asked))
    again = [one for one, status in there.items() if status in ("open", "withdrawn")]
    if again:
        values = [{"asked": one, "now": written(_terms(wanted[one]))} for one in again]
        connection.execute(_ASK_AGAIN, values)
    new = [request for one, request in wanted.items() if one not in there]
    before = taken(connection, "requests", len(new))
    insert_all(connection, REQUESTS, _columns(new, before))


def withdraw(connection: Connection, ids: Sequence[str]) -> None:
    """Write that open requests are no longer wanted; others keep their status."""
    for some in slices(sorted(ids)):
        change = update(REQUESTS).where(REQUESTS.c.id.in_(some), REQUESTS.c.status == "open")
        connection.execute(change.values(status="withdrawn"))


def finish(connection: Connection, finished: Mapping[str, str], error: str) -> None:
    """Write that requests are done or failed, and why.

    Raises
    ------
    ConflictError
        One of them is not open or claimed any more, or is unknown.
    """
    for one, status in sorted(finished.items()):
        if status not in _FINISHED:
            raise StoreError(f"A request ends as done or failed. Got {status!r} for {one}.")
        change = (
            update(REQUESTS)
            .where(REQUESTS.c.id == one, REQUESTS.c.status.in_(_RUNNING))
            .values(status=status, error=plain(error) if status == "failed" else "")
        )
        if not connection.execute(change).rowcount:
            asked = select(REQUESTS.c.status).where(REQUESTS.c.id == one)
            now = connection.execute(asked).scalar() or "unknown"
            raise ConflictError(
                f"Request {one} must be open or claimed to be {status}. It is {now}."
            )


def _columns(requests: Sequence[RetrainingRequest], before: int) -> dict[str, list[object]]:
    return {
        "number": list(range(before + 1, before + 1 + len(requests))),
        "id": [request.id for request in requests],
        "unique_id": [request.unique_id for request in requests],
        "reason": [plain(request.reason) for request in requests],
        "version": [request.version for request in requests],
        "cycle": [request.cycle for request in requests],
        "asked_at": [micros(request.asked_at) for request in requests],
        "evidence": [written(request.evidence) for request in requests],
        "status": ["open"] * len(requests),
        "attempts": [0] * len(requests),
        "terms": [written(_terms(request)) for request in requests],
    }


def _terms(request: RetrainingRequest) -> dict[str, Any]:
    """Return under which terms a re-training is asked for, without those that are as usual."""
    from_moment = request.train_from
    terms = {
        "kind": request.kind,
        "exclude": [[micros(begins), micros(ends)] for begins, ends in request.exclude],
        "train_from": None if from_moment is None else micros(from_moment),
        "restores": request.restores,
        "artefact": request.artefact,
        "by": request.by,
    }
    return {name: value for name, value in terms.items() if value not in _USUAL}


def _request(row: Row[tuple[object, ...]]) -> OpenRequest:
    request = RetrainingRequest(
        id=row.id,
        unique_id=row.unique_id,
        reason=row.reason,
        version=row.version,
        cycle=row.cycle,
        asked_at=moment(row.asked_at),
        evidence=read(row.evidence),
        **_told_terms(read(row.terms)),
    )
    return OpenRequest(request, row.status, row.attempts, row.error)


def _told_terms(terms: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a request that `_terms` wrote."""
    if "exclude" in terms:
        spans = terms["exclude"]
        terms["exclude"] = tuple((moment(begins), moment(ends)) for begins, ends in spans)
    if "train_from" in terms:
        terms["train_from"] = moment(terms["train_from"])
    return terms
