"""Alerts: which messages each entry of ``[[alerts]]`` sends, and when.

Takes the settings and the store, gives targets for the outbox. A target leaves out what its entry
does not ask for, lets messages wait while it is quiet, and hands the rest to Apprise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import uuid4

import numpy as np

from mlma.adapters.notify.sender import Trouble
from mlma.domain.errors import unknown_name
from mlma.domain.ledger import Event
from mlma.domain.selectors import Selector
from mlma.ports import Store
from mlma.service.entries import AlertTable
from mlma.service.quiet import QuietHours
from mlma.service.settings import Settings

Document = Mapping[str, Any]

PREFIX = "alert:"
"""Alerts stand in the outbox as ``alert:<name>``: no webhook can be called so."""

_KINDS = {"incident": ("incident",), "digest": ("digest",), "both": ("incident", "digest")}


class Directory:
    """Names and tags of the streams, as they stand in the store; any thread may ask."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: list[str] = []
        self._tags: dict[str, dict[str, str]] = {}
        self._actions = 0
        self._lock = Lock()

    def any_fits(self, selector: Selector, rows: Sequence[int], names: Sequence[str]) -> bool:
        """Return whether one of these streams fits, given by row, and by name where that is all."""
        with self._lock:
            self._read()
            listed = [self._names[row] for row in rows if row < len(self._names)] or list(names)
            return bool(np.any(selector.mask(listed, self._tags)))

    def _read(self) -> None:
        self._names += self._store.streams(len(self._names))
        for action in self._store.actions(kind="tags", start=self._actions + 1):
            for name, values in action.payload["tags"].items():
                self._tags.setdefault(name, {}).update(values)
            self._actions = action.number


class AlertTarget:
    """One entry of ``[[alerts]]``: a target of the outbox.

    Raises
    ------
    MissingExtraError
        apprise is not installed.
    SettingsError
        Apprise does not know its address.
    """

    def __init__(
        self, table: AlertTable, store: Store, directory: Directory, *, public_url: str, zone: str
    ) -> None:
        from mlma.adapters.notify.apprise_target import AppriseTarget

        self._table, self._store, self._directory = table, store, directory
        self._selector = Selector(tags=table.tags)
        zone = table.timezone or zone or "UTC"
        self._quiet = QuietHours.of(table.quiet, zone)
        self._sender = AppriseTarget(
            table.name,
            table.url.get_secret_value(),
            kinds=_KINDS[table.when],
            public_url=public_url,
            zone=zone,
        )

    def wants(self, kind: str) -> bool:
        """Return whether events of a kind are sent here."""
        return self._sender.wants(kind)

    def leaves_out(self, event: Event) -> str:
        """Return why an event is not sent here; empty = it is."""
        if event.kind == "incident":
            return self._unfit(event.document)
        if event.kind == "digest" and not self._table.always and not _tells(self._mine(event)):
            return "there is nothing to tell"
        return ""

    def not_before(self, event: Event, now: datetime) -> datetime | None:
        """Return until when an event waits; None = it can go. A test never waits."""
        if self._quiet is None or event.kind not in _KINDS["both"]:
            return None
        if self._table.urgent and event.kind == "incident" and event.document["kind"] == "fleet":
            return None
        return self._quiet.over_at(now)

    def deliver(self, event: Event, attempt: int) -> Trouble | None:
        """Send an event once; None = it has arrived."""
        sent = self._mine(event) if event.kind == "digest" else event
        return self._sender.deliver(sent, attempt)

    def _mine(self, event: Event) -> Event:
        """Return a digest with the incidents that this alert is about, and counts of these."""
        told = event.document
        kept = [one for one in told["incidents"] if not self._unfit(one)]
        if len(kept) == len(told["incidents"]):
            return event
        changes = [one["change"] for one in kept]
        counts = {name: changes.count(name) for name in ("opened", "escalated", "resolved")}
        waiting = sum(one["state"] == "open" for one in kept)
        # Those beyond the list have less at stake; whom they concern is not told.
        return replace(
            event, document={**told, **counts, "open": waiting, "incidents": kept, "more": 0}
        )

    def _unfit(self, told: Document) -> str:
        """Return why an incident is none of this alert; empty = it is one."""
        table = self._table
        if told["kind"] not in table.kinds:
            return f"`kinds` of the alert has no `{told['kind']}`"
        if max(told["stake"], told["stake_before"]) < table.least_stake:
            return "less is at stake than `least_stake` of the alert"
        if not self._concerns(told):
            return "no stream of it has the `tags` of the alert"
        return ""

    def _concerns(self, told: Document) -> bool:
        if self._selector.everything or told["scope"] in self._selector.tags:
            return True
        found = self._store.incidents(ids=[told["incident"]])
        rows = found[0].members if found else ()
        return self._directory.any_fits(self._selector, rows, told["unique_ids"])

    def __repr__(self) -> str:
        return f"AlertTarget({self._table.name})"


def _tells(event: Event) -> bool:
    told = event.document
    return any(told[name] for name in ("opened", "escalated", "resolved", "open"))


def alert_targets(settings: Settings, store: Store) -> dict[str, AlertTarget]:
    """Return the alerts of the settings by their names in the outbox.

    Raises
    ------
    MissingExtraError
        There are alerts, and apprise is not installed.
    SettingsError
        Apprise does not know an address.
    """
    directory = Directory(store)
    return {
        table.target: AlertTarget(
            table,
            store,
            directory,
            public_url=settings.server.public_url,
            zone=settings.agent.timezone,
        )
        for table in settings.alerts
    }


def asked_targets(settings: Settings, names: Sequence[str]) -> list[str]:
    """Return what alerts are called in the outbox; no name = all of them.

    Raises
    ------
    SettingsError
        A name is that of no alert.
    """
    known = {table.name: table.target for table in settings.alerts}
    for name in names:
        if name not in known:
            raise unknown_name("alert", name, known)
    return [known[name] for name in names or known]


def trial_event(by: str, now: datetime) -> Event:
    """Return the event of a test message."""
    return Event(uuid4().hex, "test", now, {"by": by})
