"""Every error that mlma raises on purpose.

::

    MlmaError
    ├── DataError          a frame or file is not what was asked for
    ├── SettingsError      a setting is unknown or out of range
    ├── ModelError         a forecaster raised or returned something unusable
    ├── StateError         a saved state is missing, damaged or of another version
    ├── ArtefactError      a model version or its store is missing, damaged or not trusted
    ├── ExecutorError      workers cannot be reached, or died twice over one task
    │   └── TimeLimitError a task took longer than it may
    ├── StoreError         the store of a live agent cannot be reached, is full or refuses
    │   ├── ConflictError  another instance was first, or the lease is lost
    │   └── SchemaError    the store was written by another version of mlma
    ├── SourceError        forecasts or actuals that lie elsewhere cannot be read
    └── MissingExtraError  an optional library is not installed

All carry one form: what, whose, expected, got, hint.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class MlmaError(Exception):
    """Base of all errors that mlma raises on purpose."""


class DataError(MlmaError):
    """A frame or a file is not what was asked for."""


class SettingsError(MlmaError):
    """A setting is unknown or out of range."""


class ModelError(MlmaError):
    """A forecaster raised, or returned something that is not a forecast."""


class StateError(MlmaError):
    """A saved state is missing, damaged or of another version."""


class ExecutorError(MlmaError):
    """Workers cannot be reached, or died again over a task that was tried anew."""


class TimeLimitError(ExecutorError):
    """A task took longer than the time limit of its executor."""


class ArtefactError(MlmaError):
    """A model version or its store is missing, damaged, not trusted or of another version."""


class ArtefactWarning(UserWarning):
    """A store could be read, but something in it is damaged or of another version."""


class StoreError(MlmaError):
    """The store of a live agent cannot be reached, is full or refuses; nothing was written."""


class ConflictError(StoreError):
    """Another instance was first, or this one has lost its lease."""


class SchemaError(StoreError):
    """The store was written by another version of mlma."""


class SourceError(MlmaError):
    """Forecasts or actuals that lie elsewhere cannot be read."""


class MissingExtraError(MlmaError):
    """An optional library is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f'{what} needs the extra `{extra}`. Hint: pip install "mlma[{extra}]".',
        )
        self._made_from = (what, extra)

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        return type(self), self._made_from  # an error of a worker process comes home pickled


def unknown_name(kind: str, got: str, known: Iterable[str]) -> SettingsError:
    """Return the error for a name that is not in a registry; it lists the known ones.

    >>> print(unknown_name("loss", "absolut", ["absolute", "squared"]))
    Unknown loss `absolut`. Known: absolute, squared. Hint: did you mean `absolute`?
    """
    names = sorted(known)
    near = get_close_matches(got, names, n=1)
    hint = f" Hint: did you mean `{near[0]}`?" if near else ""
    return SettingsError(f"Unknown {kind} `{got}`. Known: {', '.join(names)}.{hint}")


def first_three(names: Iterable[str]) -> str:
    """Return the first three names and how many more there are, for a message.

    >>> first_three(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    listed = list(names)
    text = ", ".join(listed[:3])
    return text if len(listed) <= 3 else f"{text} and {len(listed) - 3} more"
