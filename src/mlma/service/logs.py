"""Logs: one event per line on stderr, as text or JSON, without secrets.

Takes the records of all libraries through the standard module `logging`, and those of structlog;
gives lines with time, level, event and what goes with it.
"""

import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import Processor

HIDDEN = "***"

Event = MutableMapping[str, Any]

_SECRET = re.compile(
    r"(^|[_\-.])(secrets?|passw(or)?d|passphrase|authorization|cookie|tokens?|key|hash|credentials?)$",
    re.IGNORECASE,
)
# Bounded, so that a long text of a stranger cannot hold up the log.
_USERINFO = re.compile(
    r"(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,30}://)[^\s'\"]{0,2000}@", re.IGNORECASE
)
_PAIR = re.compile(
    r"(?<![a-z0-9])((?:[a-z]{1,20}[_.-]){0,3}(?:ssl)?(?:password|passwd|passphrase|secret|token|"
    r"api_?key|access_?key)=)(?:'[^']{0,2000}'|\"[^\"]{0,2000}\"|[^\s&,;'\"]+)",
    re.IGNORECASE,
)
_KEY = re.compile(r"mlma_[A-Za-z0-9_-]{43,}")
_BEARER = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+", re.IGNORECASE)
_FIRST = ["time", "level", "event"]


@contextmanager
def logs(
    form: Literal["text", "json"], level: str = "info", stream: TextIO | None = None
) -> Iterator[None]:
    """Write all logs of the process to ``stream`` (stderr) until left.

    ``text`` is logfmt: ``time=... level=info event="cycle judged" cycle=12``.
    """
    root, handler = logging.getLogger(), _handler(form, stream)
    before = (root.handlers[:], root.level)
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    quiet = {name: logging.getLogger(name) for name in ("httpx", "httpcore", "alembic")}
    levels = {name: logger.level for name, logger in quiet.items()}
    for logger in quiet.values():
        logger.setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    try:
        yield
    finally:
        structlog.reset_defaults()
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        for name, logger in quiet.items():
            logger.setLevel(levels[name])


def _handler(form: str, stream: TextIO | None) -> logging.Handler:
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        _named,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        redacted,
    ]
    made = structlog.processors.JSONRenderer() if form == "json" else _text
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[*shared, structlog.stdlib.ProcessorFormatter.remove_processors_meta, made],
            foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
            use_get_message=True,
        )
    )
    return handler


def _named(_: Any, __: str, event: Event) -> Event:
    """Give a record the name of its logger, and its key of the door the name `by`."""
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["logger"] = record.name.replace("uvicorn.error", "uvicorn")
        event.pop("color_message", None)
        if record.name.startswith("mlma.web.") and "key" in event:
            event["by"] = event.pop("key")  # the name of a key, no secret
    return event


def redacted(_: Any, __: str, event: Event) -> Event:
    """Return an event without secrets: values of telling names, passwords in addresses, keys."""
    return {
        name: value if name.startswith("_") else _clean(name, value)
        for name, value in event.items()
    }


def clean_text(text: str) -> str:
    """Return a text without passwords of addresses, keys and headers that let somebody in.

    >>> clean_text("no answer of postgresql://mlma:word@db.example/mlma")
    'no answer of postgresql://***@db.example/mlma'
    """
    text = _PAIR.sub(rf"\1{HIDDEN}", _USERINFO.sub(rf"\1{HIDDEN}@", text))
    return _BEARER.sub(rf"\1 {HIDDEN}", _KEY.sub(HIDDEN, text))


def _clean(name: str, value: Any) -> Any:
    if _SECRET.search(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {str(key): _clean(str(key), part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", part) for part in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return clean_text(str(value))


_logfmt = structlog.processors.LogfmtRenderer(
    key_order=_FIRST, drop_missing=True, bool_as_flag=False
)


def _text(logger: Any, method: str, event: Event) -> str:
    """Return an event as one line, whatever is in it."""
    return _logfmt(logger, method, {_plain_key(name): _escaped(one) for name, one in event.items()})


def _plain_key(name: str) -> str:
    return re.sub(r"[^!-~]|[=\"]", "_", name)


def _escaped(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return "".join(
        letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in value
    )
