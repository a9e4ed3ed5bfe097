"""Checks: is everything there that the settings ask for?

Takes settings, gives findings for `mlma doctor`: what was looked at, how it is, and what to do.
Those of the store and of sources stand in `mlma.service.store_checks` and
`mlma.service.source_checks`.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from mlma.domain.errors import MlmaError
from mlma.service.entries import KeyTable, TopicSource, UserTable, WebhookTable
from mlma.service.roles import permits
from mlma.service.settings import Settings
from mlma.service.tables import is_loopback

Grade = Literal["ok", "warn", "fail"]

_PYTHONS = ((3, 11), (3, 14))
_LIBRARIES = ("numpy", "polars", "sqlalchemy", "pydantic", "fastapi", "uvicorn")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, in words, and what to do."""

    check: str
    grade: Grade
    told: str
    hint: str = ""


Check = Callable[[Settings], Iterator[Finding]]


def findings(settings: Settings, checks: tuple[Check, ...]) -> Iterator[Finding]:
    """Yield what each check found; one that breaks is a finding, too."""
    for check in checks:
        try:
            yield from check(settings)
        except MlmaError as error:
            yield Finding(check.__name__, "fail", str(error))
        except Exception as error:
            yield Finding(check.__name__, "fail", f"{type(error).__name__} while looking: {error}")


def python(settings: Settings) -> Iterator[Finding]:
    """Python and libraries: of versions that are known to work?"""
    first, beyond = _PYTHONS
    here = sys.version_info[:2]
    good = first <= here < beyond
    hint = "" if good else "3.11 to 3.13 are tried"
    yield Finding("python", "ok" if good else "warn", f"Python {sys.version.split()[0]}", hint)
    wanted = [*_LIBRARIES]
    wanted += ["psycopg"] if "postgres" in settings.store.url.get_secret_value()[:12] else []
    wanted += ["confluent-kafka"] if any(_is_topic(one) for one in settings.sources) else []
    found = {name: _version(name) for name in ("mlma", *wanted)}
    missing = [name for name, number in found.items() if number is None]
    told = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    yield Finding("libraries", "ok", told)
    for name in missing:
        extra = {"psycopg": "postgres", "confluent-kafka": "kafka"}.get(name, "serve")
        yield Finding("libraries", "fail", f"{name} is missing", f'pip install "mlma[{extra}]"')


def agent(settings: Settings) -> Iterator[Finding]:
    """The agent: can it be built from the settings?"""
    from mlma.agent.watch import watch_for

    live = settings.live()
    watch_for(live)
    zone = live.periods.zone or "no zone"
    yield Finding("agent", "ok", f"{live.policy.label}, {live.periods.slots} slots a batch, {zone}")
    if live.timeout is None:
        yield Finding("agent", "warn", "`timeout` is never: one silent stream holds up all batches")


def keys(settings: Settings) -> Iterator[Finding]:
    """Keys and users: may those come in who must, and nobody else?"""
    settings.check_exposed()
    if not settings.keys and not settings.users:
        yield Finding("keys", "ok", "none, and no users: this machine alone is served")
        return
    yield Finding("keys", "ok", _named(settings.keys) or "none: no program is let in")
    hint = "mlma user NAME --role engineer"
    told = _named(settings.users)
    yield Finding(
        "users", "ok" if told else "warn", told or "nobody can sign in", hint * (not told)
    )
    pushes = any(permits(key.role, "ingest") for key in settings.keys)
    if not pushes and not settings.sources:
        hint = "mlma key --name NAME --role ingest"
        yield Finding("keys", "warn", "nobody may push rows, and there are no sources", hint)


def _named(entries: Sequence[KeyTable | UserTable]) -> str:
    return ", ".join(f"{one.name} ({one.role})" for one in entries)


def address(settings: Settings) -> Iterator[Finding]:
    """The address of the server: is it free?"""
    from mlma.service.listeners import bound

    host, port = settings.server.host, settings.server.port
    try:
        bound(host, port).close()
    except MlmaError as error:
        told = str(error).partition(" Hint: ")[0].removesuffix(".")
        yield Finding("address", "warn", told, "no matter where a server of yours has it already")
        return
    yield Finding("address", "ok", f"{host}, port {port or 'any'} is free")
    if not is_loopback(host):
        yield Finding("address", "warn", "others reach it without TLS", "put a proxy before it")


def webhooks(settings: Settings) -> Iterator[Finding]:
    """Webhooks: does the host have an address that messages may go to? Nothing is sent."""
    for one in settings.webhooks:
        yield from _webhook(one)


def _webhook(one: WebhookTable) -> Iterator[Finding]:
    from mlma.adapters.notify.addresses import check_public, resolved
    from mlma.adapters.notify.endpoint import Endpoint

    name, hint = f"webhook {one.name}", ""
    try:
        end = Endpoint(one.url.get_secret_value(), allow_private=one.allow_private)
        there = resolved(end.host, end.port)
        if not one.allow_private:
            check_public(end.host, there)
    except MlmaError as error:
        yield Finding(
            name, "fail", str(error).replace("allow_private=True", "allow_private = true")
        )
        return
    except OSError as error:
        yield Finding(name, "fail", f"its host cannot be looked up: {error.strerror or error}")
        return
    if one.secret is None:
        hint = "`secret_env` names the variable of a secret that signs them"
        yield Finding(name, "warn", f"messages to {end} are not signed", hint)
    else:
        yield Finding(name, "ok", f"{end}, signed")


def alerts(settings: Settings) -> Iterator[Finding]:
    """Alerts: are their addresses understood? Nothing is sent."""
    from mlma.adapters.notify.apprise_target import AppriseTarget

    for one in settings.alerts:
        name = f"alert {one.name}"
        try:
            AppriseTarget(one.name, one.url.get_secret_value())
        except MlmaError as error:
            yield Finding(name, "fail", str(error))
            continue
        hint = f"`mlma alert test {one.name}` sends a message"
        if settings.server.public_url:
            yield Finding(name, "ok", f"its address is understood; {hint}")
        else:
            yield Finding(
                name, "warn", "messages have no links", "`public_url` of [server] is their start"
            )


def retraining(settings: Settings) -> Iterator[Finding]:
    """The trainer: is its function there?"""
    from mlma.service.fits import function_from

    if not settings.retraining.function:
        told = "others train: they are told by webhooks"
        told = told if settings.webhooks else "others train: they ask for /api/v1/requests"
        yield Finding("retraining", "ok", told)
        return
    function_from(settings.retraining.function)
    if settings.retraining.restore:
        function_from(settings.retraining.restore)
    yield Finding("retraining", "ok", f"{settings.retraining.function} is there")


def tags(settings: Settings) -> Iterator[Finding]:
    """The file of tags: can it be read?"""
    from mlma.adapters.frames.tags import read_tags

    if settings.streams.tags:
        found = read_tags(settings.streams.tags, "unique_id")
        yield Finding("tags", "ok", f"{', '.join(found)} of {settings.streams.tags}")


def clock(settings: Settings) -> Iterator[Finding]:
    """The clock of this machine: can its time be right?"""
    now = datetime.now(UTC)
    made = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    if now < made - timedelta(days=1):
        hint = "set the clock of this machine; a time server keeps it right"
        yield Finding("clock", "fail", f"{now:%Y-%m-%d %H:%M} UTC is before mlma was made", hint)
    else:
        yield Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC")
    if settings.clock.kind == "simulated":
        yield Finding("clock", "warn", "the agent's is simulated: it stands until it is set")


def _is_topic(one: object) -> bool:
    return isinstance(one, TopicSource)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
