"""A recipe for shared models, used for one stream alone.

Takes a shared forecaster, gives a forecaster of the port: every stream gets a model of its own, of
the same kind. For streams that the shared model does not fit, and for comparison.
"""

from dataclasses import dataclass

from mlma.domain.streams import Series
from mlma.ports import FittedForecaster, SharedForecaster


@dataclass(frozen=True, slots=True)
class Solo:
    """A shared recipe whose every model has one member.

    >>> from sklearn.linear_model import Ridge
    >>> from mlma.adapters.models.shared import SharedSklearn
    >>> Solo(SharedSklearn(Ridge(), name="ridge")).name
    'solo ridge'
    """

    inner: SharedForecaster

    @property
    def name(self) -> str:
        """Short name for tables."""
        return f"solo {self.inner.name}"

    @property
    def warm_up(self) -> int:
        """Warm-up of the recipe inside."""
        return self.inner.warm_up

    @property
    def mode(self) -> str:
        """``day_ahead`` or ``one_step``, as the recipe inside says."""
        return getattr(self.inner, "mode", "day_ahead")

    def fit(self, series: Series, first: int, last: int, seed: int) -> FittedForecaster:
        """Return a model trained on this stream alone; see `mlma.ports`."""
        return self.inner.fit_shared([series], first, last, seed)
