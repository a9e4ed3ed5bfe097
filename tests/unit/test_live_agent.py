"""The live agent: when it judges, what re-opens a batch, and what survives."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from live_agents import (
    FIRST,
    START,
    SetClock,
    asked,
    fleet,
    ledger,
    live_agent,
    live_settings,
    on_day,
    parcels,
    played,
    push,
)
from mlma.adapters.store import open_store
from mlma.agent.desk import Desk
from mlma.agent.live import LiveAgent
from mlma.agent.recomputing import read_entry
from mlma.agent.verification import verified
from mlma.domain.errors import ConflictError, DataError, StoreError
from mlma.domain.rows import LossRows

FRAME = fleet()


def test_a_batch_is_judged_once_its_period_is_over_and_complete():
    agent, store, clock = live_agent()
    push(store, on_day(FRAME, 0))
    clock.day(0, hours=23.9)
    assert agent.tick() == []
    assert "its end" in agent.status().waits_for
    clock.day(1)
    (info,) = agent.tick()
    assert (info.cycle, info.period, info.closed, info.streams) == (1, FIRST, "complete", 12)
    assert agent.tick() == []


def test_a_batch_without_its_actuals_waits_until_the_timeout():
    agent, store, clock = live_agent(timeout=timedelta(hours=3))
    push(store, on_day(FRAME, 0), ("forecasts",))
    clock.day(1, hours=2.9)
    assert agent.tick() == []
    assert agent.status().waits_for.startswith("12 batches, until 2024-01-02 03:00")
    clock.day(1, hours=3)
    (info,) = agent.tick()
    assert info.closed == "timeout"
    assert info.summary["verdicts"]["waiting"] == 12
    assert info.summary["rows"]["batches too small"] == 12


def test_a_stream_of_the_batch_before_is_waited_for():
    agent, store, clock = live_agent(timeout=timedelta(hours=3))
    push(store, on_day(FRAME, 0))
    push(store, on_day(FRAME, 1).filter(pl.col("unique_id") != "shop 05"))
    clock.day(2)
    assert [info.cycle for info in agent.tick()] == [1]
    clock.day(2, hours=3)
    (info,) = agent.tick()
    assert (info.streams, info.closed) == (11, "timeout")


def test_the_delay_holds_a_complete_batch_back():
    agent, store, clock = live_agent(delay=timedelta(hours=1))
    push(store, on_day(FRAME, 0))
    clock.day(1, hours=0.9)
    assert agent.tick() == []
    clock.day(1, hours=1)
    assert len(agent.tick()) == 1


def test_days_without_forecasts_are_passed_over():
    agent, store, clock = live_agent()
    push(store, on_day(FRAME, 0))
    push(store, on_day(FRAME, 4))
    clock.day(9)
    assert [info.period - FIRST for info in agent.tick()] == [0, 4]
    assert agent.status().waits_for == "forecasts of a later period"


def test_without_a_timeout_a_day_waits_for_ever_but_an_empty_one_is_passed_over():
    agent, store, clock = live_agent(timeout=None)
    push(store, on_day(FRAME, 0))
    push(store, on_day(FRAME, 3), ("forecasts",))
    clock.day(400)
    assert [info.period - FIRST for info in agent.tick()] == [0]
    assert agent.status().waits_for == "12 batches"


def test_late_actuals_reopen_their_batch_and_the_ledger_keeps_both_verdicts():
    agent, store, clock = live_agent(timeout=timedelta(0))
    late = (pl.col("unique_id") == "shop 01") & (pl.col("ds") >= pl.datetime(2024, 1, 22))
    played(FRAME.filter(~late), 25, agent, store, clock)
    for day in range(21, 25):
        push(store, on_day(FRAME, day).filter(late), ("forecasts",))
    agent.tick()
    before = [store.cycles(first=cycle, last=cycle)[0] for cycle in range(22, 26)]
    assert [info.revision for info in before] == [0, 0, 0, 0] or before[0].revision > 0
    for day in range(21, 25):
        push(store, on_day(FRAME, day).filter(late), ("actuals",))
    clock.day(25, hours=1)
    made = agent.tick()
    assert {info.closed for info in made} == {"revised"}
    row = store.streams().index("shop 01")
    told = [one for _, one in store.decided(streams=[row], first=22, last=25) if one.before]
    assert "waiting/keep" in {one.before for one in told}
    assert {one.verdict for one in told} >= {"degraded"}

    undisturbed, other, other_clock = live_agent(timeout=timedelta(0))
    played(FRAME, 25, undisturbed, other, other_clock)
    assert ledger(store) == ledger(other)


def test_rows_that_change_nothing_open_nothing():
    agent, store, clock = live_agent()
    played(FRAME, 5, agent, store, clock)
    push(store, on_day(FRAME, 3))
    clock.day(5, hours=1)
    assert agent.tick() == []
    assert all(info.revision == 0 for info in store.cycles())


def test_an_actual_that_is_revised_three_times_counts_as_it_was_last():
    agent, store, clock = live_agent()
    played(FRAME, 20, agent, store, clock)
    wrong = on_day(FRAME, 17).filter(pl.col("unique_id") == "shop 07")
    for hour, factor in enumerate((3.0, 9.0, 1.0), start=1):
        push(store, wrong.with_columns(pl.col("y") * factor), ("actuals",))
        clock.day(20, hours=hour)
        assert [info.closed for info in agent.tick()] == ["revised"] * 3
    assert store.cycles(first=18, last=18)[0].revision == 3
    undisturbed, other, other_clock = live_agent()
    played(FRAME, 20, undisturbed, other, other_clock)
    assert ledger(store) == ledger(other)


def test_rows_that_are_later_than_reopen_change_nothing():
    agent, store, clock = live_agent(reopen=timedelta(days=2))
    played(FRAME, 10, agent, store, clock)
    wrong = on_day(FRAME, 5).with_columns(pl.col("y") * 3)
    push(store, wrong, ("actuals",))
    clock.day(10, hours=2)
    assert agent.tick() == []


def test_of_two_forecasts_of_a_slot_the_later_cutoff_counts_whatever_comes_first():
    day = on_day(FRAME, 0)
    old = day.with_columns(pl.col("y_hat") + 7, pl.col("cutoff").dt.offset_by("-1d"))
    ledgers = []
    for order in ((day, old), (old, day)):
        agent, store, clock = live_agent()
        for frame in order:
            push(store, frame, ("forecasts",))
        push(store, day, ("actuals",))
        clock.day(1)
        (info,) = agent.tick()
        assert info.summary["rows"]["forecasts overruled"] == len(day)
        ledgers.append(ledger(store))
    assert ledgers[0] == ledgers[1]


def test_a_forecast_that_comes_after_its_actual_is_judged_like_any():
    agent, store, clock = live_agent()
    push(store, on_day(FRAME, 0), ("actuals",))
    clock.day(1)
    assert agent.tick() == []
    push(store, on_day(FRAME, 0), ("forecasts",))
    (info,) = agent.tick()
    assert info.closed == "complete"


def test_a_restarted_agent_goes_on_as_if_nothing_had_happened():
    agent, store, clock = live_agent()
    played(FRAME, 12, agent, store, clock)
    agent.surrender()
    again, _, _ = live_agent(store, clock, holder="two")
    for name, column in agent.memory.state.flat().items():
        np.testing.assert_array_equal(again.memory.state.flat()[name], column)
    for day in range(12, 25):
        push(store, on_day(FRAME, day))
        clock.day(day + 1)
        again.tick()
    undisturbed, other, other_clock = live_agent()
    played(FRAME, 25, undisturbed, other, other_clock)
    assert ledger(store) == ledger(other)
    assert asked(store) == asked(other)
    assert len(asked(store)) >= 3


def test_of_two_agents_on_one_store_one_judges_until_it_gives_up():
    agent, store, clock = live_agent()
    second, _, _ = live_agent(store, clock, holder="two")
    push(store, on_day(FRAME, 0))
    clock.day(1)
    assert len(agent.tick()) == 1
    push(store, on_day(FRAME, 1))
    clock.day(2)
    assert second.tick() == []
    assert second.status().leader == "one"
    agent.surrender()
    (info,) = second.tick()
    assert info.cycle == 2  # it has read what the first one wrote


def test_an_agent_that_slept_through_its_lease_decides_nothing(monkeypatch):
    clock, store = SetClock(), open_store("memory://")
    wall = [START]
    agent = LiveAgent(live_settings(), store, clock, holder="one", wall=lambda: wall[0])
    other = LiveAgent(live_settings(), store, clock, holder="two", wall=lambda: wall[0])
    played(FRAME, 2, agent, store, clock)
    push(store, on_day(FRAME, 2))
    clock.day(3)
    awake = Desk.reading

    def slow(desk, gathered):
        if desk is agent._desk:
            wall[0] += timedelta(minutes=5)
            assert len(other.tick()) == 1  # meanwhile
        return awake(desk, gathered)

    monkeypatch.setattr(Desk, "reading", slow)
    with pytest.raises(ConflictError):
        agent.tick()
    assert [info.cycle for info in store.cycles()] == [1, 2, 3]


def test_a_commit_that_fails_changes_nothing_and_is_made_up_for(monkeypatch):
    agent, store, clock = live_agent()
    played(FRAME, 3, agent, store, clock)
    push(store, on_day(FRAME, 3))
    clock.day(4)
    broken = type(store).commit

    def full(self, *_, **__):
        raise StoreError("The store is full.")

    monkeypatch.setattr(type(store), "commit", full)
    with pytest.raises(StoreError):
        agent.tick()
    monkeypatch.setattr(type(store), "commit", broken)
    assert [info.cycle for info in agent.tick()] == [4]
    assert all(one.holds for one in verified(store, agent.settings))


def held_out(name, level):
    ds = np.arange(np.datetime64("2024-01-05"), np.datetime64("2024-01-19"), np.timedelta64(4, "h"))
    rng = np.random.default_rng(3)
    loss = rng.gamma(10, level / 10, len(ds))
    code = np.zeros(len(ds), dtype=np.int64)
    return LossRows((name,), code, ds.astype("datetime64[us]"), loss, ())


def test_a_new_version_starts_its_reference_before_the_next_cycle():
    agent, store, clock = live_agent()
    played(FRAME, 24, agent, store, clock)
    row = store.streams().index("shop 00")
    assert agent.memory.state.pending[row]
    (request,) = [one for _, one in store.requests() if one.request.unique_id == "shop 00"]
    agent.deployed(["shop 00"], held_out("shop 00", 2.5), requests=[request.request.id])
    assert agent.memory.state.version[row] == 1
    push(store, on_day(FRAME, 24))
    clock.day(25)
    agent.tick()
    assert agent.memory.state.version[row] == 2
    assert not agent.memory.state.pending[row]
    assert dict(asked_status(store))["shop 00"] == "done"
    entry = read_entry(store, 25)
    assert entry.evidence["reference_log"][row] == pytest.approx(np.log(2.5), abs=0.2)
    assert all(one.holds for one in verified(store, agent.settings))
    with pytest.raises(ConflictError):
        agent.deployed(["shop 00"], requests=[request.request.id])


def asked_status(store):
    return [(one.request.unique_id, one.status) for _, one in store.requests()]


def test_a_failed_training_may_be_asked_for_again():
    agent, store, clock = live_agent()
    played(FRAME, 24, agent, store, clock)
    (request,) = [one for _, one in store.requests() if one.request.unique_id == "shop 00"]
    agent.failed(["shop 00"], "no data", requests=[request.request.id])
    for day in range(24, 30):
        push(store, on_day(FRAME, day))
        clock.day(day + 1)
        agent.tick()
    told = [status for name, status in asked_status(store) if name == "shop 00"]
    assert told[0] == "failed"
    assert told.count("open") <= 1


def test_a_revised_batch_withdraws_a_request_that_nobody_has_taken():
    frame = fleet(breaks_at=99)
    agent, store, clock = live_agent()
    played(frame, 20, agent, store, clock)
    bad = on_day(frame, 20).with_columns(
        y=pl.when(pl.col("unique_id") == "shop 03").then(pl.col("y") + 500).otherwise(pl.col("y"))
    )
    push(store, bad)
    clock.day(21)
    agent.tick()
    for day in (21, 22):
        push(store, on_day(frame, day))
        clock.day(day + 1)
        agent.tick()
    assert [(name, status) for name, *_, status in asked(store)] == [("shop 03", "open")]
    push(store, on_day(frame, 20), ("actuals",))
    clock.day(23, hours=1)
    agent.tick()
    assert {status for *_, status in asked(store)} == {"withdrawn"}


def test_next_cycles_wait_for_fits_where_the_agent_trains():
    agent, store, clock = live_agent(wait_for_fits=True)
    played(FRAME, 30, agent, store, clock)
    stopped = len(store.cycles())
    assert 18 < stopped < 30
    assert agent.status().waits_for == "re-trainings that are running"
    for _, one in store.requests():
        agent.deployed([one.request.unique_id], requests=[one.request.id])
    assert len(agent.tick()) >= 1


def test_streams_that_were_never_seen_cannot_be_deployed():
    agent, store, clock = live_agent()
    played(FRAME, 1, agent, store, clock)
    with pytest.raises(DataError, match="1 streams are not known: nowhere"):
        agent.deployed(["nowhere"])


def test_the_benchmark_of_a_season_ago_is_read_from_earlier_actuals():
    season = timedelta(days=7)
    agent, store, clock = live_agent(benchmark="seasonal_naive", season=season)
    played(FRAME, 10, agent, store, clock)
    early, late = read_entry(store, 5), read_entry(store, 9)
    assert np.isnan(early.evidence["benchmark"]).all()
    names = store.streams()
    y = on_day(FRAME, 8).filter(pl.col("unique_id") == names[2])["y"].to_numpy()
    before = on_day(FRAME, 1).filter(pl.col("unique_id") == names[2])["y"].to_numpy()
    assert late.evidence["benchmark"][2] == pytest.approx(np.abs(y - before).mean())


def test_the_ledger_proves_itself_and_tells_what_was_tampered_with():
    agent, store, clock = live_agent()
    played(FRAME, 20, agent, store, clock)
    made = list(verified(store, agent.settings))
    assert len(made) == 20
    assert all(one.holds for one in made)

    class Tampered:
        def __getattr__(self, name):
            return getattr(store, name)

        def evidence(self, cycle, revision=None):
            streams, evidence = store.evidence(cycle, revision)
            if cycle == 15:
                evidence = evidence.copy()
                evidence["verdict"][4] = 3
            return streams, evidence

    told = [one for one in verified(Tampered(), agent.settings) if not one.holds]
    assert [(one.cycle, one.differing, one.columns) for one in told] == [(15, (4,), ("verdict",))]


def test_no_result_depends_on_the_order_in_which_streams_were_registered():
    ledgers = []
    for seed in range(2):
        agent, store, clock = live_agent()
        names = sorted(FRAME["unique_id"].unique())
        store.register(list(np.random.default_rng(seed).permutation(names)))
        tags = {"city": {name: (name[-1] in "02468" and "even") or "odd" for name in names}}
        agent.tag(tags)
        played(FRAME, 25, agent, store, clock)
        ledgers.append(ledger(store))
    assert ledgers[0] == ledgers[1]


def test_parcels_of_a_stream_that_another_instance_registered_are_read():
    agent, store, clock = live_agent()
    played(FRAME, 2, agent, store, clock)
    new = on_day(FRAME, 2).with_columns(unique_id=pl.col("unique_id") + " annex")
    store.register(list(dict.fromkeys(new["unique_id"])))
    for kind in ("forecasts", "actuals"):
        store.accept(parcels(new, store.streams(), kind))
    push(store, on_day(FRAME, 2))
    clock.day(3)
    (info,) = agent.tick()
    assert info.streams == 24


def test_settings_that_cannot_be_are_refused():
    zone = replace(live_settings().periods, zone="Europe/Berlin")
    with pytest.raises(Exception, match="timezone"):
        live_agent(policy="mlma(test='profile', pool=1)", periods=zone)


class DaysOf:
    """A source that holds some days, and counts how often it is read."""

    def __init__(self, kind, frame, names):
        self.name = self.kind = kind
        self.reads = 0
        self._parcels = {one.period: one.rows for one in parcels(frame, names, kind)}

    def rows(self, period):
        self.reads += 1
        if period in self._parcels:
            yield self._parcels[period]

    def stamp(self, period):
        return str(period in self._parcels)

    def left_out(self, period):
        return ()


def test_empty_days_of_sources_are_looked_through_once():
    clock, store = SetClock(), open_store("memory://")
    frame = pl.concat([on_day(FRAME, 0), on_day(FRAME, 20)])
    store.register(sorted(FRAME["unique_id"].unique()))
    pair = [DaysOf(kind, frame, store.streams()) for kind in ("forecasts", "actuals")]
    clock.day(25)
    made = []
    for holder in ("one", "two"):
        agent = LiveAgent(live_settings(), store, clock, sources=pair, holder=holder, start=START)
        made.append([info.period - FIRST for info in agent.tick()])
        agent.surrender()
        made.append(pair[0].reads)
    assert made[0] == [0, 20]
    assert made[1] >= 25
    assert made[2] == []
    assert made[3] - made[1] <= 1  # the last day, on which something may still come
