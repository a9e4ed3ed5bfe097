"""Damaged stores: what is wrong is named, what can still be read is read, nothing is lost."""

import json
import os
from contextlib import contextmanager

import numpy as np
import pytest
from lightgbm import LGBMRegressor

from mlma.adapters.artefacts.codec import decoded, encoded
from mlma.adapters.artefacts.foreign import Foreign
from mlma.adapters.artefacts.lines import sealed, unsealed
from mlma.adapters.artefacts.payload import MAGIC, Parts, packed
from mlma.domain.errors import ArtefactError, ArtefactWarning
from mlma.library.versions import ModelStore
from model_versions import fitted_of, forecasts, new


@pytest.fixture
def folder(tmp_path):
    """A store with three versions of three streams, deployed on three days."""
    store = ModelStore(tmp_path / "models")
    records = store.save_many([new(streams=name) for name in "abc"])
    for day, record in enumerate(records, start=1):
        store.deploy([(record.streams[0], record)], f"2024-03-0{day}", "first")
    store.deploy([(record.streams[0], record) for record in records], "2024-04-01", "again")
    return tmp_path / "models"


def file_of(folder, pattern, place=0):
    return sorted(folder.glob(pattern))[place]


def versions(folder):
    return [record.version for record in ModelStore(folder).records()]


def changed(path, change):
    path.write_bytes(change(path.read_bytes()))


def rewritten(folder, **changes):
    """Write the records anew, as another machine would have written them."""
    path = file_of(folder, "bundles/*.jsonl")
    rows = [row for _, row in unsealed(path.read_bytes(), "x").rows]
    path.write_bytes(sealed({**row, **changes} for row in rows))


def test_a_truncated_artefact_is_refused_and_the_others_are_read(folder):
    first, _, last = versions(folder)
    changed(file_of(folder, "bundles/*.models"), lambda raw: raw[:-7])
    with pytest.raises(ArtefactError, match=rf"{last}, stream `c`, is damaged: it was cut"):
        ModelStore(folder).load(last)
    assert np.array_equal(forecasts(ModelStore(folder).load(first)), forecasts(fitted_of("ridge")))
    assert len(ModelStore(folder).verify().damaged) == 1


def test_a_changed_artefact_is_refused_before_it_is_opened(folder):
    first, second, _ = versions(folder)
    record = ModelStore(folder).record(second)
    place = record.offset + record.nbytes - 3

    def flip(raw):
        return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]

    changed(file_of(folder, "bundles/*.models"), flip)
    with pytest.raises(ArtefactError, match=f"sha256 {record.sha256}. Got .* It was not opened"):
        ModelStore(folder).load(second)
    with pytest.raises(ArtefactError, match="stream `b`, is damaged"):
        ModelStore(folder).load_many([first, second])
    (told,) = ModelStore(folder).verify().damaged
    assert second in told


def test_a_missing_bundle_is_named(folder):
    path = file_of(folder, "bundles/*.models")
    first = versions(folder)[0]
    path.unlink()
    with pytest.raises(ArtefactError, match=f"{first} is missing: there is no bundles/{path.name}"):
        ModelStore(folder).load(first)
    assert "are missing" in ModelStore(folder).verify().damaged[0]


def test_an_interrupted_save_is_no_version_and_no_damage(folder):
    before = versions(folder)
    (folder / "bundles" / "20250101T000000000000-00000000.models").write_bytes(b"half")
    (folder / "bundles" / ".unfinished-x.jsonl").write_bytes(b"half")
    assert versions(folder) == before
    found = ModelStore(folder).verify()
    assert found.damaged == ()
    assert found.unfinished == ("20250101T000000000000-00000000",)


def test_a_damaged_line_of_the_log_is_named_and_the_others_are_read(folder):
    path = file_of(folder, "log/*.jsonl", -1)
    first, _, last = versions(folder)
    changed(path, lambda raw: raw.replace(b'["b"]', b'["x"]'))
    named = f"line 2 of log/{path.name}"
    with pytest.warns(ArtefactWarning, match=named):
        assert ModelStore(folder).deployed("a").at.month == 4
    with pytest.warns(ArtefactWarning, match=named):
        live = ModelStore(folder).production()
    assert live["b"].at.month == 3  # what is left of it: the deployment before
    assert (live["a"].version, live["c"].version) == (first, last)
    assert ModelStore(folder).verify().damaged == (named,)


@pytest.mark.parametrize("cut", [1, 30, 150])
def test_a_log_that_was_cut_is_noticed_and_its_whole_lines_are_read(folder, cut):
    path = file_of(folder, "log/*.jsonl", -1)
    changed(path, lambda raw: raw[:-cut])
    with pytest.warns(ArtefactWarning, match=f"of log/{path.name}"):
        assert ModelStore(folder).deployed("a").at.month == 4


def test_a_log_that_lost_its_last_lines_at_a_line_break_is_noticed(folder):
    path = file_of(folder, "log/*.jsonl", -1)
    changed(path, lambda raw: b"".join(raw.splitlines(keepends=True)[:2]))
    with pytest.warns(ArtefactWarning, match=f"the end of log/{path.name}"):
        assert ModelStore(folder).deployed("a").at.month == 4
    with pytest.warns(ArtefactWarning, match="the end of"):
        assert ModelStore(folder).deployed("c").at.month == 3


@pytest.mark.parametrize("content", [b"", b"\n", b"garbage \xff\x00", b"[" * 100_000], ids=len)
def test_a_file_of_the_log_that_is_something_else_is_named(folder, content):
    path = file_of(folder, "log/*.jsonl", -1)
    path.write_bytes(content)
    with pytest.warns(ArtefactWarning, match=f"of log/{path.name}"):
        assert ModelStore(folder).deployed("a").at.month == 3


def test_a_strange_file_in_the_log_is_named_and_left_alone(folder):
    (folder / "log" / "notes.jsonl").write_text("mine")
    with pytest.warns(ArtefactWarning, match="log/notes.jsonl"):
        assert len(ModelStore(folder).production()) == 3
    assert (folder / "log" / "notes.jsonl").read_text() == "mine"


def test_a_whole_line_that_says_nonsense_is_named(folder):
    path = file_of(folder, "log/*.jsonl", -1)
    path.write_bytes(sealed([{"streams": ["a"], "at": "never"}]))
    with pytest.warns(ArtefactWarning, match=f"line 1 of log/{path.name}"):
        assert ModelStore(folder).deployed("a").at.month == 3


def test_a_damaged_record_is_named_and_the_others_are_read(folder):
    path = file_of(folder, "bundles/*.jsonl")
    first, second, last = versions(folder)
    changed(path, lambda raw: raw.replace(b'"streams": ["b"]', b'"streams": ["x"]'))
    with pytest.warns(ArtefactWarning, match=f"line 2 of bundles/{path.name}"):
        assert versions(folder) == [first, last]
    with pytest.raises(ArtefactError, match=f"line 2 of bundles/{path.name} cannot be read"):
        ModelStore(folder).load(second)
    damaged = ModelStore(folder).verify().damaged
    assert damaged[0] == f"line 2 of bundles/{path.name}"
    assert f"version {second} for stream `b`, which is not in the store" in damaged[1]


def test_verify_notices_that_record_and_log_name_another_hash(folder):
    rewritten(folder, sha256="0" * 64)
    damaged = ModelStore(folder).verify().damaged
    assert sum("has another hash" in told for told in damaged) == 3
    assert sum("was changed after it was saved" in told for told in damaged) == 3


@pytest.mark.parametrize("library", ["scikit-learn", "mlma", "lightgbm"])
def test_another_major_version_is_refused_naming_both_and_nothing_is_changed(tmp_path, library):
    store = ModelStore(tmp_path)
    record = store.save_many([new(fitted_of(LGBMRegressor(n_estimators=2, verbosity=-1)))])[0]
    here = record.libraries[library]
    store.deploy([("a", record)], "2024-03-01")
    rewritten(tmp_path, libraries={**record.libraries, library: "99.1"})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ArtefactError, match=rf"with {library} 99\.1\. .*Got {here}\."):
        ModelStore(tmp_path).load(record.version)
    assert {path: path.read_bytes() for path in before} == before
    assert ModelStore(tmp_path).deployed("a").version == record.version


def test_another_minor_version_is_a_warning_once_per_call(folder):
    record = ModelStore(folder).records()[0]
    major = record.libraries["mlma"].split(".")[0]
    rewritten(folder, libraries={**record.libraries, "mlma": f"{major}.99.0"})
    with pytest.warns(ArtefactWarning, match=rf"saved with mlma {major}\.99\.0 are read") as told:
        loaded = ModelStore(folder).load_many(versions(folder))
    assert len(told) == 1
    assert np.array_equal(forecasts(loaded[0]), forecasts(fitted_of("ridge")))


def test_a_library_that_does_not_matter_may_have_any_version(folder):
    record = ModelStore(folder).records()[0]
    rewritten(folder, libraries={**record.libraries, "scikit-learn": "0.1", "numpy": "1.0"})
    assert ModelStore(folder).load(record.version)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x80\x04N.",
        MAGIC,
        MAGIC + (10**9).to_bytes(8, "big") + b"{}",
        packed({"kind": "unheard of"}, Parts()),
        packed({"kind": "array", "dtype": "<f8", "shape": [2], "order": "C", "part": 0}, Parts()),
        packed({"kind": "own", "class": "ridge.FittedRidge", "fields": {"x": 1}}, Parts()),
        packed({"kind": "own", "class": "features.Features", "fields": {"mode": "x"}}, Parts()),
        packed({"no": "kind"}, Parts()),
        packed({"kind": "lightgbm", "part": -1, "best_iteration": 0}, Parts()),
    ],
    ids=range(10),
)
def test_bytes_that_make_no_model_are_damaged(raw):
    with pytest.raises(ArtefactError, match="An artefact is damaged: "):
        decoded(raw, Foreign())


@pytest.mark.parametrize("model", ["ridge", "lightgbm(n_estimators=3)"])
def test_a_cut_at_any_place_is_noticed_even_without_its_hash(model):
    raw = encoded(fitted_of(model), Foreign())
    for cut in range(1, len(raw), len(raw) // 50):
        with pytest.raises(ArtefactError, match="damaged"):
            decoded(raw[:-cut], Foreign())


@pytest.mark.parametrize("kind", ["lightgbm", "xgboost", "skops", "pickle"])
def test_a_library_that_cannot_read_its_part_is_damage(kind):
    parts = Parts()
    node = {"kind": kind, "part": parts.add(b"nonsense"), "best_iteration": 0}
    with pytest.raises(ArtefactError, match="damaged"):
        decoded(packed(node, parts), Foreign(allow_pickle=True))


def test_a_part_that_unpacks_to_more_than_it_says_is_refused():
    parts = Parts()
    node = {"kind": "array", "dtype": "|u1", "shape": [5], "order": "C"}
    node["part"] = parts.add(bytes(10**6), pack=True)
    parts.sizes[0] = 5
    with pytest.raises(ArtefactError, match="another size than it says"):
        decoded(packed(node, parts), Foreign())


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ArtefactError, match=f"store at {tmp_path}/file cannot be written"):
        ModelStore(tmp_path / "file").save_many([new()])
    assert (tmp_path / "file").read_text() == "mine"


@contextmanager
def as_nobody():
    """Without the rights of the superuser, if the tests run with them."""
    superuser = os.geteuid() == 0
    if superuser:
        os.seteuid(65534)
    try:
        yield
    finally:
        if superuser:
            os.seteuid(0)


def test_a_folder_without_permission_is_named_and_keeps_what_it_had(folder):
    version = versions(folder)[0]
    (folder / "log").chmod(0o555)
    (folder / "bundles").chmod(0o555)
    try:
        with as_nobody(), pytest.raises(ArtefactError, match="denied"):
            ModelStore(folder).deploy([("a", version)], "2024-05-01")
    finally:
        (folder / "log").chmod(0o755)
        (folder / "bundles").chmod(0o755)
    assert len(ModelStore(folder).history("a")) == 2


def test_a_store_of_another_form_is_refused_and_left_as_it_was(folder):
    (folder / "mlma-store.json").write_text(json.dumps({"format": 2}))
    for call in (
        lambda store: store.production(),
        lambda store: store.save_many([new()]),
        lambda store: store.verify(),
    ):
        with pytest.raises(ArtefactError, match=r"has form 2\. Expected 1"):
            call(ModelStore(folder))
    assert len(list(folder.glob("bundles/*"))) == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 100_000], ids=len)
def test_a_damaged_marker_is_named(folder, content):
    (folder / "mlma-store.json").write_text(content)
    with pytest.raises(ArtefactError, match=r"mlma-store\.json .* is damaged"):
        ModelStore(folder).production()
