"""Messages: what is read of their bytes, and what is said of the others."""

import io
import json
from datetime import datetime
from typing import Any

import polars as pl
import pytest

from mlma.adapters.sources.columns import columns_of
from mlma.adapters.sources.messages import Message, decoded

DS = "2025-03-01 12:00:00"
NOON = datetime(2025, 3, 1, 12)
ACTUALS = columns_of("actuals")


def row(value: Any, **beside: Any) -> dict[str, Any]:
    return {"unique_id": "a", "ds": DS, "y": value} | beside


def messages(*bodies: Any) -> list[Message]:
    raw = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]
    return [Message("sales", 0, offset, body) for offset, body in enumerate(raw)]


def arrow(**columns: Any) -> bytes:
    body = io.BytesIO()
    pl.DataFrame(columns).write_ipc_stream(body)
    return body.getvalue()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{half", "messages that cannot be read"),
        (b"\xff\xfe", "messages that cannot be read"),
        (b"", "messages that cannot be read"),
        (b"17", "messages that cannot be read"),
        (b"[[1]]", "messages that cannot be read"),
        (b"[" * 100_000, "messages that cannot be read"),
        (b"\xff\xff\xff\xff half an arrow", "messages that cannot be read"),
        (arrow(unique_id=["a"], y=[1.0]), "messages that cannot be read"),
        (arrow(unique_id=["a"], ds=[[NOON]], y=[1.0]), "`ds` is no ISO time"),
        (arrow(unique_id=[None], ds=[NOON], y=[1.0]), "`unique_id` is no name"),
        (arrow(unique_id=["a"], ds=[NOON], y=["many"]), "`y` is no number"),
        (row(5, unique_id=None), "`unique_id` is no name"),
        (row(5, unique_id=True), "`unique_id` is no name"),
        (row(5, unique_id=1.5), "`unique_id` is no name"),
        (row(5, ds="noon"), "`ds` is no ISO time"),
        (row(5, ds=17), "`ds` is no ISO time"),
        (row("many"), "`y` is no number"),
        (row([5]), "`y` is no number"),
        (row(True), "`y` is no number"),
        (row(10**400), "`y` is no number"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(body: Any, reason: str) -> None:
    made = decoded(messages(row(1), body, row(2)), ACTUALS, None)
    assert made.frame["y"].to_list() == [1, 2]
    (complaint,) = made.complaints
    assert complaint.message.offset == 1
    told = complaint.left_out
    assert (told.reason, told.count, told.examples) == (reason, 1, ("sales/0@1",))


def test_missing_values_are_rows_that_the_door_counts() -> None:
    made = decoded(
        messages(row(None), {"unique_id": 7, "ds": DS}, arrow(unique_id=["a"], ds=[DS], y=[None])),
        ACTUALS,
        None,
    )
    assert made.complaints == ()
    assert made.frame["y"].is_nan().to_list() == [True, True, True]
    assert made.frame["unique_id"].to_list() == ["a", "7", "a"]


def test_rows_keep_the_order_of_their_messages() -> None:
    parts = [row(1), arrow(unique_id=["b"], ds=[NOON], y=[2]), b"?", [row(3), row(4)]]
    made = decoded(messages(*parts, arrow(unique_id=["b"], ds=[NOON], y=[5])), ACTUALS, None)
    assert made.frame["y"].to_list() == [1, 2, 3, 4, 5]


def test_a_broken_arrow_message_takes_no_other_with_it() -> None:
    made = decoded(messages(row(1), b"ARROW1 and no more", row(2)), ACTUALS, None)
    assert made.frame["y"].to_list() == [1, 2]
    assert "no Arrow message of these columns" in made.complaints[0].left_out.note


def test_no_messages_are_an_empty_frame_of_the_same_columns() -> None:
    for zone in (None, "Europe/Berlin"):
        made = decoded([], ACTUALS, zone)
        some = decoded(messages(row(1)), ACTUALS, zone)
        assert made.frame.schema == some.frame.schema
        assert made.frame.is_empty()


def test_cutoffs_are_there_where_any_row_tells_one() -> None:
    columns = columns_of("forecasts", {"cutoff": "made"})
    first = {"unique_id": "a", "ds": DS, "y_hat": 1}
    second = first | {"made": "2025-02-28"}
    assert decoded(messages(first), columns, None).frame.columns == ["unique_id", "ds", "y_hat"]
    cutoffs = decoded(messages(first, second), columns, None).frame["cutoff"].to_list()
    assert cutoffs == [None, datetime(2025, 2, 28)]
