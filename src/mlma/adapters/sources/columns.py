"""What the columns of a source are called there, and which of them its kind of rows needs.

Takes the mapping of the settings, gives the columns to read. Next is the folder, the query or the
topic that reads them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import get_args

from mlma.domain.errors import SettingsError, SourceError, unknown_name
from mlma.domain.inbox import Kind

ROLES = ("unique_id", "ds", "y", "y_hat", "cutoff")
"""Columns that a source may have, by the names that our own frames have."""


@dataclass(frozen=True, slots=True)
class SourceColumns:
    """The columns of one kind of rows.

    names
        what each role is called there, in the order stream, time, value, cutoff.
    told_cutoff
        whether the settings name the column of cutoffs: then it has to be there.
    """

    kind: Kind
    names: Mapping[str, str]
    told_cutoff: bool = False

    @property
    def value(self) -> str:
        """Role of the value: ``y`` of actuals, else ``y_hat``."""
        return "y" if self.kind == "actuals" else "y_hat"

    def found(self, there: Sequence[str], where: str) -> dict[str, str]:
        """Return what each role is called among the columns that are there.

        Raises
        ------
        SourceError
            A column is missing; the message lists those found and the nearest one.
        """
        found = {}
        for role, name in self.names.items():
            if name in there:
                found[role] = name
            elif role != "cutoff" or self.told_cutoff:
                raise _missing(role, name, there, where)
        return found


def columns_of(kind: Kind, given: Mapping[str, str] | None = None) -> SourceColumns:
    """Return the columns of a kind of rows; ``given`` tells those that are called otherwise.

    Raises
    ------
    SettingsError
        The kind or a role is unknown, or one column is named for two roles.

    >>> columns_of("actuals", {"y": "sales"}).names["y"]
    'sales'
    """
    if kind not in get_args(Kind):
        raise unknown_name("kind of rows", str(kind), get_args(Kind))
    given = dict(given or {})
    for role in given:
        if role not in ROLES:
            raise unknown_name("column of a source", role, ROLES)
    value = "y" if kind == "actuals" else "y_hat"
    wanted = (
        ("unique_id", "ds", value) if kind == "actuals" else ("unique_id", "ds", value, "cutoff")
    )
    names = {role: given.get(role, role) for role in wanted}
    if len(set(names.values())) < len(names):
        shown = ", ".join(f"{role}={name!r}" for role, name in names.items())
        raise SettingsError(f"`columns` of a source must name different columns. Got {shown}.")
    return SourceColumns(kind, names, given.get("cutoff", "cutoff") != "cutoff")


def _missing(role: str, name: str, there: Sequence[str], where: str) -> SourceError:
    folded = {column.casefold(): column for column in reversed(there)}
    near = get_close_matches(name.casefold(), folded, n=1)
    hint = f"did you mean `{folded[near[0]]}`? " if near else ""
    return SourceError(
        f"Column `{name}` ({role}) is missing in {where}. Found: {', '.join(there) or 'none'}. "
        f'Hint: {hint}columns = {{{role} = "..."}} tells what it is called there.',
    )
