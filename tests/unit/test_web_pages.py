import io

import numpy as np
import polars as pl
import pytest

from mlma.web.cursors import HIGHEST, cursor, place
from mlma.web.errors import RefusedError
from mlma.web.tables import Page, _arrow, _csv, _json


def test_a_cursor_comes_back_as_its_numbers():
    assert place("cycles", cursor("cycles", 3, 1), 2) == (3, 1)


def test_no_cursor_is_no_place():
    assert place("cycles", None, 2) is None


@pytest.mark.parametrize(
    "text",
    [
        cursor("streams", 3),
        cursor("cycles", 3),
        cursor("cycles", 3, -1),
        cursor("cycles", 3, HIGHEST + 1),
        cursor("cycles", 3, True),
        cursor("cycles", 3, 1)[:-2],
        "",
        "====",
        "ü",
        "bnVsbA",  # null
        "MQ",  # 1
        "e30",  # {}
        "W10",  # []
        "W1siYSJdXQ",  # [["a"]]
        "W" * 200,
    ],
)
def test_a_cursor_of_something_else_is_refused(text):
    with pytest.raises(RefusedError, match="`cursor` must come from `next`") as caught:
        place("cycles", text, 2)
    assert caught.value.status == 422
    assert caught.value.detail.column == "cursor"


FRAME = pl.DataFrame(
    {
        "unique_id": ["=cmd()", "+1", "-1", "@a", "\tb", "\rc", "plain", "a=b", None, 'q"uo,te'],
        "loss": [1.5, float("nan"), -2.0, *[None] * 7],
        "note": ["{}"] * 9 + ['{"a":1}'],
        "tag.city": ["=x", *[None] * 9],
    }
)


def test_text_that_looks_like_a_formula_is_disarmed_in_csv_and_numbers_are_not():
    made = _csv(Page(FRAME)).decode()
    read = pl.read_csv(io.StringIO(made), infer_schema=False)
    told = ["'=cmd()", "'+1", "'-1", "'@a", "'\tb", "'\rc", "plain", "a=b", None, 'q"uo,te']
    assert read["unique_id"].to_list() == told
    assert read["loss"].to_list()[:3] == ["1.5", None, "-2.0"]
    assert read["tag.city"][0] == "'=x"
    assert "NaN" not in made


def test_json_and_arrow_keep_text_as_it_is():
    read = pl.read_ipc_stream(io.BytesIO(_arrow(Page(FRAME))))
    assert read["unique_id"].to_list() == FRAME["unique_id"].to_list()
    assert read["loss"][1] is None
    assert '"=cmd()"' in _json(Page(FRAME)).decode()


def test_tags_are_one_object_and_documents_are_documents_in_json():
    import json

    page = json.loads(_json(Page(FRAME, "more", ("note",), tagged=True)))
    assert page["next"] == "more"
    assert page["rows"][0]["tags"] == {"city": "=x"}
    assert page["rows"][9]["note"] == {"a": 1}
    bare = json.loads(_json(Page(FRAME.drop("tag.city"), tagged=True)))
    assert [row["tags"] for row in bare["rows"]] == [{}] * len(FRAME)


def test_what_is_not_finite_is_null_in_json_also_beside_documents():
    frame = pl.DataFrame({"loss": np.array([np.inf, np.nan]), "note": ["{}", "{}"]})
    for documents in ((), ("note",)):
        assert b'"loss":null' in _json(Page(frame, None, documents))
        assert b"nf" not in _json(Page(frame, None, documents))


def test_times_tell_their_zone_where_they_have_one():
    naive = pl.Series("ds", np.array(["2024-01-01T00:15"], dtype="datetime64[us]"))
    zoned = naive.dt.replace_time_zone("UTC").alias("at")
    made = _json(Page(pl.DataFrame([naive, zoned]))).decode()
    assert '"ds":"2024-01-01T00:15:00.000000"' in made
    assert '"at":"2024-01-01T00:15:00.000000+00:00"' in made
