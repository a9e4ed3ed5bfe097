"""One cycle: a replay, a live server that is pushed to in any order, and `Agent.observe` in a loop.

The ledgers that they leave are the same to the bit.
"""

import io
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from live_agents import FIRST, START, fleet, ledger, on_day
from live_server import serving, settings_of
from mlma import Agent, replay_recorded
from mlma.agent.recomputing import read_entry

DAYS = 32
POLICY = "mlma(level=0.01, max_age=None, review_age=None)"
FRAME = fleet(DAYS, 20, broken=4)
NAMES = sorted(FRAME["unique_id"].unique())
CITIES = {name: "Ghent" if int(name[-1]) % 2 else "Bruges" for name in NAMES}
TAGS = pl.DataFrame({"unique_id": NAMES, "city": [CITIES[name] for name in NAMES]})
NUMBERS = ("loss", "statistic", "score", "common", "evidence", "drift", "spread", "df")


def looped(policy, **settings):
    """Return the agent after `Agent.observe` in a loop, its frames, and what was deployed when."""
    agent = Agent(policy, tags=TAGS, **settings)
    frames, deployed = [], []
    for day in range(DAYS):
        today = on_day(FRAME, day).sort("unique_id", "ds")
        frames.append(agent.observe(today).with_columns(day=pl.lit(day)))
        names = frames[-1].filter(pl.col("decision") == "retrain")["unique_id"].to_list()
        if names:
            agent.retrained(names)
            deployed += [(day + 1, name) for name in names]
    return agent, pl.concat(frames), deployed


def bodies(frame, rng):
    """Yield (path, body, media type) of rows in random order, in pieces, a third of them twice."""
    if frame.is_empty():
        return
    for path, columns in (("forecasts", ["y_hat", "cutoff"]), ("actuals", ["y"])):
        rows = frame.select("unique_id", "ds", *columns)
        twice = pl.concat([rows, rows.sample(fraction=0.33, seed=int(rng.integers(99)))])
        mixed = twice.sample(fraction=1.0, shuffle=True, seed=int(rng.integers(99)))
        for piece in mixed.iter_slices(max(len(mixed) // 7, 1)):
            yield path, *written(piece, int(rng.integers(4)))


def written(frame, form):
    if form == 0:
        return frame.write_ndjson().encode(), "application/x-ndjson"
    if form == 1:
        return frame.write_csv().encode(), "text/csv"
    buffer = io.BytesIO()
    if form == 2:
        frame.write_parquet(buffer)
        return buffer.getvalue(), "application/vnd.apache.parquet"
    frame.write_ipc_stream(buffer)
    return buffer.getvalue(), "application/vnd.apache.arrow.stream"


def pushed(client, parts):
    for path, body, media in parts:
        answer = client.post(f"/api/v1/{path}", content=body, headers={"Content-Type": media})
        assert answer.status_code in {200, 201}, answer.text


def judged_until(client, day):
    """Set the clock to a day and have everything judged that can be."""
    now = (START + timedelta(days=day)).isoformat()
    assert client.post("/api/v1/clock", json={"now": now}).status_code == 200
    answer = client.post("/api/v1/cycle")
    assert answer.status_code == 200, answer.text


def server_settings(tmp_path, policy, **batches):
    return settings_of(
        agent={"policy": policy, "slot": "4h"},
        batches={"complete_share": 1.0, **batches},
        store={"url": f"sqlite:///{tmp_path}/live.db"},
        clock={"kind": "simulated"},
        scheduler={"every": "1h", "lease": "2h"},
        retention={"rows": "400d"},
    )


@pytest.mark.parametrize(
    "policy", [POLICY, POLICY.replace("(", "(test='profile', ", 1)], ids=["means", "slots"]
)
def test_replay_server_and_loop_leave_the_same_ledger(tmp_path, policy):
    slot = {"slot": "4h"} if "profile" in policy else {}
    agent, said, deployed = looped(policy, **slot)
    assert len(deployed) >= 3
    started = datetime(2024, 1, 1)
    when = pl.DataFrame(
        {
            "unique_id": [name for _, name in deployed],
            "ds": [started + timedelta(days=day) for day, _ in deployed],
        }
    )

    replayed = replay_recorded(
        FRAME.drop("y"),
        FRAME.select("unique_id", "ds", "y"),
        policy=policy,
        slot="4h",
        deployed=when,
        tags=TAGS,
    ).evidence

    rng = np.random.default_rng(4)
    with serving(server_settings(tmp_path, policy)) as (service, client):
        tags = {"city": CITIES}
        assert client.post("/api/v1/tags", json={"tags": tags}).status_code == 202
        pushed(client, bodies(FRAME, rng))  # everything, before anything is judged
        for day in range(1, DAYS + 1):
            judged_until(client, day)
            names = [name for at, name in deployed if at == day]
            if names:
                open_now = client.get("/api/v1/requests", params={"status": "open"}).json()
                asked = [one["unique_id"] for one in open_now["rows"]]
                assert sorted(asked) == sorted(names)
                live = {"unique_ids": names, "status": "live"}
                answer = client.post("/api/v1/models", json=live)
                assert answer.status_code == 202, answer.text
        live_rows = rows_of(service.store)
        memory, names = service.live.memory, service.live.streams

    looped_rows = {(one["day"], one["unique_id"]): one for one in said.iter_rows(named=True)}
    assert live_rows.keys() == looped_rows.keys()
    for key, one in looped_rows.items():
        told = live_rows[key]
        assert told["verdict"] == one["verdict"], key
        assert (told["decision"], told["reason"]) == (one["decision"], one["reason"]), key
        for name in ("loss", "statistic", "score", "common", "evidence", "drift"):
            as_kept = np.float64(one[name]) if name == "loss" else np.float32(one[name])
            np.testing.assert_array_equal(told[name], as_kept, err_msg=f"{key} {name}")
    shared = [name for name in replayed.columns if name in said.columns]
    same = replayed.sort("ds", "unique_id").select(shared)
    alike = said.sort("day", "unique_id").select(shared)
    for name in ("unique_id", "verdict", "decision", "reason", "n"):
        assert same[name].to_list() == alike[name].to_list()
    for name in ("loss", "statistic", "score", "common", "evidence", "drift"):
        left, right = same[name].to_numpy(), alike[name].to_numpy()
        as_kept = right if name == "loss" else right.astype(np.float32).astype(np.float64)
        np.testing.assert_array_equal(left, as_kept, err_msg=name)
    # What the agents remember is the same to the bit, whatever came first.
    order = np.array([names.index(name) for name in agent.streams])
    ours = memory.state.flat()
    for name, column in agent.state.flat().items():
        np.testing.assert_array_equal(ours[name][order], column, err_msg=name)


def rows_of(store):
    """Return the records of a ledger by day and stream, codes in words."""
    from mlma.domain.verdicts import Decision, Reason, Verdict

    names, made = store.streams(), {}
    for info in store.cycles():
        entry = read_entry(store, info.cycle)
        for row, record in zip(entry.streams.tolist(), entry.evidence, strict=True):
            told = {name: record[name] for name in record.dtype.names}
            told["verdict"] = Verdict(int(record["verdict"])).label
            told["decision"] = Decision(int(record["decision"])).label
            told["reason"] = Reason(int(record["reason"])).label
            made[info.period - FIRST, names[row]] = told
    return made


def test_whatever_comes_late_the_ledger_ends_the_same(tmp_path):
    rng = np.random.default_rng(8)
    frame = FRAME.filter(pl.col("ds") < datetime(2024, 1, 10))
    late = rng.integers(0, 4, len(frame))  # days that a row is late
    day = (frame["ds"].to_numpy() - np.datetime64("2024-01-01")).astype("timedelta64[D]")
    arrives = pl.Series(day.astype(np.int64) + late)
    ledgers, revisions = [], []
    for lateness in (arrives, pl.Series(day.astype(np.int64))):
        folder = tmp_path / str(len(ledgers))
        folder.mkdir()
        settings = server_settings(folder, POLICY, timeout="1h", complete_share=0.5)
        with serving(settings) as (service, client):
            for at in range(13):
                pushed(client, bodies(frame.filter(lateness == at), rng))
                judged_until(client, at + 1.1)
            ledgers.append(ledger(service.store))
            revisions.append(max(info.revision for info in service.store.cycles()))
    assert ledgers[0] == ledgers[1]
    assert revisions[0] > 2
    assert revisions[1] == 0
