"""What every queue of requests for re-training keeps to."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from mlma import DataError, SettingsError, StateError
from mlma.adapters.notify.file_queue import FileQueue
from mlma.adapters.notify.sql_queue import SQLQueue
from mlma.ports import DeliveryError, RetrainingQueue
from requests_for_retraining import Clock, request

KINDS = [FileQueue, SQLQueue]
ASKED = [request(f"stream {row}", loss=row / 3, verdict="degraded") for row in range(5)]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "queue"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def queue(kind, path, clock):
    return kind(path, clock=clock)


def statuses(queue):
    return [row["status"] for row in queue.rows()]


def test_requests_come_out_as_they_went_in_and_in_their_order(queue):
    assert isinstance(queue, RetrainingQueue)
    for portion in queue.batches(ASKED):
        queue.send(portion)
    assert queue.claim(limit=2) == ASKED[:2]
    assert queue.claim() == ASKED[2:]
    assert queue.claim() == []


def test_a_request_that_arrives_again_changes_nothing(queue):
    queue.send(ASKED)
    first = queue.claim(limit=1)
    queue.done(first)
    queue.send([*ASKED, ASKED[0]])
    assert statuses(queue) == ["done"] + ["open"] * 4


def test_rows_tell_who_did_what_and_when(queue, clock):
    queue.send(ASKED[:3])
    one, two, _ = queue.claim(by="trainer 1")
    clock.sleep(60)
    queue.done(one)
    queue.failed(two.id, "no memory: Zürich \N{SNOWMAN}\n")
    done, failed, claimed = queue.rows()
    assert (done["status"], done["by"], done["error"]) == ("done", "trainer 1", "")
    assert done["claimed_at"] == "2024-01-01T12:00:00.000000Z"
    assert done["finished_at"] == "2024-01-01T12:01:00.000000Z"
    assert (failed["status"], failed["error"]) == ("failed", "no memory: Zürich \N{SNOWMAN}\n")
    assert (claimed["status"], claimed["finished_at"]) == ("claimed", None)
    assert (done["unique_id"], done["evidence"]) == (
        "stream 0",
        {"loss": 0.0, "verdict": "degraded"},
    )


def test_outcomes_are_those_that_came_to_an_end(queue):
    queue.send(ASKED)
    one, two, *_ = queue.claim(limit=3)
    queue.done([one])
    queue.failed([two])
    ids = [asked.id for asked in ASKED]
    assert queue.outcomes([*ids, "nobody"]) == {one.id: "done", two.id: "failed"}
    assert queue.outcomes(ids[3:]) == {}


def test_outcomes_of_many_requests_are_found(queue):
    many = [request(f"stream {row}") for row in range(1203)]
    queue.send(many)
    queue.done(many)
    assert len(queue.outcomes([one.id for one in many])) == 1203


def test_an_outcome_said_twice_is_the_same_and_another_one_is_refused(queue):
    queue.send(ASKED)
    queue.done(ASKED[0])
    before = queue.rows()
    queue.done([ASKED[0].id, ASKED[0].id])
    with pytest.raises(StateError, match=r"is done already\. It cannot become failed"):
        queue.failed([ASKED[1], ASKED[0]])
    assert queue.rows() == before


def test_an_unknown_request_is_refused_and_nothing_is_written(queue):
    queue.send(ASKED[:2])
    with pytest.raises(DataError, match="1 requests are not in the queue: nobody"):
        queue.done([ASKED[0].id, "nobody"])
    assert statuses(queue) == ["open", "open"]


def test_a_claim_whose_trainer_is_gone_is_taken_over(queue, clock):
    queue.send(ASKED[:2])
    queue.claim(limit=1, by="lost")
    clock.sleep(3600)
    assert queue.claim(by="second") == [ASKED[1]]
    assert queue.claim(lease="2h") == []
    clock.sleep(1)
    assert queue.claim(by="third", lease="1h") == [ASKED[0]]
    assert queue.claim(by="third", lease=timedelta(hours=1)) == []
    assert [row["by"] for row in queue.rows()] == ["third", "second"]


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "2"])
def test_a_limit_that_is_no_number_of_rows_is_refused(queue, limit):
    with pytest.raises(SettingsError, match="`limit` of `claim`"):
        queue.claim(limit=limit)


def test_a_lease_that_is_no_time_is_refused(queue):
    with pytest.raises(SettingsError, match="`lease`"):
        queue.claim(lease="soon")


def test_two_views_of_one_queue_share_it(kind, path, queue, clock):
    other = kind(path, clock=clock)
    queue.send(ASKED[:3])
    assert other.claim(limit=1) == [ASKED[0]]
    assert queue.claim(limit=1) == [ASKED[1]]
    other.send(ASKED)
    other.done(ASKED[1])
    assert statuses(queue) == statuses(other) == ["claimed", "done", "open", "open", "open"]
    assert statuses(kind(path)) == statuses(queue)


def test_each_request_goes_to_one_of_many_trainers(kind, path, queue):
    many = [request(f"stream {row}") for row in range(60)]
    queue.send(many)
    code = (
        f"from {kind.__module__} import {kind.__name__} as Queue\n"
        "import sys\n"
        "queue = Queue(sys.argv[1])\n"
        "while (got := queue.claim(limit=1, by=sys.argv[2])):\n"
        "    print(got[0].id)\n"
    )
    trainers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), name], stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two", "three")
    ]
    told = [trainer.communicate()[0].split() for trainer in trainers]
    assert [trainer.returncode for trainer in trainers] == [0, 0, 0]
    assert sorted(key for keys in told for key in keys) == sorted(one.id for one in many)


def test_a_queue_that_cannot_be_opened_is_named(kind, tmp_path):
    for path in (tmp_path, tmp_path / "nowhere" / "queue"):
        with pytest.raises(StateError, match="cannot be used"):
            kind(path)


def test_a_delivery_that_fails_says_so_and_works_when_the_folder_is_back(kind, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    queue = kind(folder / "queue")
    folder.rename(tmp_path / "away")
    with pytest.raises(DeliveryError, match="cannot be used"):
        queue.send(ASKED)
    (tmp_path / "away").rename(folder)
    queue.send(ASKED)
    assert queue.claim() == ASKED


def test_a_disk_that_is_full_leaves_the_queue_as_it_was(queue, path, kind):
    resource = pytest.importorskip("resource")
    queue.send(ASKED[:1])
    before = queue.rows()
    many = [request(f"stream {row}") for row in range(5000)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(DeliveryError, match="cannot be used"):
            queue.send(many)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert queue.rows() == kind(path).rows() == before
    queue.send(many)
    assert len(kind(path).claim()) == 5001


def test_its_text_form_names_the_file(queue, path):
    assert repr(queue) == f"{type(queue).__name__}({str(path)!r})"


def test_a_file_that_is_no_database_is_refused(path):
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StateError, match="not a database"):
        SQLQueue(path)


@pytest.mark.parametrize("path", [":memory:", ""])
def test_a_database_that_no_trainer_can_open_is_refused(path):
    with pytest.raises(SettingsError, match="must be a file"):
        SQLQueue(path)


def test_the_table_is_plain_sql_for_trainers_of_any_language(path):
    SQLQueue(path).send(ASKED)
    with closing(sqlite3.connect(path)) as database:
        query = "SELECT unique_id, status, json_extract(evidence, '$.verdict') "
        rows = database.execute(f"{query} FROM retraining_requests ORDER BY place").fetchall()
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert rows == [(one.unique_id, "open", "degraded") for one in ASKED]


def test_a_table_that_is_another_one_is_refused(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE retraining_requests (a)")
    with pytest.raises((StateError, DeliveryError), match="cannot be used"):
        SQLQueue(path).send(ASKED)


def test_a_row_that_somebody_broke_is_told(path):
    queue = SQLQueue(path)
    queue.send(ASKED)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE retraining_requests SET evidence = '{'")
        database.commit()
    with pytest.raises(StateError, match="has a row that is none"):
        queue.claim()


def test_each_line_of_the_file_is_one_event(path):
    queue = FileQueue(path)
    queue.send(ASKED[:1])
    queue.done(queue.claim(by="x"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["requested", "claimed", "done"]
    assert {line["id"] for line in lines} == {ASKED[0].id}
    assert lines[0]["unique_id"] == "stream 0"
    queue.send(ASKED[:1])
    queue.done(ASKED[0])
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_line_cut_off_by_a_crash_is_counted_and_sent_again(path, cut):
    FileQueue(path).send(ASKED[:2])
    path.write_bytes(path.read_bytes()[:-cut])
    queue = FileQueue(path)
    queue.send(ASKED[:3])
    assert queue.damaged == (cut > 1)
    assert [row["unique_id"] for row in queue.rows()] == ["stream 0", "stream 1", "stream 2"]
    assert FileQueue(path).claim() == ASKED[:3]


@pytest.mark.parametrize(
    "line", ["[]", "7", "{}", '{"event": "done", "id": "nobody"}', "\xff", '{"id": []}', ""]
)
def test_a_foreign_line_is_counted_and_passed_over(path, line):
    queue = FileQueue(path)
    queue.send(ASKED[:1])
    with path.open("a", encoding="latin-1") as file:
        file.write(line + "\n")
    queue.send(ASKED[1:2])
    assert queue.claim() == ASKED[:2]
    assert queue.damaged == 1


def test_of_two_ends_in_the_file_the_first_stands(path):
    queue = FileQueue(path)
    queue.send(ASKED[:1])
    with path.open("a") as file:
        for event in ("done", "failed", "forgotten"):
            about = {"event": event, "id": ASKED[0].id, "at": "2024-01-01T12:00:00Z"}
            file.write(json.dumps(about) + "\n")
    assert statuses(queue) == ["done"]
    assert queue.damaged == 1


def test_a_file_that_was_replaced_is_read_anew(path):
    queue = FileQueue(path)
    queue.send(ASKED)
    Path(path).write_bytes(b"")
    assert queue.rows() == []
    queue.send(ASKED[:1])
    assert queue.claim() == ASKED[:1]
