"""What makes streams comparable in one model: their units, and what is known of them for good.

Takes the members of a shared model, gives the unit of each and its static columns. Next is the fit
on the stacked rows of all members, `shared`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlma.domain.errors import ModelError, SettingsError, first_three
from mlma.domain.streams import Series

Floats = NDArray[np.float64]
StaticValues = Mapping[str, Mapping[str, float | str]]


def unit_of(values: Floats) -> float:
    """Return the mean absolute deviation of the observed values, NaN = missing.

    The mean absolute value where they do not vary, as `training_window` takes it; 0 where nothing
    but zeros was observed: then there is no unit, and the forecast is 0.

    >>> unit_of(np.array([1.0, 3.0, np.nan])), unit_of(np.array([5.0, 5.0])), unit_of(np.zeros(3))
    (1.0, 5.0, 0.0)
    """
    seen = values[np.isfinite(values)]
    if not seen.any():
        return 0.0
    level = float(np.abs(seen).mean())
    spread = float(np.abs(seen - seen.mean()).mean())
    return spread if spread > 1e-9 * level else level


def training_units(
    members: Sequence[Series], targets: Sequence[Floats], name: str
) -> dict[str, float]:
    """Return the units of the members that a model is trained on, by ``unique_id``.

    Members of which nothing but zeros was observed say nothing and are left out; where all are
    like that, they are the window, in units of 1.

    Parameters
    ----------
    targets
        what is learnt from each member; NaN = missing.

    Raises
    ------
    ModelError
        Nothing was observed of any member.
    """
    ids = [series.unique_id for series in members]
    units = [unit_of(y) for y in targets]
    known = {one: unit for one, unit in zip(ids, units, strict=True) if unit}
    if not known:
        seen = [bool(np.isfinite(y).any()) for y in targets]
        known = {one: 1.0 for one, some in zip(ids, seen, strict=True) if some}
    if not known:
        raise ModelError(
            f"No usable row for shared model `{name}` of {len(ids)} streams ({first_three(ids)}). "
            f"Expected at least one observed value in the training window. Hint: a longer window."
        )
    return known


@dataclass(frozen=True, slots=True)
class Units:
    """The unit of each member: 8 bytes and a name.

    known
        by ``unique_id``, of the training window; members without one are not in it.
    window
        batches of the training window.
    """

    known: dict[str, float]
    window: int

    def of(self, series: Series, first: int, last: int) -> Floats:
        """Return the unit of each batch, ``(last - first,)``; 0 = forecast 0.

        A member that was not trained on has no unit of the training: each batch takes that of the
        ``window`` batches before it, or of all before it where these say nothing.
        """
        if series.unique_id in self.known:
            return np.full(last - first, self.known[series.unique_id])
        return np.array([self._before(series.y, batch) for batch in range(first, last)])

    def _before(self, y: Floats, batch: int) -> float:
        return unit_of(y[max(batch - self.window, 0) : batch]) or unit_of(y[:batch])


@dataclass(frozen=True, slots=True)
class Statics:
    """Static columns of streams as numbers.

    Numbers are taken from their mean in units of their mean absolute deviation; texts become one
    column per value. A stream without a value has 0 in these columns.

    values
        per column, what each stream has, by ``unique_id``.

    Raises
    ------
    SettingsError
        A column is empty, mixes texts and numbers, or has a number that is not finite.

    >>> statics = Statics({"size": {"a": 1.0, "b": 3.0}, "city": {"a": "Ghent", "b": "Namur"}})
    >>> statics.names()
    ('size', 'city=Ghent', 'city=Namur')
    >>> statics.encoded(["b", "c"]).tolist()
    [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """

    values: StaticValues

    def __post_init__(self) -> None:
        for name, column in self.values.items():
            _check_column(name, column)

    def names(self) -> tuple[str, ...]:
        """Return the names of the encoded columns."""
        made: list[str] = []
        for name, column in self.values.items():
            made += [f"{name}={value}" for value in _texts(column)] or [name]
        return tuple(made)

    def encoded(self, ids: Sequence[str]) -> Floats:
        """Return the columns of these streams, ``(len(ids), n_columns) float64``, never NaN."""
        made: list[Floats] = []
        for column in self.values.values():
            if _texts(column):
                own = np.array([column.get(one) for one in ids], dtype=object)
                made += [(own == value).astype(np.float64) for value in _texts(column)]
            else:
                known = np.array(list(column.values()), dtype=np.float64)
                numbers = [float(column.get(one, known.mean())) for one in ids]
                made.append((np.array(numbers) - known.mean()) / (unit_of(known) or 1.0))
        return np.stack(made, axis=1) if made else np.empty((len(ids), 0))


def _texts(column: Mapping[str, float | str]) -> list[str]:
    """Return the values of a column of texts, sorted; empty for numbers."""
    return sorted({value for value in column.values() if isinstance(value, str)})


def _check_column(name: str, column: Mapping[str, float | str]) -> None:
    texts = [isinstance(value, str) for value in column.values()]
    numbers = [value for value in column.values() if not isinstance(value, str)]
    if not texts or (any(texts) and not all(texts)):
        got = "a mixture of both" if texts else "nothing"
        raise SettingsError(
            f"Static column `{name}` must have a number or a text for each stream, all of one "
            f"kind. Got {got}."
        )
    bad = [one for one, value in column.items() if not texts[0] and not np.isfinite(float(value))]
    if numbers and bad:
        raise SettingsError(
            f"Static column `{name}` must have finite numbers. Got others for streams "
            f"{first_three(bad)}. Hint: leave out the streams without a value."
        )


def check_members(members: Sequence[Series], name: str) -> None:
    """Raise ``ModelError`` unless members can share one model.

    There is one at least, each is there once, and they have one grid and the same columns.
    """
    if not members:
        raise ModelError(f"Shared model `{name}` needs at least one member. Got none.")
    ids = [series.unique_id for series in members]
    twice = sorted({one for one in ids if ids.count(one) > 1}) if len({*ids}) < len(ids) else []
    if twice:
        raise ModelError(
            f"Members of shared model `{name}` must be different streams. "
            f"Got more than one of {first_three(twice)}."
        )
    grid, columns = members[0].grid, members[0].exogenous.shape[-1]
    for series in members:
        if series.grid != grid or series.exogenous.shape[-1] != columns:
            raise ModelError(
                f"Members of shared model `{name}` must have one grid and the same exogenous "
                f"columns. Got {series.grid} and {series.exogenous.shape[-1]} columns for stream "
                f"`{series.unique_id}`, {grid} and {columns} for stream `{ids[0]}`."
            )
