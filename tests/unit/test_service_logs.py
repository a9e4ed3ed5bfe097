"""Logs: one event per line, as text or JSON, without secrets, for all libraries alike."""

import io
import json
import logging

import pytest
import structlog

from mlma.service.keys import new_key
from mlma.service.logs import logs

WORD = "topsecretword1234567"


@pytest.fixture
def stream():
    return io.StringIO()


def lines(stream):
    return stream.getvalue().splitlines()


def test_a_line_of_text_has_time_level_event_and_what_goes_with_it(stream):
    with logs("text", stream=stream):
        structlog.get_logger("mlma.service").info("cycle judged", cycle=3, seconds=0.25, ok=True)
    (line,) = lines(stream)
    time, rest = line.split(" ", 1)
    assert time.startswith("time=20")
    assert time.endswith("Z")
    told = 'level=info event="cycle judged" cycle=3 seconds=0.25 ok=true logger=mlma.service'
    assert rest == told


def test_a_line_of_json_has_the_same(stream):
    with logs("json", stream=stream):
        structlog.get_logger("mlma.service").warning("cycle judged", cycle=3, streams=[1, 2])
    told = json.loads(stream.getvalue())
    assert told.pop("time").endswith("Z")
    assert told == {
        "level": "warning",
        "event": "cycle judged",
        "cycle": 3,
        "streams": [1, 2],
        "logger": "mlma.service",
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_records_of_the_standard_library_are_written_alike(stream, form):
    with logs(form, stream=stream):
        logging.getLogger("uvicorn.error").info("started %d", 7, extra={"color_message": "x"})
        logging.getLogger("mlma.web.access").info("GET", extra={"key": "store-42", "status": 200})
    first, second = lines(stream)
    assert "started 7" in first
    assert "color_message" not in first
    assert "store-42" in second
    assert "200" in second


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_event_is_one_line_whatever_is_in_it(stream, form):
    with logs(form, stream=stream):
        log = logging.getLogger("mlma")
        log.info("two\nlines\r\x1b[31m\u2028", extra={"a b=\n": 'c"d\ne'})
        try:
            raise ValueError("two\nlines")
        except ValueError:
            log.exception("failed")
    assert len(stream.getvalue().split("\n")) == 3
    assert len(lines(stream)) == 2
    assert "\x1b" not in stream.getvalue()
    assert "ValueError" in lines(stream)[1]


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_not_written_wherever_they_stand(stream, form):
    key = new_key()
    with logs(form, stream=stream):
        log = structlog.get_logger("mlma")
        log.info(
            f"no answer of postgresql://mlma:{WORD}@db.example/mlma, nor of {key}",
            secret=WORD,
            password=WORD,
            Authorization=f"Bearer {WORD}",
            api_key=WORD,
            url=f"https://u:{WORD}/{WORD}@a.example/x",
            header=f"authorization: Bearer {WORD}",
            nested={"deep": [{"client_secret": WORD}, f"amqp://u:{WORD}@b"]},
        )
        try:
            raise ValueError(f"postgresql://mlma:{WORD}@db.example/mlma")
        except ValueError:
            logging.getLogger("other").exception("with %s", f"x://u:{WORD}@y")
    assert WORD not in stream.getvalue()
    assert key not in stream.getvalue()
    assert "db.example" in stream.getvalue()


def test_lines_below_the_level_are_left_out(stream):
    with logs("text", "warning", stream=stream):
        structlog.get_logger("mlma").info("little")
        logging.getLogger("mlma").info("little")
        logging.getLogger("mlma").warning("much")
    assert len(lines(stream)) == 1


def test_logging_is_afterwards_as_before(stream):
    root = logging.getLogger()
    before = (root.handlers[:], root.level, logging.getLogger("httpx").level)
    with logs("json", "debug", stream=stream):
        assert root.handlers[:] != before[0]
    assert (root.handlers[:], root.level, logging.getLogger("httpx").level) == before
