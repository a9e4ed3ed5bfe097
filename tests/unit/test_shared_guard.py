"""What goes wrong in a shared model becomes one kind of error, which names the streams."""

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from mlma.adapters.models.shared import SharedSklearn
from mlma.adapters.models.shared_guard import GuardedShared, GuardedSharedModel, forecasts_of_each
from mlma.domain.errors import MissingExtraError, ModelError
from mlma.domain.streams import Grid, Series

GRID = Grid(np.datetime64("2024-01-01", "us"), np.timedelta64(1, "D"), 2, 30)
MEMBERS = [
    Series(name, GRID, np.random.default_rng(k).gamma(5.0, size=(30, 2)), np.empty((30, 2, 0)))
    for k, name in enumerate(("a", "b", "c"))
]


@dataclass(frozen=True)
class Model:
    """Forecasts ones; what is wrong is wrong with stream b."""

    fault: str = ""
    name: str = "mine"
    warm_up: int = 0

    def fit_shared(self, members, first, last, seed):
        if self.fault == "fit":
            raise ZeroDivisionError("no rows")
        if self.fault == "extra":
            raise MissingExtraError("The model `mine`", "mine")
        return self

    def predict(self, series, first, last):
        out = np.ones((last - first, 2))
        if series.unique_id == "b":
            if self.fault == "raises":
                raise KeyError("b")
            if self.fault in ("NaN", "infinite"):
                out[0, 1] = np.nan if self.fault == "NaN" else np.inf
        return out

    def predict_many(self, members, first, last):
        out = np.stack([self.predict(series, first, last) for series in members])
        if self.fault == "together":
            raise MemoryError("too many")
        if self.fault == "list":
            return out.tolist()
        if self.fault == "integers":
            return out.astype(int)
        return out[:2] if self.fault == "shape" else out

    def held_out(self, series, first, last):
        return np.ones(1) if self.fault == "held out" else None


def guarded(fault):
    return GuardedShared(Model(fault)).fit_shared(MEMBERS, 0, 20, 1)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raises", r"3 streams \(a, b, c\), batches 20 to 24, failed. KeyError.*themselves: b\."),
        ("together", r"MemoryError: too many$"),
        ("NaN", r"returned NaN for 1 of 30 slots, of streams b\."),
        ("infinite", r"an infinite value for 1 of 30 slots, of streams b\."),
        ("shape", r"Expected .* shape \(3, 5, 2\). Got shape \(2, 5, 2\), float64"),
        ("list", r"Got list"),
        ("integers", r"Got shape \(3, 5, 2\), int64"),
    ],
)
def test_forecasts_that_are_none_become_a_model_error(fault, message):
    with pytest.raises(ModelError, match=message):
        guarded(fault).predict_many(MEMBERS, 20, 25)


def test_a_fit_that_raises_becomes_a_model_error_with_its_cause():
    with pytest.raises(ModelError, match=r"`fit_shared` of model `mine`.*no rows") as caught:
        guarded("fit")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_missing_library_is_told_as_it_is():
    with pytest.raises(MissingExtraError):
        guarded("extra")


def test_one_member_and_held_out_forecasts_are_guarded_too():
    with pytest.raises(ModelError, match="stream `b`"):
        guarded("NaN").predict(MEMBERS[1], 20, 25)
    with pytest.raises(ModelError, match="held_out"):
        guarded("held out").held_out(MEMBERS[0], 10, 20)
    assert guarded("").held_out(MEMBERS[0], 10, 20) is None


def test_a_stream_that_fails_costs_that_stream_only():
    out, failed = forecasts_of_each(Model("raises"), MEMBERS, 20, 25, "mine")
    assert [*failed] == ["b"]
    assert "stream `b`" in str(failed["b"])
    assert np.isnan(out[1]).all()
    assert np.array_equal(out[[0, 2]], np.ones((2, 5, 2)))


def test_a_real_model_passes_through_unchanged():
    inner = SharedSklearn(Ridge(), name="ridge")
    guard = GuardedShared(inner)
    assert (guard.name, guard.warm_up) == ("ridge", 14)
    made = guard.fit_shared(MEMBERS, 0, 20, 1)
    assert isinstance(made, GuardedSharedModel)
    expected = inner.fit_shared(MEMBERS, 0, 20, 1).predict_many(MEMBERS, 20, 25)
    assert np.array_equal(made.predict_many(MEMBERS, 20, 25), expected)
