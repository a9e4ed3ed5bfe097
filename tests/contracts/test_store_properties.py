"""What goes into a store comes out of it, whatever it is."""

from itertools import count

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mlma.domain.inbox import Parcel, Rows
from mlma.domain.ledger import EVIDENCE, Snapshot
from stores import KINDS, commit, entry, place_of, same

quick = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)
kinds = (
    npst.integer_dtypes()
    | npst.unsigned_integer_dtypes()
    | npst.floating_dtypes()
    | npst.boolean_dtypes()
    | npst.unicode_string_dtypes(max_len=5)
    | npst.datetime64_dtypes()
    | st.just(np.dtype([("a", "<f4"), ("b", ">i8", (2,)), ("c", "?")]))
)
columns = kinds.flatmap(
    lambda kind: npst.arrays(kind, npst.array_shapes(min_dims=0, max_dims=3, min_side=0))
)
numbers = count(1)


@pytest.fixture(params=KINDS)
def store(request, tmp_path):
    with place_of(request.param, tmp_path) as place:
        yield place.open()


@st.composite
def rows(draw):
    n = draw(st.integers(0, 40))
    int32 = npst.arrays(np.int32, n, elements=st.integers(0, 2**31 - 1))
    cutoff = st.none() | npst.arrays(np.int64, n)
    return Rows(draw(int32), draw(int32), draw(npst.arrays(np.float64, n)), draw(cutoff))


@quick
@given(made=rows(), period=st.integers(-(2**40), 2**40))
def test_rows_come_back_to_the_bit(store, made, period):
    last = store.accept([Parcel("forecasts", period, made)])
    (found,) = store.parcels("forecasts", period, after=last - 1)
    for name in ("stream", "place", "value", "cutoff"):
        one, other = getattr(found.rows, name), getattr(made, name)
        assert (one is None and other is None) or same(one, other)


@quick
@given(head=st.dictionaries(st.text(max_size=5), plain), made=st.dictionaries(texts, columns))
def test_a_snapshot_comes_back_to_the_bit(store, head, made):
    cycle = next(numbers)
    store.commit(commit(entry(cycle), snapshot=Snapshot(cycle, head, made)))
    found = store.snapshot()
    assert (found.cycle, found.head, list(found.columns)) == (cycle, head, list(made))
    assert all(same(found.columns[name], values) for name, values in made.items())


@quick
@given(
    streams=st.lists(st.integers(0, 1500), unique=True, max_size=60).map(sorted),
    data=st.data(),
)
def test_evidence_comes_back_to_the_bit_by_cycle_and_by_stream(store, streams, data):
    cycle = next(numbers)
    records = data.draw(npst.arrays(EVIDENCE, len(streams)))
    records["n"] = np.abs(records["n"] // 2)
    store.commit(commit(entry(cycle, streams=streams, evidence=records)))
    found, again = store.evidence(cycle)
    assert found.tolist() == streams
    assert same(again, records)
    for at, stream in enumerate(streams[:3]):
        cycles, one = store.history(stream, first=cycle)
        assert cycles.tolist() == [cycle]
        assert same(one, records[at : at + 1])


@quick
@given(names=st.lists(texts, max_size=20))
def test_streams_come_back_in_the_order_of_their_coming(store, names):
    known = store.streams()
    assert store.register(names) == len(dict.fromkeys([*known, *names]))
    assert store.streams() == list(dict.fromkeys([*known, *names]))
