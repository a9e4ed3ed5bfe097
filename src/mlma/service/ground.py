"""The ground of a store: settings that what was judged already rests on.

Takes settings and a store, says whether they fit together. Periods are counted in batches of the
grid, and references are losses: with another grid or loss the agent would go on in the wrong year,
or take every stream for degraded, without a word. Next is the service, which starts.
"""

import json

from mlma.domain.errors import SettingsError
from mlma.ports import Store
from mlma.service.settings import Settings
from mlma.service.units import text_of

_NAME = "ground"


def check_ground(settings: Settings, store: Store) -> None:
    """Check that settings fit what the store holds already.

    Raises
    ------
    SettingsError
        ``batch``, ``slot``, ``timezone`` or ``loss`` of [agent] is another than the store has.
    """
    begun = store.setting(_NAME)
    if begun is None or not _laid(store):
        return
    for key, had in json.loads(begun).items():
        got = _ground(settings)[key]
        if got != had:
            raise SettingsError(
                f'`{key}` of [agent] must be "{had}", with which this store was begun. '
                f'Got "{got}". Hint: set it back, or begin a new store (`url` of [store]).'
            )


def lay_ground(settings: Settings, store: Store) -> None:
    """Remember what later settings have to fit; nothing is written where it is known already."""
    laid = json.dumps(_ground(settings))
    if store.setting(_NAME) != laid:
        store.remember(_NAME, laid)


def _ground(settings: Settings) -> dict[str, str]:
    agent = settings.agent
    return {
        "batch": text_of(agent.batch),
        "slot": text_of(agent.slot),
        "timezone": agent.timezone,
        "loss": agent.loss,
    }


def _laid(store: Store) -> bool:
    """Return whether something in the store rests on the ground: rows, or a cycle."""
    return bool(store.cycles(limit=1) or store.periods())
