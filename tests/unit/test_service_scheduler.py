"""The scheduler has the agent look, survives its errors, and forgets what is kept no longer."""

import logging
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from mlma.adapters.store import open_store
from mlma.domain.errors import SourceError, StoreError
from mlma.domain.ledger import CycleInfo
from mlma.domain.live import LiveSettings, LiveStatus
from mlma.domain.periods import moment_of
from mlma.domain.settings import policy_from
from mlma.service.pruning import Pruner, Retention
from mlma.service.scheduler import Scheduler
from stores import commit, entry, parcel
from threads import DAYS, FIRST, Standing, until

DAY = timedelta(days=1)
NEVER = timedelta(hours=1)


def info(cycle, revision=0):
    return CycleInfo(
        cycle, revision, cycle + 100, datetime(2024, 1, 2, tzinfo=UTC), 1, "complete", 5, "mlma", 0
    )


def status(cycle=0, *, leads=True, next_period=None):
    return LiveStatus(cycle, 5, next_period, "", None, "me" if leads else "other", leads)


class Agent:
    """Answers what it was told to, in order, then nothing."""

    def __init__(self, *answers, leads=True):
        self.answers, self.leads, self.ticks = list(answers), leads, 0
        self.in_tick, self.overlaps = 0, 0

    def tick(self):
        self.in_tick += 1
        self.overlaps += self.in_tick > 1
        self.ticks += 1
        answer = self.answers.pop(0) if self.answers else []
        self.in_tick -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    def status(self):
        return status(leads=self.leads)


def scheduler(agent, every=NEVER, **settings):
    return Scheduler(agent, Standing(), every, **settings)


@pytest.fixture
def store():
    with closing(open_store("memory://")) as made:
        yield made


def test_the_agent_looks_at_the_start_again_and_again_and_when_poked():
    agent = Agent()
    made = scheduler(agent, timedelta(seconds=0.02))
    made.start()
    until(lambda: agent.ticks >= 3)
    assert made.stop(5.0)
    slow = Agent()
    made = scheduler(slow)
    made.start()
    until(lambda: slow.ticks == 1)
    made.poke()
    until(lambda: slow.ticks == 2)
    assert made.alive
    assert made.stop(5.0)
    assert not made.alive


def test_facts_tell_of_the_last_look():
    made = scheduler(Agent([info(1), info(2)], [info(1, revision=1)]))
    assert (made.facts.last_tick, made.leads) == (None, False)
    assert [one.cycle for one in made.tick()] == [1, 2]
    made.tick()
    made.tick()
    facts = made.facts
    assert (facts.ticks, facts.cycles, facts.revisions, facts.failures) == (3, 3, 1, 0)
    assert facts.last_tick == Standing().now()
    assert facts.status == status()
    assert made.leads
    assert 0 < facts.seconds < 1


def test_an_error_changes_nothing_and_the_next_look_comes(caplog):
    gone = StoreError("The store cannot be reached.")
    agent = Agent([info(1)], gone, SourceError("The folder is gone."), [info(2)])
    made = scheduler(agent, timedelta(seconds=0.01))
    with caplog.at_level(logging.INFO):
        made.start()
        until(lambda: made.facts.failures == 2)
        assert made.facts.status is not None
        until(lambda: made.facts.cycles == 2)
        assert made.stop(5.0)
    assert (made.facts.failures, made.facts.errors) == (0, 2)
    assert made.facts.last_error == "The folder is gone."
    assert "scheduler failed (1 in a row)" in caplog.text
    assert "cycle 2 judged 5 streams, complete" in caplog.text


def test_a_look_that_somebody_asks_for_raises_what_went_wrong():
    made = scheduler(Agent(StoreError("It is gone.")))
    with pytest.raises(StoreError, match="It is gone"):
        made.tick()
    assert made.facts.failures == 1
    assert made.tick() == []


def test_looks_do_not_overlap():
    agent = Agent()
    made = scheduler(agent, timedelta(seconds=0.001))
    made.start()
    for _ in range(200):
        made.tick()
    assert made.stop(5.0)
    assert agent.overlaps == 0


def test_others_are_told_when_something_was_judged_or_the_lead_was_gained():
    told = []
    agent = Agent([], [info(1)], leads=False)
    made = scheduler(agent, judged=[lambda: told.append(1)])
    made.tick()
    assert told == []
    made.tick()
    assert told == [1]
    agent.leads = True
    made.tick()
    assert told == [1, 1]
    made.tick()
    assert told == [1, 1]


def test_only_the_leader_forgets(store):
    store.register(["a"])
    store.accept([parcel(1.0, period=FIRST - 60), parcel(1.0, period=FIRST)])
    agent, done = Agent(leads=False), Event()
    made = Scheduler(
        agent, Standing(), timedelta(seconds=0.01), pruner=Pruner(store, DAYS, Retention())
    )
    made.start()
    until(lambda: agent.ticks >= 3)
    assert list(store.periods()) == [FIRST - 60, FIRST]
    agent.leads = True
    until(lambda: list(store.periods()) == [FIRST])
    done.set()
    assert made.stop(5.0)


def test_rows_go_after_their_retention_but_not_before_they_are_judged(store):
    store.register(["a"])
    store.accept([parcel(1.0, period=period) for period in range(FIRST - 20, FIRST + 1)])
    pruner = Pruner(store, DAYS, Retention(rows=14 * DAY))
    now = Standing().now()  # noon of the day after FIRST
    waiting = moment_of(DAYS.start(FIRST - 18))
    assert pruner.prune(status(next_period=waiting), now) == 2
    assert min(store.periods()) == FIRST - 18
    judged = moment_of(DAYS.end(FIRST))
    assert pruner.prune(status(next_period=judged), now) == 5
    # The period of 14 days ago is half over: all of it is still kept.
    assert min(store.periods()) == FIRST - 13
    assert pruner.prune(status(next_period=judged), now) == 0


def test_rows_that_the_agent_may_read_again_are_kept():
    settings = LiveSettings(policy_from("mlma"), DAYS, retention=DAY, reopen=3 * DAY)
    assert Retention.of(settings, 30 * DAY, 90 * DAY).rows == 3 * DAY
    seasonal = LiveSettings(
        policy_from("mlma"),
        DAYS,
        retention=DAY,
        reopen=3 * DAY,
        benchmark="seasonal_naive",
        season=7 * DAY,
    )
    assert Retention.of(seasonal, 30 * DAY, 90 * DAY).rows == 10 * DAY


def test_old_states_and_revisions_go_the_newest_stay(store):
    for cycle in range(1, 41):
        store.commit(commit(entry(cycle)), keep=1)
    pruner = Pruner(store, DAYS, Retention(snapshots=10 * DAY, superseded=10 * DAY))
    pruner.prune(status(40), Standing().now())
    assert store.snapshot(before=25) is None
    assert store.snapshot(before=35).cycle == 34
    assert store.snapshot().cycle == 40
