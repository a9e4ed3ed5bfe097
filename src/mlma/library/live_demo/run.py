"""The run of a demo from start to end: a folder, a server, a play, an outcome; nothing is left.

Takes a plan and where things lie, gives the outcome to whoever asked.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from threadpoolctl import threadpool_limits

from mlma.domain.errors import SettingsError
from mlma.library.live_demo.display import Display
from mlma.library.live_demo.outcome import Outcome, outcome
from mlma.library.live_demo.plan import HISTORY_DAYS, Plan, configuration, store_file
from mlma.library.live_demo.play import Play
from mlma.library.live_demo.remote import Remote
from mlma.library.live_demo.server import Server, ended_by_signals, serving

_KEPT_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """Where a demo runs.

    folder
        of settings, history, models and log; None = a temporary one, which is removed.
    port
        of the server on 127.0.0.1; 0 = any that is free.
    store
        address of an empty store; None = an SQLite file in the folder.
    keep
        the server goes on after the play until it is interrupted, and the folder stays.
    """

    folder: Path | None = None
    port: int = 0
    store: str | None = None
    keep: bool = False


def run(plan: Plan, place: Place, show: Display, done: Callable[[Outcome], None]) -> None:
    """Play a plan against a server of its own and hand the outcome to ``done``.

    However it ends, the server is gone afterwards.

    Raises
    ------
    SettingsError
        The folder or the store is not empty, or nobody else can read the store.
    ServerError
        The server does not start, refuses something, or ended.
    KeyboardInterrupt
        Somebody ended it before the outcome; afterwards that is how it ends.
    """
    if place.store is not None and place.store.startswith("memory:"):
        raise SettingsError(
            f"`--store` of `serve-demo` must be a store that another process can read, too. "
            f"Got {place.store}. Hint: leave it out."
        )
    with ended_by_signals(), _folder(place) as folder:
        (folder / "mlma.toml").write_text(_configuration(place, folder))
        with serving(folder, place.store) as server, threadpool_limits(1):
            show.say(f"The desk of the engineer is at {server.address}/fleet")
            made = _played(plan, place, folder, server, show)
            show.end()
            done(made)
            if place.keep:
                _kept(server, show)


def _configuration(place: Place, folder: Path) -> str:
    own = store_file(folder) if place.store is None else None
    return configuration(place.port, own)


def _played(plan: Plan, place: Place, folder: Path, server: Server, show: Display) -> Outcome:
    with closing(Remote(server)) as remote:
        if not remote.is_new():
            raise SettingsError(
                "`--store` of `serve-demo` must be an empty store. Got one that holds streams."
            )
        show.say(f"{plan.streams} streams; first models out of {HISTORY_DAYS} days of history")
        play = Play(plan, folder, remote, show.running)
        for day in play.days():
            show.show(day)
    show.say("Computing the ledger once more")
    return outcome(
        plan,
        play.platform,
        play.diary,
        place.store or store_file(folder),
        address=server.address,
        folder=folder if place.keep or place.folder else None,
    )


def _kept(server: Server, show: Display) -> None:
    """Wait until somebody ends it."""
    show.say(f"Look around at {server.address}/fleet; Ctrl-C ends it")
    try:
        while True:
            server.check()
            sleep(_KEPT_LOOK_SECONDS)
    except KeyboardInterrupt:
        return


@contextmanager
def _folder(place: Place) -> Iterator[Path]:
    """Give the folder of a demo; a temporary one is removed, unless it is to be kept."""
    if place.folder is not None:
        yield _empty(place.folder)
        return
    made = Path(tempfile.mkdtemp(prefix="mlma-demo-"))
    try:
        yield made
    finally:
        if not place.keep:
            shutil.rmtree(made, ignore_errors=True)


def _empty(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        filled = any(folder.iterdir())
    except OSError as error:
        raise SettingsError(
            f"`--folder` of `serve-demo` must be a folder to write to. Got {folder}: "
            f"{error.strerror}."
        ) from error
    if filled:
        raise SettingsError(
            f"`--folder` of `serve-demo` must be empty or new. Got {folder}, which holds files. "
            f"Hint: each demo starts anew."
        )
    return folder.resolve()
