"""All settings of the service: ``mlma.toml``, the environment, and options on top of them.

Takes a path and an environment, gives `Settings`. `mlma.service.bootstrap` builds the service from
them. Order of precedence: option of a command, ``MLMA_<TABLE>__<KEY>``, file, default.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError as UnreadableVariable

from mlma.domain.errors import SettingsError, unknown_name
from mlma.domain.live import LiveSettings
from mlma.domain.periods import Periods, microseconds
from mlma.domain.settings import one_model
from mlma.service.complaints import Place, complaint
from mlma.service.documents import document
from mlma.service.entries import (
    AlertTable,
    KeyTable,
    QuerySource,
    SourceTable,
    UserTable,
    WebhookTable,
)
from mlma.service.tables import (
    AgentTable,
    BatchesTable,
    ClockTable,
    LabourTable,
    RetentionTable,
    RetrainingTable,
    SchedulerTable,
    ServerTable,
    StoreTable,
    StreamsTable,
    is_loopback,
)
from mlma.service.units import Url, expected, text_of

FILE = "mlma.toml"
PREFIX = "MLMA_"
BETWEEN = "__"


class Settings(BaseSettings):
    """All of ``mlma.toml``. Built directly, it is what it is given, and defaults."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter=BETWEEN,
        hide_input_in_errors=True,
    )

    agent: AgentTable = AgentTable()
    batches: BatchesTable = BatchesTable()
    store: StoreTable = StoreTable()
    retention: RetentionTable = RetentionTable()
    streams: StreamsTable = StreamsTable()
    clock: ClockTable = ClockTable()
    server: ServerTable = ServerTable()
    scheduler: SchedulerTable = SchedulerTable()
    keys: tuple[KeyTable, ...] = ()
    users: tuple[UserTable, ...] = ()
    sources: tuple[SourceTable, ...] = ()
    retraining: RetrainingTable = RetrainingTable()
    webhooks: tuple[WebhookTable, ...] = ()
    alerts: tuple[AlertTable, ...] = ()
    labour: LabourTable = LabourTable()
    replay: dict[str, Any] = {}  # of the command `mlma replay`, which checks it

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from: `read_settings` hands in all of them."""
        return (init_settings,)

    @model_validator(mode="after")
    def _rows_stay_long_enough(self) -> "Settings":
        rows, batches = self.retention.rows, self.batches
        for name, length in (("timeout", batches.timeout), ("reopen", batches.reopen)):
            if length is not None and rows < length:
                what = f"`rows` of [retention] of at least `{name}` of [batches]"
                raise expected(what, f"they are {text_of(rows)} and {text_of(length)}")
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Settings":
        named = {
            "keys": [key.name for key in self.keys],
            "users": [user.name for user in self.users],
            "webhooks": [webhook.name for webhook in self.webhooks],
            "alerts": [alert.name for alert in self.alerts],
        }
        for table, names in named.items():
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise expected(f"a name of its own for each of [[{table}]]", f"twice: {twice[0]}")
        return self

    def live(self) -> LiveSettings:
        """Return what the live agent has to know.

        Raises
        ------
        SettingsError
            ``slot`` of [agent] is not set.
        """
        agent, batches = self.agent, self.batches
        if agent.slot is None:
            raise SettingsError(
                f"`slot` of [agent] must be set for a live agent. Hint: the length of a slot of "
                f'your streams, slot = "15m" in {FILE} or {PREFIX}AGENT__SLOT=15m.'
            )
        zone = agent.timezone or None
        return LiveSettings(
            policy=one_model(agent.policy),
            periods=Periods(microseconds(agent.batch), microseconds(agent.slot), zone),
            loss=agent.loss,
            seed=agent.seed,
            complete_share=batches.complete_share,
            delay=batches.delay,
            timeout=batches.timeout,
            reopen=batches.reopen,
            retention=self.retention.rows,
            benchmark=agent.benchmark,
            season=agent.season,
            wait_for_fits=self.retraining.wait and bool(self.retraining.function),
            targets=(
                *(webhook.name for webhook in self.webhooks),
                *(alert.target for alert in self.alerts),
            ),
        )

    def start(self) -> datetime | None:
        """Return the first instant to judge, with its zone; None = as rows come."""
        agent = self.agent
        zone = ZoneInfo(agent.timezone) if agent.timezone else UTC
        return datetime.fromisoformat(agent.start).replace(tzinfo=zone) if agent.start else None

    def check_exposed(self) -> None:
        """Check that a server which others reach asks who they are.

        Raises
        ------
        SettingsError
            It would listen on more than this machine, and there are no keys and no users.
        """
        host = self.server.host
        if not self.keys and not self.users and not is_loopback(host):
            raise SettingsError(
                f"`host` of [server] must be a loopback address while there are no keys and no "
                f"users. Got '{host}'. Hint: make a key with `mlma key --name NAME --role ingest`, "
                f'a user with `mlma user NAME --role engineer`, or host = "127.0.0.1".'
            )


def settings_path(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: the given one, ``$MLMA_CONFIG``, or ``mlma.toml`` if it is here."""
    if path is not None:
        return path
    named = environ.get(f"{PREFIX}CONFIG", "")
    if named:
        return Path(named)
    return Path(FILE) if Path(FILE).exists() else None


def read_settings(
    path: Path | None,
    environ: Mapping[str, str],
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Return the settings: options of a command over the environment over a file over defaults.

    Parameters
    ----------
    path
        of the file; None = ``$MLMA_CONFIG``, else ``mlma.toml`` if there is one here.
    environ
        variables ``MLMA_<TABLE>__<KEY>``, and those that ``secret_env``, ``url_env`` and
        ``MLMA_KEYS_FILE`` tell of.
    options
        values by table and key; None as a value = not given.

    Raises
    ------
    SettingsError
        The file cannot be read, or a table, key or value is not what it must be: all are told.

    >>> read_settings(None, {"MLMA_AGENT__SLOT": "15m"}).live().periods.slots
    96
    """
    file = settings_path(path, environ)
    from_environ = _of_environ(environ)
    given = {
        table: {key: value for key, value in keys.items() if value is not None}
        for table, keys in (options or {}).items()
    }
    values = _over(_over(document(file) if file else {}, from_environ), given)
    elsewhere = _places(from_environ) | dict.fromkeys(_keys(given), "the command line")
    try:
        read = Settings(**_with_keys_file(values, environ))
    except ValidationError as error:
        source = str(file) if file else "the settings"
        kept = environ.get(f"{PREFIX}KEYS_FILE")
        if kept:
            elsewhere[("keys",)] = f"{source} and {kept} together"
        raise complaint(error, Settings, source, elsewhere) from None  # it may quote a secret
    return _resolved(read, environ)


def _of_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the tables that the environment sets, numbers and truths as such."""
    lowered = {name.lower(): value for name, value in environ.items()}
    for name in environ:
        table, between, _ = name.upper().removeprefix(PREFIX).partition(BETWEEN)
        known = table.lower() in Settings.model_fields
        if name.upper().startswith(PREFIX) and between and not known:
            raise unknown_name("table of the environment", name, _variables())
    source = EnvSettingsSource(Settings)
    source.env_vars = lowered
    try:
        tables = source()
    except UnreadableVariable:  # it may quote a secret
        raise SettingsError(
            f"A variable {PREFIX}<TABLE> must be a table or a list in JSON. "
            f"Hint: {PREFIX}<TABLE>{BETWEEN}<KEY> sets one key."
        ) from None
    return {name: _plain(Settings.model_fields[name], keys) for name, keys in tables.items()}


def _variables() -> list[str]:
    return [
        f"{PREFIX}{table}{BETWEEN}{key}".upper()
        for table, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        for key in field.annotation.model_fields
    ]


def _plain(field: Any, keys: Any) -> Any:
    """Return the values of a table with those that are meant as numbers or truths made so."""
    table = field.annotation
    if not isinstance(keys, dict) or not (isinstance(table, type) and issubclass(table, BaseModel)):
        return keys
    return {
        key: _value(value, table.model_fields[key].annotation)
        if key in table.model_fields and isinstance(value, str)
        else value
        for key, value in keys.items()
    }


def _value(text: str, kind: Any) -> Any:
    kinds = (kind, *get_args(kind))
    word = text.strip()
    if bool in kinds:
        return {"true": True, "1": True, "false": False, "0": False}.get(word.lower(), text)
    for made in (int, float):
        if made in kinds:
            try:
                return made(word)
            except ValueError:
                return text
    return text


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables with the keys of ``above`` laid over those of ``below``."""
    both = dict(below)
    for name, value in above.items():
        under = both.get(name)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            both[name] = {**under, **value}
        else:
            both[name] = value
    return both


def _keys(tables: Mapping[str, Any]) -> list[Place]:
    return [
        (table, key) for table, keys in tables.items() if isinstance(keys, Mapping) for key in keys
    ]


def _places(tables: Mapping[str, Any]) -> dict[Place, str]:
    """Return which variable of the environment set what."""
    lists: list[Place] = [
        (name,) for name, value in tables.items() if not isinstance(value, Mapping)
    ]
    return {
        place: f"the environment ({PREFIX}{BETWEEN.join(map(str, place)).upper()})"
        for place in [*_keys(tables), *lists]
    }


def _with_keys_file(values: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the tables with the keys of the file that ``MLMA_KEYS_FILE`` names."""
    name = environ.get(f"{PREFIX}KEYS_FILE", "")
    if not name:
        return values
    kept = document(Path(name))
    for table in kept:
        if table != "keys":
            raise unknown_name(f"table in {name}", table, ["keys"])
    more, here = kept.get("keys", []), values.get("keys", [])
    if not isinstance(more, list) or not isinstance(here, list):
        return {**values, "keys": more}  # it is refused as no list
    return {**values, "keys": [*here, *more]}


def _resolved(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Return the settings with the secrets that lie in the environment."""
    webhooks = tuple(
        one.model_copy(update={"secret": SecretStr(_secret(environ, one.secret_env, "webhooks"))})
        if one.secret_env
        else one
        for one in settings.webhooks
    )
    sources = tuple(
        one.model_copy(update={"url": Url(_secret(environ, one.url_env, "sources"))})
        if isinstance(one, QuerySource) and one.url_env
        else one
        for one in settings.sources
    )
    alerts = tuple(
        one.model_copy(update={"url": SecretStr(_secret(environ, one.url_env, "alerts"))})
        if one.url_env
        else one
        for one in settings.alerts
    )
    return settings.model_copy(update={"webhooks": webhooks, "sources": sources, "alerts": alerts})


def _secret(environ: Mapping[str, str], variable: str, table: str) -> str:
    found = environ.get(variable, "")
    if not found:
        raise SettingsError(
            f"The variable `{variable}` that [[{table}]] tells of must be set in the environment."
        )
    return found
