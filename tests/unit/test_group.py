"""Which streams are told as one: scopes, clusters of findings, and traces of single streams."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlma.domain.groups import Groups, groups_of
from mlma.domain.ledger import EVIDENCE
from mlma.domain.verdicts import Verdict
from mlma.steps.follow import begun, faulty, holed, traced, unhealed, waiting_anew
from mlma.steps.group import Spot, clusters, members_of, same, scopes
from mlma.steps.trace import Patience, Traces, seen_of

CITY = ["a"] * 10 + ["b"] * 10 + ["c"] * 20
AREA = ["west"] * 20 + ["east"] * 20
GROUPS = groups_of(40, {"city": CITY, "area": AREA})
THERE = np.ones(40, dtype=np.bool_)


def told(rows, groups=GROUPS, there=THERE):
    found = scopes(np.array(sorted(rows), dtype=np.int64), there, groups)
    return [(one.name, one.rows.tolist()) for one in found]


def test_a_city_of_which_most_is_hit_is_the_scope_and_the_rest_has_none():
    assert told([*range(9), 39]) == [("city=a", list(range(9))), ("", [39])]


def test_the_smallest_group_that_holds_as_many_is_taken():
    assert told(range(10)) == [("city=a", list(range(10)))]  # west has them too, and is larger


def test_the_group_that_holds_most_comes_before_smaller_ones():
    assert told(range(19)) == [("area=west", list(range(19)))]


def test_half_of_all_streams_is_the_fleet():
    assert told(range(0, 40, 2)) == [("fleet", list(range(0, 40, 2)))]


def test_fewer_than_eight_streams_are_no_group():
    assert told(range(7)) == [("", list(range(7)))]


def test_a_group_consists_of_the_streams_that_are_there():
    there = THERE.copy()
    there[8:10] = False
    there[12:] = False
    assert told(range(8), there=there) == [("fleet", list(range(8)))]


def test_nobody_has_no_scope():
    assert told([]) == []


def test_members_of_a_scope_that_is_not_known_are_none():
    assert members_of("city=z", GROUPS).sum() == 0
    assert members_of("fleet", GROUPS).sum() == 40
    assert np.flatnonzero(members_of("city=b", GROUPS)).tolist() == list(range(10, 20))


def spot(scope, hit):
    made = np.zeros(40, dtype=np.bool_)
    made[list(hit)] = True
    return Spot(scope, 1, members_of(scope, GROUPS), made)


def test_spots_that_share_what_is_hit_are_one_cluster_with_the_best_fit_first():
    found = clusters([spot("area=west", range(10)), spot("city=a", range(10))])
    assert [[one.scope for one in cluster] for cluster in found] == [["city=a", "area=west"]]
    found = clusters([spot("area=west", range(20)), spot("city=a", range(10))])
    assert [[one.scope for one in cluster] for cluster in found] == [["area=west", "city=a"]]


def test_spots_that_share_little_are_apart():
    found = clusters([spot("city=a", range(10)), spot("area=west", range(8, 20))])
    assert sorted(cluster[0].scope for cluster in found) == ["area=west", "city=a"]


def test_a_chain_of_spots_is_one_cluster():
    one, two, three = (
        spot("city=a", range(8)),
        spot("fleet", range(4, 16)),
        spot("city=b", (12, 13)),
    )
    assert same(one.hit, two.hit)
    assert same(two.hit, three.hit)
    assert not same(one.hit, three.hit)
    assert len(clusters([one, three, two])) == 1


def test_spots_without_a_hit_are_each_their_own():
    assert len(clusters([spot("city=a", ()), spot("area=west", ())])) == 2


@given(
    hit=st.lists(st.booleans(), min_size=40, max_size=40),
    order=st.permutations(range(40)),
)
@settings(max_examples=60, deadline=None)
def test_permuting_streams_permutes_scopes(hit, order):
    order = np.array(order)
    rows = np.flatnonzero(hit)
    cities, areas = [CITY[at] for at in order], [AREA[at] for at in order]
    mixed = groups_of(40, {"city": cities, "area": areas})
    back = np.flatnonzero(np.array(hit)[order])
    found = [(name, sorted(order[members].tolist())) for name, members in told(back, groups=mixed)]
    assert found == told(rows)


@given(hit=st.lists(st.booleans(), min_size=40, max_size=40))
@settings(max_examples=60, deadline=None)
def test_scopes_hold_each_stream_once(hit):
    rows = np.flatnonzero(hit).tolist()
    assert sorted(row for _, members in told(rows) for row in members) == rows


# Traces.


def seen(size=1, **columns):
    made = np.zeros(size, dtype=EVIDENCE)
    made["loss"], made["spread"], made["n"], made["forecasts"], made["version"] = 1, 0.1, 6, 6, 1
    made["verdict"] = Verdict.HEALTHY
    for name, value in columns.items():
        made[name] = value
    return seen_of(made, np.zeros(size, dtype=np.bool_))


def lived(traces, days, **columns):
    at = np.arange(len(traces))
    for _ in range(days):
        traces = traced(traces, at, seen(len(traces), **columns), Patience())
    return traces


def alarmed(traces, loss=1.5):
    return lived(traces, 1, loss=loss, alarm=1, verdict=Verdict.DEGRADED)


def test_the_usual_level_is_that_of_the_reference_while_all_is_well():
    traces = lived(Traces.new(1), 1, reference_log=0.3, calendar=2)
    assert traces.usual[0, 2] == pytest.approx(0.3)
    assert np.isnan(traces.usual[0, 0])
    traces = lived(traces, 1, reference_log=0.9, calendar=2, verdict=Verdict.DEGRADED)
    assert traces.usual[0, 2] == pytest.approx(0.3)


def test_the_rise_is_against_the_level_before_the_alarm_not_against_the_new_reference():
    traces = alarmed(lived(Traces.new(1), 3))
    assert traces.troubled.tolist() == [True]
    traces = lived(traces, 20, loss=1.5, reference_log=np.log(1.5), version=2)
    assert traces.excess[0] == pytest.approx(np.log(1.5), abs=1e-6)
    assert traces.fits[0] == 1
    assert traces.usual[0, 0] == 0


def test_a_new_version_starts_the_mean_anew():
    traces = lived(alarmed(Traces.new(1), loss=3), 10, loss=3.0, verdict=Verdict.DEGRADED)
    traces = lived(traces, 1, loss=1.0, version=2)
    assert traces.averaged[0] == 1
    assert traces.excess[0] == pytest.approx(0)


def test_a_trouble_is_over_after_a_week_at_the_old_level():
    traces = alarmed(lived(Traces.new(1), 3))
    assert lived(traces, 6).troubled.all()
    assert not lived(traces, 7).troubled.any()


def test_a_trouble_is_not_over_at_a_level_between():
    traces = lived(alarmed(lived(Traces.new(1), 3)), 60, loss=1.08)
    assert not traces.troubled.any()  # forgotten: no alarm for so long, and no incident
    traces = alarmed(lived(Traces.new(1), 3))
    traces.cause[0] = 5
    assert lived(traces, 60, loss=1.08).troubled.all()


def test_a_trouble_whose_loss_is_high_is_not_forgotten():
    assert lived(alarmed(lived(Traces.new(1), 3)), 80, loss=1.5).troubled.all()


def test_a_loss_that_stays_high_is_unhealed_after_five_weeks():
    traces = lived(alarmed(lived(Traces.new(1), 3)), 33, loss=1.5, version=2)
    assert not unhealed(traces, Patience()).any()
    traces = lived(traces, 2, loss=1.5, version=2)
    assert unhealed(traces, Patience()).all()
    assert not unhealed(waiting_anew(traces, np.array([0])), Patience()).any()


def test_what_chance_does_is_not_unhealed():
    noisy = lived(alarmed(lived(Traces.new(1), 3)), 40, loss=1.2, spread=0.5, version=2)
    assert noisy.batches[0] > 35 or not noisy.troubled[0]
    assert not unhealed(noisy, Patience()).any()


def test_one_batch_counts_as_no_more_than_a_rise_of_seven_times():
    traces = alarmed(lived(Traces.new(1), 3), loss=1e9)
    assert traces.excess[0] == 2


def test_batches_that_are_set_aside_say_nothing():
    traces = lived(Traces.new(1), 3)
    after = lived(traces, 5, excluded=1, loss=9.0, alarm=1, n=0, reference_log=2.0)
    for name in ("usual", "batches", "missed", "zeros", "cause"):
        np.testing.assert_array_equal(getattr(after, name), getattr(traces, name))


def test_trouble_can_begin_without_an_alarm_of_its_own():
    traces = lived(Traces.new(2), 1)
    traces = begun(traces, np.array([1]), np.array([0.5]), np.array([0]))
    assert traces.troubled.tolist() == [False, True]
    assert traces.usual[1, 0] == 0
    new = begun(Traces.new(1), np.array([0]), np.array([0.5]), np.array([3]))
    assert new.usual[0, 3] == 0.5


def test_holes_are_counted_and_end():
    traces = lived(lived(Traces.new(1), 3), 2, n=0, loss=np.nan)
    assert (traces.missed[0], traces.batches[0]) == (2, -1)
    assert holed(traces, "missing").all()
    assert not faulty(traces, "missing", Patience()).any()
    assert lived(traces, 1).missed[0] == 0


def test_a_stream_that_never_was_in_a_cycle_is_not_gone():
    traces = Traces.new(3)
    for _ in range(4):
        traces = traced(traces, np.array([0]), seen(1), Patience())
    assert traces.gone.tolist() == [0, 0, 0]
    traces = traced(traces, np.array([1]), seen(1), Patience())
    assert traces.gone.tolist() == [1, 0, 0]


def test_a_pause_as_long_as_one_before_is_not_gone():
    traces, nobody = lived(Traces.new(1), 3), np.zeros(0, dtype=np.int64)
    for _ in range(6):
        traces = traced(traces, nobody, seen(0), Patience())
    assert faulty(traces, "gone", Patience()).all()
    traces = lived(traces, 1)
    for _ in range(6):
        traces = traced(traces, nobody, seen(0), Patience())
    assert not faulty(traces, "gone", Patience()).any()


def test_zeros_are_dead_where_they_are_unlikely():
    often, never = lived(Traces.new(1), 150), lived(Traces.new(1), 150)
    for _ in range(100):
        often = lived(lived(often, 1, loss=0.0), 1)
    assert 0.3 < often.zero_share[0] < 0.7
    assert not faulty(lived(often, 6, loss=0.0), "dead", Patience()).any()
    assert faulty(lived(never, 6, loss=0.0), "dead", Patience()).all()
    assert not faulty(lived(never, 1, loss=0.0), "dead", Patience()).any()


@given(order=st.permutations(range(12)), seed=st.integers(0, 10))
@settings(max_examples=30, deadline=None)
def test_permuting_streams_permutes_traces(order, seed):
    rng, order = np.random.default_rng(seed), np.array(order)
    plain = mixed = Traces.new(12)
    for _ in range(15):
        made = np.zeros(12, dtype=EVIDENCE)
        made["loss"], made["spread"] = rng.gamma(4, 0.25, 12), 0.3
        made["n"] = rng.integers(0, 3, 12)
        made["forecasts"], made["version"] = 2, rng.integers(1, 3, 12)
        made["verdict"], made["alarm"] = rng.integers(0, 5, 12), rng.random(12) < 0.2
        there = np.flatnonzero(rng.random(12) < 0.9)
        nobody = np.zeros(len(there), dtype=np.bool_)
        plain = traced(plain, there, seen_of(made[there], nobody), Patience())
        rows = np.flatnonzero(np.isin(order, there))
        mixed = traced(mixed, rows, seen_of(made[order[rows]], nobody), Patience())
    for name, column in plain.flat().items():
        np.testing.assert_array_equal(mixed.flat()[name], column[order], err_msg=name)


def test_traces_of_no_streams_are_followed_too():
    traces = traced(Traces.new(0), np.zeros(0, dtype=np.int64), seen(0), Patience())
    assert len(traces) == 0
    assert told([], groups=Groups(0), there=np.zeros(0, dtype=np.bool_)) == []
