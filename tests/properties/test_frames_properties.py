"""What holds for every frame: rows may come in any order, and values come back as they went in."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from mlma.adapters.frames.history import read_history
from mlma.adapters.frames.losses import read_losses

START = np.datetime64("2024-03-01", "us")

values = st.one_of(
    st.floats(-1e9, 1e9), st.none(), st.sampled_from([float("nan"), float("inf"), 0.0])
)


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    """Rows with distinct (stream, slot), in random order, with some rows off the grid."""
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from("ABCD"), st.integers(0, 24 * 9)),
            unique=True,
            min_size=1,
            max_size=60,
        )
    )
    strays = draw(st.integers(0, 2))
    minutes = [60 * hour for _, hour in keys] + [7 + 60 * stray for stray in range(strays)]
    y = draw(st.lists(values, min_size=len(minutes), max_size=len(minutes)))
    return pl.DataFrame(
        {
            "unique_id": [name for name, _ in keys] + ["A"] * strays,
            "ds": START + np.array(minutes) * np.timedelta64(1, "m"),
            "y": pl.Series(y, dtype=pl.Float64),
        }
    )


@given(frame=frames(), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_permuting_rows_changes_nothing(frame: pl.DataFrame, seed: int) -> None:
    one = read_history(frame, step="1h")
    other = read_history(frame.sample(fraction=1, shuffle=True, seed=seed), step="1h")
    assert one.panel.ids == other.panel.ids
    assert one.panel.grid == other.panel.grid
    np.testing.assert_array_equal(one.panel.y, other.panel.y)
    assert {(entry.reason, entry.count) for entry in one.left_out} == {
        (entry.reason, entry.count) for entry in other.left_out
    }


@given(frame=frames(), batch=st.sampled_from(["1h", "6h", "1d", "2d", "7d"]))
@settings(deadline=None, max_examples=60)
def test_every_finite_value_comes_back_at_its_stream_and_slot(
    frame: pl.DataFrame, batch: str
) -> None:
    history = read_history(frame, step="1h", batch=batch)
    panel = history.panel
    times = panel.grid.slot_times()
    flat = panel.y.reshape(len(panel), -1)
    places = zip(*np.nonzero(np.isfinite(flat)), strict=True)
    found = {(panel.ids[row], times[slot], flat[row, slot]) for row, slot in places}
    on_grid = frame.filter((pl.col("ds").dt.minute() == 0) & pl.col("y").is_finite())
    expected = {
        (name, np.datetime64(moment, "us"), value) for name, moment, value in on_grid.iter_rows()
    }
    assert found == expected


@given(frame=frames())
@settings(deadline=None, max_examples=60)
def test_every_row_is_used_or_counted(frame: pl.DataFrame) -> None:
    history = read_history(frame, step="1h")
    lost = sum(entry.count for entry in history.left_out)
    assert np.isfinite(history.panel.y).sum() + lost == len(frame)


@given(frame=frames())
@settings(deadline=None, max_examples=60)
def test_losses_come_back_row_by_row(frame: pl.DataFrame) -> None:
    rows = read_losses(frame, loss_column="y")
    finite = frame.filter(pl.col("y").is_finite())
    assert [rows.ids[code] for code in rows.code] == finite["unique_id"].to_list()
    np.testing.assert_array_equal(rows.loss, finite["y"].to_numpy())
    assert len(rows.loss) + sum(entry.count for entry in rows.left_out) == len(frame)
