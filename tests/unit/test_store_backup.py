"""Copies of a store: of one moment, while it is written, from either database."""

import threading
from contextlib import closing
from dataclasses import replace

import pytest

from mlma.adapters.store import backup, open_store
from mlma.domain.errors import SchemaError, StoreError
from mlma.domain.incidents import Incident
from mlma.domain.lab import LabRun
from mlma.domain.ledger import Action, Event
from stores import MINUTE, NOW, SHARED, asked, commit, decided, entry, parcel, place_of, same


@pytest.fixture(params=SHARED)
def place(request, tmp_path):
    with place_of(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def store(place):
    return place.open()


def test_a_copy_is_a_store_with_the_same_content(place, store, tmp_path):
    store.register(["a", "ü"])
    store.accept([parcel(1.5)], offsets={"x": "1"})
    store.act([Action("tags", {"a": 1}, NOW)])
    store.remember("clock", "1")
    lease = store.acquire("me", MINUTE, NOW)
    event = Event("e", "test", NOW, {})
    made = entry(1, decided=(decided(0, loss=float("inf")),))
    seen = Incident("i", "fleet", "fleet", "open", 1, NOW, 1, 2, members=(0, 1))
    full = commit(
        made,
        requests=(replace(asked("a"), exclude=((NOW, NOW + MINUTE),)),),
        events=(event,),
        targets=("x",),
        applied={1: 1},
        incidents=(seen,),
    )
    store.commit(full, lease)
    store.put_lab_run(LabRun("r", NOW, "user:ann", "mlma"))
    size = backup(place.url, tmp_path / "copy.db")
    assert size == (tmp_path / "copy.db").stat().st_size
    with closing(open_store(f"sqlite:///{tmp_path}/copy.db")) as copy:
        assert copy.facts()["rows"] == store.facts()["rows"]
        verbs = ("streams", "cycles", "decided", "requests", "deliveries", "actions")
        for verb in (*verbs, "incidents", "lab_runs"):
            assert len(getattr(copy, verb)()) > 0
            assert getattr(copy, verb)() == getattr(store, verb)()
        assert (copy.lease(), copy.offsets(), copy.setting("clock")) == (lease, {"x": "1"}, "1")
        assert same(copy.evidence(1)[1], made.evidence)
        assert copy.snapshot().head == {"cycle": 1}
        assert copy.accept([parcel(2.5)]) == 2
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"]


def test_a_copy_made_while_the_store_is_written_is_of_one_moment(place, store, tmp_path):
    over = threading.Event()

    def writes():
        cycle = 0
        while not over.is_set():
            cycle += 1
            store.accept([parcel(float(cycle)), parcel(float(cycle), period=11)])
            store.commit(commit(entry(cycle)), keep=1)

    writer = threading.Thread(target=writes)
    writer.start()
    try:
        while len(store.cycles()) < 3:
            pass
        backup(place.url, tmp_path / "copy.db")
    finally:
        over.set()
        writer.join()
    with closing(open_store(f"sqlite:///{tmp_path}/copy.db")) as copy:
        newest = copy.cycles()[-1].cycle
        assert copy.snapshot().cycle == newest
        assert len(copy.parcels("actuals", 10)) == len(copy.parcels("actuals", 11))
        assert len(copy.parcels("actuals", 10)) - newest in (0, 1)


def test_a_copy_overwrites_nothing(place, store, tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("mine")
    with pytest.raises(StoreError, match=r"would overwrite .*kept"):
        backup(place.url, kept)
    assert kept.read_text() == "mine"


def test_a_copy_that_cannot_be_written_leaves_nothing(place, store, tmp_path):
    with pytest.raises(StoreError, match="cannot be"):
        backup(place.url, tmp_path / "none" / "copy.db")
    assert not (tmp_path / "none").exists()


def test_nothing_is_copied_where_there_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="There is no store at sqlite:///"):
        backup(f"sqlite:///{tmp_path}/none.db", tmp_path / "copy.db")
    with pytest.raises(StoreError, match="There is no store at memory://"):
        backup("memory://", tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []


def test_a_server_of_another_schema_is_not_copied(tmp_path):
    import postgres

    with place_of("postgresql", tmp_path) as place:
        place.open().close()
        postgres.tell(place.url, "UPDATE mlma_version SET version_num = '9999'")
        with pytest.raises(SchemaError, match="newer mlma"):
            backup(place.url, tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []
