"""What every store keeps to: cycles, evidence, losses, decisions, snapshots; all or nothing."""

from dataclasses import replace

import numpy as np
import pytest

from mlma.domain.errors import ConflictError, StoreError
from mlma.domain.ledger import EVIDENCE, Action, Event, Snapshot
from stores import KINDS, NOW, asked, commit, decided, entry, evidence, place_of, same


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    with place_of(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def store(place):
    return place.open()


def test_heads_of_cycles_come_back_as_they_were(store):
    infos = [entry(cycle).info for cycle in (1, 2, 3)]
    for cycle in (1, 2, 3):
        store.commit(commit(entry(cycle)))
    revised = [entry(2, 1), entry(3, 1)]
    store.commit(commit(*revised))
    newest = [infos[0], *(one.info for one in revised)]
    assert store.cycles() == newest
    assert store.cycles(newest_first=True, limit=2) == newest[:0:-1]
    assert store.cycles(first=2, last=2) == [revised[0].info]
    assert store.cycles(revisions=True, first=2) == [
        *(infos[1], revised[0].info, infos[2], revised[1].info)
    ]


def test_evidence_is_exact_to_the_bit(store):
    streams = np.array([0, 1, 255, 256, 700, 100_000])
    made = entry(1, streams=streams)
    store.commit(commit(made))
    found, records = store.evidence(1)
    assert same(found, streams)
    assert same(records, made.evidence)


def test_the_newest_revision_is_read_unless_another_is_asked_for(store):
    first, second = entry(1, streams=[0, 1, 2]), entry(1, 1, streams=[1, 2, 900])
    store.commit(commit(first))
    store.commit(commit(second))
    for revision, made in ((None, second), (0, first), (1, second)):
        found, records = store.evidence(1, revision)
        assert same(found, made.streams)
        assert same(records, made.evidence)


def test_a_cycle_that_is_not_there_is_empty(store):
    for revision in (None, 0):
        streams, records = store.evidence(5, revision)
        assert (len(streams), len(records), records.dtype) == (0, 0, EVIDENCE)
        assert store.losses(5, revision) is None
    assert store.cycles() == []
    assert store.snapshot() is None


def test_a_cycle_may_have_no_stream(store):
    store.commit(commit(entry(1, streams=[], losses=np.zeros((0, 5)))))
    assert len(store.evidence(1)[0]) == 0
    assert store.losses(1).shape == (0, 5)


def test_a_history_holds_the_newest_records_of_one_stream(store):
    made = {}
    for cycle in (1, 2, 3, 4):
        made[cycle] = entry(cycle, streams=[0, 300] if cycle == 2 else [0, 5, 300])
        store.commit(commit(made[cycle]))
    made[3] = entry(3, 1, streams=[0, 5, 300])
    made[4] = entry(4, 1, streams=[0, 300])
    store.commit(commit(made[3], made[4]))
    cycles, records = store.history(5)
    assert cycles.tolist() == [1, 3]
    assert same(records, np.concatenate([made[1].evidence[1:2], made[3].evidence[1:2]]))
    assert store.history(300, first=2, last=3)[0].tolist() == [2, 3]
    for absent in (1, 301, 9999):
        assert [len(one) for one in store.history(absent)] == [0, 0]


def test_single_losses_come_back_where_they_were_kept(store):
    losses = np.array([[0.1, np.nan, np.inf], [1 / 3, -0.0, 5e-324], [np.nan] * 3])
    store.commit(commit(entry(1, losses=losses), entry(2)))
    assert same(store.losses(1), losses)
    assert store.losses(2) is None


def test_decisions_are_found_by_stream_kind_and_cycle(store):
    made = [decided(0), decided(7, decision="hold"), decided(2**40, before="healthy/keep")]
    store.commit(commit(entry(1, decided=tuple(made))))
    later = decided(7, cycle=2, loss=None, effect=None, p_value=None)
    store.commit(commit(entry(2, decided=(later,))))
    assert store.decided() == [(1, made[0]), (2, made[1]), (3, made[2]), (4, later)]
    assert store.decided(streams=[7]) == [(2, made[1]), (4, later)]
    assert store.decided(streams=range(6000), limit=2) == [(1, made[0]), (2, made[1])]
    assert store.decided(streams=[]) == []
    assert store.decided(decisions=["hold"]) == [(2, made[1])]
    assert store.decided(first=2) == [(4, later)]
    assert store.decided(last=1, start=1, limit=1) == [(2, made[1])]


def test_a_decision_without_a_number_has_none(store):
    store.commit(commit(entry(1, decided=(decided(np.int64(3), effect=np.nan, loss=np.inf),))))
    found = store.decided()[0][1]
    assert (found.stream, found.effect, found.loss) == (3, None, np.inf)


SHAPES = {
    "float": np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324, 0.1]),
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "int8": np.array([-128, 127], dtype=np.int8),
    "truth": np.array([[True], [False]]),
    "cube": np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
    "empty": np.zeros((0, 3, 7), dtype=np.int64),
    "flat": np.zeros((3, 0), dtype=np.float32),
    "point": np.array(1.5),
    "text": np.array(["ä", "", "longer"]),
    "time": np.array(["2024-01-01", "NaT"], dtype="datetime64[us]"),
    "record": np.zeros(2, dtype=[("a", "<f4"), ("b", "<i8", (2,))]),
    "big-endian": np.array([1.5, 2.5], dtype=">f8"),
    "strided": np.arange(10)[::3],
    "large": np.random.default_rng(0).normal(size=1_100_000),
    "dull": np.zeros(1_100_000),
    "name ü/'": np.array([1]),
}


def test_a_snapshot_is_exact_in_dtype_shape_and_bits(store):
    head = {"cycle": 3, "nested": {"list": [1, None, True]}, "text": "ü\0", "nan": None}
    store.commit(commit(entry(3), snapshot=Snapshot(3, head, SHAPES)))
    found = store.snapshot()
    assert (found.cycle, found.head) == (3, head)
    assert list(found.columns) == list(SHAPES)
    for name, values in SHAPES.items():
        assert same(found.columns[name], values), name
    found.columns["float"][0] = 1.0  # an agent goes on from it


TITLED = np.zeros(1, dtype=[(("title", "name"), "<f4")])


@pytest.mark.parametrize("bad", [np.array([object()]), TITLED], ids=["objects", "titles"])
def test_a_snapshot_that_cannot_be_exact_is_refused(store, bad):
    snapshot = Snapshot(1, {}, {"bad": bad})
    with pytest.raises(StoreError, match="'bad' of snapshot 1 must hold numbers"):
        store.commit(commit(entry(1), snapshot=snapshot))
    assert store.cycles() == []


def test_each_seventh_snapshot_stays_and_the_newest(store):
    for cycle in range(1, 17):
        store.commit(commit(entry(cycle)))
    kept = [store.snapshot().cycle]
    while (older := store.snapshot(before=kept[-1])) is not None:
        kept.append(older.cycle)
    assert kept == [16, 14, 7]
    assert store.snapshot(before=7) is None


def test_a_revision_drops_the_snapshots_that_it_outdates(store):
    for cycle in range(1, 10):
        store.commit(commit(entry(cycle)), keep=2)
    made = commit(*(entry(cycle, 1) for cycle in range(5, 10)))
    store.commit(made, keep=2)
    assert store.snapshot().cycle == 9
    assert store.snapshot(before=9).cycle == 4


def test_pruning_drops_superseded_revisions_and_old_snapshots(store):
    losses, first = np.ones((3, 2)), decided(0, cycle=1)
    store.commit(commit(entry(1, losses=losses, decided=(first,))))
    store.commit(commit(entry(2)), keep=1)
    again = [entry(1, 1, losses=losses), entry(2, 1)]
    store.commit(commit(*again), keep=1)
    store.prune(snapshots_before=99, superseded_before=2)
    assert [(info.cycle, info.revision) for info in store.cycles(revisions=True)] == [
        *((1, 1), (2, 0), (2, 1))
    ]
    assert len(store.evidence(1, 0)[0]) == 0
    assert store.losses(1, 0) is None
    assert store.decided() == []
    assert same(store.evidence(1)[1], again[0].evidence)
    assert same(store.losses(1), losses)
    assert store.snapshot().cycle == 2


@pytest.mark.parametrize(
    ("late", "words"),
    [
        (entry(1, 1), "Revision 1 of cycle 1"),
        (entry(1), "Revision 0 of cycle 1"),
        (entry(2, period=101), "cycle 1 has period 101"),
        (entry(1, 2, period=555), "cycle 1 has period 101"),
    ],
)
def test_a_cycle_and_a_period_are_judged_once(store, late, words):
    store.commit(commit(entry(1)))
    store.commit(commit(entry(1, 1)))
    with pytest.raises(ConflictError, match=words):
        store.commit(commit(late))
    assert len(store.cycles(revisions=True)) == 2


WRONG = {
    "a record too few": {"evidence": evidence(2)},
    "streams that do not ascend": {"streams": [0, 2, 1]},
    "a stream below 0": {"streams": [-1, 0, 1]},
    "a record of another form": {"evidence": np.zeros(3)},
    "losses of other streams": {"losses": np.zeros((2, 4))},
    "a summary of objects": {"summary": {"what": object()}},
    "a time without a zone": {"judged_at": NOW.replace(tzinfo=None)},
    "a number that no database takes": {"seed": 2**80},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_commit_that_fails_late_leaves_nothing(store, wrong):
    store.act([Action("tags", {}, NOW)])
    bad = entry(2, **WRONG[wrong])
    full = commit(
        entry(1, decided=(decided(0),)),
        bad,
        applied={1: 1},
        requests=(asked("a"),),
        events=(Event("e", "test", NOW, {}),),
        targets=("x",),
    )
    with pytest.raises(StoreError):
        store.commit(full)
    assert store.cycles() == []
    assert len(store.evidence(1)[0]) == 0
    assert (store.decided(), store.requests(), store.deliveries()) == ([], [], [])
    assert store.snapshot() is None
    assert len(store.actions(pending=True)) == 1
    store.commit(replace(full, entries=full.entries[:1], snapshot=Snapshot(1, {}, {})))
    assert [number for number, _ in store.decided()] == [1]
