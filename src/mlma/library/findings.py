"""Findings and audit as frames: what a group has in common, and how often the agent is wrong.

Takes what the cycle found and counted, gives one row per finding and per nominal level.
"""

from collections.abc import Sequence
from dataclasses import fields

import polars as pl

from mlma.domain.fleet import AUDIT_LEVELS, Audit, Finding

_TYPES: dict[str, type[pl.DataType]] = {
    "str": pl.String,
    "int": pl.Int64,
    "float": pl.Float64,
    "bool": pl.Boolean,
}


def findings_frame(found: Sequence[Finding]) -> pl.DataFrame:
    """Return one row per finding, in the columns of `Finding`; empty where there is none."""
    schema = {spec.name: _TYPES[_name(spec.type)] for spec in fields(Finding)}
    rows = [tuple(getattr(one, name) for name in schema) for one in found]
    return pl.DataFrame(rows, schema=schema, orient="row")


def audit_frame(audit: Audit) -> pl.DataFrame:
    """Return what the agent expects of its own errors, beside what it counted.

    ``kind`` is ``batch`` (the test of one batch at a nominal level) or ``alarm`` (the dial, per
    stream-batch). ``expected`` is the nominal rate, ``mirror`` the realised one on the side on
    which no break can be (losses that fell), ``realised`` the rate on the side of alarms, true
    ones included. Null = nothing was watched yet.
    """
    rows = [
        ("batch", level, _share(low, audit.batches), _share(high, audit.batches), audit.batches)
        for level, low, high in zip(AUDIT_LEVELS, audit.lower, audit.upper, strict=True)
    ]
    watched = audit.watched
    rates = [_share(n, watched) for n in (audit.expected_alarms, audit.mirror_alarms, audit.alarms)]
    columns = ("kind", "expected", "mirror", "realised", "stream_batches")
    return pl.DataFrame([*rows, ("alarm", *rates, watched)], schema=columns, orient="row")


def _share(count: float, total: float) -> float | None:
    return float(count) / total if total else None


def _name(kind: object) -> str:
    return kind if isinstance(kind, str) else getattr(kind, "__name__", "")
