"""What a call of the live agent brings, as arrays: one row per stream of the call.

Takes rows of losses, gives calendar classes, difficulties and what was left out. Next is the cycle.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from mlma.domain.batches import LossBatch
from mlma.domain.durations import duration, duration_text
from mlma.domain.errors import DataError, SettingsError, first_three
from mlma.domain.leftovers import LeftOut, merge_left_out
from mlma.domain.rows import LossRows, PairRows
from mlma.domain.settings import MLMA
from mlma.stats.calendar import calendar_class
from mlma.stats.losses import Loss
from mlma.stats.registry import batch_test
from mlma.steps.lay import loss_block

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def slot_of(
    slot: str | timedelta | None, batch: np.timedelta64, monitor: MLMA
) -> np.timedelta64 | None:
    """Return the length of a slot; None = losses need no places of their own.

    Raises
    ------
    SettingsError
        The test needs one and there is none, or it does not divide a batch.
    """
    if slot is None:
        if batch_test(monitor.test).memory == "profile":
            raise SettingsError(
                f"The test `{monitor.test}` compares losses with a profile of their slots. `Agent` "
                f'must know how long a slot is. Got no `slot`. Hint: Agent(slot="1h").',
            )
        return None
    length = duration(slot, "slot")
    if batch % length != np.timedelta64(0):
        raise SettingsError(
            f"`slot` must divide a batch of {duration_text(batch)}. Got {duration_text(length)}.",
        )
    return length


def scored_rows(pairs: PairRows, loss: Loss) -> LossRows:
    """Return the losses of pairs; those without a loss are counted as left out."""
    losses = loss(pairs.y, pairs.y_hat)
    bad = ~np.isfinite(losses)
    lost = _without_loss(pairs.ids, pairs.code[bad], loss.name)
    return LossRows(
        ids=pairs.ids,
        code=pairs.code[~bad],
        ds=pairs.ds[~bad],
        loss=losses[~bad],
        left_out=merge_left_out(pairs.left_out, lost),
    )


def calendar_of(rows: LossRows, batch: np.timedelta64, effect: str) -> NDArray[np.int8]:
    """Return the calendar class of each stream's batch, by its first slot."""
    if rows.ds is None:
        return np.zeros(len(rows.ids), dtype=np.int8)
    never = np.datetime64("9999-01-01", "us")
    first = np.full(len(rows.ids), never)
    np.minimum.at(first, rows.code, rows.ds)
    classes = calendar_class(first, batch, effect)
    return np.where(first == never, np.int8(0), classes)


def benchmark_means(rows: LossRows, hard: LossRows | None) -> Floats:
    """Return the benchmark's mean loss of each stream, ``(n_streams,)``; NaN = none."""
    if hard is None:
        return np.full(len(rows.ids), np.nan)
    means = LossBatch(loss_block(hard), np.zeros(len(hard.ids), np.int8)).mean()
    found = dict(zip(hard.ids, means, strict=True))
    return np.array([found.get(name, np.nan) for name in rows.ids])


def excluded_of(
    ids: Sequence[str], exclude: Iterable[str] | str | bool
) -> NDArray[np.bool_] | None:
    """Return which streams of a call are excluded, ``(n_streams,)``; None = none of them.

    Raises
    ------
    DataError
        A name is not in the call.
    """
    if isinstance(exclude, bool):
        return np.full(len(ids), True) if exclude else None
    named = {exclude} if isinstance(exclude, str) else {str(one) for one in exclude}
    if not named:
        return None
    unknown = named - set(ids)
    if unknown:
        raise DataError(
            f"`exclude` names {len(unknown)} streams that are not in this batch: "
            f"{first_three(sorted(unknown))}. Expected names out of {first_three(ids)}.",
        )
    return np.array([name in named for name in ids])


def _without_loss(ids: tuple[str, ...], code: Ints, loss: str) -> tuple[LeftOut, ...]:
    if not len(code):
        return ()
    names = tuple(ids[one] for one in dict.fromkeys(code.tolist()))
    return (LeftOut(f"no {loss} loss for this pair", "rows", len(code), names[:3]),)


def all_left_out(rows: LossRows, hard: LossRows | None) -> tuple[LeftOut, ...]:
    """Return what was left out of losses and benchmark."""
    if hard is None:
        return rows.left_out
    of_benchmark = [replace(out, reason=f"benchmark: {out.reason}") for out in hard.left_out]
    return merge_left_out(rows.left_out, of_benchmark)


def not_named(ids: tuple[str, ...], names: Sequence[str]) -> tuple[LeftOut, ...]:
    """Return the streams that brought held-out losses and are not re-trained."""
    others = sorted(set(ids) - set(names))
    if not others:
        return ()
    reason = "held-out losses of a stream that is not re-trained"
    return (LeftOut(reason, "streams", len(others), tuple(others[:3])),)


def named(
    unique_ids: Iterable[str] | str | None,
    otherwise: Iterable[str],
    known: Mapping[str, int],
    call: str,
) -> list[str]:
    """Return the streams that a call names, each once; None = the ones ``otherwise``.

    Raises
    ------
    DataError
        A stream is not known.
    """
    asked = [unique_ids] if isinstance(unique_ids, str) else unique_ids
    names = list(dict.fromkeys(str(name) for name in (otherwise if asked is None else asked)))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(
            f"`{call}` names {len(unknown)} streams that were never observed: "
            f"{first_three(unknown)}. Known: {first_three(known) or 'none'}.",
        )
    return names
