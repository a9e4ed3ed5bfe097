"""The commands ``mlma versions list``, ``at`` and ``verify``: what a store of models holds.

Each reads the store and changes nothing. Tables go to stdout, warnings to stderr.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlma.domain.errors import ArtefactError, ArtefactWarning, DataError

if TYPE_CHECKING:
    from mlma.domain.versions import Deployment, VersionRecord
    from mlma.library.versions import ModelStore

EXAMPLE = """
**Example**

    mlma versions at models shop-17 2024-06-01T12:00
"""

versions = typer.Typer(
    name="versions",
    help="Model versions of a store, and what was in production when.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Store = Annotated[str, typer.Argument(help="Folder or fsspec address of the store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def register_versions(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(versions, epilog=EXAMPLE)


@versions.command("list")
def list_versions(
    store: Store,
    *,
    stream: Annotated[str | None, typer.Option(help="Only versions of this stream.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the versions of a store, oldest first."""
    with _opened(store) as opened:
        found = opened.records(stream)
    if as_json:
        print(json.dumps({"store": store, "versions": [record.to_dict() for record in found]}))
        return
    for record in found:
        print(_line(record))
    print(f"{len(found)} versions")


@versions.command("at", epilog=EXAMPLE)
def at_time(
    store: Store,
    stream: Annotated[str, typer.Argument(help="Name of the stream.")],
    time: Annotated[str, typer.Argument(help="Time on the clock of the streams, without a zone.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Tell which version was in production for a stream at a time, since when and why."""
    from mlma.domain.versions import wall_time

    moment = wall_time(time, "time")
    with _opened(store) as opened:
        events = opened.history(stream)
        if not events:
            raise _unknown(stream, opened)
        last = next((event for event in reversed(events) if event.at <= moment), None)
        record = opened.record(last.version) if last and last.version else None
    told = {
        "store": store,
        "stream": stream,
        "time": moment.isoformat(),
        "deployment": last.to_dict() if last else None,
        "version": record.to_dict() if record else None,
    }
    print(json.dumps(told) if as_json else _answer(stream, last, record))


@versions.command()
def verify(store: Store, *, as_json: AsJson = False) -> None:
    """Compute every hash anew and report what is damaged; exit code 1 if anything is."""
    with _opened(store) as opened:
        found = opened.verify()
    if as_json:
        parts = ("versions", "events", "damaged", "unfinished")
        print(json.dumps({"store": store, **{name: getattr(found, name) for name in parts}}))
    else:
        print(f"{found.versions} versions and {found.events} events were read")
        for name in found.unfinished:
            print(f"unfinished: bundle {name}, of an interrupted save; it is not used")
        for what in found.damaged:
            print(f"damaged: {what}")
        if not found.damaged:
            print("Nothing is damaged.")
    if found.damaged:
        sys.exit(1)


@contextmanager
def _opened(url: str) -> "Iterator[ModelStore]":
    """Open a store that exists; its warnings become lines on stderr."""
    from mlma.library.versions import ModelStore

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ArtefactWarning)
        store = ModelStore(url)
        if not store.exists:
            raise ArtefactError(
                f"There is no model store at {url}. Expected a folder or an address that "
                f"`ModelStore` wrote."
            )
        try:
            yield store
        finally:
            for text in dict.fromkeys(str(warning.message) for warning in told):
                print(f"mlma: {text}", file=sys.stderr)


def _line(record: "VersionRecord") -> str:
    others = len(record.streams) - 1
    streams = record.streams[0] + (f" and {others} more" if others else "")
    window = f"{_short(record.trained_from)} to {_short(record.trained_until)}"
    size = f"{record.nbytes / 1024:.1f} kB"
    return f"{record.version}  {streams}  {record.forecaster}  {window}  {record.format}  {size}"


def _answer(stream: str, last: "Deployment | None", record: "VersionRecord | None") -> str:
    if last is None:
        return f"{stream}: nothing was in production then."
    why = f"{last.action.replace('_', ' ')} at {_short(last.at)}"
    why += f": {last.reason}" if last.reason else ""
    if record is None:
        return f"{stream}: nothing was in production then.\nsince    {why}"
    rows: dict[str, Any] = {
        "version": record.version,
        "model": f"{record.forecaster}, seed {record.seed}",
        "trained": f"{_short(record.trained_from)} to {_short(record.trained_until)}",
        "data": record.data_fingerprint,
        "sha256": record.sha256,
        "since": why,
        "written": f"{_short(last.recorded_at)} UTC",
    }
    return "\n".join([f"{stream}", *(f"{name:<8} {value}" for name, value in rows.items())])


def _short(time: Any) -> str:
    return str(time.isoformat(" ", "minutes" if time.second == time.microsecond == 0 else "auto"))


def _unknown(stream: str, store: "ModelStore") -> DataError:
    near = get_close_matches(stream, store.streams(), n=1)
    hint = f" Hint: did you mean `{near[0]}`?" if near else ""
    return DataError(f"The log of the store never names a stream `{stream}`.{hint}")
