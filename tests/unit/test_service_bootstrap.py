"""Settings become a service that judges, trains, tells, stops in order and goes on."""

import json
import logging
from datetime import UTC, datetime, timedelta
from threading import Event

import polars as pl
import pytest

from brokers import cluster
from live_agents import POLICY, SLOTS, fleet, on_day
from mlma.adapters.frames.rows import named_rows
from mlma.adapters.sources.clocks import WallClock
from mlma.domain.errors import DataError, SettingsError, StoreError
from mlma.service.bootstrap import build, instance_name
from mlma.service.ingest import BusyError
from mlma.service.settings import Settings
from requests_for_retraining import serving
from threads import until

DAYS = 24
FLEET = fleet(days=DAYS)
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


def settings_of(url="memory://", **tables):
    return Settings(
        **{
            "agent": {"slot": "4h", "policy": POLICY},
            "store": {"url": url},
            "clock": {"kind": "simulated"},
            "scheduler": {"every": "1s", "lease": "10s"},
            **tables,
        }
    )


def push(service, frame):
    """Push forecasts and actuals through the front door, and wait until they are durable."""
    futures = [
        service.ingestor.submit(
            named_rows(frame, kind, service.door(), strict=True), oldest=service.oldest()
        )
        for kind in ("forecasts", "actuals")
    ]
    return [future.result(10.0) for future in futures]


def live_through(service, first, last):
    """Push day after day, and wait for each to be judged."""
    for day in range(first, last):
        service.clock.advance(BEGIN + timedelta(days=day))
        push(service, on_day(FLEET, day))
        service.clock.advance(BEGIN + timedelta(days=day + 1))
        service.poke()
        until(lambda day=day: len(service.store.cycles()) == day + 1, 20.0)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'mlma.db'}"


def test_a_fleet_is_judged_trained_and_told_of(url):
    with serving() as desk:
        settings = settings_of(
            url,
            retention={"rows": "60d"},
            retraining={"function": "fits_of_users:fine", "executor": "threads"},
            webhooks=[
                {
                    "name": "desk",
                    "url": desk.url,
                    "secret": "a secret of sixteen",
                    "allow_private": True,
                }
            ],
        )
        with build(settings) as service:
            push(service, FLEET)
            service.clock.advance(BEGIN + timedelta(days=DAYS))
            service.poke()
            until(lambda: service.scheduler.facts.cycles == DAYS, 30.0)
            until(lambda: not service.store.deliveries(status=["waiting"]))
            asked = service.store.requests()
            until(lambda: service.trainer.facts.deployed == len(service.store.requests()))
            events = service.store.deliveries()
            assert service.alive
    assert asked
    assert {one.request.unique_id for _, one in asked} >= {"shop 00", "shop 01", "shop 02"}
    told = [json.loads(body) for body in desk.bodies]
    assert {"decisions", "requests"} <= {one["kind"] for one in told}
    sent = [one.event for one in events if not one.error]
    assert sorted(one["id"] for one in told) == sorted(one.id for one in sent)
    assert {one.event.kind for one in events if one.error} <= {"digest", "incident"}
    wanted = [one for event in told for one in event["document"].get("requests", [])]
    assert {one["unique_id"] for one in wanted} == {one.request.unique_id for _, one in asked}


def test_a_service_that_is_stopped_goes_on_where_it_was(url):
    with build(settings_of(url)) as service:
        live_through(service, 0, 5)
    with build(settings_of(url)) as service:
        assert service.store.setting("clock").startswith("2024-01-06")
        live_through(service, 5, 8)
        assert len(service.registry) == 12
        until(lambda: service.scheduler.facts.cycles == 3)


def test_stopping_takes_nothing_more_drains_and_gives_the_lease_back(url):
    service = build(settings_of(url))
    service.start()
    until(lambda: service.scheduler.leads)
    rows = named_rows(on_day(FLEET, 0), "forecasts", service.door(), strict=True)
    pushed = [service.ingestor.submit(rows) for _ in range(5)]
    assert service.stop(20.0)
    assert service.stop()  # once more is harmless
    assert all(future.result(0).rows == 12 * SLOTS for future in pushed)
    with pytest.raises(BusyError):
        service.ingestor.submit(rows)
    assert not service.scheduler.alive
    with build(settings_of(url)) as other:
        assert other.store.lease() is None or other.store.lease().holder == other.live.holder
        until(lambda: other.scheduler.leads, 2.0)


def test_of_two_instances_one_judges_and_the_other_takes_over_at_once(url):
    settings = settings_of(url)
    with build(settings) as second:
        until(lambda: second.scheduler.leads)
        with build(settings) as first:
            until(lambda: first.scheduler.facts.ticks >= 1)
            assert not first.scheduler.leads
            live_through(second, 0, 2)
            push(first, on_day(FLEET, 2))  # whoever does not judge takes rows all the same
            first.clock.advance(BEGIN + timedelta(days=3))
            second.stop()
            first.poke()
            until(lambda: len(first.store.cycles()) == 3)
            until(lambda: first.scheduler.leads)


def test_something_that_does_not_end_is_left_behind_and_told_of(url, caplog):
    service = build(settings_of(url))
    go, inside = Event(), Event()
    tick = service.live.tick

    def slow():
        inside.set()
        go.wait(10.0)
        return tick()

    service.live.tick = slow
    service.start()
    assert inside.wait(5.0)
    with caplog.at_level(logging.WARNING):
        assert not service.stop(0.3)
    assert "the scheduler did not stop in time" in caplog.text
    go.set()
    until(lambda: not service.scheduler.alive)


def test_rows_older_than_what_is_kept_are_refused_at_the_door():
    with build(settings_of()) as service:
        service.clock.advance(BEGIN + timedelta(days=30))
        with pytest.raises(DataError, match="at or after 2024-01-17"):
            push(service, on_day(FLEET, 0))
        service.poke()
        assert push(service, on_day(FLEET, 20))[0].new_streams == 12


def test_folders_are_read_where_they_lie(url, tmp_path):
    folders = {name: tmp_path / name for name in ("forecasts", "actuals")}
    for day in range(4):
        for name, column in (("forecasts", "y_hat"), ("actuals", "y")):
            folders[name].mkdir(exist_ok=True)
            frame = on_day(FLEET, day).select("unique_id", pl.col("ds").alias("at"), column)
            frame.write_parquet(folders[name] / f"{day}.parquet")
    sources = [
        {"kind": "folder", "rows": name, "path": str(path), "columns": {"ds": "at"}}
        for name, path in folders.items()
    ]
    with build(settings_of(url, sources=sources)) as service:
        # Somebody pushes a first row: it tells from where on there is something to judge.
        push(service, on_day(FLEET, 0).head(1))
        service.clock.advance(BEGIN + timedelta(days=4))
        service.poke()
        until(lambda: len(service.store.cycles()) == 4)
        assert service.store.cycles()[-1].streams == 12
        assert len(service.store.streams()) == 12


def test_tags_of_a_file_are_recorded_once_for_each_state_of_it(url, tmp_path):
    path = tmp_path / "tags.csv"
    settings = settings_of(url, streams={"tags": str(path)})
    counts = []
    for city in ("Paris", "Paris", "Lyon"):
        path.write_text(f"unique_id,city\nshop 00,{city}\nshop 01,\n", encoding="utf-8")
        with build(settings) as service:
            counts.append(len(service.store.actions()))
            last = service.store.actions()[-1]
    assert counts == [1, 1, 2]
    assert last.payload["tags"] == {"city": {"shop 00": "Lyon"}}
    assert (last.kind, last.by) == ("tags", "settings")


def test_what_cannot_be_is_refused_before_anything_runs(tmp_path, url):
    with pytest.raises(SettingsError, match="`slot` of \\[agent\\]"):
        build(settings_of(agent={}))
    with pytest.raises(SettingsError, match="cannot be imported"):
        build(settings_of(url, retraining={"function": "no_such_module:f"}))
    with pytest.raises(SettingsError, match="not a public address"):
        build(settings_of(url, webhooks=[{"name": "in", "url": "http://10.0.0.1/"}]))
    with pytest.raises(StoreError):
        build(settings_of(f"sqlite:///{tmp_path}/no/such/folder/mlma.db"))


def test_names_of_instances_differ():
    assert instance_name() != instance_name()


def test_a_wall_clock_is_the_default():
    with build(settings_of(clock={})) as service:
        assert isinstance(service.clock, WallClock)
        assert service.trainer is None
        assert len(service.keys) == 0


def test_a_topic_is_consumed_and_its_offsets_are_kept(url):
    with cluster() as broker:
        for name, column in (("forecasts", "y_hat"), ("actuals", "y")):
            rows = on_day(FLEET, 0).with_columns(pl.col("ds").dt.to_string("iso:strict"))
            broker.say(name, *rows.select("unique_id", "ds", column).to_dicts(), {"ds": "never"})
        sources = [
            {"kind": "kafka", "rows": name, "brokers": broker.brokers, "topic": name, "group": name}
            for name in ("forecasts", "actuals")
        ]
        with build(settings_of(url, sources=sources)) as service:
            service.clock.advance(BEGIN + timedelta(days=1))
            until(lambda: sum(feed.facts.rows for feed in service.feeds) == 2 * 12 * SLOTS, 20.0)
            until(lambda: len(service.store.cycles()) == 1)
            assert service.store.offsets() == {
                "actuals/actuals/0": str(12 * SLOTS + 1),
                "forecasts/forecasts/0": str(12 * SLOTS + 1),
            }
