"""Models that live elsewhere: asked for once, told when they are live, nothing lost in between."""

import json
from datetime import timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from daily_losses import FAST, NAMES, bits, day_of_losses, fed
from mlma import Agent, DataError, SettingsError, StateError
from mlma.library.external import (
    DeliveryError,
    ExternalModels,
    FileQueue,
    Handover,
    SQLQueue,
    Webhook,
)
from requests_for_retraining import NOON, Clock, serving

BROKEN = NAMES[0]
HELD_OUT = pl.concat(day_of_losses(day, level=3.0) for day in range(20, 30))
NOTHING = Handover(0, 0, 0)


class Post:
    """A way that keeps what it was given, and fails where it is told to."""

    def __init__(self, per_portion=100):
        self.sent, self.failing, self.per_portion = [], {}, per_portion

    def batches(self, requests):
        size = self.per_portion
        return [tuple(requests[at : at + size]) for at in range(0, len(requests), size)]

    def send(self, batch):
        for request in batch:
            if request.unique_id in self.failing:
                raise DeliveryError(
                    f"no {request.unique_id}", refused=self.failing[request.unique_id]
                )
        self.sent.append(batch)

    @property
    def names(self):
        return [request.unique_id for batch in self.sent for request in batch]


def always(days=1, via=None, clock=None):
    """An agent that asks for all streams at once, and the frame that says so."""
    models = ExternalModels(Agent("always"), via or Post(), clock=clock or Clock())
    return models, fed(models.agent, range(days))[-1]


def until_asked(via):
    """An agent after the first day on which it asks for the broken stream, and that day's frame."""
    models = ExternalModels(Agent(FAST), via, clock=Clock())
    for day in range(20):
        (news,) = fed(models.agent, [day])
        if "retrain" in set(news["decision"]):
            return models, news, day
    raise AssertionError("nothing was asked for")


@pytest.fixture(params=[FileQueue, SQLQueue], ids=lambda kind: kind.__name__)
def queue(request, tmp_path):
    return request.param(tmp_path / "queue", clock=Clock())


def test_what_the_agent_decided_reaches_the_queue(queue):
    models, news, day = until_asked(queue)
    assert models.request(news) == Handover(1, 1, 0)
    (asked,) = queue.claim()
    assert (asked.unique_id, asked.version, asked.cycle) == (BROKEN, 1, day + 1)
    assert asked.reason == "loss above the reference"
    assert asked.asked_at == NOON
    row = news.row(by_predicate=pl.col("unique_id") == BROKEN, named=True)
    assert asked.evidence["verdict"] == "degraded"
    assert asked.evidence["loss"] == row["loss"]
    assert asked.evidence["alarm"] is True


def test_a_frame_without_a_retraining_asks_for_nothing():
    models = ExternalModels(Agent(FAST), Post())
    for news in fed(models.agent, range(10)):
        assert models.request(news) == NOTHING
    assert models.via.sent == []


def test_the_same_frame_asks_once():
    models, news = always()
    assert models.request(news).asked == 5
    assert models.request(news) == models.request(news) == NOTHING
    later = fed(models.agent, [1])[0]
    assert models.request(later) == models.request(news) == NOTHING
    assert models.via.names == list(NAMES)


def test_a_frame_that_comes_late_is_the_same_request():
    models, news = always()
    late, first = always(days=1)
    fed(late.agent, [1, 2])
    models.request(news)
    late.request(first)
    assert late.via.sent == models.via.sent


def test_the_next_version_is_asked_for_anew():
    models, news = always()
    models.request(news)
    models.live()
    assert models.request(news) == NOTHING
    assert models.request(fed(models.agent, [1])[0]).asked == 5
    assert [one.version for batch in models.via.sent for one in batch] == [1] * 5 + [2] * 5
    assert len({one.id for batch in models.via.sent for one in batch}) == 10


def test_streams_of_one_name_and_two_histories_have_requests_of_their_own():
    ours, theirs = (ExternalModels(Agent("always"), Post(), clock=Clock()) for _ in range(2))
    for models, level in ((ours, 1.0), (theirs, 2.0)):
        models.request(models.agent.observe_losses(day_of_losses(0, level=level)))
    same = [
        one.id == other.id for one, other in zip(ours.via.sent[0], theirs.via.sent[0], strict=True)
    ]
    assert same == [False, True, True, True, True]


@pytest.mark.parametrize("kind", ["pandas", "pyarrow"])
def test_frames_of_other_libraries_ask_for_the_same(kind):
    models, news = always()
    models.request(news)
    other = ExternalModels(Agent("always"), Post(), clock=Clock())
    losses = day_of_losses(0)
    frame = pd.DataFrame(losses.to_dict(as_series=False)) if kind == "pandas" else losses.to_arrow()
    other.request(other.agent.observe_losses(frame))
    assert other.via.sent == models.via.sent
    assert type(other.requests).__module__.partition(".")[0] == kind


def test_a_column_of_names_of_ones_own_is_used():
    models = ExternalModels(Agent("always", unique_id="sensor"), Post())
    models.request(models.agent.observe_losses(pl.DataFrame({"sensor": ["a"], "loss": [1.0]})))
    assert models.via.names == ["a"]
    assert models.requests["sensor"].to_list() == ["a"]


def test_evidence_that_is_not_known_is_none_and_never_nan(tmp_path):
    models, news = always(via=FileQueue(tmp_path / "queue"))
    assert np.isnan(news["p_value"][0])
    models.request(news)
    assert models.via.claim()[0].evidence["p_value"] is None


def test_a_live_version_restarts_the_reference_and_closes_the_request():
    models, news, _ = until_asked(Post())
    twin = Agent(FAST)
    fed(twin, range(len(twin.streams), int(models.agent.state.cycle[0])))
    models.request(news)
    held_out = HELD_OUT.filter(unique_id=BROKEN)
    models.live(held_out=held_out)
    twin.retrained(held_out=held_out)
    assert bits(models.agent) == bits(twin)
    assert models.agent.state.version.tolist() == [2, 1, 1, 1, 1]
    assert len(models.requests) == 0


def test_a_live_call_that_fails_closes_nothing():
    models, news = always()
    models.request(news)
    for names, held_out in ((["nobody"], None), (None, HELD_OUT.drop("ds"))):
        with pytest.raises(DataError):
            models.live(names, held_out=held_out)
    assert len(models.requests) == 5


def test_some_versions_are_live_and_the_others_stay_open():
    models, news = always()
    models.request(news)
    models.live([NAMES[1], NAMES[3]])
    assert models.requests["unique_id"].to_list() == [NAMES[0], NAMES[2], NAMES[4]]


def test_a_version_reported_to_the_agent_itself_closes_the_request_too():
    models, news = always()
    models.request(news)
    models.agent.retrained(NAMES[1])
    assert NAMES[1] not in models.requests["unique_id"].to_list()
    assert models.unasked == []
    assert models.request(fed(models.agent, [1])[0]).asked == 1


def test_a_version_rolled_back_while_another_is_asked_for_is_live_when_told():
    models, news = always()
    models.request(news)
    before = models.agent.checkpoint(NAMES[0])
    models.live(NAMES[0])
    models.request(fed(models.agent, [1])[0])
    models.agent.restore(before)
    assert len(models.requests) == 5
    models.live(NAMES[0])
    assert NAMES[0] not in models.requests["unique_id"].to_list()
    assert models.request(fed(models.agent, [2])[0]).asked == 1


def test_a_failed_training_may_be_asked_for_again():
    models, news = always()
    models.request(news)
    models.failed([NAMES[0], NAMES[2]])
    assert models.agent.state.pending.tolist() == [False, True, False, True, True]
    assert models.agent.state.version.tolist() == [1] * 5
    assert models.request(news) == NOTHING
    later = fed(models.agent, [1])[0]
    assert models.request(later).asked == 2
    assert models.request(news) == models.request(later) == NOTHING
    assert models.via.names == [*NAMES, NAMES[0], NAMES[2]]


def test_an_old_frame_does_not_stand_for_a_new_request():
    models, news = always()
    models.request(news)
    models.failed(NAMES)
    later = fed(models.agent, [1])[0]
    assert models.request(news) == NOTHING
    assert models.request(later).asked == 5
    assert [one.cycle for one in models.via.sent[-1]] == [2] * 5


def test_a_frame_that_was_settled_before_it_came_asks_for_nothing():
    models, news = always()
    models.failed(NAMES[:2])
    models.agent.retrained(NAMES[2])
    fed(models.agent, [1], names=NAMES[2:3])
    assert models.agent.state.pending[2]
    models.request(news)
    assert models.via.names == list(NAMES[3:])


def test_a_failed_training_after_an_alarm_is_asked_for_when_the_loss_stays_high():
    models, news, day = until_asked(Post())
    models.request(news)
    models.failed(BROKEN)
    for later in range(day + 1, day + 40):
        models.request(fed(models.agent, [later])[0])
    assert models.via.names == [BROKEN, BROKEN]


def test_an_unknown_stream_cannot_fail():
    models, _ = always()
    with pytest.raises(DataError, match="`failed` names 1 streams that were never observed"):
        models.failed("nobody")
    assert models.agent.state.pending.all()


def test_what_is_not_delivered_is_sent_at_the_next_call():
    models, news = always(via=Post(per_portion=2))
    models.via.failing = {NAMES[2]: False}
    assert models.request(news) == Handover(5, 2, 3, f"no {NAMES[2]}")
    assert models.requests["delivered"].to_list() == [True, True, False, False, False]
    assert models.flush() == Handover(0, 0, 3, f"no {NAMES[2]}")
    models.via.failing = {}
    assert models.request(fed(models.agent, [1])[0]) == Handover(0, 3, 0)
    assert models.via.names == list(NAMES)
    assert [len(batch) for batch in models.via.sent] == [2, 2, 1]
    assert models.flush() == NOTHING


def test_a_portion_that_is_refused_lets_the_others_pass():
    models, news = always(via=Post(per_portion=1))
    models.via.failing = {NAMES[1]: True}
    assert models.request(news) == Handover(5, 4, 1, f"no {NAMES[1]}")
    assert models.via.names == [NAMES[0], *NAMES[2:]]


def test_a_receiver_that_is_too_busy_is_left_alone():
    clock = Clock()
    with serving(*[429] * 9) as receiver:
        via = Webhook(
            receiver.url,
            allow_private=True,
            retries=1,
            max_requests=1,
            sleep=clock.sleep,
            clock=clock,
        )
        models, news = always(via=via)
        assert models.request(news).waiting == 5
    assert len(receiver.bodies) == 2


def test_what_is_over_before_it_was_delivered_is_not_sent():
    models, news = always()
    models.via.failing = dict.fromkeys(NAMES, False)
    models.request(news)
    models.live(NAMES[0])
    models.failed(NAMES[1])
    models.via.failing = {}
    assert models.flush() == Handover(0, 3, 0)
    assert models.via.names == list(NAMES[2:])


def test_an_error_in_a_way_of_ones_own_loses_nothing():
    models, news = always(via=Post(per_portion=2))
    send = models.via.send

    def broken(batch):
        if batch[0].unique_id == NAMES[2]:
            raise ZeroDivisionError
        send(batch)

    models.via.send = broken
    with pytest.raises(ZeroDivisionError):
        models.request(news)
    models.via.send = send
    assert models.flush() == Handover(0, 3, 0)
    assert models.via.names == list(NAMES)


def test_a_webhook_that_answers_500_keeps_them_in_the_outbox_and_sends_the_same_message():
    clock = Clock()
    with serving(*[500] * 2) as receiver:
        via = Webhook(
            receiver.url, allow_private=True, retries=1, sleep=clock.sleep, clock=clock, secret="s"
        )
        models, news = always(via=via)
        first = models.request(news)
        assert (first.asked, first.delivered, first.waiting) == (5, 0, 5)
        assert f"{receiver.url} did not take" in first.error
        assert "it answered 500 (2 attempts)" in first.error
        later = fed(models.agent, [1])[0]
        assert models.request(later) == Handover(0, 5, 0)
    told = [json.loads(body) for body in receiver.bodies]
    assert len(told) == 3
    assert len({one["id"] for one in told}) == 1
    assert [one["unique_id"] for one in told[0]["requests"]] == list(NAMES)


def test_the_queue_tells_what_is_live_and_what_failed(queue):
    models, news = always(via=queue)
    models.request(news)
    one, two, three, *_ = queue.claim(by="trainer")
    queue.done([one, two])
    queue.failed(three, "no data")
    collected = models.collect(held_out=HELD_OUT)
    assert (collected.live, collected.failed) == (NAMES[:2], NAMES[2:3])
    assert models.agent.state.version.tolist() == [2, 2, 1, 1, 1]
    assert models.agent.state.pending.tolist() == [False, False, False, True, True]
    assert models.agent.state.reference.moments.count().tolist()[:2] == [10, 10]
    assert models.collect() == type(collected)((), ())
    assert models.request(fed(models.agent, [1])[0]).asked == 3


def test_a_webhook_cannot_be_asked_what_became_of_requests():
    models = ExternalModels(Agent(), Webhook("https://models.example/x?token=word"))
    with pytest.raises(SettingsError, match="`collect` needs a queue") as caught:
        models.collect()
    assert "word" not in str(caught.value)


def test_overdue_requests_are_listed_by_cycles_and_by_time():
    clock = Clock()
    models, news = always(clock=clock)
    models.request(news)
    fed(models.agent, [1, 2], names=NAMES[:3])
    clock.sleep(3600)
    assert models.overdue(after=2)["unique_id"].to_list() == list(NAMES[:3])
    assert models.overdue(after=2)["cycles"].to_list() == [2, 2, 2]
    assert len(models.overdue(after=3)) == 0
    assert len(models.overdue(after=0)) == 5
    assert len(models.overdue(after="1h")) == len(models.overdue(timedelta(hours=1))) == 5
    assert len(models.overdue(after="61m")) == 0
    models.live(NAMES[0])
    assert models.overdue(after=2)["unique_id"].to_list() == list(NAMES[1:3])


@pytest.mark.parametrize("after", [-1, True, "soon", 1.5, None])
def test_an_age_that_is_none_is_refused(after):
    models, _ = always()
    with pytest.raises(SettingsError, match="`after`"):
        models.overdue(after=after)


def test_open_requests_are_a_frame_even_where_there_are_none():
    models, news = always()
    assert models.requests.height == 0
    models.request(news)
    assert models.requests.columns == [
        *("unique_id", "reason", "version", "cycle", "asked_at", "cycles", "delivered", "id"),
    ]
    assert models.requests["asked_at"].to_list() == [NOON] * 5


@pytest.mark.parametrize("news", [7, "frame", {"decision": ["retrain"]}, [1]])
def test_what_is_no_frame_is_refused(news):
    models, _ = always()
    with pytest.raises(DataError, match=r"expected the frame that `Agent\.observe`"):
        models.request(news)


@pytest.mark.parametrize("column", ["unique_id", "decision", "reason", "version", "age"])
def test_a_frame_that_lacks_a_column_is_refused(column):
    models, news = always()
    with pytest.raises(DataError, match=f"Got a frame without `{column}`"):
        models.request(news.drop(column))
    assert models.via.sent == []


def test_a_frame_of_another_agent_is_refused_and_nothing_is_asked():
    models, news = always()
    other = news.with_columns(unique_id=pl.col("unique_id").replace({NAMES[4]: "nobody"}))
    with pytest.raises(DataError, match="`request` names 1 streams that were never observed"):
        models.request(other)
    assert models.requests.height == 0


@pytest.mark.parametrize("agent", [None, Agent, "mlma"])
def test_something_else_than_an_agent_is_refused(agent):
    with pytest.raises(SettingsError, match=r"must be a `mlma\.Agent`"):
        ExternalModels(agent, Post())


@pytest.mark.parametrize("via", [None, "https://models.example", object()])
def test_something_that_cannot_send_is_refused(via):
    with pytest.raises(SettingsError, match="`via` of `ExternalModels`"):
        ExternalModels(Agent(), via)


def test_its_text_form_counts_and_keeps_secrets():
    url = "https://me:word@models.example/path?token=word"
    models = ExternalModels(Agent("always"), Webhook(url, secret="word"))
    shown = (
        "ExternalModels(Agent(always, 0 streams), Webhook(https://models.example:443, signed), "
        "0 open, 0 in the outbox)"
    )
    assert repr(models) == shown


def test_saved_and_loaded_it_goes_on_as_if_nothing_had_happened(tmp_path):
    clock = Clock()
    models, news = always(via=Post(per_portion=2), clock=clock)
    models.via.failing = {NAMES[2]: False}
    models.request(news)
    models.live(NAMES[0])
    models.save(tmp_path / "agent.npz")
    twin = ExternalModels.load(tmp_path / "agent.npz", Post(per_portion=2), clock=clock)
    assert bits(twin.agent) == bits(models.agent)
    assert_frame_equal(twin.requests, models.requests)
    models.via.failing, models.via.sent = {}, []
    for day in (1, 2):
        theirs, ours = (fed(one.agent, [day])[0] for one in (models, twin))
        assert twin.request(news) == models.request(news)
        assert twin.request(ours) == models.request(theirs)
    assert twin.via.sent == models.via.sent
    assert len(twin.via.sent) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "agent.npz",
        "agent.npz.requests.json",
    ]


def test_what_was_decided_before_a_crash_and_never_asked_for_is_found(tmp_path):
    models, _ = always()
    models.save(tmp_path / "agent")
    twin = ExternalModels.load(tmp_path / "agent", Post())
    assert twin.unasked == list(NAMES)
    assert twin.request() == Handover(5, 5, 0)
    assert twin.unasked == []
    assert twin.request() == NOTHING


@pytest.mark.parametrize("order", ["older agent", "older requests"])
def test_after_a_crash_between_two_files_nothing_is_lost(order, tmp_path):
    queue = SQLQueue(tmp_path / "queue")
    models, news = always(via=queue)
    models.save(tmp_path / "agent")
    old = {path: path.read_bytes() for path in tmp_path.glob("agent*")}
    models.request(fed(models.agent, [1])[0])
    models.request(news)
    models.save(tmp_path / "agent")
    kept = "agent" if order == "older agent" else "agent.requests.json"
    (tmp_path / kept).write_bytes(old[tmp_path / kept])
    twin = ExternalModels.load(tmp_path / "agent", queue)
    twin.request()
    assert len(twin.requests) == 5
    queue.done(queue.claim())
    assert twin.collect().live == NAMES
    assert not twin.agent.state.pending.any()


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{", "null", "{}", '{"format": 1}', '{"format": 1, "open": [{}]}', "ä"),
        '{"format": 1, "open": [], "outbox": [["nobody"]], "closed": {}}',
        '{"format": 1, "open": [], "outbox": [], "closed": []}',
        '{"format": 9}',
        "[" * 100_000,
    ],
)
def test_a_file_that_holds_no_requests_is_refused(content, tmp_path):
    models, _ = always()
    models.save(tmp_path / "agent")
    (tmp_path / "agent.requests.json").write_text(content)
    with pytest.raises(StateError, match=r"requests\.json"):
        ExternalModels.load(tmp_path / "agent", Post())


def test_a_saved_agent_without_its_requests_is_refused(tmp_path):
    Agent().save(tmp_path / "agent")
    with pytest.raises(StateError, match="There are no saved requests"):
        ExternalModels.load(tmp_path / "agent", Post())


def test_a_folder_that_is_not_there_is_named_and_the_old_file_stays(tmp_path):
    models, _ = always()
    with pytest.raises(StateError, match="cannot be saved"):
        models.save(tmp_path / "nowhere" / "agent")
    (tmp_path / "agent.requests.json").mkdir()
    with pytest.raises(StateError, match="The requests cannot be saved"):
        models.save(tmp_path / "agent")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent", "agent.requests.json"]
