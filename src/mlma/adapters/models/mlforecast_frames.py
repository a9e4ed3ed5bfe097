"""Streams as the frames that MLForecast reads: no gap in them, every row before its cutoff.

Takes the members of a shared model, gives pandas frames in long form, one series per stretch of a
stream. Next is `mlforecast`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlma.adapters.models.rhythm import carried
from mlma.adapters.models.shared_features import StaticValues
from mlma.domain.errors import ModelError
from mlma.domain.streams import Grid, Series

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Slots ``start`` to ``stop - 1`` of one member, in units of ``unit``.

    MLForecast sees it as a series of its own, named by its place. ``start`` may lie before the
    first slot of the grid: what was before a stream's first value is 0.
    """

    member: int
    start: int
    stop: int
    unit: float = 1.0


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of some members, whose gaps are filled from the past (`carried`).

    y, exogenous
        per member ``(n_slots,)`` and ``(n_slots, n_exogenous)``, without NaN.
    born
        slot of each member's first value; the number of slots where there is none.
    """

    grid: Grid
    ids: tuple[str, ...]
    y: tuple[Floats, ...]
    exogenous: tuple[Floats, ...]
    born: tuple[int, ...]
    names: tuple[str, ...]
    statics: StaticValues

    @classmethod
    def of(
        cls, members: Sequence[Series], last: int, names: tuple[str, ...], statics: StaticValues
    ) -> "Frames":
        """Return the frames of batches before ``last``.

        Raises
        ------
        ModelError
            There are not as many names as exogenous columns.
        """
        width = members[0].exogenous.shape[-1]
        names = names or tuple(f"x{column + 1}" for column in range(width))
        if len(names) != width:
            raise ModelError(
                f"`exogenous` of the MLForecast model must name the {width} exogenous columns of "
                f"the streams. Got {len(names)} names: {', '.join(names)}."
            )
        grid = members[0].grid
        seen = [np.isfinite(series.y[:last]).ravel() for series in members]
        return cls(
            grid=grid,
            ids=tuple(series.unique_id for series in members),
            y=tuple(carried(series.y[:last].ravel(), grid) for series in members),
            exogenous=tuple(_columns(series, last) for series in members),
            born=tuple(int(one.argmax()) if one.any() else len(one) for one in seen),
            names=names,
            statics=statics,
        )

    def history(self, stretches: Sequence[Stretch]) -> "pd.DataFrame":
        """Return series with their values: ``unique_id``, ``ds``, ``y``, exogenous, static."""
        frame = self._long(stretches)
        values = [_cut(self.y[one.member], one) / one.unit for one in stretches]
        frame.insert(2, "y", np.concatenate(values))
        for name, column in self.statics.items():
            whose = np.array([column.get(self.ids[one.member]) for one in stretches], dtype=object)
            frame[name] = np.repeat(_typed(whose, column), _lengths(stretches))
        return frame

    def future(self, stretches: Sequence[Stretch]) -> "pd.DataFrame | None":
        """Return what is known of slots in advance; None without exogenous columns."""
        return self._long(stretches) if self.names else None

    def _long(self, stretches: Sequence[Stretch]) -> "pd.DataFrame":
        import pandas as pd

        slots = np.concatenate([np.arange(one.start, one.stop) for one in stretches])
        start, step = (
            self.grid.start.astype("datetime64[ns]"),
            self.grid.step.astype("timedelta64[ns]"),
        )
        places = np.repeat(np.arange(len(stretches)), _lengths(stretches))
        frame = pd.DataFrame({"unique_id": places, "ds": start + step * slots})
        columns = np.concatenate([_cut(self.exogenous[one.member], one) for one in stretches])
        for place, name in enumerate(self.names):
            frame[name] = columns[:, place]
        return frame


def positions(frame: "pd.DataFrame", grid: Grid, stretches: Sequence[Stretch]) -> Ints:
    """Return the row in `Frames.history` of each row of a frame made of it, ``(n_rows,)``."""
    offsets = np.concatenate([[0], np.cumsum(_lengths(stretches))])[:-1]
    starts = np.array([one.start for one in stretches])
    since = frame["ds"].to_numpy() - grid.start.astype("datetime64[ns]")
    slots = since // grid.step.astype("timedelta64[ns]")
    which = frame["unique_id"].to_numpy()
    return np.asarray(offsets[which] + slots - starts[which], dtype=np.int64)


def _lengths(stretches: Sequence[Stretch]) -> list[int]:
    return [one.stop - one.start for one in stretches]


def _cut(values: Floats, stretch: Stretch) -> Floats:
    """Return the rows of a stretch; 0 before the first slot of the grid."""
    inside = values[max(stretch.start, 0) : stretch.stop]
    before = np.zeros((max(-stretch.start, 0), *values.shape[1:]))
    return np.concatenate([before, inside]) if len(before) else inside


def _columns(series: Series, last: int) -> Floats:
    columns = series.exogenous[:last].reshape(last * series.y.shape[1], series.exogenous.shape[-1])
    made = [carried(column, series.grid) for column in columns.T]
    return np.stack(made, axis=1) if made else columns


def _typed(values: NDArray[Any], column: Any) -> Any:
    """Return static values as numbers, or texts as the categories that any stream has."""
    import pandas as pd

    texts = sorted({value for value in column.values() if isinstance(value, str)})
    if texts:
        return pd.Categorical(values, categories=texts)
    return values.astype(np.float64)
